package cpu

import (
	"fmt"
	"slices"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// task is one or several steps of a program that a kernel computes together.
// Values are named by their roots: a reshape is its input under another name.
type task struct {
	op      *op.Op
	in      []int
	out     []int // more than one for a group of siblings; none where one is not wanted
	offsets []int // of a Pad: the first channel of each input
	// What is added on the way out of a convolution or product: a value a
	// channel, and a value of the output's size; none if there is none.
	bias, add int
	scale     int  // of a normalisation: what it is multiplied by before, a value a channel
	relu      bool // of a convolution: the result passes through a ReLU, see lower_infer.go
	again     bool // computed a second time, see recompute
}

const none = -1

// reads lists the values that t reads.
func (t *task) reads() []int {
	r := slices.Clone(t.in)
	for _, v := range []int{t.scale, t.bias, t.add} {
		if v != none {
			r = append(r, v)
		}
	}
	return r
}

// overwritable is the addend, if the output may take its place: not if the
// product also reads it elsewhere.
func (t *task) overwritable() int {
	if slices.Contains(t.in, t.add) || t.add == t.bias {
		return none
	}
	return t.add
}

// once is input i of t, if no other input is the same value; else none.
func (t *task) once(i int) int {
	for j, v := range t.in {
		if j != i && v == t.in[i] {
			return none
		}
	}
	return t.in[i]
}

// String is what Explain prints.
func (t *task) String() string {
	s := fmt.Sprintf("%v %v -> %v", t.op.Kind, t.op.In, t.op.Out)
	if t.scale != none {
		s += " * scale"
	}
	if t.bias != none {
		s += " + bias"
	}
	if t.add != none {
		s += " + addend"
	}
	if t.relu {
		s += ", ReLU"
	}
	if len(t.offsets) > 1 {
		s += fmt.Sprintf(" of %d", len(t.offsets))
	}
	if t.again {
		s += ", again"
	}
	if len(t.out) > 1 {
		s += " and its siblings"
	}
	return s
}

// fuser turns the steps of a program into tasks.
type fuser struct {
	prog  *engine.Program
	root  []int   // by value
	maker []*task // by root: the task that computes it, nil for a leaf
	uses  []int   // by root: tasks that read it, counting outputs and gradients
	tasks []*task
}

// fuse returns the tasks of p in order, and the root of each value. It
// recognises, so far:
//   - Reshape: another name for the same memory;
//   - Conv, ConvDX, MatMul, followed by Add of a broadcast bias or of any other
//     value: both are added as the result is written;
//   - GroupNorm followed by Mul with a broadcast scale, and by Add of a broadcast
//     bias: both are applied as the result is written;
//   - ReLU of a convolution and its bias;
//   - in programs that do not train, Concat of a Concat: a Concat of more;
//   - Add of Pads that fill different channels, as the gradient of slices is: a
//     Pad of several inputs;
//   - the gradients of a GNAct for all its inputs, and those of a GNActDX: one
//     kernel computes them all.
func fuse(p *engine.Program) (tasks []*task, root []int) {
	f := &fuser{prog: p, root: make([]int, len(p.Values)), maker: make([]*task, len(p.Values)), uses: make([]int, len(p.Values))}
	for v := range f.root {
		f.root[v] = v
	}
	for _, s := range p.Steps {
		if s.Op.Kind == op.KindReshape || s.Op.Kind == op.KindCopy {
			f.root[s.Out] = f.root[s.In[0]]
			continue
		}
		for _, v := range s.In {
			f.uses[f.root[v]]++
		}
	}
	for _, v := range slices.Concat(p.Outputs, p.Grads) {
		f.uses[f.root[v]]++
	}

	siblings := map[string]*task{}
	for _, s := range p.Steps {
		switch s.Op.Kind {
		case op.KindReshape, op.KindCopy:
		case op.KindAdd:
			if !f.fuseAdd(s) && !f.joinPads(s) {
				f.append(s)
			}
		case op.KindMul:
			if !f.fuseScale(s) {
				f.append(s)
			}
		case op.KindReLU:
			if !f.fuseReLU(s) {
				f.append(s)
			}
		case op.KindConcat:
			f.joinConcats(f.append(s))
		case op.KindGNActDX, op.KindGNActDA, op.KindGNActDB:
			f.group(s, op.KindGNActDX, 3, siblings)
		case op.KindGNActDXDX, op.KindGNActDXDA, op.KindGNActDXDB, op.KindGNActDXDG:
			f.group(s, op.KindGNActDXDX, 4, siblings)
		default:
			f.append(s)
		}
	}
	f.tasks = slices.DeleteFunc(f.tasks, func(t *task) bool { return t == nil })
	return f.tasks, f.root
}

func (f *fuser) append(s engine.Step) *task {
	t := &task{op: s.Op, out: []int{s.Out}, bias: none, add: none, scale: none}
	for _, v := range s.In {
		t.in = append(t.in, f.root[v])
	}
	if s.Op.Kind == op.KindPad {
		t.offsets = []int{s.Op.Offset()}
	}
	f.maker[s.Out] = t
	f.tasks = append(f.tasks, t)
	return t
}

// fuseAdd makes the addition s part of the product that computes one of its
// operands, if nothing else reads that one. The product then runs where s was.
func (f *fuser) fuseAdd(s engine.Step) bool {
	a, b := f.root[s.In[0]], f.root[s.In[1]]
	if a == b {
		return false
	}
	for _, pair := range [][2]int{{b, a}, {a, b}} {
		x, other := pair[0], pair[1]
		t := f.maker[x]
		if t == nil || f.uses[x] != 1 || !hasEpilogue(t.op.Kind) {
			continue
		}
		switch {
		case t.bias == none && f.isBias(t, other):
			t.bias = f.takeBias(other)
		case t.add == none && t.op.Kind != op.KindGroupNorm:
			t.add = other
		default:
			continue
		}
		f.moveTo(s, t)
		return true
	}
	return false
}

func hasEpilogue(k op.Kind) bool {
	return k == op.KindConv || k == op.KindConvDX || k == op.KindMatMul || k == op.KindGroupNorm
}

// fuseScale makes the multiplication s part of the GroupNorm that computes one of its
// operands, if nothing else reads that one, and the other is a scale for each channel.
func (f *fuser) fuseScale(s engine.Step) bool {
	a, b := f.root[s.In[0]], f.root[s.In[1]]
	for _, pair := range [][2]int{{a, b}, {b, a}} {
		x, other := pair[0], pair[1]
		t := f.maker[x]
		if t != nil && t.op.Kind == op.KindGroupNorm && f.uses[x] == 1 && t.scale == none && t.bias == none && f.isBias(t, other) {
			t.scale = f.takeBias(other)
			f.moveTo(s, t)
			return true
		}
	}
	return false
}

// moveTo has t, which now computes what s did, run where s was.
func (f *fuser) moveTo(s engine.Step, t *task) {
	f.maker[t.out[0]], f.maker[s.Out] = nil, t
	t.out[0] = s.Out
	f.tasks[slices.Index(f.tasks, t)] = nil
	f.tasks = append(f.tasks, t)
}

// isBias tells whether v repeats a value for each channel of the output of t.
func (f *fuser) isBias(t *task, v int) bool {
	b := f.maker[v]
	return b != nil && b.op.Kind == op.KindBroadcast && b.op.Axes() == op.PerChannel && channels(b.op.Out) == channels(t.op.Out)
}

// takeBias returns what v repeats, and drops the repetition if nothing else reads it.
func (f *fuser) takeBias(v int) int {
	b := f.maker[v]
	if f.uses[v]--; f.uses[v] == 0 {
		f.tasks[slices.Index(f.tasks, b)] = nil
		f.maker[v] = nil
	} else {
		f.uses[b.in[0]]++
	}
	return b.in[0]
}

// joinPads makes one Pad of the two that s adds up, if nothing else reads them
// and no channel is in both.
func (f *fuser) joinPads(s engine.Step) bool {
	a, b := f.maker[f.root[s.In[0]]], f.maker[f.root[s.In[1]]]
	if a == nil || b == nil || a == b || a.offsets == nil || b.offsets == nil || f.uses[a.out[0]] != 1 || f.uses[b.out[0]] != 1 ||
		!slices.Equal(a.op.Out, b.op.Out) {
		return false
	}
	for i, off := range a.offsets {
		for j, other := range b.offsets {
			if off < other+f.width(b.in[j], b) && other < off+f.width(a.in[i], a) {
				return false
			}
		}
	}
	b.in, b.offsets = append(a.in, b.in...), append(a.offsets, b.offsets...)
	f.maker[a.out[0]], f.maker[b.out[0]], f.maker[s.Out] = nil, nil, b
	f.tasks[slices.Index(f.tasks, a)] = nil
	f.tasks[slices.Index(f.tasks, b)] = nil
	f.tasks = append(f.tasks, b)
	b.out[0] = s.Out
	return true
}

// width is the number of channels of v, an input of the Pad t.
func (f *fuser) width(v int, t *task) int {
	return f.prog.Values[v].Size() / (size(t.op.Out) / channels(t.op.Out))
}

// group makes s an output of the first of its siblings, of which there may be n,
// of the kinds from first on.
func (f *fuser) group(s engine.Step, first op.Kind, n int, siblings map[string]*task) {
	roots := make([]int, len(s.In))
	for i, v := range s.In {
		roots[i] = f.root[v]
	}
	key := fmt.Sprint(first, roots, s.Op.Groups(), s.Op.F)
	t := siblings[key]
	if t == nil {
		t = f.append(s)
		t.out = slices.Repeat([]int{none}, n)
		siblings[key] = t
	}
	t.out[s.Op.Kind-first] = s.Out
	f.maker[s.Out] = t
}
