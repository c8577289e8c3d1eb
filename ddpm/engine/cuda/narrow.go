//go:build ddpmcuda

package cuda

import (
	"slices"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// kept says which inputs and outputs of a kind's kernel may be bfloat16 in memory: a bit for
// each. A follower's inputs are only if its output is.
type kept struct {
	in, out  uint
	follower bool
}

// What is not here is float32: what an embedding of time, a loss or the normalisation before
// attention goes through, whose derivatives are sums that cancel.
var keeps = [op.NumKinds]kept{
	op.KindGNAct:     {in: 1, out: 1},
	op.KindGNActDX:   {in: 1 | 8, out: 1},
	op.KindGNActDA:   {in: 1 | 8, out: 1},
	op.KindGNActDB:   {in: 1 | 8, out: 1},
	op.KindGNActDXDX: {in: 1 | 8 | 16, out: 1 | 8},
	op.KindGNActDXDA: {in: 1 | 8 | 16, out: 1 | 8},
	op.KindGNActDXDB: {in: 1 | 8 | 16, out: 1 | 8},
	op.KindGNActDXDG: {in: 1 | 8 | 16, out: 1 | 8},

	op.KindScale:    {1, 1, true},
	op.KindDropout:  {1, 1, true},
	op.KindConcat:   {1 | 2, 1, true},
	op.KindSlice:    {1, 1, true},
	op.KindPad:      {1, 1, true},
	op.KindPoolSum:  {1, 1, true},
	op.KindUpsample: {1, 1, true},
}

// keeps is what the kernel of t takes and makes in bfloat16 in programs of precision p.
func (t *task) keeps(p engine.Precision) kept {
	c, product := convOf(t.op)
	switch o := t.op; {
	case product && c.bfloat16(p):
		return kept{in: 1 | 2, out: btou(c.kind != op.KindConvDW && t.add == none)}
	case product:
		return kept{}
	case t.factor != none: // before attention: a product may want it, and would round it
		return kept{out: 1}
	case o.Kind == op.KindSum:
		return kept{in: btou(o.Axes() == op.PerChannel || o.Axes() == op.PerSampleChannel)}
	case o.Kind >= op.KindAttention && o.Kind <= op.KindAttentionDX2:
		if width := o.In[0][2] / 3 / o.Heads(); bfloat16(p, 1, width, width) {
			return kept{in: 1 | 2 | 4, out: 1}
		}
	}
	k := keeps[t.op.Kind]
	if t.add != none { // the stream's gradient
		k.out = 0
	}
	return k
}

// narrowValues marks, by root, the values that are kept in bfloat16, in half the memory: of
// what kernels make so, that which all that read it take so. The stream of residuals and its
// gradient, sums over many layers, stay float32.
func narrowValues(p *engine.Program, tasks []*task, root []int) []bool {
	narrow := make([]bool, len(p.Values))
	if p.Precision == engine.Float32 {
		return narrow
	}
	wide := make([]bool, len(p.Values)) // some task wants all digits
	for _, v := range slices.Concat(p.Inputs, p.Params, p.Outputs, p.Grads) {
		wide[root[v]] = true
	}
	for _, t := range slices.Backward(tasks) {
		k := t.keeps(p.Precision)
		if k.follower && wide[t.out[0]] {
			k.in = 0
		}
		for i, v := range t.in {
			if k.in>>i&1 == 0 {
				wide[v] = true
			}
		}
		for _, v := range []int{t.bias, t.factor} {
			if v != none {
				wide[v] = true
			}
		}
		if t.add != none && k.in == 0 {
			wide[t.add] = true
		}
	}
	for _, t := range tasks {
		k := t.keeps(p.Precision)
		for i, v := range t.out {
			if v != none {
				narrow[v] = k.out>>i&1 == 1 && !wide[v]
			}
		}
	}
	return narrow
}

func btou(b bool) uint {
	if b {
		return 1
	}
	return 0
}
