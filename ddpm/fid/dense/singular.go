package dense

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/lapack/gonum"
)

// SingularValues returns the singular values of a, the largest first. It overwrites a,
// whose rows lie at a stretch and are finite.
//
// a is made bidiagonal by Householder reflections, half of the work in products of
// matrices (Dongarra, Sorensen and Hammarling, 1989) and half in products with
// vectors, which for large matrices are what takes the time; the values of the
// bidiagonal matrix come from gonum's dqds, exact to a few units in the last place.
func SingularValues(a Matrix) ([]float64, error) {
	if a.Rows < a.Cols {
		t := New(a.Cols, a.Rows)
		for i := range a.Rows {
			for j, v := range a.Row(i) {
				t.Row(j)[i] = v
			}
		}
		a = t
	}
	d, e := bidiagonal(a)
	if len(d) == 0 {
		return nil, nil
	}
	if (gonum.Implementation{}).Dlasq1(len(d), d, e, make([]float64, 4*len(d))) != 0 {
		return nil, errors.New("the singular values of a bidiagonal matrix do not converge")
	}
	return d, nil
}

// bidiagonal returns the diagonal and the numbers above it of a bidiagonal matrix with
// the singular values of a, which has no more columns than rows.
//
// Up to a panel's end a stays as it was, and the matrix as it is by now is a - PᵀQ,
// where each reflection has added a row to P and one to Q: from the left u and
// y = τ·(what is left of a)ᵀu, from the right x = τ·(...)v and v.
func bidiagonal(a Matrix) (d, e []float64) {
	m, n := a.Rows, a.Cols
	d, e = make([]float64, n), make([]float64, n)
	p, q := New(panel, m), New(panel, n)
	kernel := product{isa()}
	coef, sum := make([]float64, panel), make([]float64, m)
	pairs := 0
	// rest subtracts from y the combination of vectors, from column k on, with coef.
	rest := func(y []float64, vectors Matrix, k int) {
		s := sum[:len(y)]
		kernel.transposed(head(vectors, pairs).From(0, k), coef, s)
		for i, v := range s {
			y[i] -= v
		}
	}
	for k := range n {
		column := p.Row(pairs)[k:]
		for i := range column {
			column[i] = a.Data[(k+i)*a.RowStep+k]
		}
		for i := range pairs {
			coef[i] = q.Row(i)[k]
		}
		rest(column, p, k)
		var tau float64
		d[k], tau = reflection(column)
		clear(p.Row(pairs)[:k])
		if k+1 == n {
			break
		}
		y := q.Row(pairs)[k+1:]
		clear(q.Row(pairs)[:k+1])
		kernel.transposed(a.From(k, k+1), column, y)
		kernel.times(head(p, pairs).From(0, k), column, coef)
		rest(y, q, k+1)
		scale(y, tau)
		pairs++

		v := q.Row(pairs)[k+1:]
		copy(v, a.Row(k)[k+1:])
		for i := range pairs {
			coef[i] = p.Row(i)[k]
		}
		rest(v, q, k+1)
		e[k], tau = reflection(v)
		clear(q.Row(pairs)[:k+1])
		x := p.Row(pairs)[k+1:]
		clear(p.Row(pairs)[:k+1])
		kernel.times(a.From(k+1, k+1), v, x)
		kernel.times(head(q, pairs).From(0, k+1), v, coef)
		rest(x, p, k+1)
		scale(x, tau)
		pairs++

		if pairs == panel {
			AddProduct(a.From(k+1, k+1), -1, p.From(0, k+1).T(), q.From(0, k+1))
			pairs = 0
		}
	}
	return d, e
}

// head is the first n rows.
func head(m Matrix, n int) Matrix {
	m.Rows = n
	return m
}

// reflection replaces x by the vector u, u[0] = 1, and returns beta and tau with
// (1 - tau·u·uᵀ)x = (beta, 0, 0, ...).
func reflection(x []float64) (beta, tau float64) {
	most := 0.0
	for _, v := range x[1:] {
		most = max(most, math.Abs(v))
	}
	if most == 0 {
		beta, x[0] = x[0], 1
		return beta, 0
	}
	most = max(most, math.Abs(x[0]))
	norm := 0.0
	for _, v := range x {
		norm += v / most * (v / most)
	}
	beta = -math.Copysign(most*math.Sqrt(norm), x[0])
	tau = (beta - x[0]) / beta
	inverse := x[0] - beta
	x[0] = 1
	for i, v := range x[1:] {
		x[i+1] = v / inverse
	}
	return beta, tau
}

func scale(x []float64, by float64) {
	for i := range x {
		x[i] *= by
	}
}
