package engine_test

import (
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
)

func compile(t *testing.T, s engine.Spec) *engine.Program {
	t.Helper()
	p, err := engine.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// kinds lists the operations of p in order.
func kinds(p *engine.Program) []op.Kind {
	var ks []op.Kind
	for _, s := range p.Steps {
		ks = append(ks, s.Op.Kind)
	}
	return ks
}

func TestCompileDropsWhatIsNotWanted(t *testing.T) {
	g := engine.NewGraph()
	x := g.Input("x", 4)
	wanted := op.SiLU(x)
	op.Sigmoid(wanted) // made, but not asked for
	p := compile(t, engine.Spec{Inputs: []*op.Node{x}, Outputs: []*op.Node{wanted}})
	if got := kinds(p); !slices.Equal(got, []op.Kind{op.KindSiLU}) {
		t.Errorf("steps %v, want one silu", got)
	}
}

func TestCompileSharesEqualExpressions(t *testing.T) {
	g := engine.NewGraph()
	x := g.Input("x", 4)
	// Equal only once a factor of 1 is dropped, which Gorgonia does not see.
	a, b := op.SiLU(x), op.SiLU(op.Scale(x, 1))
	p := compile(t, engine.Spec{Inputs: []*op.Node{x}, Outputs: []*op.Node{op.Add(a, b)}})
	if got := kinds(p); !slices.Equal(got, []op.Kind{op.KindSiLU, op.KindAdd}) {
		t.Errorf("steps %v, want one silu and an add", got)
	}
}

func TestCompileOrderAndLastUse(t *testing.T) {
	g := engine.NewGraph()
	x, w := g.Input("x", 1, 2, 3), g.Param("w", 1, 3, 2)
	cost := op.SquareSum(op.SiLU(op.MatMul(x, w, false, false)))
	gs, err := grad.Grad(cost, w)
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, engine.Spec{Inputs: []*op.Node{x}, Params: []*op.Node{w}, Outputs: []*op.Node{cost}, Grads: gs})
	made := map[int]bool{p.Inputs[0]: true, p.Params[0]: true}
	for i, s := range p.Steps {
		for _, v := range s.In {
			if !made[v] {
				t.Fatalf("step %d reads value %d before it is computed:\n%v", i, v, p)
			}
		}
		made[s.Out] = true
	}
	last := p.LastUse()
	for _, v := range []int{p.Outputs[0], p.Grads[0]} {
		if last[v] != len(p.Steps) {
			t.Errorf("value %d is wanted after the run, but last used in step %d", v, last[v])
		}
	}
	if p.ParamLen != 6 {
		t.Errorf("flat arrays of %d numbers, want 6", p.ParamLen)
	}
}

func TestCompileErrors(t *testing.T) {
	g := engine.NewGraph()
	x, w, stray := g.Input("x", 3), g.Param("w", 3), g.Input("stray", 3)
	for _, tt := range []struct {
		name string
		s    engine.Spec
		want string
	}{
		{"a leaf that is not listed", engine.Spec{Inputs: []*op.Node{x}, Outputs: []*op.Node{op.Add(x, stray)}}, "stray"},
		{"fewer gradients than parameters", engine.Spec{Params: []*op.Node{w}, Grads: []*op.Node{}}, "0 gradients for 1"},
		{"a gradient of another shape", engine.Spec{Inputs: []*op.Node{x}, Params: []*op.Node{w}, Grads: []*op.Node{op.SquareSum(x)}}, "gradient of w"},
	} {
		if _, err := engine.Compile(tt.s); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

// TestNodesAreNotMerged makes so many different nodes that some of Gorgonia's
// 32-bit hashes collide, and checks that each keeps its own input.
func TestNodesAreNotMerged(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 30,000 nodes")
	}
	g := engine.NewGraph()
	x := g.Input("x", 2)
	for i := range 30_000 {
		a := op.Scale(x, 1+float64(i)/7)
		b := op.AddConst(a, 2)
		if kids := op.Children(b); len(kids) != 1 || kids[0] != a || op.Of(a).F != 1+float64(i)/7 {
			t.Fatalf("node %d has inputs %v", i, kids)
		}
	}
}
