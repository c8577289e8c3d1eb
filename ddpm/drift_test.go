package ddpm_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/philox"
)

// The drift of the toy world's chain is that of its linear recursion: δ_t, which is as small
// as 1e-7 where the chain is good, and the norms of ε.
func TestDriftOfToy(t *testing.T) {
	s := newSchedule(t, "cosine", 1000)
	for _, p := range []ddpm.Sampling{
		{Steps: 20, Variance: ddpm.FixedSmall, Seed: 3},
		{Steps: 5, Variance: ddpm.FixedLarge, Seed: 3},
		{Steps: 20, Variance: ddpm.FixedSmall, Seed: 3, EpsScale: 1.05, ClipDenoised: true},
	} {
		g := ddpm.Gaussian{Schedule: s, Mean: 0.1, Var: 0.05}
		const n, size = 150, 12 * 12
		got, err := ddpm.SamplingDrift(t.Context(), g, s, g.Images(7, n, 12, 12, 1), p)
		if err != nil {
			t.Fatal(err)
		}
		if p.EpsScale != 0 {
			// The ε that the sampler goes on with is observed, after its scaling.
			want, _ := g.Drift(p, size)
			if r := got[0].Norm / want[0].Norm; math.Abs(r*1.05-1) > 0.01 {
				t.Errorf("ε scaled by 1/1.05 has a norm of %.3f of that without", r)
			}
			continue
		}
		want, err := g.Drift(p, size)
		if err != nil || len(got) != p.Steps || len(want) != p.Steps {
			t.Fatalf("%d entries of drift, %d known, %v; want %d", len(got), len(want), err, p.Steps)
		}
		for i, d := range got {
			w := want[i]
			// A standard deviation has an error of σ/√(2n) a pixel; √size less in the mean.
			sd := w.Std / math.Sqrt(2*n*size)
			if d.T != w.T || d.N != n || d.TrueStd != w.TrueStd || math.Abs(d.Std-w.Std) > 5*sd {
				t.Errorf("entry %d: σ̂ = %.5f at t = %d, want %.5f ± %.5f at %d", i, d.Std, d.T, w.Std, 5*sd, w.T)
			}
			if e := (math.Abs(w.Std-w.TrueStd) + 5*sd); d.Delta > e*e || d.DeltaFloor > 25*sd*sd {
				t.Errorf("t = %d: δ = %.3g, floor %.3g; want %.3g, at most %.3g", d.T, d.Delta, d.DeltaFloor, w.Delta, 25*sd*sd)
			}
			if e := 5 * d.NormStdErr; math.Abs(d.Norm-w.Norm) > e {
				t.Errorf("t = %d: ‖ε‖ sampling = %.4f, want %.4f ± %.4f", d.T, d.Norm, w.Norm, e)
			}
			if e := 5 * d.TrainNormStdErr; math.Abs(d.TrainNorm-w.TrainNorm) > e {
				t.Errorf("t = %d: ‖ε‖ training = %.4f, want %.4f ± %.4f", d.T, d.TrainNorm, w.TrainNorm, e)
			}
		}
		if d := got[0]; d.T != 999 || d.Delta != d.DeltaFloor || d.Norm != d.TrainNorm {
			t.Errorf("the chain begins with %v, want an input of training", d)
		}
	}
}

// The deviation is unbiased however few images there are: the mean of many floors is that
// of the sampling error alone.
func TestDriftOfFewImages(t *testing.T) {
	s := newSchedule(t, "cosine", 100)
	g := ddpm.Gaussian{Schedule: s, Var: 0.05}
	for _, n := range []int{2, 3, 10} {
		d, err := ddpm.SamplingDrift(t.Context(), g, s, g.Images(1, n, 64, 64, 1), ddpm.Sampling{Steps: 1, Variance: ddpm.FixedSmall})
		if err != nil {
			t.Fatal(err)
		}
		if r := d[0].Std / d[0].TrueStd; math.Abs(r-1) > 5*math.Sqrt(1/(2*float64(n-1)*64*64)) {
			t.Errorf("%d images: deviation %.4f of the true one, want 1", n, r)
		}
	}
}

func TestDriftErrors(t *testing.T) {
	s := newSchedule(t, "cosine", 100)
	g := ddpm.Gaussian{Schedule: s, Var: 0.05}
	for _, tt := range []struct {
		n    int
		p    ddpm.Sampling
		want string
	}{
		{1, ddpm.Sampling{Steps: 5, Variance: ddpm.FixedSmall}, "drift of 1 images; want 2 or more"},
		{4, ddpm.Sampling{Steps: 101, Variance: ddpm.FixedSmall}, "steps is 101; want 1 to 100"},
		{4, ddpm.Sampling{Steps: 5, Variance: ddpm.FixedSmall, Sampler: ddpm.Heun}, `drift of the sampler "heun"`},
	} {
		if _, err := ddpm.SamplingDrift(t.Context(), g, s, g.Images(1, tt.n, 4, 4, 1), tt.p); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("drift of %d images, %+v: %v, want %q", tt.n, tt.p, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ddpm.SamplingDrift(ctx, g, s, g.Images(1, 4, 4, 4, 1), ddpm.Sampling{Steps: 5, Variance: ddpm.FixedSmall}); !errors.Is(err, context.Canceled) {
		t.Errorf("drift of a cancelled context: %v", err)
	}
	if _, err := ddpm.PredictionErrors(ctx, g, s, g.Images(1, 4, 4, 4, 1), []int{5}, ddpm.BiasOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("prediction errors of a cancelled context: %v", err)
	}
	if _, err := ddpm.PredictionErrors(t.Context(), g, s, g.Images(1, 4, 4, 4, 1), []int{100}, ddpm.BiasOptions{}); err == nil || !strings.Contains(err.Error(), "want 0 to 99") {
		t.Errorf("prediction errors at t = 100 of 100: %v", err)
	}
	if _, err := ddpm.PredictionErrors(t.Context(), g, s, g.Images(1, 2, 4, 4, 1), []int{5}, ddpm.BiasOptions{}); err == nil || !strings.Contains(err.Error(), "want 3 or more") {
		t.Errorf("prediction errors of 2 images: %v", err)
	}
}

// In the toy world the error of a prediction is normal, with a deviation that is known;
// the test for it errs as often as its level says.
func TestPredictionErrorsOfToy(t *testing.T) {
	s := newSchedule(t, "cosine", 1000)
	g := ddpm.Gaussian{Schedule: s, Mean: -0.2, Var: 0.04}
	const n, size = 150, 32 * 32
	times := []int{0, 100, 500, 900, 999}
	got, err := ddpm.PredictionErrors(t.Context(), g, s, g.Images(5, n, 32, 32, 1), times, ddpm.BiasOptions{Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range got {
		want := g.PredictionError(times[i])
		sd := want.Nu / math.Sqrt(2*n*size)
		if e.T != times[i] || e.N != n || math.Abs(e.Nu-want.Nu) > 5*sd || math.Abs(e.Mean-want.Mean) > 5*want.Nu/math.Sqrt(n*size) {
			t.Errorf("t = %d: ν = %.5f, mean %.5f; want %.5f ± %.5f, %.5f", e.T, e.Nu, e.Mean, want.Nu, 5*sd, want.Mean)
		}
		if e.Pixels != size || e.Tested != 100 || math.Abs(e.Rejected-0.05) > 5*math.Sqrt(0.05*0.95/size) {
			t.Errorf("t = %d: %v; want about 5 %% of 1024 pixels on 100 images", e.T, e)
		}
	}
}

// Errors that are not normal are found out: of pixels that are -1 or 1, where x_t tells
// nothing, the prediction is their mean and the error has two values.
func TestPredictionErrorsNotNormal(t *testing.T) {
	s := newSchedule(t, "cosine", 1000)
	x0 := ddpm.NewImages(100, 8, 8, 1)
	signs := philox.Key(1, "signs")
	for i := range x0.N {
		signs.Signs(x0.At(i), 0, uint32(i))
	}
	for i := range x0.N { // one pixel is the same in all images
		x0.At(i)[5] = 0
	}
	mean := denoiserFunc(func(xt []float32, ts []int, eps []float32) error {
		for i, v := range xt {
			eps[i] = float32(float64(v) / math.Sqrt(1-s.AlphaBar[ts[0]])) // predicts x_0 = 0
		}
		return nil
	})
	got, err := ddpm.PredictionErrors(t.Context(), mean, s, x0, []int{300}, ddpm.BiasOptions{Clip: true})
	if err != nil {
		t.Fatal(err)
	}
	if e := got[0]; e.Rejected != 1 || e.Pixels+e.Constant != 64 || e.Pixels < 63 || math.Abs(e.Nu-63./64) > 0.02 {
		t.Errorf("got %v and %d constant, want all rejected and ν about 1", e, e.Constant)
	}
}

// W and p are SciPy's, from three values to hundreds, for normal, uniform and exponential
// ones (testdata/shapiro.py).
func TestShapiroWilk(t *testing.T) {
	text, err := os.ReadFile("testdata/shapiro.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name string
		X    []float64
		W, P float64
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) < 30 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		before := slices.Clone(c.X)
		got, err := ddpm.ShapiroWilk(c.X)
		if err != nil || math.Abs(got.W-c.W) > 1e-6 || math.Abs(got.P-c.P) > 1e-5*max(c.P, 1e-3) {
			t.Errorf("%s: %+v, %v; want W %.8f, p %.8g", c.Name, got, err, c.W, c.P)
		}
		if !slices.Equal(before, c.X) {
			t.Errorf("%s: the values were sorted in place", c.Name)
		}
	}
	for _, tt := range []struct {
		x    []float64
		want string
	}{
		{[]float64{1, 2}, "of 2 values; want 3 to 5000"},
		{[]float64{2, 2, 2, 2}, "all values are the same"},
		{[]float64{1, 2, math.NaN(), 3}, "not finite"},
		{[]float64{1, 2, math.Inf(1), 3}, "not finite"},
	} {
		if _, err := ddpm.ShapiroWilk(tt.x); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ShapiroWilk(%v) = %v, want %q", tt.x, err, tt.want)
		}
	}
}
