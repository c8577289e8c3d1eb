//go:build ddpmcuda

package cuda

import (
	"context"
	"slices"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/optest"
	"ddpmlab/ddpm/engine/ref"
)

// open returns the GPU, or the fake one; `make test-cuda` runs the tests on that.
func open(t testing.TB) *device {
	t.Helper()
	d, err := newDevice()
	if err != nil {
		t.Fatalf("%v; run `make test-cuda`", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// run runs p once, and returns its outputs and gradients.
func run(t testing.TB, d engine.Device, p *engine.Program, inputs [][]float64, weights []float64) (outputs [][]float32, grads []float32) {
	t.Helper()
	outputs, grads, err := optest.Run(t.Context(), d, p, inputs, weights)
	if err != nil {
		t.Fatal(err)
	}
	return outputs, grads
}

func distance[T float32 | float64](got []float32, want []T) float64 {
	return optest.Distance(got, want)
}

func compile(t testing.TB, s engine.Spec) *engine.Program {
	t.Helper()
	p, err := engine.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Cases and tolerances are those of the acceptance tests.
var (
	narrow    = optest.Narrow
	moreCases = optest.Shapes
	tolerance = optest.Tolerance
)

// TestOpsAgainstRef runs every operation with each buffer in an allocation of its own,
// so that the fake driver sees what is read or written beside it or before it is
// computed, and in the shared arena, which must give the same bits.
func TestOpsAgainstRef(t *testing.T) {
	d := open(t)
	for _, c := range slices.Concat(optest.Cases(), moreCases(), narrowCases()) {
		t.Run(c.Name, func(t *testing.T) {
			_, in, y := c.Build()
			p := compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}})
			vals := c.Values(0.1)
			if e := distanceFromRef(t, d, p, vals, vals); !(e <= tolerance(c.Kind)) {
				t.Errorf("relative distance from ref %.2g, want at most %g", e, tolerance(c.Kind))
			}
		})
	}
}

// distanceFromRef runs p with each buffer in an allocation of its own, and in the arena,
// which must give the same bits, and the reference on the same inputs or on rounded ones.
func distanceFromRef(t *testing.T, d *device, p *engine.Program, vals, rounded [][]float64) float64 {
	t.Helper()
	want, _, err := ref.Run(context.Background(), p, rounded, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.separate = true
	alone, _ := run(t, d, p, vals, nil)
	d.separate = false
	if shared, _ := run(t, d, p, vals, nil); !slices.Equal(shared[0], alone[0]) {
		t.Errorf("in the arena %.5v, alone %.5v", head(shared[0]), head(alone[0]))
	}
	e := distance(alone[0], want[0])
	t.Logf("relative distance from ref %.2g: got %.5v, want %.5v", e, head(alone[0]), head(want[0]))
	return e
}

func head[T any](x []T) []T { return x[:min(8, len(x))] }

// gradOf is the gradient of f for one of its inputs; the gradient of its output is a last
// input.
func gradOf(wrt int, f func(in []*op.Node) *op.Node) func(in []*op.Node) *op.Node {
	return func(in []*op.Node) *op.Node {
		last := len(in) - 1
		g, err := op.VJP(f(in[:last]), in[last], in[wrt:wrt+1])
		if err != nil {
			panic(err)
		}
		return g[0]
	}
}

// TestEveryKindHasACase fails when a kind is added and not tested here.
func TestEveryKindHasACase(t *testing.T) {
	for k := range op.NumKinds {
		found := k == op.KindCopy || k == op.KindReshape // other names for a value
		for _, c := range slices.Concat(optest.Cases(), moreCases()) {
			found = found || c.Kind == k
		}
		if !found || lowerings[k] == nil && !isName(k) {
			t.Errorf("no case or no kernel for %v", k)
		}
	}
}
