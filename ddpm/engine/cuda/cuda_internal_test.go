//go:build ddpmcuda

package cuda

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"gorgonia.org/tensor"

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

// run loads p, and returns its outputs and gradients.
func run(t testing.TB, d engine.Device, p *engine.Program, inputs [][]float64, weights []float64) (outputs [][]float32, grads []float32) {
	t.Helper()
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
	s.Set(engine.Weights, narrow(weights))
	for i, x := range inputs {
		e.Set(i, narrow(x))
	}
	if err := e.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, v := range p.Outputs {
		out := make([]float32, p.Values[v].Size())
		e.Get(i, out)
		outputs = append(outputs, out)
	}
	grads = make([]float32, s.Len())
	s.Get(engine.Grads, grads)
	return outputs, grads
}

func narrow(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

// distance is the relative L2 distance of got from want.
func distance[T float32 | float64](got []float32, want []T) float64 {
	var d, w float64
	for i := range want {
		e := float64(got[i]) - float64(want[i])
		d += e * e
		w += float64(want[i]) * float64(want[i])
	}
	if d == 0 {
		return 0
	}
	return math.Sqrt(d / w)
}

func compile(t testing.TB, s engine.Spec) *engine.Program {
	t.Helper()
	p, err := engine.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Tolerances of float32 operations, as those of the cpu device: forward, and derivatives.
func tolerance(k op.Kind) float64 {
	switch k {
	case op.KindConvDX, op.KindConvDW, op.KindSiLU1, op.KindSiLU2, op.KindSoftmaxDX, op.KindGroupNorm1, op.KindGroupNorm2,
		op.KindGNActDX, op.KindGNActDA, op.KindGNActDB, op.KindGNActDXDX, op.KindGNActDXDA, op.KindGNActDXDB, op.KindGNActDXDG,
		op.KindAttentionDX, op.KindAttentionJVP, op.KindAttentionDX2:
		return 5e-5
	}
	return 1e-5
}

// TestOpsAgainstRef runs every operation with each buffer in an allocation of its own,
// so that the fake driver sees what is read or written beside it or before it is
// computed, and in the shared arena, which must give the same bits.
func TestOpsAgainstRef(t *testing.T) {
	d := open(t)
	for _, c := range slices.Concat(optest.Cases(), moreCases()) {
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

// moreCases are shapes that take particular paths through the kernels.
func moreCases() []optest.Case {
	var cases []optest.Case
	add := func(name string, k op.Kind, apply func(in []*op.Node) *op.Node, in ...tensor.Shape) {
		cases = append(cases, optest.Case{Name: name, Kind: k, In: in, Apply: apply})
	}
	for _, c := range []struct{ n, h, w, c, k, size, stride, pad int }{
		{3, 10, 7, 48, 72, 3, 1, 1},  // several tiles of outputs
		{9, 12, 12, 16, 16, 3, 1, 1}, // weight gradient in parts
		{2, 9, 8, 16, 32, 3, 2, 1},   // stride 2
		{1, 7, 7, 8, 8, 4, 3, 2},     // even kernel, odd stride
		{5, 14, 14, 33, 47, 1, 1, 0}, // pointwise, odd
		{2, 5, 5, 4, 6, 1, 2, 0},     // pointwise with stride
		{1, 4, 4, 80, 130, 3, 1, 1},  // few pixels
	} {
		x, w := tensor.Shape{c.n, c.h, c.w, c.c}, tensor.Shape{c.size, c.size, c.c, c.k}
		y := tensor.Shape{c.n, (c.h+2*c.pad-c.size)/c.stride + 1, (c.w+2*c.pad-c.size)/c.stride + 1, c.k}
		name := fmt.Sprintf("%vx%v stride %d pad %d", x, w, c.stride, c.pad)
		conv := func(in []*op.Node) *op.Node { return op.Conv(in[0], in[1], c.stride, c.pad) }
		add("conv "+name, op.KindConv, conv, x, w)
		add("convDX "+name, op.KindConvDX, gradOf(0, conv), x, w, y)
		add("convDW "+name, op.KindConvDW, gradOf(1, conv), x, w, y)
	}
	for _, c := range []struct{ n, p, ch, groups int }{{2, 9, 600, 2}, {1, 300, 96, 3}, {2, 1, 64, 32}} {
		x, ab := tensor.Shape{c.n, c.p, c.ch}, tensor.Shape{c.n, c.ch}
		act := func(in []*op.Node) *op.Node { return op.GNAct(in[0], in[1], in[2], c.groups) }
		name := fmt.Sprintf(" %v in %d groups", x, c.groups)
		add("gnact"+name, op.KindGNAct, act, x, ab, ab)
		for i, of := range []string{"DX", "DA", "DB"} {
			add("gnact"+of+name, op.KindGNActDX+op.Kind(i), gradOf(i, act), x, ab, ab, x)
		}
		for i, of := range []string{"DX", "DA", "DB", "DG"} {
			add("gnactDX"+of+name, op.KindGNActDXDX+op.Kind(i), gradOf(i, gradOf(0, act)), x, ab, ab, x, x)
		}
	}
	for _, c := range []struct{ n, p, d, heads int }{{2, 49, 24, 2}, {1, 64, 32, 3}, {2, 33, 40, 1}, {1, 1, 1, 1}} {
		name := fmt.Sprintf("%d images, %d tokens, %d heads of %d", c.n, c.p, c.heads, c.d)
		qkv, out := tensor.Shape{c.n, c.p, 3 * c.d * c.heads}, tensor.Shape{c.n, c.p, c.d * c.heads}
		f := optest.Attention(c.heads)
		add("attention "+name, op.KindAttention, f, qkv)
		add("attentionDX "+name, op.KindAttentionDX, gradOf(0, f), qkv, out)
		add("attentionJVP "+name, op.KindAttentionJVP, optest.AttentionJVP(c.heads), qkv, qkv)
		add("attentionDX2 "+name, op.KindAttentionDX2, gradOf(0, gradOf(0, f)), qkv, out, qkv)
	}
	big := tensor.Shape{3, 28, 28, 24}
	for axes := op.PerChannel; axes <= op.Scalar; axes++ {
		add("sum of many "+axes.String(), op.KindSum, func(in []*op.Node) *op.Node { return op.Sum(in[0], axes, 8) }, big)
		add("there and back "+axes.String(), op.KindBroadcast, func(in []*op.Node) *op.Node {
			return op.Broadcast(op.Sum(in[0], axes, 8), axes, big, 8)
		}, big)
	}
	return cases
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
