package optest

import (
	"fmt"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine/op"
)

// Tolerance is how far a float32 device may be from ref, relative to the size of the
// result, in an operation of kind k.
func Tolerance(k op.Kind) float64 {
	switch k {
	case op.KindConvDX, op.KindConvDW, op.KindSiLU1, op.KindSiLU2, op.KindSoftmaxDX, op.KindGroupNorm1, op.KindGroupNorm2,
		op.KindGNActDX, op.KindGNActDA, op.KindGNActDB, op.KindGNActDXDX, op.KindGNActDXDA, op.KindGNActDXDB, op.KindGNActDXDG,
		op.KindAttentionDX, op.KindAttentionJVP, op.KindAttentionDX2:
		return 5e-5
	}
	return 1e-5
}

// Shapes are further cases, whose shapes take particular paths through a GPU's kernels.
func Shapes() []Case {
	var cases []Case
	add := func(name string, k op.Kind, apply func(in []*op.Node) *op.Node, in ...tensor.Shape) {
		cases = append(cases, Case{Name: name, Kind: k, In: in, Apply: apply})
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
		add("convDX "+name, op.KindConvDX, vjp(0, conv), x, w, y)
		add("convDW "+name, op.KindConvDW, vjp(1, conv), x, w, y)
	}
	for _, c := range []struct{ n, p, ch, groups int }{{2, 9, 600, 2}, {1, 300, 96, 3}, {2, 1, 64, 32}} {
		x, ab := tensor.Shape{c.n, c.p, c.ch}, tensor.Shape{c.n, c.ch}
		act := func(in []*op.Node) *op.Node { return op.GNAct(in[0], in[1], in[2], c.groups) }
		name := fmt.Sprintf(" %v in %d groups", x, c.groups)
		add("gnact"+name, op.KindGNAct, act, x, ab, ab)
		for i, of := range []string{"DX", "DA", "DB"} {
			add("gnact"+of+name, op.KindGNActDX+op.Kind(i), vjp(i, act), x, ab, ab, x)
		}
		for i, of := range []string{"DX", "DA", "DB", "DG"} {
			add("gnactDX"+of+name, op.KindGNActDXDX+op.Kind(i), vjp(i, vjp(0, act)), x, ab, ab, x, x)
		}
	}
	for _, c := range []struct{ n, p, d, heads int }{
		{2, 49, 24, 2},
		{1, 64, 32, 3},
		{2, 33, 40, 1},
		{1, 1, 1, 1},
		{5, 16, 16, 2},
		{1, 130, 8, 2},
		{1, 97, 64, 1},
		{2, 35, 128, 1}, // few and many tokens, heads in one and in several parts
	} {
		name := fmt.Sprintf("%d images, %d tokens, %d heads of %d", c.n, c.p, c.heads, c.d)
		qkv, out := tensor.Shape{c.n, c.p, 3 * c.d * c.heads}, tensor.Shape{c.n, c.p, c.d * c.heads}
		f := Attention(c.heads)
		add("attention "+name, op.KindAttention, f, qkv)
		add("attentionDX "+name, op.KindAttentionDX, vjp(0, f), qkv, out)
		add("attentionJVP "+name, op.KindAttentionJVP, AttentionJVP(c.heads), qkv, qkv)
		add("attentionDX2 "+name, op.KindAttentionDX2, vjp(0, vjp(0, f)), qkv, out, qkv)
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
