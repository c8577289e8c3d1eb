package dense

import "math"

// panel is how many vectors are gathered before the rest of a matrix is brought up to
// date with all of them, in one product.
const panel = 64

// Cholesky returns L, r×n, with LᵀL = s up to rounding, for a symmetric matrix s
// without negative eigenvalues and of rank r: the factorization with complete pivoting
// (Higham 2002, §10.3), ended where what is left is below n·ε times the largest
// number on the diagonal. It overwrites s.
func Cholesky(s Matrix) Matrix {
	n := s.Rows
	l := New(n, n)
	left := make([]float64, n) // the diagonal of what is left; negative: this one was the pivot
	most := 0.0
	for i := range n {
		left[i] = s.Data[i*s.RowStep+i]
		most = max(most, left[i])
	}
	small := float64(n) * 0x1p-52 * most
	kernel, share := product{isa()}, make([]float64, n)
	r := 0
	for r < n {
		first := r
		for ; r < min(first+panel, n); r++ {
			pivot := largest(left)
			if left[pivot] <= small {
				return Of(r, n, l.Data[:r*n])
			}
			for q := first; q < r; q++ {
				share[q-first] = l.Row(q)[pivot]
			}
			v := l.Row(r)
			kernel.transposed(Of(r-first, n, l.Data[first*n:]), share, v)
			root := math.Sqrt(left[pivot])
			for i, x := range s.Row(pivot) {
				if left[i] < 0 {
					v[i] = 0
					continue
				}
				v[i] = (x - v[i]) / root
				left[i] = max(left[i]-v[i]*v[i], 0)
			}
			v[pivot], left[pivot] = root, -1
		}
		new := Of(r-first, n, l.Data[first*n:r*n])
		AddProduct(s, -1, new.T(), new)
		for i := range n {
			if left[i] >= 0 {
				left[i] = max(s.Data[i*s.RowStep+i], 0)
			}
		}
	}
	return l
}

func largest(x []float64) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}
