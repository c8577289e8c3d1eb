package cpu

import (
	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// geometry is a convolution: x [n,h,w,c] to y [n,outH,outW,k].
type geometry struct {
	n, h, w, c, outH, outW, k, kh, kw, stride, pad, padX int
}

func geometryOf(o *op.Op, x, w, y tensor.Shape) geometry {
	return geometry{x[0], x[1], x[2], x[3], y[1], y[2], y[3], w[0], w[1], o.Stride(), o.Padding(), o.PaddingX()}
}

func (g geometry) dims(more ...int) []int {
	return append([]int{g.n, g.h, g.w, g.c, g.outH, g.outW, g.k, g.kh, g.kw, g.stride, g.pad, g.padX}, more...)
}

func (g geometry) pointwise() bool {
	return g.kh == 1 && g.kw == 1 && g.stride == 1 && g.pad == 0 && g.padX == 0
}

// same tells that the output has the input's size and the kernel a centre, so
// that the data gradient is the convolution with the flipped kernel.
func (g geometry) same() bool {
	return g.stride == 1 && g.kh == g.kw && g.kh == 2*g.pad+1 && g.pad == g.padX
}

// few is the number of channels below which rounding them up to a vector would
// cost more than Winograd saves.
const few = 8

// mostChannels is MAX_CHANNELS of tile.h.
const mostChannels = 4096

func (g geometry) winograd() bool {
	return g.same() && g.kh == 3 && min(g.c, g.k) >= few && max(g.c, g.k) <= mostChannels
}

// swapped is the geometry of the convolution from y to x with the flipped kernel.
func (g geometry) swapped() geometry {
	g.c, g.k = g.k, g.c
	return g
}

func (g geometry) patch() int { return g.kh * g.kw * g.c }

func lowerConv(l *lowering, t *task) {
	g := geometryOfProduct(t.op)
	x, w := l.value(t.in[0]), l.value(t.in[1])
	switch {
	case t.relu:
		l.convReLU(t, g, x, w)
	case g.pointwise():
		l.gemm(t, matmul{1, g.n * g.h * g.w, g.k, g.c, false, false}, x, w)
	case bfloat16(l.prog, g):
		l.convBF16(t, g, x, w, false)
	case g.winograd():
		l.winograd(t, g, x, w, false)
	case g.same() && g.k < few && g.k < g.c:
		l.convColsDX(t, g.swapped(), x, l.flipped(g, w))
	default:
		l.convCols(t, g, x, w)
	}
}

func lowerConvDX(l *lowering, t *task) {
	g := geometryOfProduct(t.op)
	w, gy := l.value(t.in[0]), l.value(t.in[1])
	switch {
	case g.pointwise():
		l.gemm(t, matmul{1, g.n * g.h * g.w, g.c, g.k, false, true}, gy, w)
	case bfloat16(l.prog, g):
		l.convBF16(t, g.swapped(), gy, w, true)
	case g.winograd():
		l.winograd(t, g.swapped(), gy, w, true)
	case g.same() && g.k < few && g.k < g.c:
		l.convCols(t, g.swapped(), gy, l.flipped(g, w))
	default:
		l.convColsDX(t, g, gy, w)
	}
}

func lowerConvDW(l *lowering, t *task) {
	g := geometryOfProduct(t.op)
	x, gy := l.value(t.in[0]), l.value(t.in[1])
	switch {
	case g.pointwise():
		l.gemm(t, matmul{1, g.c, g.k, g.n * g.h * g.w, true, false}, x, gy)
	case bfloat16(l.prog, g):
		l.convDWBF16(t, g, x, gy)
	case g.winograd():
		l.winogradDW(t, g, x, gy)
	case g.same() && g.k < few && g.k < g.c:
		dw := l.temp(g.patch() * g.k)
		l.convColsDW(g.swapped(), gy, x, dw)
		l.emit(kFlipWeights, g.kh*g.kw, []ref{dw, l.output(t.out[0])}, []int{g.kh * g.kw, g.k, g.c})
	default:
		l.convColsDW(g, x, gy, l.output(t.out[0]))
	}
}

// epilogue is what the kernels that have one take last: bias, addend.
func (l *lowering) epilogue(t *task) (bias, add ref) { return l.value(t.bias), l.value(t.add) }

// flipped is the weights [taps][c][k] of g as [taps][k][c], turned around.
func (l *lowering) flipped(g geometry, w ref) ref {
	var to ref
	n := g.patch() * g.k
	l.hoist(n, []ref{w}, func() {
		to = l.temp(n)
		l.emit(kFlipWeights, g.kh*g.kw, []ref{w, to}, []int{g.kh * g.kw, g.c, g.k})
	})
	return to
}

func (l *lowering) convCols(t *task, g geometry, x, w ref) {
	rows := g.n * g.outH * g.outW
	const gathered = 1 << 16                                            // floats that stay in the cache
	each := l.isa.rows * min(16, max(1, gathered/g.patch()/l.isa.rows)) // whole panels
	bias, add := l.epilogue(t)
	l.emit(kConvCols, ceilDiv(rows, each), []ref{x, w, l.output(t.out[0], t.overwritable()), bias, add}, g.dims(each))
}

func (l *lowering) convColsDX(t *task, g geometry, gy, w ref) {
	bias, add := l.epilogue(t)
	l.emit(kConvColsDX, g.n, []ref{gy, w, l.output(t.out[0], t.overwritable()), bias, add}, g.dims())
}

func (l *lowering) convColsDW(g geometry, x, gy, dw ref) {
	const pixels = 1024 // at least so many in a slab
	slabs := min(16, max(1, g.n*g.outH*g.outW/pixels))
	partial := dw
	if slabs > 1 {
		partial = l.temp(slabs * g.patch() * g.k)
	}
	l.emit(kConvColsDW, slabs, []ref{x, gy, partial}, g.dims(slabs))
	if slabs > 1 {
		l.sumSlabs(partial, dw, g.patch()*g.k, slabs)
	}
}

// Winograd: see winograd.h. Channels are rounded up to block, tiles are 4x4 pixels
// with 36 numbers each.
const (
	block     = 16
	positions = 36
)

func roundUp(n int) int { return ceilDiv(n, block) * block }

// oddLines is odd_lines of winograd.h: the distance between two positions of n numbers.
func oddLines(n int) int {
	if n/cacheLine%2 == 1 {
		return n
	}
	return n + cacheLine
}

// panels is how many panels of transformed tiles, of c and k channels, fit a
// cache of so many KB.
func (l *lowering) panels(cacheKB, c, k int) int {
	return max(1, cacheKB<<10/(positions*4*l.isa.rows*(c+k)))
}

func (l *lowering) totalPanels(g geometry) int {
	return ceilDiv(g.n*ceilDiv(g.outH, 4)*ceilDiv(g.outW, 4), l.isa.rows)
}

// winograd lowers the convolution g of x, of padding 1 or 0; with flip, w is the weights of the
// convolution whose data gradient it is.
func (l *lowering) winograd(t *task, g geometry, x, w ref, flip bool) {
	c, k := roundUp(g.c), roundUp(g.k)
	var u ref
	n := positions * oddLines(c*k)
	l.hoist(n, []ref{w}, func() {
		u = l.temp(n)
		l.emit(kWinoWeights, c/block*k/block, []ref{w, u}, []int{g.c, g.k, btoi(flip)})
	})

	total := l.totalPanels(g)
	parts := ceilDiv(total, l.panels(600, c, k))
	parts = min(total, ceilDiv(parts, 8)*8) // to share out evenly
	panels := ceilDiv(total, parts)
	bias, add := l.epilogue(t)
	l.emit(kWinoForward, ceilDiv(total, panels), []ref{x, u, l.output(t.out[0], t.overwritable()), bias, add},
		[]int{g.n, g.outH, g.outW, g.c, g.k, panels, 1 - g.pad, l.apart(t), btoi(t.relu)})
}

func (l *lowering) winogradDW(t *task, g geometry, x, gy ref) {
	total := l.totalPanels(g)
	if c, k := cut(g.c, 64), cut(g.k, 64); total <= 32 && c.count*k.count >= 4 {
		l.emit(kWinoDWSmall, c.count*k.count, []ref{x, gy, l.output(t.out[0])}, []int{g.n, g.h, g.w, g.c, g.k, 1, c.size, c.count, k.size, k.count})
		return
	}
	c, k := cut(g.c, 128), cut(g.k, 128)
	pairs := c.count * k.count
	const most = 2 << 20 // floats of dU: more slabs are more to add up
	each := pairs * positions * oddLines(c.size*k.size)
	slabs := min(total, max(2, min(8, most/each)))
	panels := min(l.panels(1200, c.size, k.size), ceilDiv(total, slabs))
	du := l.temp(slabs * each)
	dims := []int{g.n, g.h, g.w, g.c, g.k, panels, c.size, c.count, k.size, k.count, slabs}
	l.emit(kWinoDW, slabs*pairs, []ref{x, gy, du}, dims)
	l.emit(kWinoDWOut, g.c, []ref{du, l.output(t.out[0])}, dims)
}

type chunks struct{ size, count int }

// cut cuts channels into equal chunks, of whole blocks and at most most.
func cut(channels, most int) chunks { return cutInto(channels, block, most) }

func cutInto(channels, block, most int) chunks {
	padded := roundTo(channels, block)
	size := roundTo(ceilDiv(padded, ceilDiv(padded, most)), block)
	return chunks{size, ceilDiv(padded, size)}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// matmul is batch products of [m,k] and [k,n].
type matmul struct {
	batch, m, n, k int
	ta, tb         bool
}

func lowerMatMul(l *lowering, t *task) {
	l.gemm(t, matmulOf(t.op), l.value(t.in[0]), l.value(t.in[1]))
}

func matmulOf(o *op.Op) matmul {
	k := o.In[0][2]
	if o.TransA() {
		k = o.In[0][1]
	}
	return matmul{o.Out[0], o.Out[1], o.Out[2], k, o.TransA(), o.TransB()}
}

// bfloat16 tells whether m, which t computes, is to be computed in bfloat16.
func (m matmul) bfloat16(p *engine.Program, t *task) bool {
	return m.batch == 1 && (!m.ta || !m.tb && t.bias == none && t.add == none) && bfloat16(p, m.product())
}

// gemm cuts a product by rows and columns of the result; and, if there are few of
// those and the inner dimension is long, as in a weight gradient, by that one.
func (l *lowering) gemm(t *task, m matmul, a, b ref) {
	if m.bfloat16(l.prog, t) {
		if m.ta {
			l.convDWBF16(t, m.product(), a, b)
		} else {
			l.convBF16(t, m.product(), a, b, m.tb)
		}
		return
	}
	rows, columns := 16*l.isa.rows, 128
	if m.ta {
		rows = 128
	}
	if down := m.batch * ceilDiv(m.m, rows); down >= 16 {
		columns = m.n
		if down >= 128 && !m.ta {
			rows *= 2
		}
	}
	parts, slabs := m.batch*ceilDiv(m.m, rows)*ceilDiv(m.n, columns), 1
	if parts < 16 && m.k >= 2048 && t.bias == none && t.add == none {
		slabs = min(16, m.k/512)
	}
	bias, add := l.epilogue(t)
	out := l.output(t.out[0], t.overwritable())
	dims := []int{m.batch, m.m, m.n, m.k, btoi(m.ta), btoi(m.tb), rows, columns, slabs}
	if slabs == 1 {
		l.emit(kGemm, parts, []ref{a, b, out, bias, add}, dims)
		return
	}
	n := m.batch * m.m * m.n
	partial := l.temp(slabs * n)
	l.emit(kGemm, parts*slabs, []ref{a, b, partial}, dims)
	l.sumSlabs(partial, out, n, slabs)
}
