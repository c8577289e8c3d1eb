package cpu

import (
	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine/op"
)

// layout sees a large tensor as [a][p][g][d] and the small one that belongs to it
// by some axes as [a][g].
type layout struct{ a, p, g, d int }

func layoutOf(axes op.Axes, large tensor.Shape, groups int) layout {
	n, c := size(large), channels(large)
	rows := n / c
	switch axes {
	case op.PerChannel:
		return layout{1, rows, c, 1}
	case op.PerSampleChannel:
		return layout{large[0], rows / large[0], c, 1}
	case op.PerRow:
		return layout{rows, 1, 1, c}
	case op.PerGroup:
		return layout{large[0], rows / large[0], groups, c / groups}
	case op.PerSample:
		if large.Dims() == 1 {
			return layout{n, 1, 1, 1}
		}
		return layout{large[0], rows / large[0], 1, c}
	default: // op.Scalar
		return layout{1, rows, 1, c}
	}
}

func lowerBroadcast(l *lowering, t *task) {
	y := layoutOf(t.op.Axes(), t.op.Out, t.op.Groups())
	each := max(1, part/(y.g*y.d))
	l.emit(kBroadcast, ceilDiv(y.a*y.p, each), []ref{l.value(t.in[0]), l.output(t.out[0])}, []int{y.a, y.p, y.g, y.d, each})
}

// lowerSum cuts a sum of many rows into slabs, if it has not enough outer rows
// to share out.
func lowerSum(l *lowering, t *task) {
	x := layoutOf(t.op.Axes(), t.op.In[0], t.op.Groups())
	row := x.p * x.g * x.d
	each, slabs := max(1, part/row), 1
	if x.a < 8 && row >= 2*part {
		slabs = min(16, row/part)
	}
	from, to := l.value(t.in[0]), l.output(t.out[0])
	partial := to
	if slabs > 1 {
		partial = l.temp(slabs * x.a * x.g)
	}
	l.emit(kSum, ceilDiv(x.a, each)*slabs, []ref{from, partial}, []int{x.a, x.p, x.g, x.d, each, slabs, btoi(from.narrow())})
	if slabs > 1 {
		l.sumSlabs(partial, to, x.a*x.g, slabs)
	}
}

// sumSlabs adds partial results in order.
func (l *lowering) sumSlabs(from, to ref, n, slabs int) {
	each := max(cacheLine, alignUp(part/slabs))
	l.emit(kSumSlabs, ceilDiv(n, each), []ref{from, to}, []int{n, slabs, each})
}

// copyRows copies rows of n numbers between tensors whose rows are fromStride and
// toStride apart.
func (l *lowering) copyRows(from, to ref, rows, n, fromStride, toStride int) {
	l.copy(from, to, [4]int{rows, 1, 1, 1}, n, [4]int{fromStride}, [4]int{toStride})
}

// copy copies rows of n numbers over four outer axes.
func (l *lowering) copy(from, to ref, outer [4]int, n int, fromStride, toStride [4]int) {
	each := max(1, part/(outer[1]*outer[2]*outer[3]*n))
	d := append(outer[:], n)
	d = append(d, fromStride[:]...)
	d = append(d, toStride[:]...)
	l.emit(kCopy, ceilDiv(outer[0], each), []ref{from, to}, append(d, each, narrowMask(from, to)))
}

func lowerConcat(l *lowering, t *task) {
	y := l.output(t.out[0])
	c, off := channels(t.op.Out), 0
	rows := size(t.op.Out) / c
	for _, v := range t.in {
		n := l.prog.Values[v].Size() / rows
		if _, there := l.inside[v]; !there {
			l.copyRows(l.value(v), y.plus(off), rows, n, n, c)
		}
		off += n
	}
}

func lowerSlice(l *lowering, t *task) {
	c, n := channels(t.op.In[0]), channels(t.op.Out)
	l.copyRows(l.value(t.in[0]).plus(t.op.Offset()), l.output(t.out[0]), size(t.op.Out)/n, n, c, n)
}

func lowerPad(l *lowering, t *task) {
	n, total := channels(t.op.Out), size(t.op.Out)
	y := l.output(t.out[0])
	filled := 0
	for _, v := range t.in {
		filled += l.prog.Values[v].Size()
	}
	if filled < total {
		l.emit(kFill, ceilDiv(total, part), []ref{{}, {}, {}, y}, []int{total, part}, 0)
	}
	for i, v := range t.in {
		c := l.prog.Values[v].Size() / (total / n)
		l.copyRows(l.value(v), y.plus(t.offsets[i]), total/n, c, c, n)
	}
}

func lowerPool(l *lowering, t *task) {
	s := t.op.Out
	rows, w, c := s[0]*s[1], s[2], s[3]
	each := max(1, part/(4*w*c))
	x, y := l.value(t.in[0]), l.output(t.out[0])
	l.emit(kPool, ceilDiv(rows, each), []ref{x, y}, []int{rows, w, c, each, narrowMask(x, y)})
}

func lowerUpsample(l *lowering, t *task) {
	s := t.op.In[0]
	rows, w, c := s[0]*s[1], s[2], s[3]
	l.copy(l.value(t.in[0]), l.output(t.out[0]), [4]int{rows, 2, w, 2}, c, [4]int{w * c, 0, c, 0}, [4]int{4 * w * c, 2 * w * c, 2 * c, c})
}

func lowerSplitHeads(l *lowering, t *task) {
	s, h := t.op.In[0], t.op.Heads()
	n, p, d := s[0], s[1], s[2]/h
	l.copy(l.value(t.in[0]), l.output(t.out[0]), [4]int{n, p, h, 1}, d, [4]int{p * h * d, h * d, d}, [4]int{p * h * d, d, p * d})
}

func lowerMergeHeads(l *lowering, t *task) {
	s, h := t.op.Out, t.op.Heads()
	n, p, d := s[0], s[1], s[2]/h
	l.copy(l.value(t.in[0]), l.output(t.out[0]), [4]int{n, h, p, 1}, d, [4]int{p * h * d, p * d, d}, [4]int{p * h * d, d, h * d})
}
