//go:build ddpmcuda

package cuda

import (
	"fmt"
	"slices"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// task is one or several steps of a program that are launched together. Values are
// named by their roots: a reshape is its input under another name.
type task struct {
	op  *op.Op
	in  []int
	out []int // more than one for a group of siblings; none where one is not wanted
	// What is added on the way out of a product: a value a channel, and a value of
	// the output's size, also of a normalisation's gradient; none if there is none.
	bias, add int
	factor    int // of a multiplication: a value a channel; none if both operands are of one size
}

const none = -1

// reads lists the values that t reads.
func (t *task) reads() []int {
	r := slices.Clone(t.in)
	for _, v := range []int{t.bias, t.add, t.factor} {
		if v != none {
			r = append(r, v)
		}
	}
	return r
}

// String is what Explain prints.
func (t *task) String() string {
	s := t.op.String()
	if t.factor != none {
		s += " by channel"
	}
	if t.bias != none {
		s += " + bias"
	}
	if t.add != none {
		s += " + addend"
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

// fuse returns the tasks of p in order, and the root of each value. Reshapes go
// away; a bias or another addend of a product, and what is added to a normalisation's
// gradient, is added as that is written; what is repeated for each channel to be
// multiplied with is read as it is; the gradients of a normalisation for all its
// inputs are one task.
func fuse(p *engine.Program) (tasks []*task, root []int) {
	f := &fuser{prog: p, root: make([]int, len(p.Values)), maker: make([]*task, len(p.Values)), uses: make([]int, len(p.Values))}
	for v := range f.root {
		f.root[v] = v
	}
	for _, s := range p.Steps {
		if isName(s.Op.Kind) {
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
	attention := map[attendedKey]int{}
	for _, s := range p.Steps {
		switch k := s.Op.Kind; {
		case isName(k):
		case k == op.KindAdd && f.fuseAdd(s):
		case k == op.KindMul:
			f.multiply(s)
		case k >= op.KindGNActDX && k <= op.KindGNActDB:
			f.group(s, op.KindGNActDX, 3, siblings)
		case k >= op.KindGNActDXDX && k <= op.KindGNActDXDG:
			f.group(s, op.KindGNActDXDX, 4, siblings)
		case k == op.KindAttention || k == op.KindAttentionDX:
			f.attend(s, attention)
		default:
			f.append(s)
		}
	}
	return slices.DeleteFunc(f.tasks, func(t *task) bool { return t == nil }), f.root
}

// isName tells whether an operation gives its input another name.
func isName(k op.Kind) bool { return k == op.KindReshape || k == op.KindCopy }

func (f *fuser) append(s engine.Step) *task {
	t := &task{op: s.Op, out: []int{s.Out}, bias: none, add: none, factor: none}
	for _, v := range s.In {
		t.in = append(t.in, f.root[v])
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
		if t == nil || f.uses[x] != 1 {
			continue
		}
		switch {
		case t.bias == none && t.takesBias() && f.isBias(t, other):
			t.bias = f.takeBias(other)
		case t.add == none && f.takesAddend(t.op):
			t.add = other
		case t.add == none && isNormGrad(t) && x == t.out[0] && f.precedes(other, t):
			t.add = other
			f.maker[x], f.maker[s.Out], t.out[0] = nil, t, s.Out
			return true
		default:
			continue
		}
		f.drop(t)
		f.tasks = append(f.tasks, t)
		f.maker[x], f.maker[s.Out], t.out[0] = nil, t, s.Out
		return true
	}
	return false
}

// isNormGrad tells whether t is the gradients of a normalisation.
func isNormGrad(t *task) bool {
	return t.op.Kind == op.KindGroupNorm1 || t.op.Kind >= op.KindGNActDX && t.op.Kind <= op.KindGNActDB
}

// precedes tells whether v is computed before t, which stays where it is.
func (f *fuser) precedes(v int, t *task) bool {
	m := f.maker[v]
	return m == nil || slices.Index(f.tasks, m) < slices.Index(f.tasks, t)
}

func (t *task) takesBias() bool {
	o := t.op
	return o.Kind == op.KindConv || o.Kind == op.KindMatMul && !o.TransA() && !o.TransB() || t.factor != none
}

// takesAddend tells whether o is computed by the kernel of a convolution or of its
// gradient for x; products of matrices are in bfloat16.
func (f *fuser) takesAddend(o *op.Op) bool {
	c, ok := convOf(o)
	return ok && c.kind != op.KindConvDW && (o.Kind != op.KindMatMul || c.bfloat16(f.prog.Precision))
}

func (f *fuser) drop(t *task) { f.tasks[slices.Index(f.tasks, t)] = nil }

// multiply makes s a task. A value that is repeated for each channel is read as it is.
func (f *fuser) multiply(s engine.Step) {
	t := f.append(s)
	for i, v := range t.in {
		if t.in[0] != t.in[1] && f.isBias(t, v) {
			t.in, t.factor = []int{t.in[1-i]}, f.takeBias(v)
			return
		}
	}
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
		f.drop(b)
		f.maker[v] = nil
	} else {
		f.uses[b.in[0]]++
	}
	return b.in[0]
}

// group makes s an output of the first of its siblings, of which there may be n, of
// the kinds from first on.
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

// attend makes s a task. The gradient reads what attention returned, where that is computed.
func (f *fuser) attend(s engine.Step, attention map[attendedKey]int) {
	t, key := f.append(s), attendedKey{f.root[s.In[0]], s.Op.Heads()}
	if s.Op.Kind == op.KindAttention {
		attention[key] = s.Out
	} else if y, ok := attention[key]; ok {
		t.in = append(t.in, y)
		f.uses[y]++
	}
}
