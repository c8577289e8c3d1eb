package ref_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/optest"
	"ddpmlab/ddpm/engine/ref"
)

// run compiles outputs of the inputs in and runs them.
func run(t testing.TB, in []*op.Node, vals [][]float64, outputs ...*op.Node) [][]float64 {
	t.Helper()
	p, err := engine.Compile(engine.Spec{Inputs: in, Outputs: outputs})
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := ref.Run(context.Background(), p, vals, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// weighted is a scalar that depends on every entry of y differently and not
// linearly, so that a second derivative is not zero.
func weighted(y *op.Node) *op.Node {
	s := op.SiLU(op.AddConst(op.Scale(y, 0.7), 0.2))
	return op.Sum(op.Mul(s, op.AddConst(y, 0.5)), op.Scalar, 0)
}

// checkGrad compares the gradient of the cost with central differences of
// fourth order, at some entries of every input that has one.
func checkGrad(t *testing.T, c optest.Case, in []*op.Node, cost *op.Node) {
	t.Helper()
	var wrt []*op.Node
	var which []int
	for i := range in {
		if _, fixed := c.Fixed[i]; !fixed {
			wrt, which = append(wrt, in[i]), append(which, i)
		}
	}
	if len(wrt) == 0 {
		return
	}
	grads, err := op.VJP(cost, op.Fill(cost, 1), wrt)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Compile(engine.Spec{Inputs: in, Outputs: []*op.Node{cost}})
	if err != nil {
		t.Fatal(err)
	}
	vals := c.Values(0.1)
	at := func() float64 {
		out, _, err := ref.Run(context.Background(), p, vals, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out[0][0]
	}
	for j, g := range grads {
		x := vals[which[j]]
		sym := make([]float64, len(x))
		if g != nil {
			sym = run(t, in, vals, g)[0]
		}
		for k := 0; k < len(x); k += max(1, len(x)/7) {
			const h = 1e-3
			old := x[k]
			f := func(d float64) float64 { x[k] = old + d; return at() }
			num := (8*(f(h)-f(-h)) - (f(2*h) - f(-2*h))) / (12 * h)
			x[k] = old
			if diff := math.Abs(num - sym[k]); diff > 1e-6*(1+math.Abs(num)) {
				t.Errorf("d/d input %d [%d]: got %.9g, finite differences %.9g (difference %.2g)", which[j], k, sym[k], num, diff)
			}
		}
	}
}

func TestGradientsAgainstFiniteDifferences(t *testing.T) {
	seen := map[op.Kind]bool{}
	for _, c := range optest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			_, in, y := c.Build()
			p, err := engine.Compile(engine.Spec{Inputs: in, Outputs: []*op.Node{y}})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range p.Steps {
				seen[s.Op.Kind] = true
			}
			if c.Kind == op.KindCopy {
				seen[op.KindCopy] = true // compiled away
			}
			cost := weighted(y)
			if c.NoDerivative {
				if _, err := op.VJP(cost, op.Fill(cost, 1), in); err == nil || !strings.Contains(err.Error(), "has no derivative") {
					t.Errorf("got %v, want an error that says that there is no derivative", err)
				}
				return
			}
			checkGrad(t, c, in, cost)
			if c.Kind == op.KindTimeEmbedding {
				return
			}
			// Second order, as a gradient penalty needs it: the squared gradient
			// with respect to the first input that matters.
			grads, err := op.VJP(cost, op.Fill(cost, 1), in)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range grads {
				if g != nil {
					checkGrad(t, c, in, op.SquareSum(g))
					break
				}
			}
		})
	}
	for k := range op.NumKinds {
		if !seen[k] {
			t.Errorf("no case for %v", k)
		}
	}
}

// TestExpansions compares every fused operation with its expansion.
func TestExpansions(t *testing.T) {
	for _, c := range optest.Cases() {
		_, in, y := c.Build()
		o := op.Of(y)
		expanded := o.Expand(op.Children(y)...)
		if expanded == nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			out := run(t, in, c.Values(0.3), y, expanded)
			for i := range out[0] {
				if d := math.Abs(out[0][i] - out[1][i]); d > 1e-12*(1+math.Abs(out[0][i])) {
					t.Fatalf("entry %d: fused %.15g, expanded %.15g", i, out[0][i], out[1][i])
				}
			}
		})
	}
}

// TestThirdOrder differentiates three times: fused kinds have derivatives of
// every order through their expansions.
func TestThirdOrder(t *testing.T) {
	g := engine.NewGraph()
	x := g.Input("x", 2, 2, 2, 4)
	a, b := g.Input("a", 2, 4), g.Input("b", 2, 4)
	in := []*op.Node{x, a, b}
	cost := weighted(op.GNAct(x, a, b, 2))
	for range 2 {
		d, err := grad.Grad(cost, x)
		if err != nil {
			t.Fatal(err)
		}
		cost = op.SquareSum(d[0])
	}
	cs := optest.Case{Name: "third order"}
	for _, n := range in {
		cs.In = append(cs.In, n.Shape())
	}
	checkGrad(t, cs, in, cost)
}

func TestGradErrors(t *testing.T) {
	g := engine.NewGraph()
	x, w := g.Input("x", 3), g.Param("w", 3)
	if _, err := grad.Grad(op.Mul(x, w), w); err == nil {
		t.Error("a cost that is no scalar was differentiated")
	}
	unused := g.Param("unused", 2)
	if _, err := grad.Grad(op.SquareSum(op.Mul(x, w)), w, unused); err == nil {
		t.Error("a parameter without gradient passed")
	}
}

// TestAdamW compares one step with the formula worked out by hand: with the
// moments starting at zero, the bias-corrected step is lr·g/(|g|+eps).
func TestAdamW(t *testing.T) {
	s, err := ref.New().NewState(2)
	if err != nil {
		t.Fatal(err)
	}
	s.Set(engine.Weights, []float32{1, -2})
	s.Set(engine.EMA, []float32{1, -2})
	s.Set(engine.Grads, []float32{3, -4})
	if n := s.GradNorm(); n != 5 {
		t.Errorf("gradient norm %g, want 5", n)
	}
	s.Update(engine.AdamW{LR: 0.1, Beta1: 0.9, Beta2: 0.999, Eps: 0, WeightDecay: 0.5, EMARate: 0.75, Step: 1})
	w, ema := make([]float32, 2), make([]float32, 2)
	s.Get(engine.Weights, w)
	s.Get(engine.EMA, ema)
	want, wantEMA := []float32{1 - 0.05 - 0.1, -2 + 0.1 + 0.1}, []float32{1 - 0.25*0.15, -2 + 0.25*0.2}
	if fmt.Sprint(w, ema) != fmt.Sprint(want, wantEMA) {
		t.Errorf("weights %v, EMA %v; want %v, %v", w, ema, want, wantEMA)
	}
}

// Stop is the identity, and a constant to differentiation: the derivative of
// stop(x)·x is stop(x).
func TestStop(t *testing.T) {
	g := engine.NewGraph()
	x := g.Input("x", 3)
	y := op.Sum(op.Mul(op.Stop(x), x), op.Scalar, 0)
	grads, err := op.VJP(y, op.Fill(y, 1), []*op.Node{x})
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Compile(engine.Spec{Inputs: []*op.Node{x}, Outputs: []*op.Node{y, grads[0]}})
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := ref.Run(t.Context(), p, [][]float64{{1, -2, 3}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out[0][0] != 14 || !slices.Equal(out[1], []float64{1, -2, 3}) {
		t.Errorf("stop(x)·x and its gradient = %v, want 14 and x", out)
	}
}
