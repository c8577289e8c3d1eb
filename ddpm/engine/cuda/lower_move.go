//go:build ddpmcuda

package cuda

import (
	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine/op"
)

// spans describe how a large tensor [O,R,C] shares the entries of a small one
// [O,C/width]: along R, and width neighbouring channels.
type spans struct{ o, r, c, width int }

func spansOf(a op.Axes, large tensor.Shape, groups int) spans {
	n, c := size(large), channels(large)
	switch a {
	case op.PerChannel:
		return spans{1, n / c, c, 1}
	case op.PerSampleChannel:
		return spans{large[0], n / large[0] / c, c, 1}
	case op.PerSample:
		return spans{large[0], n / large[0], 1, 1}
	case op.PerRow:
		return spans{n / c, c, 1, 1}
	case op.PerGroup:
		return spans{large[0], n / large[0] / c, c, c / groups}
	}
	return spans{1, n, 1, 1} // op.Scalar
}

func lowerBroadcast(l *lowering, t *task) {
	s, n := spansOf(t.op.Axes(), t.op.Out, t.op.Groups()), size(t.op.Out)
	l.emit(each("broadcast", n, l.value(t.in[0]), l.output(t.out[0]), int64(n), int64(s.r), int32(s.c), int32(s.width)))
}

func lowerSum(l *lowering, t *task) {
	s := spansOf(t.op.Axes(), t.op.In[0], t.op.Groups())
	x, y := l.value(t.in[0]), l.output(t.out[0])
	if s.width == 1 {
		l.sumAxis(x, y, s.o, s.r, s.c)
		return
	}
	channels := l.temp(s.o * s.c)
	l.sumAxis(x, channels, s.o, s.r, s.c)
	l.sumAxis(channels, y, s.o*s.c/s.width, s.width, 1)
}

// sumAxis emits y [O,C] = the sum of x [O,R,C] along R: of parts, if there are
// few of O and C, and then of the parts' sums.
func (l *lowering) sumAxis(x, y place, o, r, c int) {
	lanes := min(c, 32)
	columns := o * ceilDiv(c, lanes)
	parts := max(1, min(ceilDiv(wanted, columns), r*lanes/4096))
	if parts == 1 {
		l.sumParts(x, y, o, r, c, lanes, 1)
		return
	}
	sums := l.temp(o * parts * c)
	l.sumParts(x, sums, o, r, c, lanes, parts)
	l.sumParts(sums, y, o, parts, c, lanes, 1)
}

func (l *lowering) sumParts(x, y place, o, r, c, lanes, parts int) {
	l.emit(call{"sum_axis", [3]int{o * parts * ceilDiv(c, lanes), 1, 1}, 256, typed(
		x, y, int64(r), int32(c), int64(ceilDiv(r, parts)), int32(parts), int32(lanes),
	)})
}

func lowerConcat(l *lowering, t *task) {
	n := size(t.op.Out)
	l.emit(each("concat", n, typed(l.value(t.in[0]), l.value(t.in[1]), l.output(t.out[0]), int64(n), int32(channels(t.op.In[0])), int32(channels(t.op.In[1])))...))
}

func lowerSlice(l *lowering, t *task) {
	n := size(t.op.Out)
	l.emit(each("slice", n, typed(l.value(t.in[0]), l.output(t.out[0]), int64(n), int32(channels(t.op.Out)), int32(channels(t.op.In[0])), int32(t.op.Offset()))...))
}

func lowerPad(l *lowering, t *task) {
	n := size(t.op.Out)
	l.emit(each("pad", n, typed(l.value(t.in[0]), l.output(t.out[0]), int64(n), int32(channels(t.op.In[0])), int32(channels(t.op.Out)), int32(t.op.Offset()))...))
}

func lowerPool(l *lowering, t *task) {
	n := size(t.op.Out)
	l.emit(each("pool_sum", n, typed(l.value(t.in[0]), l.output(t.out[0]), int64(n), int32(t.op.Out[2]), int32(t.op.Out[3]))...))
}

func lowerUpsample(l *lowering, t *task) {
	n := size(t.op.Out)
	l.emit(each("upsample", n, typed(l.value(t.in[0]), l.output(t.out[0]), int64(n), int32(t.op.In[0][2]), int32(t.op.In[0][3]))...))
}

func windows(kernel string) func(*lowering, *task) {
	return func(l *lowering, t *task) {
		n, x, y := size(t.op.Out), t.op.In[0], t.op.Out
		l.emit(each(kernel, n, l.value(t.in[0]), l.output(t.out[0]), int64(n), int32(x[1]), int32(x[2]), int32(x[3]), int32(y[1]), int32(y[2]),
			int32(t.op.Window()), int32(t.op.Stride()), int32(t.op.Padding())))
	}
}

func lowerResize(l *lowering, t *task) {
	n, x, y := size(t.op.Out), t.op.In[0], t.op.Out
	l.emit(each("resize", n, l.value(t.in[0]), l.output(t.out[0]), int64(n), int32(x[1]), int32(x[2]), int32(x[3]), int32(y[1]), int32(y[2])))
}

// Heads are split off [N,P,h,d] to [N,h,P,d], and merged back.
func lowerSplitHeads(l *lowering, t *task) {
	h, p, d := t.op.Heads(), t.op.Out[1], t.op.Out[2]
	l.swapMiddle(t, p, h, d)
}

func lowerMergeHeads(l *lowering, t *task) {
	h, p, d := t.op.Heads(), t.op.In[0][1], t.op.In[0][2]
	l.swapMiddle(t, h, p, d)
}

func (l *lowering) swapMiddle(t *task, a, b, d int) {
	n := size(t.op.Out)
	l.emit(each("swap_middle", n, l.value(t.in[0]), l.output(t.out[0]), int64(n), int32(a), int32(b), int32(d)))
}
