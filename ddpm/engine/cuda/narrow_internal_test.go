//go:build ddpmcuda

package cuda

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/optest"
)

// narrowCases are shapes whose results can be products' operands; channels are odd.
func narrowCases() []optest.Case {
	var cases []optest.Case
	add := func(name string, k op.Kind, apply func(in []*op.Node) *op.Node, in ...tensor.Shape) {
		cases = append(cases, optest.Case{Name: name, Kind: k, In: in, Apply: apply})
	}
	x := tensor.Shape{3, 6, 10, 17}
	add("concat", op.KindConcat, func(in []*op.Node) *op.Node { return op.Concat(in[0], in[1]) }, x, tensor.Shape{3, 6, 10, 19})
	add("slice", op.KindSlice, func(in []*op.Node) *op.Node { return op.Slice(in[0], 1, 16) }, x)
	add("pad", op.KindPad, gradOf(0, func(in []*op.Node) *op.Node { return op.Slice(in[0], 1, 16) }), x, tensor.Shape{3, 6, 10, 16})
	add("poolsum", op.KindPoolSum, gradOf(0, func(in []*op.Node) *op.Node { return op.Upsample(in[0]) }), x, tensor.Shape{3, 12, 20, 17})
	add("upsample", op.KindUpsample, func(in []*op.Node) *op.Node { return op.Upsample(in[0]) }, x)
	add("scale", op.KindScale, func(in []*op.Node) *op.Node { return op.Scale(in[0], -0.7) }, x)
	add("sum over images and pixels", op.KindSum, func(in []*op.Node) *op.Node { return op.Sum(in[0], op.PerChannel, 0) }, x)
	add("sum over pixels", op.KindSum, func(in []*op.Node) *op.Node { return op.Sum(in[0], op.PerSampleChannel, 0) }, x)
	for _, c := range [][2]int{{32, 8}, {18, 3}} { // channels and groups
		s, ab := tensor.Shape{3, 4, 6, c[0]}, tensor.Shape{3, c[0]}
		act := func(in []*op.Node) *op.Node { return op.GNAct(in[0], in[1], in[2], c[1]) }
		norm := func(in []*op.Node) *op.Node { return op.GroupNorm(in[0], c[1]) }
		add(fmt.Sprint("gnact of ", c), op.KindGNAct, act, s, ab, ab)
		add(fmt.Sprint("gnactDX and an addend of ", c), op.KindGNActDX, func(in []*op.Node) *op.Node {
			return op.Add(in[4], gradOf(0, act)(in[:4]))
		}, s, ab, ab, s, s)
		add(fmt.Sprint("groupnorm1 and an addend of ", c), op.KindGroupNorm1, func(in []*op.Node) *op.Node {
			return op.Add(gradOf(0, norm)(in[:2]), in[2])
		}, s, s, s)
	}
	affine := func(in []*op.Node) *op.Node {
		y := op.Mul(op.Broadcast(in[1], op.PerChannel, in[0].Shape(), 0), in[0])
		if len(in) > 2 {
			y = op.Add(y, op.Broadcast(in[2], op.PerChannel, in[0].Shape(), 0))
		}
		return y
	}
	add("channels times a factor", op.KindMul, affine, x, tensor.Shape{17})
	add("channels times a factor and a bias", op.KindMul, affine, x, tensor.Shape{17}, tensor.Shape{17})
	add("linear", op.KindMatMul, func(in []*op.Node) *op.Node { return op.MatMul(in[0], in[1], false, false) }, tensor.Shape{1, 77, 24}, tensor.Shape{1, 24, 19})
	add("linear, gradient for x", op.KindMatMul, func(in []*op.Node) *op.Node { return op.MatMul(in[0], in[1], false, true) },
		tensor.Shape{1, 77, 24}, tensor.Shape{1, 19, 24})
	add("linear, gradient for weights", op.KindMatMul, func(in []*op.Node) *op.Node { return op.MatMul(in[0], in[1], true, false) },
		tensor.Shape{1, 777, 24}, tensor.Shape{1, 777, 19})
	return cases
}

// TestNarrowAgainstRef runs every kind that may keep operands or results in bfloat16, with
// all that it may. A scale rounds what comes in, here to itself, and a product with the
// identity, exact for what is rounded, is what the result is made for.
func TestNarrowAgainstRef(t *testing.T) {
	d := open(t)
	left := map[op.Kind]bool{op.KindConv: true, op.KindConvDX: true, op.KindConvDW: true, op.KindMatMul: true, op.KindSum: true, op.KindMul: true}
	for k := op.KindAttention; k <= op.KindAttentionDX2; k++ {
		left[k] = true
	}
	for k, kept := range keeps {
		if kept.in != 0 {
			left[op.Kind(k)] = true
		}
	}
	for _, c := range slices.Concat(optest.Cases(), moreCases(), moreProducts(), narrowCases()) {
		g, in, _ := c.Build()
		vals, rounded := c.Values(0.1), []*op.Node{}
		for i, x := range in {
			if c.Fixed[i] == nil {
				for j, v := range vals[i] {
					vals[i][j] = nearest(v) / 2
				}
				x = op.Scale(x, 2)
			}
			rounded = append(rounded, x)
		}
		y, tol := c.Apply(rounded), tolerance(c.Kind)
		if c.Kind >= op.KindAttention && c.Kind <= op.KindAttentionDX2 {
			tol = ofAttention
		}
		n := op.Size(y.Shape())
		width := fewest
		for width < n && n%width != 0 {
			width++
		}
		if 1 < n/width {
			e := g.Input("identity", 1, width, width)
			identity := make([]float64, width*width)
			for i := range width {
				identity[i*(width+1)] = 1
			}
			in, vals = append(in, e), append(vals, identity)
			y, tol = op.MatMul(op.Reshape(y, 1, n/width, width), e, false, false), tol+1.0/256 // half a unit of the last of eight bits
		}
		p := compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}, Precision: engine.BFloat16})
		tasks, root := fuse(p)
		narrow := narrowValues(p, tasks, root)
		i := slices.IndexFunc(tasks, func(t *task) bool { return t.op.Kind == c.Kind && (c.Kind != op.KindScale || t.op.F != 2) })
		if i < 0 { // a reshape
			continue
		}
		task := tasks[i]
		kept := task.keeps(p.Precision)
		if kept.in == 0 && kept.out == 0 && task.add == none {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			if strings.Contains(c.Name, "an addend") && task.add == none {
				t.Errorf("%v adds nothing", task)
			}
			for i, v := range task.in {
				if may := kept.in>>i&1 == 1; may != narrow[v] && (!kept.follower || narrow[task.out[0]]) {
					t.Errorf("%v: operand %d is in bfloat16: %v, want %v", task, i, narrow[v], may)
				}
			}
			out := slices.IndexFunc(task.out, func(v int) bool { return v != none })
			if may := kept.out>>out&1 == 1; may == narrow[task.out[out]] {
				delete(left, c.Kind)
			}
			if e := distanceFromRef(t, d, p, vals, vals); !(e <= tol) {
				t.Errorf("relative distance from ref %.2g, want at most %g", e, tol)
			}
		})
	}
	for k := range left {
		t.Errorf("no case for %v", k)
	}
}
