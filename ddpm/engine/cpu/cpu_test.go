package cpu_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/optest"
	"ddpmlab/ddpm/engine/ref"
)

// eachISA runs f once for every instruction set that this machine has.
func eachISA(t *testing.T, f func(t *testing.T)) {
	for _, isa := range []string{"amx", "avx512", "avx2", "baseline"} {
		t.Run(isa, func(t *testing.T) {
			t.Setenv("DDPMLAB_CPU", isa)
			if _, err := cpu.New(1); err != nil {
				t.Skip(err)
			}
			f(t)
		})
	}
}

// run runs p once on a device of so many threads, and returns its outputs and gradients.
func run(t testing.TB, threads int, p *engine.Program, inputs [][]float64, weights []float64) (outputs [][]float32, grads []float32) {
	t.Helper()
	d, err := cpu.New(threads)
	if err != nil {
		t.Fatal(err)
	}
	outputs, grads, err = optest.Run(t.Context(), d, p, inputs, weights)
	if err != nil {
		t.Fatal(err)
	}
	return outputs, grads
}

// tolerances of programs: forward, and gradients.
const (
	forward  = 1e-5
	gradient = 5e-5
)

var (
	narrow    = optest.Narrow
	tolerance = optest.Tolerance
)

func distance(got []float32, want []float64) float64 { return optest.Distance(got, want) }

func compile(t testing.TB, s engine.Spec) *engine.Program {
	t.Helper()
	p, err := engine.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOpsAgainstRef(t *testing.T) {
	for _, c := range slices.Concat(optest.Cases(), moreCases()) {
		t.Run(c.Name, func(t *testing.T) {
			_, in, y := c.Build()
			p := compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}})
			vals := c.Values(0.1)
			want, _, err := ref.Run(context.Background(), p, vals, nil)
			if err != nil {
				t.Fatal(err)
			}
			eachISA(t, func(t *testing.T) {
				got, _ := run(t, 1, p, vals, nil)
				if d := distance(got[0], want[0]); !(d <= tolerance(c.Kind)) {
					t.Errorf("relative distance from ref %.2g, want at most %g\n got %.5v\nwant %.5v", d, tolerance(c.Kind), head(got[0]), head(want[0]))
				}
			})
		})
	}
}

func head[T any](x []T) []T { return x[:min(8, len(x))] }

// TestEveryKindHasACase fails when a kind is added and not tested here.
func TestEveryKindHasACase(t *testing.T) {
	seen := map[op.Kind]bool{op.KindCopy: true} // compiled away
	for _, c := range slices.Concat(optest.Cases(), moreCases()) {
		_, in, y := c.Build()
		for _, s := range compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}}).Steps {
			seen[s.Op.Kind] = true
		}
	}
	for k := range op.NumKinds {
		if !seen[k] {
			t.Errorf("no case for %v", k)
		}
	}
}

// moreCases are shapes that take particular paths through the kernels.
func moreCases() []optest.Case {
	var cases []optest.Case
	add := func(name string, k op.Kind, apply func(in []*op.Node) *op.Node, in ...tensor.Shape) {
		cases = append(cases, optest.Case{Name: name, Kind: k, In: in, Apply: apply})
	}
	grad := func(wrt int, f func(in []*op.Node) *op.Node) func(in []*op.Node) *op.Node {
		return func(in []*op.Node) *op.Node {
			last := len(in) - 1
			g, err := op.VJP(f(in[:last]), in[last], in[wrt:wrt+1])
			if err != nil {
				panic(err)
			}
			return g[0]
		}
	}
	for _, c := range []struct{ n, h, w, c, k, size, stride, pad int }{
		{3, 10, 7, 48, 32, 3, 1, 1},    // tiles that stick out, a narrow last strip
		{2, 6, 9, 40, 24, 3, 1, 1},     // channels that are no multiples of 16
		{1, 5, 5, 9, 17, 3, 1, 1},      // hardly more than a few
		{2, 4, 4, 144, 160, 3, 1, 1},   // weight gradient in chunks
		{20, 14, 14, 16, 16, 3, 1, 1},  // several parts and slabs
		{5, 1, 2, 16, 16, 3, 1, 1},     // smaller than a tile
		{3, 9, 9, 20, 2, 3, 1, 1},      // few outputs: through the gradient
		{3, 9, 9, 2, 20, 3, 1, 1},      // few inputs
		{12, 28, 28, 3, 5, 3, 1, 1},    // gathered, in slabs
		{2, 8, 8, 20, 4, 5, 1, 2},      // a larger kernel
		{2, 9, 8, 16, 32, 3, 2, 1},     // stride 2
		{1, 7, 7, 8, 8, 4, 3, 2},       // even kernel, odd stride
		{12, 14, 14, 33, 47, 1, 1, 0},  // pointwise, odd, in slabs
		{3, 16, 16, 130, 150, 1, 1, 0}, // pointwise, more than a block of columns
		{2, 5, 5, 4, 6, 1, 2, 0},       // pointwise with stride
	} {
		x, w := tensor.Shape{c.n, c.h, c.w, c.c}, tensor.Shape{c.size, c.size, c.c, c.k}
		y := tensor.Shape{c.n, (c.h+2*c.pad-c.size)/c.stride + 1, (c.w+2*c.pad-c.size)/c.stride + 1, c.k}
		name := fmt.Sprintf("%vx%v stride %d pad %d", x, w, c.stride, c.pad)
		conv := func(in []*op.Node) *op.Node { return op.Conv(in[0], in[1], c.stride, c.pad) }
		add("conv "+name, op.KindConv, conv, x, w)
		add("convDX "+name, op.KindConvDX, grad(0, conv), x, w, y)
		add("convDW "+name, op.KindConvDW, grad(1, conv), x, w, y)
	}
	for _, c := range []struct{ b, m, n, k int }{
		{1, 300, 200, 500}, {3, 1, 1, 1}, {2, 15, 33, 16}, {1, 64, 1, 400}, {1, 1, 64, 3}, {1, 130, 140, 2100}, {20, 17, 19, 23},
	} {
		for i := range 4 {
			ta, tb := i&1 != 0, i&2 != 0
			a, b := tensor.Shape{c.b, c.m, c.k}, tensor.Shape{c.b, c.k, c.n}
			if ta {
				a[1], a[2] = a[2], a[1]
			}
			if tb {
				b[1], b[2] = b[2], b[1]
			}
			add(fmt.Sprintf("matmul %v %v %v %v", a, b, ta, tb), op.KindMatMul, func(in []*op.Node) *op.Node { return op.MatMul(in[0], in[1], ta, tb) }, a, b)
		}
	}
	for _, c := range []struct{ n, p, d, heads int }{
		{2, 49, 24, 2}, {1, 64, 8, 3}, {1, 256, 32, 2}, {2, 33, 40, 1}, {1, 5, 65, 1}, {1, 1, 1, 1}, {20, 16, 16, 1}, {1, 1030, 17, 1},
	} {
		name := fmt.Sprintf("%d images, %d tokens, %d heads of %d", c.n, c.p, c.heads, c.d)
		qkv, out := tensor.Shape{c.n, c.p, 3 * c.d * c.heads}, tensor.Shape{c.n, c.p, c.d * c.heads}
		f := optest.Attention(c.heads)
		add("attention "+name, op.KindAttention, f, qkv)
		add("attentionDX "+name, op.KindAttentionDX, grad(0, f), qkv, out)
		add("attentionJVP "+name, op.KindAttentionJVP, optest.AttentionJVP(c.heads), qkv, qkv)
		add("attentionDX2 "+name, op.KindAttentionDX2, grad(0, grad(0, f)), qkv, out, qkv)
	}
	// What networks that score images are made of: the kernels behind a ReLU.
	for _, c := range []struct{ n, h, w, c, k, kh, kw, stride, padY, padX int }{
		{2, 9, 11, 48, 80, 3, 3, 1, 0, 0},  // Winograd, cropped
		{1, 8, 8, 32, 16, 3, 3, 1, 1, 1},   // Winograd
		{3, 9, 8, 16, 48, 3, 3, 2, 0, 0},   // panels, a last one of few rows
		{2, 17, 5, 32, 96, 7, 1, 1, 3, 0},  // padded above and below
		{2, 5, 17, 160, 32, 1, 7, 1, 0, 3}, // several blocks of the depth
		{1, 7, 7, 48, 64, 5, 5, 1, 2, 2},   // a larger kernel
		{2, 6, 5, 400, 448, 1, 1, 1, 0, 0}, // pointwise, several blocks of columns
		{2, 11, 9, 3, 32, 3, 3, 2, 0, 0},   // few channels: gathered
	} {
		x, w, b := tensor.Shape{c.n, c.h, c.w, c.c}, tensor.Shape{c.kh, c.kw, c.c, c.k}, tensor.Shape{c.k}
		f := func(in []*op.Node) *op.Node {
			y := op.ConvPadded(in[0], in[1], c.stride, c.padY, c.padX)
			return op.ReLU(op.Add(y, op.Broadcast(in[2], op.PerChannel, y.Shape(), 0)))
		}
		name := fmt.Sprintf("%vx%v stride %d pad %d %d", x, w, c.stride, c.padY, c.padX)
		add("conv, bias, relu "+name, op.KindConv, f, x, w, b)
		add("conv, relu "+name, op.KindConv, func(in []*op.Node) *op.Node {
			return op.ReLU(op.ConvPadded(in[0], in[1], c.stride, c.padY, c.padX))
		}, x, w)
		add("concat of them "+name, op.KindConcat, func(in []*op.Node) *op.Node {
			y := f(in[:3])
			return op.Concat(op.Concat(y, op.MaxPool(y, 3, 1, 1)), op.Concat(f(in[3:]), op.MeanPool(y, 3, 1, 1)))
		}, x, w, b, x, w, b)
	}
	big := tensor.Shape{3, 28, 28, 24}
	for axes := op.PerChannel; axes <= op.Scalar; axes++ {
		add("sum of many "+axes.String(), op.KindSum, func(in []*op.Node) *op.Node { return op.Sum(in[0], axes, 8) }, big)
		add("there and back "+axes.String(), op.KindBroadcast, func(in []*op.Node) *op.Node {
			return op.Broadcast(op.Sum(in[0], axes, 8), axes, big, 8)
		}, big)
	}
	add("sum of a vector", op.KindSum, func(in []*op.Node) *op.Node { return op.Sum(in[0], op.PerSample, 0) }, tensor.Shape{5})
	add("silu of many", op.KindSiLU, func(in []*op.Node) *op.Node { return op.SiLU(op.Scale(in[0], 30)) }, big)
	add("pool of many", op.KindPoolSum, func(in []*op.Node) *op.Node { return op.PoolSum(in[0]) }, tensor.Shape{3, 28, 28, 40})
	add("dropout of many", op.KindDropout, func(in []*op.Node) *op.Node { return op.Dropout(in[0], in[1], 0.1, [2]uint32{1 << 31, 77}) },
		tensor.Shape{3, 9, 9, 37}, tensor.Shape{3, 4})
	cases[len(cases)-1].Fixed = map[int][]float64{1: {65535, 3, 0, 1, 0, 0, 65535, 65535, 9, 0, 1, 0}}
	add("upsample of many", op.KindUpsample, func(in []*op.Node) *op.Node { return op.Upsample(in[0]) }, tensor.Shape{3, 14, 14, 40})
	return cases
}
