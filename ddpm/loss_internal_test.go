package ddpm

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/ref"
	"ddpmlab/ddpm/unet"
)

// lossCase is the loss of a variant on one batch, compiled, with its inputs.
type lossCase struct {
	spec    engine.Spec
	program *engine.Program
	inputs  [][]float64
	weights []float64
}

// wave fills n numbers of size about 1, other ones for another phase.
func wave(n int, phase float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = math.Sin(1.7*float64(i)+phase) + 0.4*math.Cos(0.31*float64(i*i)+2*phase)
	}
	return x
}

// newLossCase makes the loss of v for two 2×2 images of one channel and the network
// conv1×1(SiLU(conv3×3(x))) with three hidden channels, small enough for any check.
func newLossCase(t testing.TB, v Variant, signs []float64) *lossCase {
	t.Helper()
	c := &lossCase{}
	g := engine.NewGraph()
	input := func(name string, values []float64, shape ...int) *op.Node {
		n := g.Input(name, shape...)
		c.spec.Inputs, c.inputs = append(c.spec.Inputs, n), append(c.inputs, values)
		return n
	}
	in := lossInputs{
		x0: input("x_0", wave(8, 1), 2, 2, 2, 1), eps: input("eps", wave(8, 2), 2, 2, 2, 1),
		a: input("a", []float64{0.9, 0.4}, 2), s: input("s", []float64{math.Sqrt(1 - 0.81), math.Sqrt(1 - 0.16)}, 2),
	}
	if v.Gamma > 0 {
		in.xi = input("xi", wave(8, 3), 2, 2, 2, 1)
	}
	if signs != nil {
		in.probes = nodes(input("v", signs, 2, 2, 2, 1))
	}
	l, err := buildLoss(in, v.Normal(), func(x *op.Node) (*op.Node, []*op.Node, error) {
		w1, w2 := g.Param("w1", 3, 3, 1, 3), g.Param("w2", 1, 1, 3, 1)
		c.spec.Params = nodes(w1, w2)
		return op.Conv(op.SiLU(op.Conv(x, w1, 1, 1)), w2, 1, 0), c.spec.Params, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.weights = wave(30, 4)
	c.compile(t, l)
	return c
}

// compile makes the program of l: outputs total, mse and, if there is one, penalty.
func (c *lossCase) compile(t testing.TB, l lossOutputs) {
	t.Helper()
	var err error
	c.spec.Outputs = nodes(l.total, l.mse)
	if l.penalty != nil {
		c.spec.Outputs = append(c.spec.Outputs, l.penalty)
	}
	if c.spec.Grads, err = grad.Grad(l.total, c.spec.Params...); err != nil {
		t.Fatal(err)
	}
	if c.program, err = engine.Compile(c.spec); err != nil {
		t.Fatal(err)
	}
}

func (c *lossCase) run(t testing.TB) (outputs, grads []float64) {
	t.Helper()
	out, grads, err := ref.Run(t.Context(), c.program, c.inputs, c.weights)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out {
		outputs = append(outputs, o[0])
	}
	return outputs, grads
}

// forward is the same network in plain Go, on one 2×2 image.
func forwardByHand(x, w []float64) []float64 {
	out := make([]float64, 4)
	for p := range 4 {
		for k := range 3 {
			h := 0.0
			for dy := -1; dy <= 1; dy++ {
				for dx := -1; dx <= 1; dx++ {
					y, z := p/2+dy, p%2+dx
					if y >= 0 && y < 2 && z >= 0 && z < 2 {
						h += x[y*2+z] * w[((dy+1)*3+dx+1)*3+k]
					}
				}
			}
			out[p] += h / (1 + math.Exp(-h)) * w[27+k]
		}
	}
	return out
}

// lossByHand is the variants' loss written from the paper, in plain Go; the
// Jacobian of Eq. 9 comes from central differences.
func lossByHand(c *lossCase, v Variant, signs []float64) float64 {
	total := 0.0
	for n := range 2 {
		a, s := []float64{0.9, 0.4}[n], math.Sqrt(1-[]float64{0.81, 0.16}[n])
		x0, eps, xi := wave(8, 1)[4*n:], wave(8, 2)[4*n:], wave(8, 3)[4*n:]
		x := make([]float64, 4)
		for i := range x {
			x[i] = a*x0[i] + s*(eps[i]+v.Gamma*xi[i])
		}
		for i, y := range forwardByHand(x, c.weights) {
			total += (eps[i] - y) * (eps[i] - y) / 8 // mean over 2 images of 4 pixels
		}
		if v.GradPenalty > 0 {
			const h = 1e-5
			for j := range x { // column j of J
				up, down := append([]float64{}, x...), append([]float64{}, x...)
				up[j] += h
				down[j] -= h
				yu, yd := forwardByHand(up, c.weights), forwardByHand(down, c.weights)
				vj := 0.0
				for i := range yu {
					vj += signs[4*n+i] * (yu[i] - yd[i]) / (2 * h)
				}
				total += v.GradPenalty * vj * vj / 2 // mean over 2 images
			}
		}
	}
	if v.WeightDecayMode == Coupled {
		for _, w := range c.weights {
			total += v.WeightDecay * w * w
		}
	}
	return total
}

// Every loss equals the paper's formula in plain Go, and its gradient the
// differences of that formula.
func TestLossAndGradients(t *testing.T) {
	random := []float64{1, -1, -1, 1, -1, -1, 1, -1}
	ones := []float64{1, 1, 1, 1, 1, 1, 1, 1}
	for _, tt := range []struct {
		name         string
		v            Variant
		signs, byVec []float64 // fed, and meant
	}{
		{"Eq. 6", ADM(), nil, nil},
		{"Eq. 7", InputPerturbation(0.1), nil, nil},
		{"Eq. 9, Hutchinson", GradPenalty(0.3), random, random},
		{"Eq. 9, ones", Variant{GradPenalty: 0.3, GradPenaltyMode: Ones}, nil, ones},
		{"Eq. 10, coupled", Variant{WeightDecay: 0.03, WeightDecayMode: Coupled}, nil, nil},
		{"Eq. 10, decoupled: not in the loss", WeightDecay(0.03), nil, nil},
		{"all", Variant{Gamma: 0.5, GradPenalty: 0.2, WeightDecay: 0.1, WeightDecayMode: Coupled}, random, random},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newLossCase(t, tt.v, tt.signs)
			out, grads := c.run(t)
			if want := lossByHand(c, tt.v, tt.byVec); math.Abs(out[0]-want) > 1e-8*want {
				t.Errorf("loss = %.12g, want %.12g", out[0], want)
			}
			for i := range c.weights {
				const h = 1e-4
				w := c.weights[i]
				c.weights[i] = w + h
				up := lossByHand(c, tt.v, tt.byVec)
				c.weights[i] = w - h
				down := lossByHand(c, tt.v, tt.byVec)
				c.weights[i] = w
				want := (up - down) / (2 * h)
				if math.Abs(grads[i]-want) > 1e-5*max(1, math.Abs(want)) { // h² of the third derivative
					t.Errorf("gradient %d = %.9g, want %.9g", i, grads[i], want)
				}
			}
		})
	}
}

// The mean of the Hutchinson estimate over all 16 sign vectors of an image is
// ‖J‖²_F exactly, while ones give something else.
func TestHutchinsonIsUnbiased(t *testing.T) {
	v := GradPenalty(1)
	mean := 0.0
	for bits := range 16 {
		signs := make([]float64, 8)
		for i := range signs { // the same for both images
			signs[i] = float64(1 - 2*(bits>>(i%4)&1))
		}
		out, _ := newLossCase(t, v, signs).run(t)
		mean += out[2] / 16
	}
	c := newLossCase(t, v, wave(8, 0))
	frobenius := 0.0
	for i := range 4 { // rows of J, one at a time
		unit := make([]float64, 8)
		unit[i], unit[4+i] = 1, 1
		frobenius += lossByHand(c, v, unit) - lossByHand(c, Variant{}, nil)
	}
	if math.Abs(mean-frobenius) > 1e-8*frobenius {
		t.Errorf("mean over all signs = %.12g, want ‖J‖²_F = %.12g", mean, frobenius)
	}
	out, _ := newLossCase(t, Variant{GradPenalty: 1, GradPenaltyMode: Ones}, nil).run(t)
	if math.Abs(out[2]-frobenius) < 0.1*frobenius {
		t.Errorf("mode ones = %v is ‖J‖²_F = %v here; want a case that tells them apart", out[2], frobenius)
	}
}

// tiny_gradients.json was made with PyTorch in float64, double backward included:
// loss and penalty of the tiny U-Net with its first three outputs as ε_θ.
func TestLossOfTinyUNet(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the reference device for seconds")
	}
	var golden struct {
		MSE       float64              `json:"mse"`
		GradL2    map[string]float64   `json:"mse_grad_l2"`
		TotalL2   float64              `json:"mse_grad_total_l2"`
		VJP       []float64            `json:"vjp_ones_sqnorm_per_sample"`
		VJPGradL2 map[string]float64   `json:"d(mean vjp_ones_sqnorm)/dtheta_l2"`
		First     map[string][]float64 `json:"mse_grad_first3"`
	}
	text, err := os.ReadFile("testdata/tiny_gradients.json")
	if err == nil {
		err = json.Unmarshal(text, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	outputs, adm := tinyLoss(t, ADM()).run(t)
	penalised, gp := tinyLoss(t, Variant{GradPenalty: 1, GradPenaltyMode: Ones}).run(t)
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9*math.Abs(want) {
			t.Errorf("%s = %.12g, want %.12g (relative difference %.2g)", what, got, want, got/want-1)
		}
	}
	near("mse", outputs[0], golden.MSE)
	near("norm of all gradients", l2(adm), golden.TotalL2)
	near("mean penalty", penalised[2], (golden.VJP[0]+golden.VJP[1])/2)
	off := 0
	for _, k := range tinyUNet().Keys() {
		mse := adm[off : off+k.Len()]
		penalty := gp[off : off+k.Len() : off+k.Len()]
		for i, g := range mse {
			penalty[i] -= g
		}
		off += k.Len()
		if want, ok := golden.GradL2[k.Name]; ok {
			near("gradient norm of "+k.Name, l2(mse), want)
		}
		if want, ok := golden.VJPGradL2[k.Name]; ok {
			near("penalty's gradient norm of "+k.Name, l2(penalty), want)
		}
	}
}

// The cpu device's gradients of the same losses, in float32 with Winograd's
// convolutions, stay within the tolerances that design and README state.
func TestLossOfTinyUNetOnCPU(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the reference device for seconds")
	}
	d, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, tt := range []struct {
		name string
		v    Variant
		tol  float64
	}{
		{"loss", ADM(), 5e-5},
		{"penalty, ones", Variant{GradPenalty: 1, GradPenaltyMode: Ones}, 2e-4},
		{"penalty, signs", GradPenalty(1), 2e-4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tinyLoss(t, tt.v)
			state, err := d.NewState(c.program.ParamLen)
			if err != nil {
				t.Fatal(err)
			}
			defer state.Close()
			exec, err := d.Load(c.program, state)
			if err != nil {
				t.Fatal(err)
			}
			defer exec.Close()
			// Both devices get the numbers as float32, which the network amplifies.
			for i := range c.inputs {
				exec.Set(i, narrow(c.inputs[i]))
			}
			state.Set(engine.Weights, narrow(c.weights))
			if err := exec.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			outputs, grads := c.run(t)
			got := make([]float32, c.program.ParamLen)
			state.Get(engine.Grads, got)
			for i, g := range got {
				grads[i] -= float64(g)
			}
			norm := state.GradNorm()
			if rel := l2(grads) / norm; !(rel < tt.tol) {
				t.Errorf("gradients differ by %.2g of their norm %.6g, want %.2g", rel, norm, tt.tol)
			} else {
				t.Logf("gradients differ by %.2g of their norm %.6g", rel, norm)
			}
			var out [1]float32
			exec.Get(0, out[:])
			if rel := math.Abs(float64(out[0])/outputs[0] - 1); !(rel < tt.tol) {
				t.Errorf("loss = %v, want %v", out[0], outputs[0])
			}
		})
	}
}

// narrow rounds x to float32, in place too.
func narrow(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
		x[i] = float64(y[i])
	}
	return y
}

// l2 is the Euclidean norm.
func l2(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum)
}

// tinyUNet is the network of testdata/tiny_gradients.json.
func tinyUNet() unet.Config {
	return unet.Config{
		Size: 8, InChannels: 3, OutChannels: 6, Channels: 32, Mult: []int{1, 2}, ResBlocks: 1,
		Attention: []int{8, 4}, HeadChannels: 16, Groups: 32,
	}
}

// tinyLoss is the loss of v for the tiny U-Net with the golden weights, whose first
// three outputs are ε_θ: x_t = sin(0.05·i) and ε = cos(0.11·i) (NCHW indices), at
// t = 10 and 500.
func tinyLoss(t testing.TB, v Variant) *lossCase {
	t.Helper()
	c := &lossCase{}
	g := engine.NewGraph()
	input := func(name string, values []float64, shape ...int) *op.Node {
		n := g.Input(name, shape...)
		c.spec.Inputs, c.inputs = append(c.spec.Inputs, n), append(c.inputs, values)
		return n
	}
	image := func(name string, f func(i int) float64) *op.Node {
		x := make([]float64, 2*8*8*3)
		for i := range x { // i counts NHWC, f takes NCHW
			ch, p, n := i%3, i/3%64, i/192
			x[i] = f((n*3+ch)*64 + p)
		}
		return input(name, x, 2, 8, 8, 3)
	}
	in := lossInputs{
		x0:  image("x_0", func(i int) float64 { return math.Sin(0.05 * float64(i)) }),
		eps: image("eps", func(i int) float64 { return math.Cos(0.11 * float64(i)) }),
		a:   input("a", []float64{1, 1}, 2), s: input("s", []float64{0, 0}, 2),
	}
	if v.Gamma > 0 {
		in.xi = image("xi", func(i int) float64 { return math.Sin(0.23 * float64(i)) })
	}
	if v.GradPenalty > 0 && v.GradPenaltyMode != Ones {
		in.probes = nodes(image("v", func(i int) float64 { return float64(1 - 2*(i*i/3%2)) }))
	}
	time := input("t", []float64{10, 500}, 2)
	l, err := buildLoss(in, v.Normal(), func(x *op.Node) (*op.Node, []*op.Node, error) {
		net, err := unet.Build(g, tinyUNet(), x, time, nil, 0)
		if err != nil {
			return nil, nil, err
		}
		c.spec.Params = net.Params
		return op.Slice(net.Out, 0, 3), net.Params, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.compile(t, l)
	for _, w := range tinyWeights(tinyUNet()) {
		c.weights = append(c.weights, float64(w))
	}
	return c
}

// tinyWeights fills the network as tiny_gradients.json was made: with sines by the
// number of the tensor and the flat index in it, state-dict layout.
func tinyWeights(c unet.Config) []float32 {
	var flat []float32
	for n, k := range c.Keys() {
		for i := range k.Len() {
			s := math.Sin(0.7*float64(i) + 1.3*float64(n))
			switch {
			case len(k.Shape) == 1 && strings.HasSuffix(k.Name, ".weight"):
				s = 1 + 0.1*s
			case len(k.Shape) == 1:
				s *= 0.1
			default:
				s /= math.Sqrt(float64(k.Len() / k.Shape[0]))
			}
			flat = append(flat, float32(s))
		}
	}
	return c.FromTorch(flat)
}
