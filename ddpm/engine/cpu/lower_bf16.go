package cpu

import "ddpmlab/ddpm/engine"

// Products in bfloat16: see bf16.h. A product of matrices is a convolution with one tap
// over images of one column.
const (
	depth = 32 // channels are rounded up to it
	width = 32 // pixels and outputs of a block of products
)

// narrow is the number of channels below which a block would be mostly padding.
const narrow = 16

// bfloat16 tells whether the convolution g is to be computed in bfloat16.
func (l *lowering) bfloat16(g geometry) bool {
	if l.prog.Precision == engine.Float32 || !g.same() || min(g.c, g.k) < narrow || max(g.c, g.k) > mostChannels {
		return false
	}
	return g.kh == 1 || g.kh == 3 && l.prog.Precision == engine.BFloat16
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
	n := taps * cp * kp / 2
	l.hoist(n, []ref{w}, func() {
		packed = l.temp(n)
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
	l.emit(kBF16Conv, ceilDiv(count, each)*across, []ref{x, packed, l.output(t.out[0], t.overwritable()), bias, add},
		[]int{g.n, g.h, g.w, g.c, g.k, g.kh, each, outputs})
}

// convDWBF16 lowers the gradient of the weights of g.
func (l *lowering) convDWBF16(t *task, g geometry, x, gy ref) {
	const cache = 400 << 10 // bytes of pixels
	count, pixels := g.lines()
	c, k := cutInto(g.c, width, 128), cutInto(g.k, width, 128)
	pairs := c.count * k.count
	const most = 2 << 20 // numbers of dw: more slabs are more to add up
	n := g.patch() * g.k
	slabs := min(count, max(1, min(16/pairs, most/n, count*pixels/256)))
	each := min(max(1, cache/(2*pixels*(c.size+k.size))), ceilDiv(count, slabs))
	dw, partial := l.output(t.out[0]), ref{}
	if partial = dw; slabs > 1 {
		partial = l.temp(slabs * n)
	}
	l.emit(kBF16ConvDW, slabs*pairs, []ref{x, gy, partial},
		[]int{g.n, g.h, g.w, g.c, g.k, g.kh, c.size, c.count, k.size, k.count, slabs, each})
	if slabs > 1 {
		l.sumSlabs(partial, dw, n, slabs)
	}
}
