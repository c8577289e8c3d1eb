package fid

import (
	"fmt"
	"math"

	"ddpmlab/ddpm/fid/dense"
)

// Frechet returns the squared Fréchet distance of the Gaussians of a and b
// (Dowson and Landau, 1982), at least 0.
//
// The trace of (Σ₁Σ₂)^(1/2) is the sum of the singular values of L₁L₂ᵀ, where
// LᵀL = Σ are Cholesky factors with as many rows as Σ has rank. That is the symmetric
// form tr (Σ₁^(1/2) Σ₂ Σ₁^(1/2))^(1/2) without taking roots of eigenvalues that are
// zero but for rounding, each of which would add 1e-8 of the largest one. (The authors'
// evaluator.py takes the root of the product itself and drops an imaginary part; it
// gave NaN without full rank.) Of 2048 features most of the time goes into products of
// matrices with vectors, as the factor is made bidiagonal.
//
// It fails if the dimensions differ, either side has fewer than two images, or a
// number is not finite.
func Frechet(a, b Stats) (float64, error) {
	if a.Dim != b.Dim {
		return 0, fmt.Errorf("fréchet distance: features of %d and of %d numbers; use one extractor for both", a.Dim, b.Dim)
	}
	d := 0.0
	for _, s := range []Stats{a, b} {
		if s.N < 2 && s.N != UnknownN || len(s.Mean) != s.Dim || len(s.Cov) != s.Dim*s.Dim {
			return 0, fmt.Errorf("fréchet distance: statistics of %d images, want at least 2", s.N)
		}
		if !finite(s.Mean) || !finite(s.Cov) {
			return 0, fmt.Errorf("fréchet distance: features of %d images hold NaN or infinity; the images probably do", s.N)
		}
		for i := range s.Dim {
			d += s.Cov[i*s.Dim+i]
		}
	}
	for i, m := range a.Mean {
		d += (m - b.Mean[i]) * (m - b.Mean[i])
	}
	la, lb := a.factor(), b.factor()
	cross := dense.New(la.Rows, lb.Rows)
	dense.AddProduct(cross, 1, la, lb.T())
	values, err := dense.SingularValues(cross)
	if err != nil {
		return 0, fmt.Errorf("fréchet distance: %w", err)
	}
	for _, v := range values {
		d -= 2 * v
	}
	return max(d, 0), nil
}

// factor is L with LᵀL = Cov, as many rows as Cov has rank.
func (s Stats) factor() dense.Matrix {
	c := dense.New(s.Dim, s.Dim)
	for i := range s.Dim {
		for j := range s.Dim {
			c.Row(i)[j] = (s.Cov[i*s.Dim+j] + s.Cov[j*s.Dim+i]) / 2
		}
	}
	return dense.Cholesky(c)
}

func finite(x []float64) bool {
	for _, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}
