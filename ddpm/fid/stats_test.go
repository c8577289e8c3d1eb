package fid_test

import (
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"ddpmlab/ddpm/fid"
)

// The plain two-pass computation is gonum's.
func TestStats(t *testing.T) {
	const n, dim = 300, 5 // more than two blocks, and a rest
	x := features(n, dim, func(i float64) float64 { return math.Sin(i*i*.37) + i/100 })
	got := fid.NewStats(x, dim)
	m := mat.NewDense(n, dim, x)
	var want mat.SymDense
	stat.CovarianceMatrix(&want, m, nil)
	if got.N != n || got.Dim != dim {
		t.Fatalf("N %d, Dim %d", got.N, got.Dim)
	}
	for i := range dim {
		if mean := stat.Mean(mat.Col(nil, i, m), nil); math.Abs(got.Mean[i]-mean) > 1e-12 {
			t.Errorf("mean %d: got %g, want %g", i, got.Mean[i], mean)
		}
		for j := range dim {
			if c := got.Cov[i*dim+j]; math.Abs(c-want.At(i, j)) > 1e-10 {
				t.Errorf("covariance %d,%d: got %g, want %g", i, j, c, want.At(i, j))
			}
		}
	}
}

// A mean of 1e9 leaves no digits for sums of squares; the covariance of
// 1e9 + {0, 1, 2, ...} is still that of {0, 1, 2, ...}, n(n+1)/12.
func TestStatsLargeMean(t *testing.T) {
	const n = 1000
	got := fid.NewStats(features(n, 1, func(i float64) float64 { return 1e9 + i }), 1)
	if want := float64(n*(n+1)) / 12; math.Abs(got.Cov[0]/want-1) > 1e-6 {
		t.Errorf("variance %g, want %g", got.Cov[0], want)
	}
}

// However the numbers are cut to pieces, the sums are the same to the last bit.
func TestAccumulatorPieces(t *testing.T) {
	const n, dim = 300, 3
	x := features(n, dim, func(i float64) float64 { return math.Sin(i * i * .37) })
	want := fid.NewStats(x, dim)
	for _, piece := range []int{1, 7, 384, 500} {
		a := fid.NewAccumulator(dim)
		for p := range slices.Chunk(x, piece) {
			a.Add(p)
			a.Stats() // looking changes nothing
		}
		if got := a.Stats(); got.N != n || !slices.Equal(got.Mean, want.Mean) || !slices.Equal(got.Cov, want.Cov) {
			t.Errorf("pieces of %d numbers: other statistics", piece)
		}
	}
}
