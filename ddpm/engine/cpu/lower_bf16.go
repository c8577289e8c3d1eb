package cpu

import (
	"slices"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// Products in bfloat16: see bf16.h. A product of matrices is a convolution with one tap
// over images of one column.
const (
	depth = 32 // channels are rounded up to it
	width = 32 // pixels and outputs of a block of products
)

// bfloat16 tells whether the convolution g is to be computed in bfloat16.
func bfloat16(p *engine.Program, g geometry) bool {
	if p.Precision == engine.Float32 || !g.same() || max(g.c, g.k) > mostChannels {
		return false
	}
	return g.kh == 1 || g.kh == 3 && p.Precision == engine.BFloat16
}

// narrowValues marks, by root, the values that are kept in bfloat16, in half the memory: what
// normalisations and attention compute for products that would round it anyway, and what products
// compute for those alone. The stream of residuals, sums over many layers, stays in float32
// where it is trained.
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
		for i, v := range t.in {
			if !t.takesNarrow(p, i, wide) {
				wide[v] = true
			}
		}
		for _, v := range []int{t.scale, t.bias} {
			if v != none {
				wide[v] = true
			}
		}
		if t.add != none && (p.Grads != nil || !t.inBFloat16(p)) {
			wide[t.add] = true
		}
	}
	for _, t := range tasks {
		v, makes := t.out[0], false
		switch t.op.Kind {
		case op.KindGNAct, op.KindGNActDX, op.KindGNActDA, op.KindGNActDB, op.KindGroupNorm, op.KindDropout:
			makes = true
		case op.KindConv, op.KindConvDX:
			makes = t.inBFloat16(p)
		case op.KindMatMul:
			makes = !t.op.TransA() && t.inBFloat16(p)
		case op.KindConcat:
			makes = evenParts(p, t)
		case op.KindAttention:
			makes = attentionForward.bfloat16(p, t.op)
		case op.KindAttentionDX:
			makes = attentionDX.bfloat16(p, t.op)
		case op.KindUpsample:
			makes = narrow[t.in[0]]
		}
		if v != none {
			narrow[v] = makes && !wide[v]
		}
	}
	return narrow
}

// geometryOfProduct is the geometry of a convolution or of one of its gradients.
func geometryOfProduct(o *op.Op) geometry {
	switch o.Kind {
	case op.KindConvDX:
		return geometryOf(o, o.Out, o.In[0], o.In[1])
	case op.KindConvDW:
		return geometryOf(o, o.In[0], o.Out, o.In[1])
	}
	return geometryOf(o, o.In[0], o.In[1], o.Out)
}

// inBFloat16 tells whether t is a product that is computed in bfloat16.
func (t *task) inBFloat16(p *engine.Program) bool {
	switch t.op.Kind {
	case op.KindConv, op.KindConvDX, op.KindConvDW:
		return !t.relu && bfloat16(p, geometryOfProduct(t.op))
	case op.KindMatMul:
		return matmulOf(t.op).bfloat16(p, t)
	}
	return false
}

// evenParts tells whether all that the Concat t puts side by side begins at an even channel.
func evenParts(p *engine.Program, t *task) bool {
	pixels := size(t.op.Out) / channels(t.op.Out)
	for _, v := range t.in {
		if p.Values[v].Size()/pixels%2 != 0 {
			return false
		}
	}
	return true
}

// takesNarrow tells whether input i of t may be narrow.
func (t *task) takesNarrow(p *engine.Program, i int, wide []bool) bool {
	switch t.op.Kind {
	case op.KindConv:
		return i == 0 && t.inBFloat16(p)
	case op.KindConvDX:
		return i == 1 && t.inBFloat16(p)
	case op.KindConvDW:
		return t.inBFloat16(p)
	case op.KindMatMul:
		return (i == 0 || t.op.TransA()) && t.inBFloat16(p)
	case op.KindGNAct, op.KindGroupNorm, op.KindPoolSum, op.KindDropout:
		return i == 0
	case op.KindGNActDX, op.KindGNActDA, op.KindGNActDB:
		return i == 0 || i == 3
	case op.KindAttention:
		return attentionForward.bfloat16(p, t.op)
	case op.KindAttentionDX:
		return attentionDX.bfloat16(p, t.op)
	case op.KindSum:
		return t.op.Axes() == op.PerChannel
	case op.KindUpsample, op.KindConcat:
		return !wide[t.out[0]]
	}
	return false
}

// product is the geometry of m as a convolution.
func (m matmul) product() geometry {
	rows, c := m.m, m.k
	if m.ta {
		rows, c = m.k, m.m
	}
	return geometry{n: 1, h: rows, w: 1, c: c, outH: rows, outW: 1, k: m.n, kh: 1, kw: 1, stride: 1}
}

// lines is how the lines of a strip, zeros included, and the pixels of one are counted.
func (g geometry) lines() (count, pixels int) {
	border := g.kh / 2
	return g.n*(g.h+border) + border, g.w + border
}

func roundTo(n, multiple int) int { return ceilDiv(n, multiple) * multiple }

// convBF16 lowers the convolution g of x; with flip, w is the weights of the convolution
// whose data gradient it is.
func (l *lowering) convBF16(t *task, g geometry, x, w ref, flip bool) {
	taps, cp, kp := g.kh*g.kw, roundTo(g.c, depth), roundTo(g.k, width)
	var packed ref
	const room = 0 // half the size of w: reading it is never slower than packing w again
	l.hoist(room, []ref{w}, func() {
		packed = l.temp(taps * cp * kp / 2)
		l.emit(kBF16Weights, kp/width, []ref{w, packed}, []int{taps, g.c, g.k, btoi(flip)})
	})

	// A part's pixels and its weights should stay in the second cache, its pixels be some
	// blocks, and parts be many enough to share out.
	const cache = 512 << 10 // bytes for each
	count, pixels := g.lines()
	outputs := min(kp, max(width, cache/(2*taps*cp)/width*width))
	across := ceilDiv(kp, outputs)
	each := max(1, cache/(2*cp*pixels))
	each = min(each, max(ceilDiv(count, ceilDiv(16, across)), ceilDiv(4*width, pixels)))
	each = ceilDiv(count, ceilDiv(count, each))
	for ceilDiv(count, each)*across < 8 && outputs > width {
		outputs = roundTo(ceilDiv(outputs, 2), width)
		across = ceilDiv(kp, outputs)
	}
	bias, add := l.epilogue(t)
	y := l.output(t.out[0], t.overwritable())
	l.emit(kBF16Conv, ceilDiv(count, each)*across, []ref{x, packed, y, bias, add},
		[]int{g.n, g.h, g.w, g.c, g.k, g.kh, each, outputs, l.apart(t), narrowMask(x), narrowMask(y, add)})
}

// convDWBF16 lowers the gradient of the weights of g.
func (l *lowering) convDWBF16(t *task, g geometry, x, gy ref) {
	const cache = 600 << 10 // bytes of pixels
	count, pixels := g.lines()
	c, k := cutInto(g.c, width, 128), cutInto(g.k, width, 128)
	pairs := c.count * k.count
	const most = 2 << 20 // numbers of dw: more slabs are more to add up
	n := g.patch() * g.k
	slabs := min(count, max(1, min(16/pairs, most/n, count*pixels/256)))
	slab := ceilDiv(count, slabs)
	each := max(1, cache/(2*pixels*(c.size+2*k.size)))
	each = ceilDiv(slab, ceilDiv(slab, each))
	dw, partial := l.output(t.out[0]), ref{}
	if partial = dw; slabs > 1 {
		partial = l.temp(slabs * n)
	}
	l.emit(kBF16ConvDW, slabs*pairs, []ref{x, gy, partial},
		[]int{g.n, g.h, g.w, g.c, g.k, g.kh, c.size, c.count, k.size, k.count, slabs, each, btoi(x.narrow()), btoi(gy.narrow())})
	if slabs > 1 {
		l.sumSlabs(partial, dw, n, slabs)
	}
}
