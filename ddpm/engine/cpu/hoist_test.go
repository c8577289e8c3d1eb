package cpu_test

import (
	"context"
	"strings"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/ref"
)

// TestOncePerWeights: what depends on the weights alone is computed for the weights of
// the run, after Set, after Update, and after a run that was cancelled while it was.
func TestOncePerWeights(t *testing.T) {
	g := engine.NewGraph()
	x, w, b := g.Input("x", 2, 8, 8, 16), g.Param("w", 3, 3, 16, 16), g.Param("b", 16)
	bias := op.SiLU(op.Scale(b, 2))
	y := op.Conv(x, w, 1, 1)
	y = op.Add(y, op.Broadcast(bias, op.PerChannel, y.Shape(), 0))
	p := compile(t, engine.Spec{Inputs: []*op.Node{x}, Params: []*op.Node{w, b}, Outputs: []*op.Node{y, bias}})
	inputs, weights := fillFor(p)
	d, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.NewState(p.ParamLen)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, err := d.Load(p, s)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	e.Set(0, narrow(inputs[0]))
	_, plan, found := strings.Cut(e.Explain(), "once for new weights:")
	if once, always, _ := strings.Cut(plan, "in every run:"); !found || !strings.Contains(once, "wino_weights") ||
		!strings.Contains(once, "silu") || strings.Contains(always, "wino_weights") || !strings.Contains(always, "wino_forward") {
		t.Errorf("the plan does not transform the weights once:\n%s", e.Explain())
	}

	check := func(when string) {
		t.Helper()
		if err := e.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		now := make([]float32, p.ParamLen)
		s.Get(engine.Weights, now)
		wide := make([]float64, len(now))
		for i, v := range now {
			wide[i] = float64(v)
		}
		want, _, err := ref.Run(t.Context(), p, inputs, wide)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Outputs {
			got := make([]float32, len(want[i]))
			e.Get(i, got)
			if d := distance(got, want[i]); !(d <= forward) {
				t.Errorf("%s: output %d is %.2g from ref, want at most %g", when, i, d, forward)
			}
		}
	}
	s.Set(engine.Weights, narrow(weights))
	check("first weights")
	check("same weights")
	for i := range weights {
		weights[i] = -2 * weights[i]
	}
	s.Set(engine.Weights, narrow(weights))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Run(ctx); err == nil {
		t.Error("a cancelled run succeeded")
	}
	check("other weights")
	ones := make([]float32, p.ParamLen)
	for i := range ones {
		ones[i] = float32(i%5) - 2
	}
	s.Set(engine.Grads, ones)
	s.Update(engine.AdamW{LR: 0.1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1})
	check("updated weights")
}

// TestTooLarge: what cannot fit in memory is refused, with what to do.
func TestTooLarge(t *testing.T) {
	g := engine.NewGraph()
	x := g.Input("x", 1<<20, 1<<20)
	p := compile(t, engine.Spec{Inputs: []*op.Node{x}, Outputs: []*op.Node{op.SiLU(op.Scale(x, 2))}})
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.NewState(0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if e, err := d.Load(p, s); err == nil {
		e.Close()
		t.Error("8.8 TB accepted")
	} else if !strings.Contains(err.Error(), "lower batch") || !strings.Contains(err.Error(), "GB") {
		t.Errorf("got %q, want the bytes and the cure", err)
	}
}
