// Package optest lists examples of every operation, for the tests of devices:
// ref against finite differences, the others against ref.
package optest

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// Case is one operation on inputs of some shapes.
type Case struct {
	Name string
	Kind op.Kind // the kind the case is there for
	In   []tensor.Shape
	// Apply makes the result of the inputs.
	Apply func(in []*op.Node) *op.Node
	// Fixed are the inputs that are integers (time steps, counters) and not to
	// be differentiated for, by index, with their values.
	Fixed map[int][]float64
	// Positive marks operations that want inputs above zero.
	Positive bool
	// NoDerivative marks operations that refuse to be differentiated.
	NoDerivative bool
}

// Build returns the inputs of c and its result in a new graph.
func (c Case) Build() (g *engine.Graph, in []*op.Node, y *op.Node) {
	g = engine.NewGraph()
	for i, s := range c.In {
		in = append(in, g.Input(string(rune('a'+i)), s...))
	}
	return g, in, c.Apply(in)
}

// Values fills the inputs of c with numbers of mixed sign and size that depend
// on seed.
func (c Case) Values(seed float64) [][]float64 {
	vals := make([][]float64, len(c.In))
	for i, s := range c.In {
		if f, ok := c.Fixed[i]; ok {
			vals[i] = f
			continue
		}
		vals[i] = make([]float64, op.Size(s))
		for j := range vals[i] {
			v := 1.3*math.Sin(1.7*float64(j)+2.3*float64(i)+seed) + 0.4*math.Cos(0.31*float64(j*j)+seed)
			if c.Positive {
				v = math.Abs(v) + 0.5
			}
			vals[i][j] = float64(float32(v))
		}
	}
	return vals
}

func shape(d ...int) tensor.Shape { return d }

func one(f func(x *op.Node) *op.Node) func([]*op.Node) *op.Node {
	return func(in []*op.Node) *op.Node { return f(in[0]) }
}

func two(f func(a, b *op.Node) *op.Node) func([]*op.Node) *op.Node {
	return func(in []*op.Node) *op.Node { return f(in[0], in[1]) }
}

// vjp is the gradient for input w of f, with the last input as the output's gradient.
func vjp(w int, f func([]*op.Node) *op.Node) func([]*op.Node) *op.Node {
	return func(in []*op.Node) *op.Node {
		args := in[:len(in)-1]
		g, err := op.VJP(f(args), in[len(in)-1], args[w:w+1])
		if err != nil {
			panic(err)
		}
		return g[0]
	}
}

func conv(stride, pad int) func([]*op.Node) *op.Node {
	return two(func(x, w *op.Node) *op.Node { return op.Conv(x, w, stride, pad) })
}

func groupNorm(groups int) func([]*op.Node) *op.Node {
	return one(func(x *op.Node) *op.Node { return op.GroupNorm(x, groups) })
}

func gnAct(groups int) func([]*op.Node) *op.Node {
	return func(in []*op.Node) *op.Node { return op.GNAct(in[0], in[1], in[2], groups) }
}

// Attention is op.Attention of one input, with so many heads.
func Attention(heads int) func([]*op.Node) *op.Node {
	return one(func(qkv *op.Node) *op.Node { return op.Attention(qkv, heads) })
}

// AttentionJVP is the derivative of Attention at the first input along the second:
// the gradient of its vector-Jacobian product for the vector, which is in the
// shape of the output and does not matter.
func AttentionJVP(heads int) func([]*op.Node) *op.Node {
	return two(func(qkv, h *op.Node) *op.Node {
		y := op.Attention(qkv, heads)
		g := op.Fill(y, 1)
		dx, err := op.VJP(y, g, []*op.Node{qkv})
		if err != nil {
			panic(err)
		}
		jvp, err := op.VJP(dx[0], h, []*op.Node{g})
		if err != nil {
			panic(err)
		}
		return jvp[0]
	})
}

// Cases returns at least one case of every kind.
func Cases() []Case {
	var cases []Case
	add := func(name string, k op.Kind, apply func([]*op.Node) *op.Node, in ...tensor.Shape) *Case {
		cases = append(cases, Case{Name: name, Kind: k, In: in, Apply: apply})
		return &cases[len(cases)-1]
	}

	for _, c := range []struct {
		name               string
		x, w               tensor.Shape
		stride, pad, h, ww int // h, ww: output size
	}{
		{"3x3 16 channels", shape(2, 7, 7, 16), shape(3, 3, 16, 16), 1, 1, 7, 7},
		{"3x3 odd", shape(3, 10, 7, 3), shape(3, 3, 3, 5), 1, 1, 10, 7},
		{"3x3 one in", shape(2, 6, 6, 1), shape(3, 3, 1, 16), 1, 1, 6, 6},
		{"3x3 one out", shape(1, 5, 6, 32), shape(3, 3, 32, 1), 1, 1, 5, 6},
		{"3x3 48 to 32", shape(1, 4, 4, 48), shape(3, 3, 48, 32), 1, 1, 4, 4},
		{"1x1", shape(2, 3, 5, 16), shape(1, 1, 16, 32), 1, 0, 3, 5},
		{"1x1 odd", shape(2, 3, 3, 7), shape(1, 1, 7, 3), 1, 0, 3, 3},
		{"3x3 stride 2", shape(2, 8, 8, 4), shape(3, 3, 4, 6), 2, 1, 4, 4},
		{"5x2 no pad", shape(1, 6, 5, 2), shape(5, 2, 2, 3), 1, 0, 2, 4},
		{"1x7 padded left and right", shape(2, 5, 8, 16), shape(1, 7, 16, 32), 1, -1, 5, 8}, // -1: to keep the size
		{"7x1 padded above and below", shape(2, 8, 5, 5), shape(7, 1, 5, 3), 1, -1, 8, 5},
	} {
		y := shape(c.x[0], c.h, c.ww, c.w[3])
		f := conv(c.stride, c.pad)
		if c.pad < 0 {
			f = two(func(x, w *op.Node) *op.Node { return op.ConvPadded(x, w, c.stride, (c.w[0]-1)/2, (c.w[1]-1)/2) })
		}
		add("conv "+c.name, op.KindConv, f, c.x, c.w)
		add("convDX "+c.name, op.KindConvDX, vjp(0, f), c.x, c.w, y)
		add("convDW "+c.name, op.KindConvDW, vjp(1, f), c.x, c.w, y)
	}
	for _, t := range []struct {
		name   string
		ta, tb bool
		a, b   tensor.Shape
	}{
		{"nn", false, false, shape(2, 5, 7), shape(2, 7, 3)},
		{"tn", true, false, shape(2, 7, 5), shape(2, 7, 3)},
		{"nt", false, true, shape(2, 5, 7), shape(2, 3, 7)},
		{"tt", true, true, shape(3, 7, 5), shape(3, 3, 7)},
		{"nn wide", false, false, shape(1, 19, 33), shape(1, 33, 48)},
		{"tn wide", true, false, shape(1, 40, 16), shape(1, 40, 33)},
		{"nt wide", false, true, shape(2, 49, 32), shape(2, 49, 32)},
	} {
		add("matmul "+t.name, op.KindMatMul, two(func(a, b *op.Node) *op.Node { return op.MatMul(a, b, t.ta, t.tb) }), t.a, t.b)
	}

	s := shape(2, 3, 5)
	add("add", op.KindAdd, two(op.Add), s, s)
	add("mul", op.KindMul, two(op.Mul), s, s)
	add("square", op.KindMul, one(func(x *op.Node) *op.Node { return op.Mul(x, x) }), s)
	add("scale", op.KindScale, one(func(x *op.Node) *op.Node { return op.Scale(x, -0.7) }), s)
	add("addconst", op.KindAddConst, one(func(x *op.Node) *op.Node { return op.AddConst(x, 0.3) }), s)
	add("pow", op.KindPow, one(func(x *op.Node) *op.Node { return op.Pow(x, -0.5) }), s).Positive = true
	logOf := one(func(x *op.Node) *op.Node { return op.Log(x, 1) }) // some entries lie below the floor
	add("log", op.KindLog, logOf, s).Positive = true
	add("log1", op.KindLog1, vjp(0, logOf), s, s).Positive = true
	add("exp", op.KindPow, one(op.Exp), s)
	add("fill", op.KindFill, one(func(x *op.Node) *op.Node { return op.Add(op.Fill(x, 2.5), x) }), s)
	add("relu", op.KindReLU, one(op.ReLU), s)
	add("relu1", op.KindReLU1, vjp(0, one(op.ReLU)), s, s)
	add("sigmoid", op.KindSigmoid, one(op.Sigmoid), s)
	add("silu", op.KindSiLU, one(op.SiLU), s)
	add("silu1", op.KindSiLU1, vjp(0, one(op.SiLU)), s, s)
	add("silu2", op.KindSiLU2, vjp(0, func(in []*op.Node) *op.Node { return vjp(0, one(op.SiLU))(in) }), s, s, s)
	add("silu1 of one node twice", op.KindCopy, one(func(x *op.Node) *op.Node { return vjp(0, one(op.SiLU))([]*op.Node{x, x}) }), s)
	for _, r := range []tensor.Shape{shape(2, 3, 5), shape(1, 4, 49), shape(3, 1)} {
		add("softmax", op.KindSoftmax, one(op.Softmax), r)
		add("softmaxDX", op.KindSoftmaxDX, vjp(0, one(op.Softmax)), r, r)
		add("logsoftmax", op.KindLogSoftmax, one(op.LogSoftmax), r)
	}

	for _, c := range []struct {
		name   string
		x      tensor.Shape
		groups int
	}{
		{"8 of 16", shape(2, 3, 3, 16), 8},
		{"32 of 32", shape(2, 2, 4, 32), 32},
		{"2 of 6", shape(3, 3, 2, 6), 2},
		{"1 of 5", shape(1, 2, 2, 5), 1},
		{"8 of 48", shape(1, 7, 7, 48), 8},
		{"tokens", shape(2, 9, 16), 4},
	} {
		n, k := c.x[0], c.x[c.x.Dims()-1]
		ab := shape(n, k)
		gn, act := groupNorm(c.groups), gnAct(c.groups)
		add("groupnorm "+c.name, op.KindGroupNorm, gn, c.x)
		add("groupnorm1 "+c.name, op.KindGroupNorm1, vjp(0, gn), c.x, c.x)
		add("groupnorm2 "+c.name, op.KindGroupNorm2, vjp(0, vjp(0, gn)), c.x, c.x, c.x)
		add("gnact "+c.name, op.KindGNAct, act, c.x, ab, ab)
		add("gnactDX "+c.name, op.KindGNActDX, vjp(0, act), c.x, ab, ab, c.x)
		add("gnactDA "+c.name, op.KindGNActDA, vjp(1, act), c.x, ab, ab, c.x)
		add("gnactDB "+c.name, op.KindGNActDB, vjp(2, act), c.x, ab, ab, c.x)
		for i, of := range []string{"DX", "DA", "DB", "DG"} {
			add("gnactDX"+of+" "+c.name, op.KindGNActDXDX+op.Kind(i), vjp(i, vjp(0, act)), c.x, ab, ab, c.x, c.x)
		}
	}

	for _, c := range []struct{ n, p, d, heads int }{{2, 5, 4, 2}, {1, 7, 3, 1}, {1, 17, 8, 2}} {
		name := fmt.Sprintf("%d tokens, %d heads of %d", c.p, c.heads, c.d)
		qkv, out := shape(c.n, c.p, 3*c.d*c.heads), shape(c.n, c.p, c.d*c.heads)
		f := Attention(c.heads)
		add("attention "+name, op.KindAttention, f, qkv)
		add("attentionDX "+name, op.KindAttentionDX, vjp(0, f), qkv, out)
		add("attentionJVP "+name, op.KindAttentionJVP, AttentionJVP(c.heads), qkv, qkv)
		add("attentionDX2 "+name, op.KindAttentionDX2, vjp(0, vjp(0, f)), qkv, out, qkv)
	}

	large := shape(3, 2, 4, 6)
	for axes, small := range map[op.Axes]tensor.Shape{
		op.PerChannel: shape(6), op.PerSampleChannel: shape(3, 6), op.PerSample: shape(3),
		op.PerRow: shape(3, 2, 4, 1), op.PerGroup: shape(3, 2), op.Scalar: shape(),
	} {
		add("broadcast "+axes.String(), op.KindBroadcast, one(func(x *op.Node) *op.Node { return op.Broadcast(x, axes, large, 2) }), small)
		add("sum "+axes.String(), op.KindSum, one(func(x *op.Node) *op.Node { return op.Sum(x, axes, 2) }), large)
	}
	add("sum of many", op.KindSum, one(func(x *op.Node) *op.Node { return op.Sum(x, op.PerChannel, 0) }), shape(5, 9, 9, 16))
	add("sum of all", op.KindSum, one(func(x *op.Node) *op.Node { return op.Sum(x, op.Scalar, 0) }), shape(5, 9, 9, 16))

	add("reshape", op.KindReshape, one(func(x *op.Node) *op.Node { return op.Reshape(x, 6, 5) }), s)
	add("concat", op.KindConcat, two(op.Concat), shape(2, 3, 16), shape(2, 3, 5))
	add("slice", op.KindSlice, one(func(x *op.Node) *op.Node { return op.Slice(x, 2, 4) }), shape(2, 3, 8))
	add("pad", op.KindPad, one(func(x *op.Node) *op.Node { return op.Pad(x, 3, 9) }), shape(2, 3, 4))
	add("poolsum", op.KindPoolSum, one(op.PoolSum), shape(2, 4, 6, 5))
	add("upsample", op.KindUpsample, one(op.Upsample), shape(2, 3, 2, 5))
	for _, c := range []struct {
		x                   tensor.Shape
		window, stride, pad int
	}{{shape(2, 7, 9, 5), 3, 2, 0}, {shape(1, 4, 5, 16), 3, 1, 1}, {shape(2, 1, 2, 17), 3, 1, 1}, {shape(1, 8, 6, 48), 4, 3, 2}} {
		name := fmt.Sprintf(" %d stride %d pad %d of %v", c.window, c.stride, c.pad, c.x)
		add("maxpool"+name, op.KindMaxPool, one(func(x *op.Node) *op.Node { return op.MaxPool(x, c.window, c.stride, c.pad) }), c.x).NoDerivative = true
		add("meanpool"+name, op.KindMeanPool, one(func(x *op.Node) *op.Node { return op.MeanPool(x, c.window, c.stride, c.pad) }), c.x).NoDerivative = true
	}
	for _, c := range []struct {
		x    tensor.Shape
		h, w int
	}{{shape(2, 4, 5, 3), 9, 7}, {shape(1, 7, 6, 16), 3, 6}, {shape(1, 1, 2, 5), 4, 4}, {shape(2, 32, 32, 1), 299, 299}} {
		add(fmt.Sprintf("resize %v to %dx%d", c.x, c.h, c.w), op.KindResize, one(func(x *op.Node) *op.Node { return op.Resize(x, c.h, c.w) }), c.x).NoDerivative = true
	}
	add("splitheads", op.KindSplitHeads, one(func(x *op.Node) *op.Node { return op.SplitHeads(x, 3) }), shape(2, 4, 6))
	add("mergeheads", op.KindMergeHeads, one(func(x *op.Node) *op.Node { return op.MergeHeads(x, 3) }), shape(6, 4, 2))
	add("timeembedding", op.KindTimeEmbedding, one(func(t *op.Node) *op.Node { return op.TimeEmbedding(t, 6) }), shape(3)).
		Fixed = map[int][]float64{0: {0, 17, 999}}
	add("dropout", op.KindDropout, two(func(x, c *op.Node) *op.Node { return op.Dropout(x, c, 0.3, [2]uint32{7, 9}) }), shape(2, 3, 3, 7), shape(2, 4)).
		Fixed = map[int][]float64{1: {5, 1, 70, 0, 65535, 0, 3, 2}}
	return cases
}
