//go:build ddpmcuda

package cuda

import (
	"cmp"
	"fmt"
	"strings"

	"gorgonia.org/cu"
	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/arena"
	"ddpmlab/ddpm/engine/op"
)

// align is the alignment of everything that kernels touch, in floats: 256 bytes, as
// the driver's own allocations.
const align = 64

// alignUp rounds a number of floats up.
func alignUp(n int) int { return (n + align - 1) / align * align }

// buffer is a piece of memory that launches read and write: of the arena, or of the
// state's arrays.
type buffer struct {
	size        int     // floats
	first, last int     // the launches of its life, both included
	mem         *memory // what it is a piece of: the arena, once that exists, or the state
	offset      int     // in mem
}

// place is a place in a buffer; the zero place is nowhere, a null pointer. Numbers there
// are float32, or bfloat16 if it is narrow.
type place struct {
	buf    *buffer
	off    int // numbers
	narrow bool
	size   int // floats of buf that are meant; 0 if it is all
}

func (p place) pointer() cu.DevicePtr {
	if p.buf == nil {
		return 0
	}
	if p.narrow {
		return p.buf.mem.pointer(p.buf.offset) + cu.DevicePtr(2*p.off)
	}
	return p.buf.mem.pointer(p.buf.offset + p.off)
}

// plus is the place n numbers further.
func (p place) plus(n int) place {
	p.off += n
	return p
}

// typed appends which of the places among args are narrow, a bit for each in their order:
// the last argument of kernels that take either kind.
func typed(args ...any) []any {
	var narrow, bit uint32 = 0, 1
	for _, a := range args {
		if p, ok := a.(place); ok {
			if p.narrow {
				narrow |= bit
			}
			bit <<= 1
		}
	}
	return append(args, narrow)
}

// call is the launch of a kernel: a grid of blocks of so many threads. Arguments are
// places, pointers, and numbers of the kernel's types. A library's plan is called with
// itself, images, filters, output and workspace.
type call struct {
	kernel  string
	grid    [3]int
	threads int
	args    []any
}

// most is how many blocks a kernel over n entries has at most; each thread then takes
// several.
const most = 1 << 13

// each is a kernel over n entries.
func each(kernel string, n int, args ...any) call {
	return call{kernel, [3]int{min(most, max(1, ceilDiv(n, 256))), 1, 1}, 256, args}
}

// planned is a launch with what it belongs to, for Explain.
type planned struct {
	call
	what  string
	flops float64 // of a product
}

// bytes is the size of the buffers that the launch touches.
func (p planned) bytes() int {
	floats, seen := 0, map[*buffer]bool{}
	for _, a := range p.args {
		if r, ok := a.(place); ok && r.buf != nil && !seen[r.buf] {
			seen[r.buf] = true
			floats += cmp.Or(r.size, r.buf.size)
		}
	}
	return floats * 4
}

// lowering turns tasks into launches.
type lowering struct {
	prog   *engine.Program
	root   []int
	narrow []bool  // by root: whether the value is kept in bfloat16
	place  []place // by root: where the value is; nowhere until it is computed

	lastUse []int // by root: the last task that reads it; len(tasks) if it is read after the run
	now     int   // the task being lowered
	what    string

	buffers []*buffer // in the arena
	steps   []planned

	stats    map[statsKey]place // normalisation statistics that a launch has left
	attended map[attendedKey]attended

	plan   planner
	copies map[copyOf]place // for tensor cores, or the library
	err    error            // of it

	flat    place // all parameters
	weights place // and in bfloat16; nowhere until they are wanted
}

type statsKey struct {
	x, groups int
	eps       float64
}

// forever is the last launch of a buffer that outlives the run.
const forever = 1 << 30

// lower plans p on the arrays of st, with convolutions as plan chooses. An error may be
// the library's.
func lower(p *engine.Program, st *state, plan planner) (*lowering, error) {
	tasks, root := fuse(p)
	l := &lowering{
		prog: p, root: root, narrow: narrowValues(p, tasks, root), stats: map[statsKey]place{}, attended: map[attendedKey]attended{},
		plan: plan, copies: map[copyOf]place{},
		place: make([]place, len(p.Values)), lastUse: make([]int, len(p.Values)),
	}
	for i, t := range tasks {
		for _, v := range t.reads() {
			l.lastUse[v] = i
		}
	}
	// piece is where parameter i lies in an array of the state.
	piece := func(a engine.Array, i int) place {
		return place{buf: &buffer{size: p.Values[p.Params[i]].Size(), mem: st.mem, offset: st.start(a) + p.ParamOffset[i]}}
	}
	l.flat = place{buf: &buffer{size: p.ParamLen, mem: st.mem, offset: st.start(engine.Weights)}}
	for i, v := range p.Params {
		l.place[v] = piece(engine.Weights, i)
	}
	for _, v := range p.Inputs {
		l.place[v] = l.temp(p.Values[v].Size())
		l.place[v].buf.last = forever
		l.lastUse[v] = len(tasks)
	}
	// Gradients are computed where they belong. A value that is the gradient of two
	// parameters, or a leaf, is copied at the end.
	var copies []int
	for i, v := range p.Grads {
		r := root[v]
		if l.place[r].buf != nil {
			copies = append(copies, i)
		} else {
			l.place[r] = piece(engine.Grads, i)
		}
		l.lastUse[r] = len(tasks)
	}
	for _, v := range p.Outputs {
		l.lastUse[root[v]] = len(tasks)
	}
	for i, t := range tasks {
		l.now, l.what = i, t.String()
		f := lowerings[t.op.Kind]
		if f == nil {
			return nil, fmt.Errorf("the cuda device has no kernel for %v", t.op)
		}
		if f(l, t); l.err != nil {
			return nil, l.err
		}
	}
	for _, i := range copies {
		v := p.Grads[i]
		l.what = "gradient of " + p.Values[p.Params[i]].Name
		n := p.Values[v].Size()
		l.emit(each("scale", n, typed(l.value(v), piece(engine.Grads, i), int64(n), float32(1))...))
	}
	for _, v := range p.Outputs {
		l.place[root[v]].buf.last = forever
	}
	return l, nil
}

// temp is a new buffer in the arena.
func (l *lowering) temp(size int) place {
	b := &buffer{size: size, first: len(l.steps), last: len(l.steps)}
	l.buffers = append(l.buffers, b)
	return place{buf: b}
}

// array is a new one of n numbers.
func (l *lowering) array(n int, narrow bool) place {
	if narrow {
		n = ceilDiv(n, 2)
	}
	at := l.temp(n)
	at.narrow = narrow
	return at
}

// value is where value v is; nowhere for none.
func (l *lowering) value(v int) place {
	if v == none {
		return place{}
	}
	return l.place[l.root[v]]
}

// values is where the values are.
func (l *lowering) values(vs []int) []any {
	var all []any
	for _, v := range vs {
		all = append(all, l.value(v))
	}
	return all
}

// output is where value v is to be written. If one of the values in reuse is read for
// the last time by this task and has v's size, v takes its place: the kernel must read
// each entry of it before it writes that entry, in the same thread.
func (l *lowering) output(v int, reuse ...int) place {
	if v == none {
		return place{}
	}
	r, size := l.root[v], l.prog.Values[v].Size()
	if l.place[r].buf != nil {
		return l.place[r]
	}
	for _, u := range reuse {
		if u == none {
			continue
		}
		at := l.place[l.root[u]]
		if l.lastUse[l.root[u]] == l.now && at.buf.mem == nil && at.buf.last != forever && l.prog.Values[u].Size() == size && at.narrow == l.narrow[r] {
			l.place[r] = at
			return at
		}
	}
	l.place[r] = l.array(size, l.narrow[r])
	return l.place[r]
}

// emit adds a launch.
func (l *lowering) emit(c call) {
	for _, a := range c.args {
		if p, ok := a.(place); ok && p.buf != nil && p.buf.last != forever {
			p.buf.last = len(l.steps)
		}
	}
	l.steps = append(l.steps, planned{call: c, what: l.what})
}

// arrange places the buffers and returns the size of the arena, in floats.
func (l *lowering) arrange() int {
	extents := make([]arena.Extent, len(l.buffers))
	for i, b := range l.buffers {
		extents[i] = arena.Extent{Size: b.size, First: b.first, Last: b.last}
	}
	offsets, total := arena.Arrange(extents, align)
	for i, b := range l.buffers {
		b.offset = offsets[i]
	}
	return total
}

// Count plans p, for which it needs no GPU.
func Count(p *engine.Program) (Numbers, error) {
	l, err := lower(p, &state{n: p.ParamLen, stride: alignUp(p.ParamLen), mem: &memory{}}, ours)
	if err != nil {
		return Numbers{}, err
	}
	n := l.numbers(l.arrange())
	if p.Grads != nil {
		n.Launches += len(p.Inputs) + 1 + len(p.Outputs) + 3 // of a loop: draws, that of the index, keeps; squares, judge, adamw
		n.Bytes += 4 * float64(p.ParamLen) * (1 + 9)         // of adamw: five arrays read, four written
	}
	return n, nil
}

// numbers is what the plan takes; total is the size of the arena in floats.
func (l *lowering) numbers(total int) Numbers {
	n := Numbers{Operations: len(l.prog.Steps), Launches: len(l.steps), Arena: 4 * total}
	for _, p := range l.steps {
		n.Flops += p.flops
		n.Bytes += float64(p.bytes())
	}
	return n
}

// explain lists the launches.
func (l *lowering) explain(name string, total int) string {
	var s strings.Builder
	n := l.numbers(total)
	fmt.Fprintf(&s, "%s: %d operations in %d launches; arena %.2f MB, %d parameters; %.4g GFLOP and %.4g GB of operands a run\n",
		name, n.Operations, n.Launches, float64(n.Arena)/(1<<20), l.prog.ParamLen, n.Flops/1e9, n.Bytes/1e9)
	last := ""
	for i, p := range l.steps {
		what := p.what
		if what == last {
			what = "same"
		}
		last = p.what
		fmt.Fprintf(&s, "%4d  %-20s %6d blocks %9.3f MB %9.4g GFLOP  %s\n", i, p.kernel, p.grid[0]*p.grid[1], float64(p.bytes())/(1<<20), p.flops/1e9, what)
	}
	return s.String()
}

func channels(s tensor.Shape) int {
	if s.Dims() == 0 {
		return 1
	}
	return s[s.Dims()-1]
}

func size(s tensor.Shape) int { return op.Size(s) }

func ceilDiv(a, b int) int { return (a + b - 1) / b }
