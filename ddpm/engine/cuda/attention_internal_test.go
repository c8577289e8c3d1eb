//go:build ddpmcuda

package cuda

import (
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
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
