package cpu

import (
	"slices"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// cheap kinds take one pass over memory: their results may be computed again when
// the backward pass wants them instead of being kept since the forward pass (Chen
// et al. 2016, without the recomputation of products).
func cheap(k op.Kind) bool {
	switch k {
	case op.KindGNAct, op.KindGroupNorm, op.KindDropout, op.KindSiLU, op.KindConcat, op.KindSlice, op.KindUpsample,
		op.KindPoolSum, op.KindSplitHeads, op.KindMergeHeads, op.KindAdd, op.KindMul, op.KindScale, op.KindAddConst:
		return true
	}
	return false
}

// small values (scales and shifts of a normalisation) may live longer for a recomputation.
const small = 1 << 15

// schedule is the tasks of a program in order, and the lives of the values that take
// room in the arena.
type schedule struct {
	prog        *engine.Program
	tasks       []*task
	root        []int
	narrow      []bool
	maker       []int // by root: the task that computes it, none for a leaf
	first, last []int // by root: the tasks between which it takes room; first is none if it takes none
}

func scheduleOf(p *engine.Program, tasks []*task, root []int, narrow []bool) *schedule {
	n := len(p.Values)
	s := &schedule{prog: p, tasks: tasks, root: root, narrow: narrow}
	s.maker, s.first, s.last = slices.Repeat([]int{none}, n), slices.Repeat([]int{none}, n), slices.Repeat([]int{none}, n)
	for i, t := range tasks {
		for _, v := range t.out {
			if v != none {
				s.maker[v], s.first[v], s.last[v] = i, i, i
			}
		}
		for _, v := range t.reads() {
			s.last[v] = i
		}
	}
	for _, v := range p.Outputs {
		s.last[root[v]] = len(tasks)
	}
	for _, v := range p.Grads {
		s.first[root[v]], s.last[root[v]] = none, len(tasks)
	}
	for _, v := range slices.Concat(p.Inputs, p.Params) {
		s.last[v] = len(tasks)
	}
	return s
}

// size is the room that v takes, in floats.
func (s *schedule) size(v int) int {
	n := s.prog.Values[v].Size()
	if s.narrow[v] {
		return ceilDiv(n, 2)
	}
	return n
}

// peak is the largest number of floats that live at the same time, and when.
func (s *schedule) peak() (floats, at int) {
	change := make([]int, len(s.tasks)+2)
	for v, i := range s.first {
		if i != none {
			change[i] += s.size(v)
			change[s.last[v]+1] -= s.size(v)
		}
	}
	now := 0
	for i, d := range change {
		if now += d; now > floats {
			floats, at = now, i
		}
	}
	return floats, at
}

// recompute has cheap values computed again that only wait where memory is at its
// peak, the largest first, as long as that lowers the peak. The tasks it returns
// compute the same numbers.
func recompute(p *engine.Program, tasks []*task, root []int, narrow []bool) (*engine.Program, []*task, []int, []bool) {
	s := scheduleOf(p, tasks, root, narrow)
	floats, at := s.peak()
	tried := map[int]bool{}
	for {
		best := none
		for v, i := range s.first {
			if i == none || i >= at || s.last[v] <= at || tried[v] || !s.again(v) {
				continue
			}
			if best == none || s.size(v) > s.size(best) {
				best = v
			}
		}
		if best == none {
			return s.prog, s.tasks, s.root, s.narrow
		}
		tried[best] = true
		if leaner := s.split(best, at); leaner != nil {
			if f, a := leaner.peak(); f < floats {
				s, floats, at = leaner, f, a
				tried = map[int]bool{}
			}
		}
	}
}

// again tells whether the task that computes v may run a second time.
func (s *schedule) again(v int) bool {
	if s.maker[v] == none {
		return false
	}
	t := s.tasks[s.maker[v]]
	return cheap(t.op.Kind) && t.scale == none && t.bias == none && t.add == none && s.last[v] < len(s.tasks)
}

// split returns the schedule in which v dies before the task at, and what reads it
// later reads a second v, computed just before; nil if at itself reads v, or if what
// v is computed from is gone by then.
func (s *schedule) split(v, at int) *schedule {
	next := none // the first task after at that reads v
	for i := at; i < len(s.tasks) && next == none; i++ {
		if slices.Contains(s.tasks[i].reads(), v) {
			next = i
		}
	}
	if next <= at {
		return nil
	}
	p := *s.prog
	p.Values = slices.Clone(p.Values)
	root, narrow := slices.Clone(s.root), slices.Clone(s.narrow)
	var more []*task
	var copyOf func(v int) int
	copyOf = func(v int) int {
		if !s.again(v) {
			return none
		}
		t := *s.tasks[s.maker[v]]
		t.in, t.again = slices.Clone(t.in), true
		for i, u := range t.in {
			if s.last[u] >= next || p.Values[u].Size() <= small {
				continue
			}
			if t.in[i] = copyOf(u); t.in[i] == none {
				return none
			}
		}
		w := len(p.Values)
		p.Values, root, narrow = append(p.Values, p.Values[v]), append(root, w), append(narrow, narrow[v])
		t.out = []int{w}
		more = append(more, &t)
		return w
	}
	w := copyOf(v)
	if w == none {
		return nil
	}
	tasks := slices.Concat(s.tasks[:next], more)
	for _, t := range s.tasks[next:] {
		tasks = append(tasks, t.reading(w, v))
	}
	return scheduleOf(&p, tasks, root, narrow)
}

// reading is t with w in the place of v.
func (t *task) reading(w, v int) *task {
	if !slices.Contains(t.reads(), v) {
		return t
	}
	c := *t
	c.in = slices.Clone(t.in)
	for i := range c.in {
		if c.in[i] == v {
			c.in[i] = w
		}
	}
	for _, u := range []*int{&c.scale, &c.bias, &c.add} {
		if *u == v {
			*u = w
		}
	}
	return &c
}
