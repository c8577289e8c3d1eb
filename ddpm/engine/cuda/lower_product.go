//go:build ddpmcuda

package cuda

import (
	"math"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine/op"
)

// tile is the side of the tiles of products.
const tile = 64

// matrices is a batch of matrices: entry (i, j) of matrix b is at
// b/inner·outerStep + b%inner·innerStep + i·row + j·column.
type matrices struct {
	at                   place
	outerStep, innerStep int
	row, column          int
}

func (m matrices) transposed() matrices {
	m.row, m.column = m.column, m.row
	return m
}

// product emits c = alpha·a·b + beta·c for each of batch matrices, inner of them in a
// row; c is m×n, and its columns are side by side. bias [n] is added unless it is
// nowhere.
func (l *lowering) product(c, a, b matrices, m, n, k, batch, inner int, bias place, alpha, beta float64) {
	kernel := "product_" + fast(a.column == 1, "n", "t") + fast(b.row == 1, "t", "n")
	blocks := ceilDiv(m, tile) * ceilDiv(n, tile) * batch
	l.emit(call{kernel, [3]int{blocks, 1, 1}, 256, []any{
		a.at, b.at, c.at, bias, int32(m), int32(n), int32(k), int32(inner),
		int64(a.outerStep), int64(a.innerStep), int64(a.row), int64(a.column),
		int64(b.outerStep), int64(b.innerStep), int64(b.row), int64(b.column),
		int64(c.outerStep), int64(c.innerStep), int64(c.row), float32(alpha), float32(beta),
	}})
}

// batches is how many matrices a product has.
func batches(c call) int {
	m, n := int(c.args[4].(int32)), int(c.args[5].(int32))
	return c.grid[0] / (ceilDiv(m, tile) * ceilDiv(n, tile))
}

func fast(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func lowerMatMul(l *lowering, t *task) {
	o := t.op
	batch, m, n := o.Out[0], o.Out[1], o.Out[2]
	whole := func(at place, s tensor.Shape, transposed bool) matrices {
		x := matrices{at, s[1] * s[2], 0, s[2], 1}
		if transposed {
			return x.transposed()
		}
		return x
	}
	k := o.In[0][2]
	if o.TransA() {
		k = o.In[0][1]
	}
	a, b := whole(l.value(t.in[0]), o.In[0], o.TransA()), whole(l.value(t.in[1]), o.In[1], o.TransB())
	l.product(whole(l.output(t.out[0]), o.Out, false), a, b, m, n, k, batch, 1, l.value(t.bias), 1, 0)
}

// geometry are the last arguments of convolutions.
func geometry(o *op.Op, x, y, w tensor.Shape) []any {
	var g []any
	for _, v := range []int{x[0], x[1], x[2], x[3], y[3], w[0], w[1], y[1], y[2], o.Stride(), o.Padding(), o.PaddingX()} {
		g = append(g, int32(v))
	}
	return g
}

func tiles(rows, columns int) int { return ceilDiv(rows, tile) * ceilDiv(columns, tile) }

// addend is what a convolution adds, if the output may take its place: not if the
// convolution reads it elsewhere too.
func (t *task) addend() int {
	for _, v := range append([]int{t.bias}, t.in...) {
		if v == t.add {
			return none
		}
	}
	return t.add
}

func lowerConv(l *lowering, t *task) {
	x, y, w := t.op.In[0], t.op.Out, t.op.In[1]
	args := []any{l.value(t.in[0]), l.value(t.in[1]), l.output(t.out[0], t.addend()), l.value(t.bias), l.value(t.add)}
	l.emit(call{"conv", [3]int{tiles(size(y)/y[3], y[3]), 1, 1}, 256, append(args, geometry(t.op, x, y, w)...)})
}

func lowerConvDX(l *lowering, t *task) {
	x, y, w := t.op.Out, t.op.In[1], t.op.In[0]
	args := []any{l.value(t.in[0]), l.value(t.in[1]), l.output(t.out[0], t.addend()), l.value(t.add)}
	l.emit(call{"conv_dx", [3]int{tiles(size(x)/x[3], x[3]), 1, 1}, 256, append(args, geometry(t.op, x, y, w)...)})
}

// wanted is about how many blocks a kernel should have: two for each multiprocessor of
// the largest GPUs. It is a constant, so that sums have the same parts on all.
const wanted = 264

// lowerConvDW sums over pixels in parts, since the weights alone make few tiles.
func lowerConvDW(l *lowering, t *task) {
	x, y, w := t.op.In[0], t.op.In[1], t.op.Out
	rows, columns, pixels := w[0]*w[1]*w[2], w[3], size(y)/y[3]
	parts := max(1, min(ceilDiv(wanted, tiles(rows, columns)), pixels/256))
	each := ceilDiv(ceilDiv(pixels, parts), 16) * 16
	parts = ceilDiv(pixels, each)
	out := l.output(t.out[0])
	to := out
	if parts > 1 {
		to = l.temp(parts * size(w))
	}
	args := []any{l.value(t.in[0]), l.value(t.in[1]), to, int64(each)}
	l.emit(call{"conv_dw", [3]int{tiles(rows, columns), parts, 1}, 256, append(args, geometry(t.op, x, y, w)...)})
	if parts > 1 {
		l.sumAxis(to, out, 1, parts, size(w))
	}
}

// heads are the matrices of an attention kind: tokens by width, a matrix for each image
// and head.
type heads struct {
	l                           *lowering
	batch, inner, tokens, width int
	scale                       float64
}

func headsOf(l *lowering, t *task) heads {
	s, h := t.op.In[0], t.op.Heads()
	d := s[2] / 3 / h
	return heads{l, s[0] * h, h, s[1], d, 1 / math.Sqrt(float64(d))}
}

// part is Q, K or V (0, 1, 2) of a tensor that holds all three side by side.
func (h heads) part(at place, i int) matrices {
	c := h.inner * h.width
	return matrices{at.plus(i * c), h.tokens * 3 * c, h.width, 3 * c, 1}
}

// merged is a tensor with the heads side by side.
func (h heads) merged(at place) matrices {
	c := h.inner * h.width
	return matrices{at, h.tokens * c, h.width, c, 1}
}

// scores is a new batch of matrices of tokens by tokens.
func (h heads) scores() matrices {
	n := h.tokens * h.tokens
	return matrices{h.l.temp(h.batch * n), h.inner * n, n, h.tokens, 1}
}

// pairs computes s = factor·a·bᵀ (+ s), a and b of tokens by width.
func (h heads) pairs(s, a, b matrices, factor, beta float64) {
	h.l.product(s, a, b.transposed(), h.tokens, h.tokens, h.width, h.batch, h.inner, place{}, factor, beta)
}

// apply computes y = factor·s·x (+ y), s of tokens by tokens.
func (h heads) apply(y, s, x matrices, factor, beta float64) {
	h.l.product(y, s, x, h.tokens, h.width, h.tokens, h.batch, h.inner, place{}, factor, beta)
}

func (h heads) rows(kernel string, m ...matrices) {
	var at []any
	for _, x := range m {
		at = append(at, x.at)
	}
	h.l.rows(kernel, h.batch*h.tokens, h.tokens, at...)
}

// weights is softmax(Q·Kᵀ·scale).
func (h heads) weights(qkv place) matrices {
	w := h.scores()
	h.pairs(w, h.part(qkv, 0), h.part(qkv, 1), h.scale, 0)
	h.rows("softmax", w, w)
	return w
}

// along is the derivative of Q·Kᵀ·scale along dir.
func (h heads) along(qkv, dir place) matrices {
	a := h.scores()
	h.pairs(a, h.part(dir, 0), h.part(qkv, 1), h.scale, 0)
	h.pairs(a, h.part(qkv, 0), h.part(dir, 1), h.scale, 1)
	return a
}

func lowerAttention(l *lowering, t *task) {
	h, qkv := headsOf(l, t), l.value(t.in[0])
	w := h.weights(qkv)
	h.apply(h.merged(l.output(t.out[0])), w, h.part(qkv, 2), 1, 0)
}

func lowerAttentionDX(l *lowering, t *task) {
	h, qkv, g := headsOf(l, t), l.value(t.in[0]), l.value(t.in[1])
	w, ds := h.weights(qkv), h.scores()
	h.pairs(ds, h.merged(g), h.part(qkv, 2), 1, 0)
	h.rows("softmax_grad", w, ds, ds)
	out := l.output(t.out[0])
	h.apply(h.part(out, 0), ds, h.part(qkv, 1), h.scale, 0)
	h.apply(h.part(out, 1), ds.transposed(), h.part(qkv, 0), h.scale, 0)
	h.apply(h.part(out, 2), w.transposed(), h.merged(g), 1, 0)
}

func lowerAttentionJVP(l *lowering, t *task) {
	h, qkv, dir := headsOf(l, t), l.value(t.in[0]), l.value(t.in[1])
	w, a := h.weights(qkv), h.along(qkv, dir)
	h.rows("softmax_grad", w, a, a)
	out := h.merged(l.output(t.out[0]))
	h.apply(out, a, h.part(qkv, 2), 1, 0)
	h.apply(out, w, h.part(dir, 2), 1, 1)
}

// lowerAttentionDX2: see package ref, attentionDX2.
func lowerAttentionDX2(l *lowering, t *task) {
	h, qkv, g, dir := headsOf(l, t), l.value(t.in[0]), l.value(t.in[1]), l.value(t.in[2])
	w, a, b, f := h.weights(qkv), h.along(qkv, dir), h.scores(), h.scores()
	h.pairs(b, h.merged(g), h.part(qkv, 2), 1, 0)
	h.pairs(f, h.merged(g), h.part(dir, 2), 1, 0)
	h.rows("attention_second", w, a, b, f)
	out := l.output(t.out[0])
	h.apply(h.part(out, 0), f, h.part(qkv, 1), h.scale, 0)
	h.apply(h.part(out, 0), b, h.part(dir, 1), h.scale, 1)
	h.apply(h.part(out, 1), f.transposed(), h.part(qkv, 0), h.scale, 0)
	h.apply(h.part(out, 1), b.transposed(), h.part(dir, 0), h.scale, 1)
	h.apply(h.part(out, 2), a.transposed(), h.merged(g), 1, 0)
}
