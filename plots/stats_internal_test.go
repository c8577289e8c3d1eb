package plots

import (
	"math"
	"slices"
	"testing"

	"ddpmlab/ddpm"
)

func TestMeanCI(t *testing.T) {
	// t(0.975, 2) = 4.30265; sd = 1.
	if mean, half := meanCI([]float64{1, 2, 3}); mean != 2 || math.Abs(half-4.302653/math.Sqrt(3)) > 1e-6 {
		t.Errorf("got %v ± %v, want 2 ± 2.484", mean, half)
	}
	if mean, half := meanCI([]float64{7}); mean != 7 || !math.IsNaN(half) {
		t.Errorf("one value: got %v ± %v, want 7 and no interval", mean, half)
	}
}

func TestOverSeeds(t *testing.T) {
	nan := math.NaN()
	x, mean, half := overSeeds(
		[][]float64{{10, 20, 30, 40}, {10, 20, 30}},
		[][]float64{{1, 5, nan, 3}, {3, 5, 7}})
	if !slices.Equal(x, []float64{10, 20}) || !slices.Equal(mean, []float64{2, 5}) || half[1] != 0 || half[0] < 12 {
		t.Errorf("got x %v, mean %v, half %v, want the steps both seeds have, 10 and 20", x, mean, half)
	}
}

func TestSmooth(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		name    string
		y, want []float64
		window  int
	}{
		{"empty", nil, []float64{}, 3},
		{"constant", []float64{2, 2, 2, 2}, []float64{2, 2, 2, 2}, 3},
		{"centred, cut off at the end", []float64{1, 2, 6, 4}, []float64{1, 3, 4, 5}, 3},
		{"NaN left out", []float64{1, nan, 3, math.Inf(1)}, []float64{1, 2, 3, 3}, 3},
		{"NaN alone", []float64{nan, nan, nan}, []float64{nan, nan, nan}, 3},
	} {
		got := smooth(tt.y, tt.window)
		if !slices.EqualFunc(got, tt.want, func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestThinOut checks that a thinned line has the extremes, the order and the gaps of the
// whole one.
func TestThinOut(t *testing.T) {
	var x, y []float64
	for i := range 10_000 {
		x, y = append(x, float64(i)), append(y, math.Sin(float64(i)/50))
	}
	y[1234], y[7777] = 40, -40
	for i := 5000; i < 5100; i++ {
		y[i] = math.NaN()
	}
	tx, ty := thinOut(x, y, 200)
	if len(tx) > 400 || len(tx) != len(ty) {
		t.Fatalf("%d x and %d y, want at most 400 of each", len(tx), len(ty))
	}
	if !slices.IsSorted(tx) {
		t.Error("x is no longer ascending")
	}
	if !slices.Contains(ty, 40) || !slices.Contains(ty, -40) {
		t.Error("an extreme got lost")
	}
	if !slices.ContainsFunc(ty, math.IsNaN) {
		t.Error("the gap got lost")
	}
	if sx, _ := thinOut(x[:400], y[:400], 200); len(sx) != 400 {
		t.Error("a short line was thinned")
	}
}

// A decoupled weight decay stands in no loss, a coupled one does.
func TestLossSentence(t *testing.T) {
	coupled := ddpm.Variant{WeightDecay: 0.03, WeightDecayMode: ddpm.Coupled}
	for _, tt := range []struct {
		variants []ddpm.Variant
		want     string
	}{
		{[]ddpm.Variant{ddpm.ADM(), ddpm.WeightDecay(0.03)}, "Losses: Eq. 6 (ADM, ADM-WD); AdamW's weight decay is outside the loss."},
		{[]ddpm.Variant{ddpm.ADM(), coupled}, "Losses: Eq. 6 (ADM), Eq. 10 (ADM-WD coupled). Levels do not compare across variants, scores do."},
		{[]ddpm.Variant{{Gamma: 0.1, GradPenalty: 1e-6}}, "Losses: Eq. 7 with 9 (DDPM-IP+GP). Levels do not compare across variants, scores do."},
	} {
		var groups []group
		for _, v := range tt.variants {
			groups = append(groups, group{variant: v.Normal()})
		}
		if got := lossSentence(groups); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
