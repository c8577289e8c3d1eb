package fid_test

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"ddpmlab/ddpm/fid"
)

// features evaluates f at 0, 1, ... for n images of dim numbers.
func features(n, dim int, f func(i float64) float64) []float64 {
	x := make([]float64, n*dim)
	for i := range x {
		x[i] = f(float64(i))
	}
	return x
}

// The value is that of NumPy and SciPy with the formulas of the authors'
// evaluator.py; testdata/golden.json tells the features, 40 images of 6.
func TestFrechetGolden(t *testing.T) {
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ FID float64 }
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	real := features(40, 6, func(i float64) float64 { return math.Sin(.9*i+.2) + .3*math.Cos(.13*i) })
	sample := features(40, 6, func(i float64) float64 { return .8*math.Sin(1.1*i+1) + .2 })
	got, err := fid.Frechet(fid.NewStats(real, 6), fid.NewStats(sample, 6))
	// Both sides work in float64; the covariances are near singular, so the root
	// of a rounding error, 1e-8, is what they can agree to.
	if err != nil || math.Abs(got-golden.FID) > 1e-7 {
		t.Errorf("got %.12g, %v, want %.12g", got, err, golden.FID)
	}
}

func TestFrechetClosedForms(t *testing.T) {
	stats := func(mean, cov []float64) fid.Stats {
		return fid.Stats{N: 100, Dim: len(mean), Mean: mean, Cov: cov}
	}
	// In two dimensions tr √M = √(tr M + 2√det M), M = Σ₁Σ₂; these do not commute.
	s1, s2 := []float64{3, 1, 1, 2}, []float64{1, -.5, -.5, 4}
	trM := 3*1 + 1*-.5 + 1*-.5 + 2*4
	detM := 5.0 * 3.75
	for _, tt := range []struct {
		name string
		a, b fid.Stats
		want float64
	}{
		{"same", stats([]float64{1, 2}, s1), stats([]float64{1, 2}, s1), 0},
		{"means", stats([]float64{1, 2}, s1), stats([]float64{4, -2}, s1), 25},
		{"diagonal", stats([]float64{0, 0}, []float64{4, 0, 0, 9}), stats([]float64{0, 0}, []float64{1, 0, 0, 25}), 1 + 4},
		{"scaled", stats([]float64{0, 0}, s1), stats([]float64{0, 0}, []float64{27, 9, 9, 18}), 5 * 4},
		{"general", stats([]float64{0, 0}, s1), stats([]float64{0, 0}, s2), 10 - 2*math.Sqrt(trM+2*math.Sqrt(detM))},
		{"singular", stats([]float64{0, 0}, []float64{1, 1, 1, 1}), stats([]float64{0, 0}, []float64{1, -1, -1, 1}), 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, s := range [][2]fid.Stats{{tt.a, tt.b}, {tt.b, tt.a}} {
				// 1e-7: see TestFrechetGolden.
				if got, err := fid.Frechet(s[0], s[1]); err != nil || math.Abs(got-tt.want) > 1e-7 || got < 0 {
					t.Errorf("got %.12g, %v, want %.12g", got, err, tt.want)
				}
			}
		})
	}
}

func TestFrechetRefusals(t *testing.T) {
	good := fid.NewStats(features(9, 2, math.Sin), 2)
	nan := fid.NewStats(features(9, 2, func(float64) float64 { return math.NaN() }), 2)
	for _, tt := range []struct {
		name string
		s    fid.Stats
		want string
	}{
		{"dimension", fid.NewStats(features(9, 3, math.Sin), 3), "features of 2 and of 3"},
		{"one image", fid.NewStats([]float64{1, 2}, 2), "1 images, want at least 2"},
		{"no whole images", fid.NewStats([]float64{1, 2, 3}, 2), "0 images"},
		{"zero", fid.Stats{Dim: 2, N: 5}, "5 images"},
		{"nan", nan, "NaN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := fid.Frechet(good, tt.s); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if s := fid.NewStats(nil, 0); s.N != 0 {
		t.Errorf("statistics of nothing: %+v", s)
	}
}
