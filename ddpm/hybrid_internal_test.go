package ddpm

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/ref"
	"ddpmlab/ddpm/philox"
)

// hybridCase is the hybrid loss of a "network" whose output is the parameters, [N,H,W,2C].
type hybridCase struct {
	program *engine.Program
	inputs  [][]float64
	out     []float64
}

// hybrid_loss.json was made with guided-diffusion's losses in PyTorch, float32.
func newHybridCase(t *testing.T, ts []int, gamma float64, h, w, c int) *hybridCase {
	t.Helper()
	k := &hybridCase{}
	s, err := NewSchedule("cosine", 1000)
	if err != nil {
		t.Fatal(err)
	}
	g, n := engine.NewGraph(), len(ts)
	var spec engine.Spec
	input := func(name string, values []float64, shape ...int) *op.Node {
		x := g.Input(name, shape...)
		spec.Inputs, k.inputs = append(spec.Inputs, x), append(k.inputs, values)
		return x
	}
	// fill is the golden file's rule, in NCHW order, rearranged to NHWC.
	fill := func(channels int, phase, size float64) []float64 {
		x := make([]float64, n*h*w*channels)
		for i := range x {
			ch, p := i%channels, i/channels
			b, p := p/(h*w), p%(h*w)
			x[i] = size * math.Sin(0.37*float64((b*channels+ch)*h*w+p)+phase)
		}
		return x
	}
	image := func(name string, phase, size float64) *op.Node {
		x := fill(c, phase, size)
		if name == "x_0" {
			for i, v := range x {
				x[i] = max(-1, min(1, v))
			}
		}
		return input(name, x, n, h, w, c)
	}
	numbers := func(name string, f func(t int) float64) *op.Node {
		x := make([]float64, n)
		for i, at := range ts {
			x[i] = f(at)
		}
		return input(name, x, n)
	}
	in := lossInputs{
		x0: image("x_0", 0.1, 1.2), eps: image("eps", 0.7, 1.3), xi: image("xi", 2.1, 1.1),
		a: numbers("a", func(t int) float64 { return math.Sqrt(s.AlphaBar[t]) }),
		s: numbers("s", func(t int) float64 { return math.Sqrt(1 - s.AlphaBar[t]) }),
		hybrid: &hybridInputs{
			logBeta:  numbers("log beta", func(t int) float64 { b, _, _ := s.learnedRange(t); return b }),
			logTilde: numbers("log tilde", func(t int) float64 { _, b, _ := s.learnedRange(t); return b }),
			logK:     numbers("log k", func(t int) float64 { _, _, b := s.learnedRange(t); return b }),
			first: numbers("first", func(t int) float64 {
				if t == 0 {
					return 1
				}
				return 0
			}),
			factor: 1,
		},
	}
	l, err := buildLoss(in, InputPerturbation(gamma), func(x *op.Node) (*op.Node, []*op.Node, error) {
		p := g.Param("out", n, h, w, 2*c)
		spec.Params = nodes(p)
		return op.Add(p, op.Slice(op.Concat(op.Scale(x, 0), op.Scale(x, 0)), 0, 2*c)), spec.Params, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	spec.Outputs = nodes(l.losses, l.mse, l.bound)
	if spec.Grads, err = grad.Grad(l.total, spec.Params...); err != nil {
		t.Fatal(err)
	}
	if k.program, err = engine.Compile(spec); err != nil {
		t.Fatal(err)
	}
	k.out = fill(2*c, 1.3, 0.9)
	return k
}

func (k *hybridCase) run(t *testing.T) (losses []float64, mse, bound float64, grads []float64) {
	t.Helper()
	out, grads, err := ref.Run(t.Context(), k.program, k.inputs, k.out)
	if err != nil {
		t.Fatal(err)
	}
	return out[0], out[1][0], out[2][0], grads
}

func TestHybridLossIsTheReferences(t *testing.T) {
	var golden struct {
		Gamma float64 `json:"gamma"`
		Shape []int   `json:"shape"`
		Terms []struct {
			T             int `json:"t"`
			MSE, VB, Loss float64
		} `json:"terms"`
	}
	text, err := os.ReadFile("testdata/hybrid_loss.json")
	if err == nil {
		err = json.Unmarshal(text, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	var ts []int
	for _, term := range golden.Terms {
		ts = append(ts, term.T)
	}
	losses, mse, bound, _ := newHybridCase(t, ts, golden.Gamma, golden.Shape[2], golden.Shape[3], golden.Shape[1]).run(t)
	var wantMSE, wantVB float64
	for i, term := range golden.Terms {
		wantMSE, wantVB = wantMSE+term.MSE/4, wantVB+term.VB/4
		if math.Abs(losses[i]-term.Loss) > 5e-6*term.Loss { // the golden numbers are float32
			t.Errorf("loss at t = %d: %.9g, want %.9g", term.T, losses[i], term.Loss)
		}
	}
	if math.Abs(mse-wantMSE) > 5e-6*wantMSE || math.Abs(bound-wantVB) > 5e-6*wantVB {
		t.Errorf("mse %.9g and vb %.9g, want %.9g and %.9g", mse, bound, wantMSE, wantVB)
	}
}

// The bound trains the variance alone: the gradient of the noise half is that of the mean
// squared error, and that of the variance half the differences of the loss.
func TestHybridGradients(t *testing.T) {
	k := newHybridCase(t, []int{0, 1, 500, 999}, 0.1, 2, 2, 1)
	_, _, _, grads := k.run(t)
	plain := k.out
	for i, g := range grads {
		if i%2 == 0 { // noise: d/do of mean (eps - o)² over 16 values
			if want := 2 * (plain[i] - k.inputs[1][i/2]) / 16; math.Abs(g-want) > 1e-9 {
				t.Errorf("gradient of noise %d = %g, want %g", i/2, g, want)
			}
			continue
		}
		mean := func(d float64) float64 {
			k.out = slices.Clone(plain)
			k.out[i] += d
			l, _, _, _ := k.run(t)
			return (l[0] + l[1] + l[2] + l[3]) / 4
		}
		if want := (mean(1e-5) - mean(-1e-5)) / 2e-5; math.Abs(g-want) > 1e-6*max(1, math.Abs(want)) {
			t.Errorf("gradient of variance %d = %g, want %g", i/2, g, want)
		}
	}
}

// The importance-sampled mean estimates the uniform one without bias, and prefers large losses.
func TestSecondMoment(t *testing.T) {
	const T = 5
	m := newSecondMoment(T)
	for i := range momentHistory + 3 {
		if i < momentHistory && m.distribution() != nil {
			t.Fatalf("after %d losses of each t: a distribution; want uniform until %d", i, momentHistory)
		}
		for at := range T {
			l := float32(at + 1)
			if i < 3 {
				l = 1000 // forgotten
			}
			m.add(at, l)
		}
	}
	p := m.distribution()
	u := philox.Key(3, "u")
	const n = 200_000
	count, mean := make([]float64, T), 0.0
	for i := range n {
		at := pick(p, float64(u.Uint32(uint64(i), 0, 0))/(1<<32))
		count[at]++
		mean += float64(at+1) / (T * p[at]) / n
	}
	for at := range T {
		want := float64(at+1)/15*0.999 + 0.001/T
		if math.Abs(p[at]-want) > 1e-12 || math.Abs(count[at]/n-want) > 5*math.Sqrt(want/n) {
			t.Errorf("p(%d) = %g, drawn %g, want %g", at, p[at], count[at]/n, want)
		}
	}
	if math.Abs(mean-3) > 0.01 {
		t.Errorf("weighted mean loss %g, want 3", mean)
	}
}

// The mean over Exact's unit vectors is ‖J‖²_F; of k draws, the mean of theirs.
func TestPenaltyModes(t *testing.T) {
	exact := func(mode string, vectors [][]float64) float64 {
		sum := 0.0
		for _, v := range vectors {
			out, _ := newLossCase(t, GradPenalty(1), v).run(t)
			sum += out[2]
		}
		return sum
	}
	var units [][]float64
	for i := range 4 {
		v := make([]float64, 8)
		v[i], v[4+i] = 1, 1
		units = append(units, v)
	}
	want := exact(Exact, units)
	mean := 0.0
	for bits := range 16 {
		v := make([]float64, 8)
		for i := range v {
			v[i] = float64(1 - 2*(bits>>(i%4)&1))
		}
		mean += exact(Hutchinson, [][]float64{v}) / 16
	}
	if math.Abs(want-mean) > 1e-9*want {
		t.Errorf("sum over unit vectors %g, mean over all signs %g; want equal", want, mean)
	}
	b := testBatches(t, 10, 2, Variant{GradPenalty: 1, GradPenaltyMode: Exact})
	x := b.named(b.newBatch())
	if !slices.Equal(x["v 1"], []float32{0, 1, 0, 0, 0, 1, 0, 0}) || len(x["v 3"]) != 8 || x["v 4"] != nil {
		t.Errorf("probes of mode exact are those of %v, want the 4 unit vectors of two images", x)
	}
	b = testBatches(t, 10, 2, Variant{GradPenalty: 1, GradPenaltyDraws: 3})
	drawn := b.newBatch()
	err := b.fill(drawn, 1)
	x = b.named(drawn)
	if err != nil || x["v 2"] == nil || x["v 3"] != nil || slices.Equal(x["v"], x["v 1"]) {
		t.Errorf("probes of 3 draws are those of %v, %v", x, err)
	}
}

func TestGammaSchedules(t *testing.T) {
	for _, tt := range []struct {
		schedule string
		want     []float64 // at t = 0, 2, 4
	}{
		{Rising, []float64{0, 0.1, 0.2}},
		{Falling, []float64{0.2, 0.1, 0}},
		{"1:1,3:3", []float64{0.2, 0.4, 0.6}},
	} {
		got, err := Variant{Gamma: 0.2, GammaSchedule: tt.schedule}.gammas(5)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range tt.want {
			if math.Abs(got[2*i]-want) > 1e-12 {
				t.Errorf("%s: γ_t = %v, want %v at 0, 2, 4", tt.schedule, got, tt.want)
			}
		}
	}
}
