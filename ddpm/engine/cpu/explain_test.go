package cpu_test

import (
	"flag"
	"os"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
)

var update = flag.Bool("update", false, "write the plans in testdata anew")

// TestExplain compares the plan of a small training program, on the instance that every
// machine has, with what Explain printed when it was last looked at.
func TestExplain(t *testing.T) {
	t.Setenv("DDPMLAB_CPU", "baseline")
	g := engine.NewGraph()
	x, a, b := g.Input("x", 2, 8, 8, 3), g.Input("a", 2, 16), g.Input("b", 2, 16)
	w1, bias, w2 := g.Param("w1", 3, 3, 3, 16), g.Param("bias", 16), g.Param("w2", 3, 3, 32, 16)
	first := op.Conv(x, w1, 1, 1)
	first = op.Add(first, op.Broadcast(bias, op.PerChannel, first.Shape(), 0))
	act := op.GNAct(first, a, b, 4)
	last := op.Add(op.Conv(op.Concat(first, act), w2, 1, 1), first)
	loss := op.Mean(op.Mul(last, last))
	params := []*op.Node{w1, bias, w2}
	grads, err := grad.Grad(loss, params...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Compile(engine.Spec{Inputs: []*op.Node{x, a, b}, Params: params, Outputs: []*op.Node{loss}, Grads: grads})
	if err != nil {
		t.Fatal(err)
	}
	got := explain(t, p)
	const golden = "testdata/explain.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the plan has changed (if that is right: go test -run Explain -update):\n%s\nwas\n%s", got, want)
	}
}
