package ddpm

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"

	"ddpmlab/ddpm/engine/cpu"
)

// counting is a Denoiser that counts its calls.
type counting struct {
	Gaussian
	calls int
}

func (c *counting) Predict(ctx context.Context, xt []float32, t []int, eps []float32) error {
	c.calls++
	return c.Gaussian.Predict(ctx, xt, t, eps)
}

// What every sampler must do in a world where the network is perfect: give the data's
// mean, variance and independence back, cost what it says, and make image n the same in
// any batch.
func TestSamplers(t *testing.T) {
	s, err := NewSchedule("cosine", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		p    Sampling
		tol  float64 // of the variance, relative: discretisation
	}{
		{"ancestral", Sampling{Steps: 1000, Variance: FixedSmall}, 0.01},
		{"ancestral, large", Sampling{Steps: 1000, Variance: FixedLarge}, 0.01},
		{"ddim", Sampling{Sampler: DDIM, Steps: 500, Variance: FixedSmall}, 0.02},
		{"ddim, eta 1", Sampling{Sampler: DDIM, Eta: 1, Steps: 500, Variance: FixedSmall}, 0.04},
		{"heun", Sampling{Sampler: Heun, Steps: 100, Variance: FixedSmall}, 0.01},
		{"dpm++2m", Sampling{Sampler: DPMSolver2M, Steps: 100, Variance: FixedSmall}, 0.01},
		{"time shift of none", Sampling{Steps: 500, Variance: FixedLarge, ShiftWindow: 1}, 0.04},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &counting{Gaussian: Gaussian{Schedule: s, Mean: 0.3, Var: 0.2}}
			tt.p.Seed = 4
			x, err := Sample(t.Context(), d, s, tt.p, 0, 64, 16, 16, 1)
			if err != nil {
				t.Fatal(err)
			}
			if d.calls != tt.p.Evaluations() {
				t.Errorf("%d network evaluations, Evaluations says %d", d.calls, tt.p.Evaluations())
			}
			var mean, variance, neighbours float64
			n := float64(len(x.Pix))
			for _, v := range x.Pix {
				mean += float64(v) / n
			}
			for i, v := range x.Pix {
				variance += (float64(v) - mean) * (float64(v) - mean) / n
				neighbours += (float64(v) - mean) * (float64(x.Pix[i^1]) - mean) / n
			}
			if math.Abs(mean-0.3) > 5*math.Sqrt(0.2/n) {
				t.Errorf("mean = %.4f, want 0.3", mean)
			}
			if math.Abs(variance/0.2-1) > tt.tol+5*math.Sqrt(2/n) {
				t.Errorf("variance = %.4f, want 0.2", variance)
			}
			if math.Abs(neighbours) > 5*0.2*math.Sqrt(2/n) {
				t.Errorf("covariance of neighbours = %.4f, want 0", neighbours)
			}
			some, err := Sample(t.Context(), d, s, tt.p, 63, 1, 16, 16, 1)
			if err != nil || !slices.Equal(some.Pix, x.At(63)) {
				t.Errorf("image 63 alone is another one (%v)", err)
			}
		})
	}
}

// Halving the steps of a solver of order p divides its distance from the exact flow by
// 2^p.
func TestOrderOfConvergence(t *testing.T) {
	s, err := NewSchedule("linear", 8192)
	if err != nil {
		t.Fatal(err)
	}
	g := Gaussian{Schedule: s, Mean: 0.3, Var: 0.25}
	const from = 6000
	for _, tt := range []struct {
		sampler  string
		lo, hi   float64
		coarsest int
	}{{DDIM, 0.85, 1.15, 40}, {Heun, 1.8, 2.4, 40}, {DPMSolver2M, 1.8, 2.4, 40}} {
		var errors []float64
		for _, n := range []int{tt.coarsest, 2 * tt.coarsest} {
			// Steps of equal length in λ, so that the grid is as smooth as the flow.
			var use []int
			lo, hi := math.Log(sigmaOf(s, 400)), math.Log(sigmaOf(s, from))
			at := 0
			for i := range n + 1 {
				want := lo + (hi-lo)*float64(i)/float64(n)
				for at < from && math.Log(sigmaOf(s, at)) < want-1e-9 {
					at++
				}
				use = append(use, at)
			}
			short, err := s.Sub(use)
			if err != nil {
				t.Fatal(err)
			}
			x := NewImages(1, 1, 1, 1)
			x.Pix[0] = 1.7
			c := newChain(g, s, short, Sampling{Sampler: tt.sampler, Steps: n + 1, Variance: FixedSmall}, 0)
			if err := samplers[tt.sampler].run(t.Context(), c, x); err != nil {
				t.Fatal(err)
			}
			// The flow keeps (z-µ)/√(σ²_0+σ²), z = x/√ᾱ; the last step is the prediction at σ(0).
			top, end := sigmaOf(short, n), sigmaOf(short, 0)
			z := g.Mean + (1.7/math.Sqrt(short.AlphaBar[n])-g.Mean)*math.Sqrt((g.Var+end*end)/(g.Var+top*top))
			want := g.Mean + (z-g.Mean)*g.Var/(g.Var+end*end)
			errors = append(errors, math.Abs(float64(x.Pix[0])-want))
		}
		order := math.Log2(errors[0] / errors[1])
		if !(order > tt.lo && order < tt.hi) {
			t.Errorf("%s: errors %.3g, order %.2f; want %g to %g", tt.sampler, errors, order, tt.lo, tt.hi)
		}
	}
}

// Epsilon scaling divides ε before x_0 is taken: a chain of one step is x_0 itself.
func TestEpsilonScaling(t *testing.T) {
	s, err := NewSchedule("cosine", 1000)
	if err != nil {
		t.Fatal(err)
	}
	g := Gaussian{Schedule: s, Var: 0.2}
	x := NewImages(1, 1, 1, 1)
	for _, tt := range []struct {
		p     Sampling
		t     int
		scale float64
	}{
		{Sampling{}, 1, 1},
		{Sampling{EpsScale: 1.017}, 1, 1.017},
		{Sampling{EpsScale: 1, EpsSlope: 0.01}, 1, 1.01},
		{Sampling{EpsSlope: 0.01}, 0, 1},
	} {
		short, err := s.Sub([]int{10, 600})
		if err != nil {
			t.Fatal(err)
		}
		x.Pix[0] = 1
		var eps [1]float32
		if err := g.Predict(t.Context(), x.Pix, []int{short.Index[tt.t]}, eps[:]); err != nil {
			t.Fatal(err)
		}
		c := newChain(g, s, short, tt.p, 0)
		if err := c.evaluate(t.Context(), tt.t, x); err != nil {
			t.Fatal(err)
		}
		if got, want := c.eps[0], float32(float64(eps[0])/tt.scale); got != want {
			t.Errorf("%+v at step %d: ε = %v, want %v", tt.p, tt.t, got, want)
		}
	}
}

// Time shift tells the network the time whose 1-ᾱ is the image's variance.
func TestTimeShift(t *testing.T) {
	s, err := NewSchedule("cosine", 1000)
	if err != nil {
		t.Fatal(err)
	}
	x := NewImages(2, 2, 2, 1)
	sd := float32(math.Sqrt(1 - s.AlphaBar[603]))
	copy(x.Pix, []float32{sd, -sd, sd, -sd, 1, 1, 1, 1})
	for _, tt := range []struct {
		window, cutoff int
		want           []int
	}{{0, 0, nil}, {10, 300, []int{603, 595}}, {4, 300, []int{602, 598}}, {10, 600, []int{600, 600}}} {
		c := newChain(Gaussian{Schedule: s}, s, s, Sampling{ShiftWindow: tt.window, ShiftCutoff: tt.cutoff}, 0)
		c.shift(600, x)
		if !slices.Equal(c.shifted, tt.want) {
			t.Errorf("window %d, cutoff %d: told %v, want %v", tt.window, tt.cutoff, c.shifted, tt.want)
		}
	}
}

// tiny is the golden network, mixed with the true ε as tiny_gradients.json says.
type tiny struct {
	*Network
	s *Schedule
}

func (n tiny) PredictVariance(ctx context.Context, xt []float32, t []int, eps, v []float32) error {
	if err := n.Network.PredictVariance(ctx, xt, t, eps, v); err != nil {
		return err
	}
	for i := range eps {
		eps[i] = 0.15*eps[i] + float32(0.9*math.Sqrt(1-n.s.AlphaBar[t[0]]))*xt[i]
		v[i] *= 0.15
	}
	return nil
}

// Ten steps with a learned variance and given noise end as the reference's do.
func TestLearnedRangeChain(t *testing.T) {
	var golden struct {
		Samplers map[string]struct {
			First6    []float64
			Mean, Std float64
			Trace     [][]float64
		}
	}
	text, err := os.ReadFile("testdata/tiny_gradients.json")
	if err == nil {
		err = json.Unmarshal(text, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := golden.Samplers["ddpm10_learned_range"]
	s, err := NewSchedule("cosine", 1000)
	if err != nil {
		t.Fatal(err)
	}
	short, err := s.respaced(10)
	if err != nil {
		t.Fatal(err)
	}
	d, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	cfg := CIFAR10()
	cfg.Model = tinyUNet()
	net, err := NewNetwork(&Checkpoint{Config: cfg, EMA: tinyWeights(tinyUNet())}, WithDevice(d))
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	const n, c, hw = 2, 3, 64
	// NCHW index of the golden file to NHWC
	at := func(image, i int) int { return (image*c+i%c)*hw + i/c }
	x := NewImages(n, 8, 8, c)
	for i := range n {
		for j := range x.At(i) {
			x.At(i)[j] = float32(math.Sqrt2 * math.Sin(0.3*float64(at(i, j))))
		}
	}
	chain := newChain(tiny{net, s}, s, short, Sampling{Steps: 10, Variance: LearnedRange, ClipDenoised: true}, 0)
	chain.noise = func(z []float32, t, image int) {
		for j := range z {
			z[j] = float32(math.Sqrt2 * math.Sin(0.3*float64(at(image, j))+1+float64(9-t)))
		}
	}
	if err := ancestral(t.Context(), chain, x); err != nil {
		t.Fatal(err)
	}
	var mean, square float64
	for _, v := range x.Pix {
		mean, square = mean+float64(v)/float64(len(x.Pix)), square+float64(v)*float64(v)
	}
	std := math.Sqrt((square - float64(len(x.Pix))*mean*mean) / float64(len(x.Pix)-1))
	if math.Abs(mean-want.Mean) > 1e-4 || math.Abs(std-want.Std) > 1e-3 {
		t.Errorf("mean %v and deviation %v, want %v and %v", mean, std, want.Mean, want.Std)
	}
	for i, w := range want.First6 { // the first six values of the first channel
		if got := float64(x.Pix[i*c]); math.Abs(got-w) > 2e-4 {
			t.Errorf("value %d = %v, want %v", i, got, w)
		}
	}
}

func TestRespaceDDIM(t *testing.T) {
	s, err := NewSchedule("cosine", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for n, last := range map[int]int{20: 950, 25: 960, 50: 980, 100: 990, 250: 996} {
		use, err := s.Respace("ddim" + strconv.Itoa(n))
		if err != nil || len(use) != n || use[0] != 0 || use[n-1] != last {
			t.Errorf("ddim%d = %v, %v; want %d steps from 0 to %d", n, use, err, n, last)
		}
	}
	for _, bad := range []string{"ddim80", "ddim300", "ddim", "ddim0", "ddim1001"} {
		if use, err := s.Respace(bad); err == nil {
			t.Errorf("Respace(%q) = %v, want an error", bad, use)
		}
	}
}
