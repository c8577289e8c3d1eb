package ddpm_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/philox"
)

// moments returns mean and variance of all values, as float64.
func moments(x []float32) (mean, variance float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, variance / float64(len(x))
}

// The closed-form prediction is the best linear one: no other line through the same
// data has a smaller error on samples of Eq. 5 and Eq. 7.
func TestToyIsTheMinimiser(t *testing.T) {
	s := newSchedule(t, "cosine", 1000)
	const n = 200_000
	x0, eps, xi := make([]float32, n), make([]float32, n), make([]float32, n)
	philox.Key(1, "x0").Normals(x0, 0, 0)
	philox.Key(1, "eps").Normals(eps, 0, 0)
	philox.Key(1, "xi").Normals(xi, 0, 0)
	for _, gamma := range []float64{0, 0.1, 0.5} {
		for _, at := range []int{0, 100, 500, 900, 999} {
			g := ddpm.Gaussian{Schedule: s, Mean: 0.3, Var: 0.2, Gamma: gamma}
			abar := s.AlphaBar[at]
			y, pred := make([]float32, n), make([]float32, n)
			var my, me, myy, mye float64
			for i := range y {
				v := math.Sqrt(abar)*(0.3+math.Sqrt(0.2)*float64(x0[i])) + math.Sqrt(1-abar)*(float64(eps[i])+gamma*float64(xi[i]))
				y[i] = float32(v)
				my, me, myy, mye = my+v/n, me+float64(eps[i])/n, myy+v*v/n, mye+v*float64(eps[i])/n
			}
			ts := []int{at}
			if err := g.Predict(t.Context(), y, ts, pred); err != nil {
				t.Fatal(err)
			}
			slope := (mye - my*me) / (myy - my*my) // least squares
			got := float64(pred[1]-pred[0]) / float64(y[1]-y[0])
			sd := math.Sqrt(1 / (myy - my*my) / n)
			if math.Abs(got-slope) > 5*sd+1e-6 {
				t.Errorf("slope at t = %d, gamma %g: %v, want %v ± %.2g", at, gamma, got, slope, 5*sd)
			}
			mse := 0.0
			for i := range pred {
				mse += (float64(eps[i]) - float64(pred[i])) * (float64(eps[i]) - float64(pred[i])) / n
			}
			if want := g.Loss(at, gamma); math.Abs(mse-want) > 5*want*math.Sqrt(2./n) {
				t.Errorf("loss at t = %d, gamma %g: %v, want Loss = %v", at, gamma, mse, want)
			}
		}
	}
}

// A prediction made for Eq. 7 is worse on clean inputs and better on inputs that
// carry the error it was made for: what the paper trades.
func TestPerturbationTradesErrors(t *testing.T) {
	s := newSchedule(t, "cosine", 1000)
	adm := ddpm.Gaussian{Schedule: s, Var: 0.2}
	ip := ddpm.Gaussian{Schedule: s, Var: 0.2, Gamma: 0.5}
	for _, at := range []int{50, 500, 950} {
		if a, b := adm.Loss(at, 0), ip.Loss(at, 0); a >= b {
			t.Errorf("t = %d, clean inputs: ADM %v, IP %v; want ADM lower", at, a, b)
		}
		if a, b := adm.Loss(at, 0.5), ip.Loss(at, 0.5); a <= b {
			t.Errorf("t = %d, perturbed inputs: ADM %v, IP %v; want IP lower", at, a, b)
		}
	}
}

// Alg. 2 on the toy world: the images' mean and variance are those of the linear
// recursion that Sampled works out from the paper's own formula.
func TestSampleMoments(t *testing.T) {
	s := newSchedule(t, "cosine", 1000)
	steps := []int{1, 2, 10, 50, 250}
	if !testing.Short() {
		steps = append(steps, 1000)
	}
	for _, variance := range []string{ddpm.FixedSmall, ddpm.FixedLarge} {
		for _, k := range steps {
			for _, gamma := range []float64{0, 0.2} {
				g := ddpm.Gaussian{Schedule: s, Mean: 0.2, Var: 0.1, Gamma: gamma}
				const n = 40
				x, err := ddpm.Sample(t.Context(), g, s, ddpm.Sampling{Steps: k, Variance: variance, Seed: 3}, 0, n, 16, 16, 1)
				if err != nil {
					t.Fatal(err)
				}
				wantMean, wantVar, err := g.Sampled(k, variance)
				if err != nil {
					t.Fatal(err)
				}
				mean, v := moments(x.Pix)
				count := float64(len(x.Pix))
				if d := 5*math.Sqrt(wantVar/count) + 1e-4; math.Abs(mean-wantMean) > d {
					t.Errorf("%s, %d steps, gamma %g: mean %.5f, want %.5f ± %.5f", variance, k, gamma, mean, wantMean, d)
				}
				if d := 5 * wantVar * math.Sqrt(2/count); math.Abs(v-wantVar) > d {
					t.Errorf("%s, %d steps, gamma %g: variance %.5f, want %.5f ± %.5f", variance, k, gamma, v, wantVar, d)
				}
			}
		}
	}
	// The whole chain gives the data back, and a short one loses variance.
	g := ddpm.Gaussian{Schedule: s, Mean: 0.2, Var: 0.1}
	mean, v, err := g.Sampled(1000, ddpm.FixedSmall)
	if err != nil || math.Abs(mean-0.2) > 1e-3 || math.Abs(v-0.1) > 2e-3 {
		t.Errorf("Sampled(1000) = %v, %v, %v, want 0.2, 0.1", mean, v, err)
	}
	if _, short, _ := g.Sampled(10, ddpm.FixedSmall); short > 0.95*v {
		t.Errorf("variance after 10 steps = %v, want clearly below %v", short, v)
	}
}

// Image i of a seed does not depend on the batch it is drawn in, nor on what was
// drawn before.
func TestSampleImagesAreTheirOwn(t *testing.T) {
	s := newSchedule(t, "cosine", 100)
	g := ddpm.Gaussian{Schedule: s, Var: 0.5}
	p := ddpm.Sampling{Steps: 7, Variance: ddpm.FixedSmall, ClipDenoised: true, Seed: 5}
	all, err := ddpm.Sample(t.Context(), g, s, p, 0, 70, 4, 4, 3)
	if err != nil {
		t.Fatal(err)
	}
	some, err := ddpm.Sample(t.Context(), g, s, p, 63, 3, 4, 4, 3)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(some.Pix, all.Part(63, 66).Pix) {
		t.Error("images 63 to 65 alone differ from those in a batch of 70")
	}
	if slices.Equal(all.At(0), all.At(1)) {
		t.Error("two images are equal")
	}
	for i, v := range all.Pix {
		if v < -1 || v > 1 {
			t.Fatalf("value %d = %v, want [-1, 1]: the last step is a clipped x_0", i, v)
		}
	}
	p.Seed = 6
	if other, _ := ddpm.Sample(t.Context(), g, s, p, 0, 1, 4, 4, 3); slices.Equal(other.Pix, all.At(0)) {
		t.Error("another seed gives the same image")
	}
}

// A network is called with indices of the full schedule, descending.
func TestSampleUsesOriginalTime(t *testing.T) {
	s := newSchedule(t, "cosine", 1000)
	var seen []int
	d := denoiserFunc(func(xt []float32, ts []int, eps []float32) error {
		seen = append(seen, ts[0])
		return nil
	})
	if _, err := ddpm.Sample(t.Context(), d, s, ddpm.Sampling{Steps: 5, Variance: ddpm.FixedSmall}, 0, 2, 2, 2, 1); err != nil {
		t.Fatal(err)
	}
	if want := []int{999, 749, 500, 250, 0}; !slices.Equal(seen, want) {
		t.Errorf("times = %v, want %v", seen, want)
	}
}

type denoiserFunc func(xt []float32, t []int, eps []float32) error

func (f denoiserFunc) Predict(_ context.Context, xt []float32, t []int, eps []float32) error {
	return f(xt, t, eps)
}

func TestSampleErrors(t *testing.T) {
	s := newSchedule(t, "cosine", 10)
	g := ddpm.Gaussian{Schedule: s, Var: 1}
	for _, tt := range []struct {
		p    ddpm.Sampling
		n    int
		want string
	}{
		{ddpm.Sampling{Steps: 11, Variance: ddpm.FixedSmall}, 1, "steps is 11; want 1 to 10"},
		{ddpm.Sampling{Steps: 5, Variance: "small"}, 1, `variance is "small"`},
		{ddpm.Sampling{Steps: 5, Variance: ddpm.FixedSmall}, -1, "sample -1 images"},
	} {
		if _, err := ddpm.Sample(t.Context(), g, s, tt.p, 0, tt.n, 2, 2, 1); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Sample(%+v, n = %d) = %v, want %q in it", tt.p, tt.n, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := ddpm.Sample(ctx, g, s, ddpm.Sampling{Steps: 5, Variance: ddpm.FixedSmall}, 0, 1, 2, 2, 1)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "sampling stopped after 0 of 1 images: context canceled") {
		t.Errorf("Sample of a cancelled context = %v, want context.Canceled and how far it came", err)
	}
	diverged := denoiserFunc(func(_ []float32, _ []int, eps []float32) error {
		eps[5] = float32(math.NaN())
		return nil
	})
	for _, clip := range []bool{false, true} {
		p := ddpm.Sampling{Steps: 5, Variance: ddpm.FixedSmall, ClipDenoised: clip}
		if _, err := ddpm.Sample(t.Context(), diverged, s, p, 0, 3, 2, 2, 1); err == nil || !strings.Contains(err.Error(), "number 2 of image 2 is NaN; the network or the sampler has diverged") {
			t.Errorf("Sample of NaN, clipped %v = %v", clip, err)
		}
	}
}

// Alg. 3 on the toy world, against means of |normal|.
func TestExposureBiasOfToy(t *testing.T) {
	s := newSchedule(t, "cosine", 1000)
	steps := []int{1, 30, 100, 300}
	if !testing.Short() {
		steps = append(steps, 600, 1000)
	}
	for _, gamma := range []float64{0, 0.3} {
		g := ddpm.Gaussian{Schedule: s, Mean: -0.1, Var: 0.04, Gamma: gamma}
		x0 := g.Images(7, 80, 12, 12, 1)
		got, err := ddpm.ExposureBias(t.Context(), g, s, x0, steps, ddpm.BiasOptions{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range got {
			want, err := g.Bias(steps[i])
			if err != nil {
				t.Fatal(err)
			}
			if b.Steps != steps[i] || b.N != 80 {
				t.Errorf("row %d = %+v, want %d steps of 80 images", i, b, steps[i])
			}
			if d := 5*b.StdErr + 1e-5; math.Abs(b.L1-want.L1) > d {
				t.Errorf("%d steps, gamma %g: L1 = %.5f, want %.5f ± %.5f", b.Steps, gamma, b.L1, want.L1, d)
			}
			if d := 5*b.OneStepStdErr + 1e-5; math.Abs(b.OneStepL1-want.OneStepL1) > d {
				t.Errorf("%d steps, gamma %g: one-step L1 = %.5f, want %.5f ± %.5f", b.Steps, gamma, b.OneStepL1, want.OneStepL1, d)
			}
		}
	}
}

// Alg. 3 with the true noise as prediction returns every image: the chain itself
// makes no error; and clipping keeps it in range.
func TestExposureBiasOfTheTruth(t *testing.T) {
	s := newSchedule(t, "cosine", 1000)
	x0 := ddpm.Gaussian{Var: 0.1}.Images(2, 3, 5, 5, 1)
	for i, v := range x0.Pix {
		x0.Pix[i] = max(-1, min(1, v))
	}
	var seen []int
	truth := denoiserFunc(func(xt []float32, ts []int, eps []float32) error {
		seen = append(seen, ts[0])
		abar := s.AlphaBar[ts[0]]
		for i, v := range xt {
			eps[i] = float32((float64(v) - math.Sqrt(abar)*float64(x0.Pix[i])) / math.Sqrt(1-abar))
		}
		return nil
	})
	got, err := ddpm.ExposureBias(t.Context(), truth, s, x0, []int{100, 900}, ddpm.BiasOptions{Clip: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range got {
		if b.L1 > 1e-5 || b.OneStepL1 > 1e-5 { // float32 rounding of x, over √ᾱ
			t.Errorf("bias of the truth = %v, want 0", b)
		}
	}
	// The one-step control at the paper's t = 100, then the chain 100..1.
	if want := []int{99, 99, 98, 97}; !slices.Equal(seen[:4], want) || seen[100] != 0 || seen[101] != 899 {
		t.Errorf("times = %v ... %v, want %v ... 0 899", seen[:4], seen[100:102], want)
	}
	if _, err := ddpm.ExposureBias(t.Context(), truth, s, x0, []int{1001}, ddpm.BiasOptions{}); err == nil {
		t.Error("a chain of 1001 steps of 1000: no error")
	}
	if _, err := ddpm.ExposureBias(t.Context(), truth, s, ddpm.Images{}, []int{10}, ddpm.BiasOptions{}); err == nil {
		t.Error("no images: no error")
	}
}

// A chain as Alg. 3 is written may leave all bounds; JSON keeps that as null.
func TestBiasJSON(t *testing.T) {
	for _, b := range []ddpm.Bias{
		{Steps: 100, N: 3, L1: 0.5, StdErr: 0.1, OneStepL1: 0.25, OneStepStdErr: 1e-9},
		{Steps: 1000, N: 3, L1: math.Inf(1), StdErr: math.NaN(), OneStepL1: 0.25, OneStepStdErr: 0},
	} {
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		var back ddpm.Bias
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		same := func(x, y float64) bool { return x == y || math.IsNaN(y) && (math.IsNaN(x) || math.IsInf(x, 0)) }
		if back.Steps != b.Steps || back.N != b.N || !same(b.L1, back.L1) || !same(b.StdErr, back.StdErr) ||
			back.OneStepL1 != b.OneStepL1 || back.OneStepStdErr != b.OneStepStdErr {
			t.Errorf("%+v is %s in JSON, and %+v again", b, text, back)
		}
	}
}
