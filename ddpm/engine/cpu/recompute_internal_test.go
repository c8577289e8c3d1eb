package cpu

import (
	"fmt"
	"slices"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
)

// deep is a stack of residual blocks: each has two normalisations that the backward
// pass wants again, one of them under a dropout, and half the blocks a concatenation.
func deep(t *testing.T) *engine.Program {
	g := engine.NewGraph()
	x, ctr := g.Input("x", 16, 16, 16, 32), g.Input("ctr", 16, 4)
	ab := g.Input("ab", 16, 32)
	h := x
	var params []*op.Node
	for i := range 6 {
		w, v := g.Param(fmt.Sprint("w", i), 3, 3, 32, 32), g.Param(fmt.Sprint("v", i), 1, 1, 64, 32)
		params = append(params, w, v)
		y := op.Dropout(op.GNAct(h, ab, ab, 8), ctr, 0.1, [2]uint32{1, 2})
		y = op.Conv(y, w, 1, 1)
		h = op.Add(h, op.Conv(op.Concat(y, op.SiLU(h)), v, 1, 0))
	}
	loss := op.SquareSum(h)
	grads, err := grad.Grad(loss, params...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Compile(engine.Spec{Inputs: []*op.Node{x, ctr, ab}, Params: params, Outputs: []*op.Node{loss}, Grads: grads})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRecompute wants the same bits in a smaller arena.
func TestRecompute(t *testing.T) {
	p := deep(t)
	run := func(keep bool) (arena int, grads []float32) {
		d, err := New(2)
		if err != nil {
			t.Fatal(err)
		}
		d.(*device).keep = keep
		s, err := d.NewState(p.ParamLen)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		e, err := d.Load(p, s)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		numbers := func(n int) []float32 {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32((i*7+n)%23-11) / 100
			}
			return x
		}
		s.Set(engine.Weights, numbers(p.ParamLen))
		for i, v := range p.Inputs {
			e.Set(i, numbers(p.Values[v].Size()))
		}
		if err := e.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		grads = make([]float32, s.Len())
		s.Get(engine.Grads, grads)
		return e.(*exec).total, grads
	}
	kept, want := run(true)
	lean, got := run(false)
	if lean > kept*9/10 {
		t.Errorf("the arena has %d floats, %d without recomputation: want nine tenths at most", lean, kept)
	}
	if slices.Max(want) == 0 || !slices.Equal(got, want) {
		t.Error("recomputation changes gradients")
	}
}

// TestRecomputePeak: each schedule accepted is a valid order with a lower peak.
func TestRecomputePeak(t *testing.T) {
	p := deep(t)
	tasks, root := fuse(p)
	narrow := narrowValues(p, tasks, root)
	before, _ := scheduleOf(p, tasks, root, narrow).peak()
	p, tasks, root, narrow = recompute(p, tasks, root, narrow)
	s := scheduleOf(p, tasks, root, narrow)
	if after, _ := s.peak(); after >= before {
		t.Errorf("the peak is %d floats, was %d", after, before)
	}
	known := map[int]bool{}
	for _, v := range slices.Concat(p.Inputs, p.Params) {
		known[v] = true
	}
	for i, task := range tasks {
		for _, v := range task.reads() {
			if !known[v] {
				t.Fatalf("task %d, %v, reads value %d before it is computed", i, task, v)
			}
		}
		for _, v := range task.out {
			known[v] = true
		}
	}
}
