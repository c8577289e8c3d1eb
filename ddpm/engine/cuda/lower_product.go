//go:build ddpmcuda

package cuda

import (
	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda/cudnn"
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

// bfloat16 tells whether the program's precision is to round the operands of a
// product of c inputs and k outputs, one of the taps of a convolution of so many.
func (l *lowering) bfloat16(taps, c, k int) bool {
	if min(c, k) < fewest {
		return false
	}
	return l.prog.Precision == engine.BFloat16 || l.prog.Precision == engine.Mixed && taps == 1
}

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

// geometry are the last arguments of convolutions.
func geometry(o *op.Op, x, y, w tensor.Shape) []any {
	var g []any
	for _, v := range []int{x[0], x[1], x[2], x[3], y[3], w[0], w[1], y[1], y[2], o.Stride(), o.Padding(), o.PaddingX()} {
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
	x, y, w := t.op.In[0], t.op.Out, t.op.In[1]
	if l.byLibrary(t, cudnn.Forward, x, w) {
		return
	}
	rows, columns := size(y)/y[3], y[3]
	args := []any{l.value(t.in[0]), l.value(t.in[1]), l.output(t.out[0], t.addend()), l.value(t.bias), l.value(t.add)}
	by := tilesFor(l.bfloat16(w[0]*w[1], w[2], w[3]), rows, columns, 1)
	l.emitProduct("conv", by, by.count(rows, columns), 1, size(y), size(w)/w[3], append(args, geometry(t.op, x, y, w)...))
}

func lowerConvDX(l *lowering, t *task) {
	x, y, w := t.op.Out, t.op.In[1], t.op.In[0]
	if l.byLibrary(t, cudnn.Data, x, w) {
		return
	}
	rows, columns := size(x)/x[3], x[3]
	args := []any{l.value(t.in[0]), l.value(t.in[1]), l.output(t.out[0], t.addend()), l.value(t.add)}
	by := tilesFor(l.bfloat16(w[0]*w[1], w[2], w[3]), rows, columns, 1)
	l.emitProduct("conv_dx", by, by.count(rows, columns), 1, size(y), size(w)/w[3], append(args, geometry(t.op, x, y, w)...))
}

// lowerConvDW sums over pixels in parts, since the weights alone make few tiles.
func lowerConvDW(l *lowering, t *task) {
	x, y, w := t.op.In[0], t.op.In[1], t.op.Out
	if l.byLibrary(t, cudnn.Filters, x, w) {
		return
	}
	rows, columns, pixels := size(w)/w[3], w[3], size(y)/y[3]
	most := max(1, pixels/256)
	by := tilesFor(l.bfloat16(w[0]*w[1], w[2], w[3]), rows, columns, most)
	blocks := by.count(rows, columns)
	parts := min(ceilDiv(wanted, blocks), most)
	each := ceilDiv(ceilDiv(pixels, parts), by.depth) * by.depth
	parts = ceilDiv(pixels, each)
	out := l.output(t.out[0])
	to := out
	if parts > 1 {
		to = l.temp(parts * size(w))
	}
	args := []any{l.value(t.in[0]), l.value(t.in[1]), to, int64(each)}
	l.emitProduct("conv_dw", by, blocks, parts, size(w), pixels, append(args, geometry(t.op, x, y, w)...))
	if parts > 1 {
		l.sumAxis(to, out, 1, parts, size(w))
	}
}
