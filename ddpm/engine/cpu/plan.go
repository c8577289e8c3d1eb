package cpu

import (
	"fmt"
	"strings"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/arena"
	"ddpmlab/ddpm/engine/op"
)

// buffer is a piece of memory that steps read and write: of the arena, or of the
// state's arrays.
type buffer struct {
	size        int     // floats
	first, last int     // the steps of its life, both included
	constant    bool    // the same in every run with the same weights
	narrow      bool    // bfloat16 numbers, two in the place of a float
	mem         *memory // what it is a piece of: the arena, once that exists, or the state
	offset      int     // in mem
}

// ref is a place in a buffer; the zero ref is nowhere (an operand that is left out).
type ref struct {
	buf *buffer
	off int
}

// at is the address of r, of a placed buffer.
func (r ref) at() *float32 {
	if r.buf == nil {
		return nil
	}
	return r.buf.mem.at(r.buf.offset + r.off)
}

// narrow tells whether r is in a buffer of bfloat16.
func (r ref) narrow() bool { return r.buf != nil && r.buf.narrow }

// plus is the place n numbers further, an even count of narrow ones.
func (r ref) plus(n int) ref {
	if r.narrow() {
		n /= 2
	}
	return ref{r.buf, r.off + n}
}

// planned is a call whose operands have no address yet.
type planned struct {
	call
	refs  []ref
	what  string  // for Explain: the operation it belongs to
	flops float64 // of that operation, at the step that does them
}

// bytes is the size of the buffers that the step touches.
func (p planned) bytes() int {
	floats, seen := 0, map[*buffer]bool{}
	for _, r := range p.refs {
		if r.buf != nil && !seen[r.buf] {
			seen[r.buf] = true
			floats += r.buf.size
		}
	}
	return floats * 4
}

// lowering turns tasks into steps.
type lowering struct {
	isa   *isa
	prog  *engine.Program
	root  []int
	place []ref // by root: where the value is; nowhere until it is computed

	lastUse []int // by root: the last task that reads it; len(tasks) if it is read after the run
	now     int   // the task being lowered
	what    string
	flops   float64

	buffers []*buffer // in the arena
	steps   []planned

	// What depends on the weights alone is computed once for new weights, in a program
	// that does not train them.
	once     []planned
	hoisting bool // steps being emitted go to once
	room     int  // floats that hoisted values may still take

	inside map[int]inside // by root: values that are computed where a concatenation wants them
	narrow []bool         // by root: see narrowValues

	stats map[statsKey]ref // normalisation statistics that a step has left
}

type statsKey struct {
	x, groups int
	eps       float64
}

// forever is the last step of a buffer that outlives the run.
const forever = 1 << 30

// lower plans p on the arrays of st. A lean plan computes cheap values again rather
// than keep them, see recompute.
func lower(in *isa, p *engine.Program, st *state, lean bool) (*lowering, error) {
	tasks, root := fuse(p)
	narrow := narrowValues(p, tasks, root)
	if lean {
		p, tasks, root, narrow = recompute(p, tasks, root, narrow)
	}
	l := &lowering{
		isa: in, prog: p, root: root, narrow: narrow, stats: map[statsKey]ref{},
		place: make([]ref, len(p.Values)), lastUse: make([]int, len(p.Values)), room: hoistMost,
	}
	for i, t := range tasks {
		for _, v := range t.reads() {
			l.lastUse[v] = i
		}
	}
	l.inside = insides(p, tasks, root)
	weights := &buffer{mem: st.mem, offset: st.start(engine.Weights), constant: p.Grads == nil}
	grads := &buffer{mem: st.mem, offset: st.start(engine.Grads)}
	for i, v := range p.Params {
		l.place[v] = ref{weights, p.ParamOffset[i]}
	}
	for _, v := range p.Inputs {
		l.place[v] = l.temp(p.Values[v].Size())
		l.place[v].buf.last = forever
		l.lastUse[v] = len(tasks)
	}
	// Gradients are computed where they belong. A value that is the gradient of
	// two parameters, or a leaf, is copied at the end.
	var copies []int
	for i, v := range p.Grads {
		r := root[v]
		if l.place[r].buf != nil {
			copies = append(copies, i)
		} else {
			l.place[r] = ref{grads, p.ParamOffset[i]}
		}
		l.lastUse[r] = len(tasks)
	}
	for _, v := range p.Outputs {
		l.lastUse[root[v]] = len(tasks)
	}
	for i, t := range tasks {
		l.now, l.what, l.flops = i, t.String(), flopsOf(t.op)
		f := lowerings[t.op.Kind]
		if f == nil {
			return nil, fmt.Errorf("the cpu device has no kernel for %v", t.op)
		}
		l.hoist(size(t.op.Out), l.values(t.reads()), func() { f(l, t) })
	}
	for _, i := range copies {
		v := p.Grads[i]
		l.what = "gradient of " + p.Values[p.Params[i]].Name
		l.copyRows(l.value(v), ref{grads, p.ParamOffset[i]}, 1, p.Values[v].Size(), 0, 0)
	}
	for _, v := range p.Outputs {
		l.place[root[v]].buf.last = forever
	}
	return l, nil
}

// hoistMost is how many floats hoisted values may take together: what stays in the last
// cache. Beyond, weights are transformed faster than their transforms, four times as
// large, are read from memory.
const hoistMost = 8 << 20

// hoist calls f, which computes n floats from the values in. If those are constant and
// there is room, so are the buffers that f makes, and the steps that it emits run only
// for new weights.
func (l *lowering) hoist(n int, in []ref, f func()) {
	constant := l.prog.Grads == nil && l.room >= n
	for _, r := range in {
		constant = constant && r.buf != nil && r.buf.constant
	}
	if !constant || l.hoisting {
		f()
		return
	}
	l.hoisting = true
	f()
	l.hoisting = false
	l.room -= n
}

// temp is a new buffer in the arena.
func (l *lowering) temp(size int) ref {
	b := &buffer{size: size, first: len(l.steps)}
	if l.hoisting {
		b.first, b.last, b.constant = 0, forever, true
	}
	l.buffers = append(l.buffers, b)
	return ref{buf: b}
}

// value is where value v is; nowhere for none.
func (l *lowering) value(v int) ref {
	if v == none {
		return ref{}
	}
	return l.place[l.root[v]]
}

// values is where the values are.
func (l *lowering) values(vs []int) []ref {
	refs := make([]ref, len(vs))
	for i, v := range vs {
		refs[i] = l.value(v)
	}
	return refs
}

// output is where value v is to be written. If one of the values in reuse is read
// for the last time by this task and has v's size, v takes its place: the kernel
// must read each entry of it before it writes that entry.
func (l *lowering) output(v int, reuse ...int) ref {
	if v == none {
		return ref{}
	}
	r := l.root[v]
	if l.place[r].buf != nil {
		return l.place[r]
	}
	if in, ok := l.inside[r]; ok {
		l.place[r] = l.output(in.concat).plus(in.offset)
		return l.place[r]
	}
	size := l.prog.Values[v].Size()
	if l.narrow[r] {
		size = ceilDiv(size, 2)
	}
	for _, u := range reuse {
		if u == none {
			continue
		}
		at := l.place[l.root[u]]
		if l.lastUse[l.root[u]] == l.now && at.buf.mem == nil && at.buf.last != forever && at.buf.narrow == l.narrow[r] && at.buf.size == size {
			l.place[r] = at
			return at
		}
	}
	l.place[r] = l.temp(size)
	l.place[r].buf.narrow = l.narrow[r]
	return l.place[r]
}

// emit adds a step.
func (l *lowering) emit(k kernel, parts int, refs []ref, d []int, f ...float32) {
	for _, r := range refs {
		if r.buf != nil && r.buf.last != forever {
			r.buf.last = len(l.steps)
		}
	}
	var flops float64
	switch k {
	case kBF16Conv, kBF16ConvDW, kBF16Attention, kBF16AttentionDX, kGemm, kConvPanels, kConvCols, kConvColsDX, kConvColsDW, kWinoForward, kWinoDW, kWinoDWSmall,
		kAttention, kAttentionDX, kAttentionJVP, kAttentionDX2:
		flops = l.flops
	}
	step := planned{call{kernel: k, parts: parts, d: d, f: f}, refs, l.what, flops}
	if l.hoisting {
		l.once = append(l.once, step)
		return
	}
	l.steps = append(l.steps, step)
}

// arrange places the buffers and returns the size of the arena, in floats.
func (l *lowering) arrange() int {
	extents := make([]arena.Extent, len(l.buffers))
	for i, b := range l.buffers {
		extents[i] = arena.Extent{Size: b.size, First: b.first, Last: b.last}
	}
	offsets, total := arena.Arrange(extents, cacheLine)
	for i, b := range l.buffers {
		b.offset = offsets[i]
	}
	return total
}

// explain lists the steps.
func (l *lowering) explain(name string, total int) string {
	var s strings.Builder
	values := 0
	for _, b := range l.buffers {
		values += alignUp(b.size)
	}
	fmt.Fprintf(&s, "%s: %d operations in %d steps; arena %.2f MB (%.2f MB without sharing), %d parameters\n",
		name, len(l.prog.Steps), len(l.once)+len(l.steps), mb(total), mb(values), l.prog.ParamLen)
	if len(l.once) > 0 {
		fmt.Fprintf(&s, "once for new weights:\n")
		explainSteps(&s, l.once)
		fmt.Fprintf(&s, "in every run:\n")
	}
	explainSteps(&s, l.steps)
	return s.String()
}

func explainSteps(s *strings.Builder, steps []planned) {
	last := ""
	for i, p := range steps {
		what := p.what
		if what == last {
			what = "same"
		}
		last = p.what
		fmt.Fprintf(s, "%4d  %-14s %4d parts %9.3f MB  %s\n", i, p.kernel, p.parts, float64(p.bytes())/(1<<20), what)
	}
}

func mb(floats int) float64 { return float64(floats) * 4 / (1 << 20) }

func channels(s tensor.Shape) int {
	if s.Dims() == 0 {
		return 1
	}
	return s[s.Dims()-1]
}

func size(s tensor.Shape) int { return op.Size(s) }

func ceilDiv(a, b int) int { return (a + b - 1) / b }
