//go:build ddpmcuda

package cuda

import (
	"math"
	"testing"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/optest"
	"ddpmlab/ddpm/engine/ref"
)

// vjp is the gradient of y for x, given g for y.
func vjp(t *testing.T, y, g, x *op.Node) *op.Node {
	t.Helper()
	dx, err := op.VJP(y, g, []*op.Node{x})
	if err != nil {
		t.Fatal(err)
	}
	return dx[0]
}

// What attention and its derivatives take of memory grows with the tokens, not with their square.
func TestAttentionMemory(t *testing.T) {
	const tokens, width = 4096, 64
	for _, precision := range []engine.Precision{engine.Float32, engine.BFloat16} {
		g := engine.NewGraph()
		qkv, gy, dir := g.Input("qkv", 1, tokens, 3*width), g.Input("g", 1, tokens, width), g.Input("dir", 1, tokens, 3*width)
		y := op.Attention(qkv, 1)
		first := vjp(t, y, gy, qkv)
		second, along := vjp(t, first, dir, qkv), vjp(t, first, dir, gy)
		n, err := Count(compile(t, engine.Spec{Inputs: []*op.Node{qkv, gy, dir}, Outputs: []*op.Node{y, first, second, along}, Precision: precision}))
		if err != nil {
			t.Fatal(err)
		}
		if most := 4 * tokens * width * 20; n.Arena > most {
			t.Errorf("in precision %d attention of %d tokens takes %d bytes, want at most %d", precision, tokens, n.Arena, most)
		}
		if n.Launches != 6 {
			t.Errorf("%d launches, want 6: attention, two for its gradient, one along a direction, two of the second order", n.Launches)
		}
	}
}

// Scores far beyond what exp takes give weights near 0 and 1, and a number that is none is passed on to all
// tokens of its head, since a training looks at the norm of the gradient alone.
func TestAttentionOfExtremes(t *testing.T) {
	d := open(t)
	const tokens, width = 40, 16
	c := optest.Case{In: []tensor.Shape{{1, tokens, 3 * 2 * width}, {1, tokens, 2 * width}}, Apply: gradOf(0, optest.Attention(2))}
	_, in, dx := c.Build()
	y := op.Attention(in[0], 2)
	for _, precision := range []engine.Precision{engine.Float32, engine.BFloat16} {
		p := compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y, dx}, Precision: precision})
		vals := c.Values(0.1)
		for i := range vals[0] {
			vals[0][i] = nearest(40 * vals[0][i]) // scores of thousands
		}
		want, _, err := ref.Run(t.Context(), p, vals, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := run(t, d, p, vals, nil)
		for i, tol := range []float64{1e-3, 1e-2} {
			if e := distance(got[i], want[i]); !(e <= tol) {
				t.Errorf("in precision %d: output %d is %.2g from ref with large scores, want at most %g", precision, i, e, tol)
			}
		}
		vals[0][7*3*2*width+2*width] = math.NaN() // in a key of the first head
		got, _ = run(t, d, p, vals, nil)
		for i, v := range got[0] {
			if first := i%(2*width) < width; first != math.IsNaN(float64(v)) {
				t.Fatalf("in precision %d: entry %d of attention is %g, with a key that is no number in the first head", precision, i, v)
			}
		}
	}
}
