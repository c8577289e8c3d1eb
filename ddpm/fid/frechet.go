package fid

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Frechet returns the squared Fréchet distance of the Gaussians of a and b
// (Dowson and Landau, 1982), at least 0.
//
// The trace of (Σ₁Σ₂)^(1/2) is taken as that of (Σ₁^(1/2) Σ₂ Σ₁^(1/2))^(1/2),
// which has the same eigenvalues but is symmetric: they are real, and those that
// rounding made negative are set to 0. The authors' evaluator (evaluator.py)
// takes the square root of the product itself and drops an imaginary part.
//
// It fails if the dimensions differ, either side has fewer than two images, or a
// number is not finite.
func Frechet(a, b Stats) (float64, error) {
	if a.Dim != b.Dim {
		return 0, fmt.Errorf("fréchet distance: features of %d and of %d numbers; use one extractor for both", a.Dim, b.Dim)
	}
	for _, s := range []Stats{a, b} {
		if s.N < 2 || len(s.Mean) != s.Dim || len(s.Cov) != s.Dim*s.Dim {
			return 0, fmt.Errorf("fréchet distance: statistics of %d images, want at least 2", s.N)
		}
		if !finite(s.Mean) || !finite(s.Cov) {
			return 0, fmt.Errorf("fréchet distance: features of %d images hold NaN or infinity; the images probably do", s.N)
		}
	}
	n := a.Dim
	d := 0.0
	for i := range n {
		delta := a.Mean[i] - b.Mean[i]
		d += delta*delta + a.Cov[i*n+i] + b.Cov[i*n+i]
	}
	root, err := sqrtSym(a.Cov, n)
	if err != nil {
		return 0, err
	}
	var half, m mat.Dense
	half.Mul(root, mat.NewDense(n, n, b.Cov))
	m.Mul(&half, root)
	values, _, err := eigen(m.RawMatrix().Data, n, false)
	if err != nil {
		return 0, err
	}
	for _, v := range values {
		d -= 2 * math.Sqrt(max(v, 0))
	}
	return max(d, 0), nil
}

// sqrtSym returns the symmetric square root of the n×n matrix c.
func sqrtSym(c []float64, n int) (*mat.Dense, error) {
	values, vectors, err := eigen(c, n, true)
	if err != nil {
		return nil, err
	}
	scaled := mat.DenseCopyOf(vectors)
	for j, v := range values {
		r := math.Sqrt(max(v, 0))
		for i := range n {
			scaled.Set(i, j, scaled.At(i, j)*r)
		}
	}
	var root mat.Dense
	root.Mul(scaled, vectors.T())
	return &root, nil
}

// eigen decomposes the symmetric part of the n×n matrix c.
func eigen(c []float64, n int, vectors bool) ([]float64, *mat.Dense, error) {
	s := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			s.SetSym(i, j, (c[i*n+j]+c[j*n+i])/2)
		}
	}
	var e mat.EigenSym
	if !e.Factorize(s, vectors) {
		return nil, nil, fmt.Errorf("fréchet distance: the eigenvalues of a %d×%d covariance do not converge", n, n)
	}
	var v mat.Dense
	if vectors {
		e.VectorsTo(&v)
	}
	return e.Values(nil), &v, nil
}

func finite(x []float64) bool {
	for _, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}
