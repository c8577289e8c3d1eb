package fid

import "ddpmlab/ddpm/fid/dense"

// UnknownN is the number of images of statistics from a file that does not tell it.
const UnknownN = -1

// Stats is the mean and covariance of the features of N images.
type Stats struct {
	N, Dim int
	Mean   []float64 // Dim
	Cov    []float64 // Dim×Dim, row-major, symmetric; the divisor is N-1
}

// Deficient reports whether N images are too few for a covariance of full rank, which
// takes Dim+1 of them.
func (s Stats) Deficient() bool { return s.N != UnknownN && s.N <= s.Dim }

// NewStats returns the statistics of feat, images one after another, dim numbers
// each. If dim does not divide the length of feat, N is 0, which Frechet refuses.
func NewStats(feat []float64, dim int) Stats {
	a := NewAccumulator(dim)
	if dim < 1 || len(feat)%dim != 0 {
		return Stats{Dim: dim}
	}
	a.Add(feat)
	return a.Stats()
}

// Accumulator gathers statistics of images that come in pieces. The result
// depends on the images and their order, not on how they were cut to pieces.
type Accumulator struct {
	dim     int
	n       int       // images merged into mean and scatter
	mean    []float64 // of those
	scatter []float64 // sum of (x-mean)(x-mean)ᵀ; only the upper triangle counts
	block   []float64 // images that wait, fewer than blockImages
}

// blockImages is how many images are centred and merged at a time.
const blockImages = 128

// NewAccumulator returns an accumulator of features of dim numbers.
func NewAccumulator(dim int) *Accumulator {
	dim = max(dim, 0)
	return &Accumulator{dim: dim, mean: make([]float64, dim), scatter: make([]float64, dim*dim)}
}

// Add takes the features of some images, one image after another. Numbers after
// the last whole image wait for the next call.
func (a *Accumulator) Add(feat []float64) {
	for len(feat) > 0 {
		n := min(len(feat), blockImages*a.dim-len(a.block))
		if n == 0 {
			return // dim is 0
		}
		a.block, feat = append(a.block, feat[:n]...), feat[n:]
		if len(a.block) == blockImages*a.dim {
			a.n = merge(a.n, a.mean, a.scatter, a.block, a.dim)
			a.block = a.block[:0]
		}
	}
}

// Stats returns the statistics of all whole images so far.
func (a *Accumulator) Stats() Stats {
	s := Stats{N: a.n, Dim: a.dim, Mean: append([]float64{}, a.mean...), Cov: append([]float64{}, a.scatter...)}
	if a.dim == 0 {
		return s
	}
	rest := append([]float64{}, a.block[:len(a.block)/a.dim*a.dim]...)
	s.N = merge(s.N, s.Mean, s.Cov, rest, a.dim)
	div := float64(max(s.N-1, 1))
	for i := range a.dim {
		for j := i; j < a.dim; j++ {
			c := s.Cov[i*a.dim+j] / div
			s.Cov[i*a.dim+j], s.Cov[j*a.dim+i] = c, c
		}
	}
	return s
}

// merge adds the images of block to n images with that mean and scatter, by the
// pairwise formula of Chan, Golub and LeVeque (1979), which unlike sums of
// squares loses no digits when the mean is large. It centres block in place and
// returns the new number of images.
func merge(n int, mean, scatter, block []float64, dim int) int {
	k := len(block) / dim
	if k == 0 {
		return n
	}
	m := make([]float64, dim)
	for i := range k {
		for j, v := range block[i*dim : (i+1)*dim] {
			m[j] += v
		}
	}
	for j := range m {
		m[j] /= float64(k)
	}
	for i := range k {
		row := block[i*dim : (i+1)*dim]
		for j := range row {
			row[j] -= m[j]
		}
	}
	sum := dense.Of(dim, dim, scatter)
	dense.AddGram(sum, dense.Of(k, dim, block))
	total := float64(n + k)
	delta := m // block mean - mean so far
	for j := range delta {
		delta[j] -= mean[j]
		mean[j] += delta[j] * float64(k) / total
	}
	between := float64(n) * float64(k) / total
	for i, d := range delta {
		row := sum.Row(i)
		for j := i; j < dim; j++ {
			row[j] += between * d * delta[j]
		}
	}
	return n + k
}
