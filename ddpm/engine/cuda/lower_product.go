//go:build ddpmcuda

package cuda

import (
	"slices"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// tiles are what the blocks of a product's kernel compute: squares of its output.
type tiles struct {
	suffix string // of the kernels' names
	side   int
	depth  int // of a step
}

// Squares in float32, and by tensor cores, which round the operands to bfloat16.
var (
	floatTiles  = tiles{"", 64, 16}
	tensorTiles = tiles{"_bf16_64", 64, 32}
	largeTiles  = tiles{"_bf16_128", 128, 32} // with half the reads
)

// count is how many tiles cover a matrix.
func (t tiles) count(rows, columns int) int { return ceilDiv(rows, t.side) * ceilDiv(columns, t.side) }

// multiprocessors are those of the largest GPUs, and wanted is about how many blocks a
// kernel should have. They are constants, so that sums have the same parts on all GPUs.
const (
	multiprocessors = 132
	wanted          = 2 * multiprocessors
)

// fewest is the number of channels below which products are in float32 in all
// precisions, as on the cpu device.
const fewest = 16

// bfloat16 tells whether precision p is to round the operands of a product of c inputs and
// k outputs, one of the taps of a convolution of so many.
func bfloat16(p engine.Precision, taps, c, k int) bool {
	if min(c, k) < fewest {
		return false
	}
	return p == engine.BFloat16 || p == engine.Mixed && taps == 1
}

func (l *lowering) bfloat16(taps, c, k int) bool { return bfloat16(l.prog.Precision, taps, c, k) }

// tilesFor chooses the tiles of a product, of which there are up to so many that can
// run at once.
func tilesFor(bfloat16 bool, rows, columns, times int) tiles {
	switch {
	case !bfloat16:
		return floatTiles
	case min(rows, columns) > tensorTiles.side && largeTiles.count(rows, columns)*times >= multiprocessors:
		return largeTiles
	}
	return tensorTiles
}

// operand is value v as a product reads it, in bfloat16 or float32.
func (l *lowering) operand(v int, bfloat16 bool) place {
	at, n := l.value(v), l.prog.Values[v].Size()
	if at.narrow || !bfloat16 {
		return at
	}
	if i := slices.Index(l.prog.Params, l.root[v]); i >= 0 { // all at once
		if l.weights.buf == nil {
			l.weights = l.array(l.prog.ParamLen, true)
			l.emit(each("narrow", l.prog.ParamLen, l.flat, l.weights, int64(l.prog.ParamLen)))
		}
		at = l.weights.plus(l.prog.ParamOffset[i])
		at.size = ceilDiv(n, 2)
		return at
	}
	return l.copied(v, "narrow", true, n, func(to place) { l.emit(each("narrow", n, at, to, int64(n))) })
}

// emitProduct emits a kernel that computes so many entries, each a sum of depth products.
func (l *lowering) emitProduct(kernel string, t tiles, blocks, parts, entries, depth int, args []any) {
	l.emit(call{kernel + t.suffix, [3]int{blocks, parts, 1}, 256, args})
	l.steps[len(l.steps)-1].flops = 2 * float64(entries) * float64(depth)
}

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
func (l *lowering) product(c, a, b matrices, bfloat16 bool, m, n, k, batch, inner int, bias place, alpha, beta float64) {
	kernel := "product_" + fast(a.column == 1, "n", "t") + fast(b.row == 1, "t", "n")
	by := tilesFor(bfloat16, m, n, batch)
	l.emitProduct(kernel, by, by.count(m, n)*batch, 1, m*n*batch, k, []any{
		a.at, b.at, c.at, bias, int32(m), int32(n), int32(k), int32(inner),
		int64(a.outerStep), int64(a.innerStep), int64(a.row), int64(a.column),
		int64(b.outerStep), int64(b.innerStep), int64(b.row), int64(b.column),
		int64(c.outerStep), int64(c.innerStep), int64(c.row), float32(alpha), float32(beta),
	})
}

func fast(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func lowerMatMul(l *lowering, t *task) {
	if c, ok := convOf(t.op); ok && c.bfloat16(l.prog.Precision) {
		l.conv(t, c)
		return
	}
	o := t.op
	batch, m, n := o.Out[0], o.Out[1], o.Out[2]
	whole := func(at place, s tensor.Shape, transposed bool) matrices {
		x := matrices{at, s[1] * s[2], 0, s[2], 1}
		if transposed {
			return x.transposed()
		}
		return x
	}
	k, inputs := o.In[0][2], o.In[0][2]
	if o.TransA() { // a gradient of weights: k are the pixels
		k = o.In[0][1]
	}
	a, b := whole(l.value(t.in[0]), o.In[0], o.TransA()), whole(l.value(t.in[1]), o.In[1], o.TransB())
	l.product(whole(l.output(t.out[0]), o.Out, false), a, b, l.bfloat16(1, inputs, n), m, n, k, batch, 1, l.value(t.bias), 1, 0)
}

// conv is a convolution of x [N,H,W,C] with w [R,S,C,K] to y, or one of its gradients.
type conv struct {
	kind              op.Kind // Conv, ConvDX or ConvDW
	x, w, y           tensor.Shape
	stride, pad, padX int
	swapped           bool // the operands of the task: w is the last
}

// convOf is o as a convolution, if it is one. A product of two matrices is one with one
// tap over an image of one column.
func convOf(o *op.Op) (c conv, ok bool) {
	c.kind = o.Kind
	switch o.Kind {
	case op.KindConv:
		c.x, c.w, c.y = o.In[0], o.In[1], o.Out
	case op.KindConvDX:
		c.x, c.w, c.y = o.Out, o.In[0], o.In[1]
	case op.KindConvDW:
		c.x, c.w, c.y = o.In[0], o.Out, o.In[1]
	case op.KindMatMul:
		if o.Out[0] != 1 || o.TransA() && o.TransB() {
			return c, false
		}
		column := func(s tensor.Shape) tensor.Shape { return tensor.Shape{1, s[1], 1, s[2]} }
		tap := func(s tensor.Shape) tensor.Shape { return tensor.Shape{1, 1, s[1], s[2]} }
		c.stride = 1
		switch {
		case o.TransA():
			c.kind, c.x, c.w, c.y = op.KindConvDW, column(o.In[0]), tap(o.Out), column(o.In[1])
		case o.TransB():
			c.kind, c.x, c.w, c.y, c.swapped = op.KindConvDX, column(o.Out), tap(o.In[1]), column(o.In[0]), true
		default:
			c.kind, c.x, c.w, c.y = op.KindConv, column(o.In[0]), tap(o.In[1]), column(o.Out)
		}
		return c, true
	default:
		return c, false
	}
	c.stride, c.pad, c.padX = o.Stride(), o.Padding(), o.PaddingX()
	return c, true
}

func (c conv) bfloat16(p engine.Precision) bool { return bfloat16(p, c.w[0]*c.w[1], c.w[2], c.w[3]) }

// geometry is the last arguments of convolutions.
func (c conv) geometry() []any {
	var g []any
	for _, v := range []int{c.x[0], c.x[1], c.x[2], c.x[3], c.y[3], c.w[0], c.w[1], c.y[1], c.y[2], c.stride, c.pad, c.padX} {
		g = append(g, int32(v))
	}
	return g
}

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
	c, _ := convOf(t.op)
	if !l.byLibrary(t, c) {
		l.conv(t, c)
	}
}

func (l *lowering) conv(t *task, c conv) {
	bf16 := c.bfloat16(l.prog.Precision)
	first, second := l.operand(t.in[0], bf16), l.operand(t.in[1], bf16)
	if c.swapped {
		first, second = second, first
	}
	args := []any{first, second}
	if c.kind == op.KindConvDW {
		l.convDW(c, bf16, args, l.output(t.out[0]))
		return
	}
	kernel, rows, columns := "conv", size(c.y)/c.y[3], c.y[3]
	args = append(args, l.output(t.out[0], t.addend()))
	if c.kind == op.KindConv {
		args = append(args, l.value(t.bias))
	} else {
		kernel, rows, columns = "conv_dx", size(c.x)/c.x[3], c.x[3]
	}
	args = append(args, l.value(t.add))
	by := tilesFor(bf16, rows, columns, 1)
	l.emitProduct(kernel, by, by.count(rows, columns), 1, size(c.y), size(c.w)/c.w[3], typed(append(args, c.geometry()...)...))
}

// convDW sums over pixels in parts, since the weights alone make few tiles.
func (l *lowering) convDW(c conv, bf16 bool, operands []any, out place) {
	rows, columns, pixels := size(c.w)/c.w[3], c.w[3], size(c.y)/c.y[3]
	most := max(1, pixels/256)
	by := tilesFor(bf16, rows, columns, most)
	blocks := by.count(rows, columns)
	parts := min(ceilDiv(wanted, blocks), most)
	each := ceilDiv(ceilDiv(pixels, parts), by.depth) * by.depth
	parts = ceilDiv(pixels, each)
	to := out
	if parts > 1 {
		to = l.temp(parts * size(c.w))
	}
	args := append(operands, to, int64(each))
	l.emitProduct("conv_dw", by, blocks, parts, size(c.w), pixels, append(args, c.geometry()...))
	if parts > 1 {
		l.sumAxis(to, out, 1, parts, size(c.w))
	}
}
