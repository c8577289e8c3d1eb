package cpu

import (
	"slices"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// What networks that score images are made of: convolutions with a ReLU, pools over
// windows, and concatenations, which their inputs are computed into.

// fuseReLU makes the ReLU s part of the convolution that computes its input, if nothing
// else reads that.
func (f *fuser) fuseReLU(s engine.Step) bool {
	x := f.root[s.In[0]]
	t := f.maker[x]
	if t == nil || f.uses[x] != 1 || t.op.Kind != op.KindConv || t.add != none || !takesReLU(t.op) {
		return false
	}
	f.maker[x], f.maker[s.Out] = nil, t
	t.out[0], t.relu = s.Out, true
	return true
}

// joinConcats takes the inputs of Concats that only t reads into t.
func (f *fuser) joinConcats(t *task) {
	if f.prog.Grads != nil {
		return
	}
	var in []int
	for _, v := range t.in {
		c := f.maker[v]
		if c == nil || c.op.Kind != op.KindConcat || f.uses[v] != 1 {
			in = append(in, v)
			continue
		}
		in = append(in, c.in...)
		f.maker[v] = nil
		for i, other := range f.tasks {
			if other == c {
				f.tasks[i] = nil
			}
		}
	}
	t.in = in
}

// inside is a place in a concatenation: the first of its channels.
type inside struct{ concat, offset int }

// insides are the values that only a concatenation reads, and whose kernels can write
// pixels that do not lie side by side.
func insides(p *engine.Program, tasks []*task, root []int) map[int]inside {
	m := map[int]inside{}
	maker, uses := map[int]*task{}, map[int]int{}
	for _, t := range tasks {
		for _, v := range t.out {
			maker[v] = t
		}
		for _, v := range t.reads() {
			uses[v]++
		}
	}
	for _, v := range slices.Concat(p.Outputs, p.Grads) {
		uses[root[v]]++
	}
	for _, t := range tasks {
		if t.op.Kind != op.KindConcat {
			continue
		}
		off, rows := 0, size(t.op.Out)/channels(t.op.Out)
		for _, v := range t.in {
			if by := maker[v]; by != nil && uses[v] == 1 && by.writesApart(p) {
				m[v] = inside{t.out[0], off}
			}
			off += p.Values[v].Size() / rows
		}
	}
	return m
}

// writesApart tells whether the kernels of t take a distance between output pixels.
func (t *task) writesApart(p *engine.Program) bool {
	switch t.op.Kind {
	case op.KindMaxPool, op.KindMeanPool:
		return true
	case op.KindConv:
		return t.relu || bfloat16(p, geometryOfProduct(t.op))
	}
	return false
}

// apart is the distance of two pixels of the output of t, in floats.
func (l *lowering) apart(t *task) int {
	if in, ok := l.inside[t.out[0]]; ok {
		return channels(l.prog.Values[in.concat].Shape)
	}
	return channels(t.op.Out)
}

// convReLU lowers a convolution with a ReLU behind it.
func (l *lowering) convReLU(t *task, g geometry, x, w ref) {
	if g.kh == 3 && g.kw == 3 && g.stride == 1 && g.pad <= 1 && g.pad == g.padX && g.c%block == 0 {
		l.winograd(t, g, x, w, false)
		return
	}
	l.convPanels(t, g, x, w)
}

// takesReLU tells whether there is a kernel for the convolution with a ReLU.
func takesReLU(o *op.Op) bool {
	const depth = 384 // PANEL_K
	g := geometryOf(o, o.In[0], o.In[1], o.Out)
	return g.k%block == 0 && (g.c%block == 0 || g.patch() <= depth)
}

// convPanels: see panels.h.
func (l *lowering) convPanels(t *task, g geometry, x, w ref) {
	var packed ref
	n := roundUp(g.patch()) * g.k
	l.hoist(n, []ref{w}, func() {
		packed = l.temp(n)
		l.emit(kPackWeights, ceilDiv(g.k, l.isa.columns), []ref{w, packed}, []int{g.patch(), g.k})
	})
	rows := g.n * g.outH * g.outW
	columns := 12 * l.isa.columns // with the block of the depth, what stays in the second cache
	columns = ceilDiv(ceilDiv(g.k, ceilDiv(g.k, columns)), l.isa.columns) * l.isa.columns
	parts := 2 * ceilDiv(rows, 2*16*l.isa.rows)
	each := ceilDiv(ceilDiv(rows, parts), l.isa.rows) * l.isa.rows
	l.emit(kConvPanels, ceilDiv(rows, each)*ceilDiv(g.k, columns), []ref{x, packed, l.output(t.out[0]), l.value(t.bias)},
		g.dims(each, columns, l.apart(t), btoi(t.relu)))
}

// lowerWindows lowers a pool.
func lowerWindows(k kernel) func(*lowering, *task) {
	return func(l *lowering, t *task) {
		x, y := t.op.In[0], t.op.Out
		rows := y[0] * y[1]
		each := max(1, part/(y[2]*y[3]*t.op.Window()*t.op.Window()))
		l.emit(k, ceilDiv(rows, each), []ref{l.value(t.in[0]), l.output(t.out[0])},
			[]int{rows, y[1], y[2], y[3], x[1], x[2], t.op.Window(), t.op.Stride(), t.op.Padding(), l.apart(t), each})
	}
}

func lowerResize(l *lowering, t *task) {
	x, y := t.op.In[0], t.op.Out
	rows := y[0] * y[1]
	each := max(1, part/(4*y[2]*y[3]))
	l.emit(kResize, ceilDiv(rows, each), []ref{l.value(t.in[0]), l.output(t.out[0])}, []int{rows, y[1], y[2], y[3], x[1], x[2], each})
}
