package cpu

import (
	"context"
	"errors"
	"fmt"

	"ddpmlab/ddpm/engine"
)

// exec is a program with its arena and its steps in C memory.
type exec struct {
	prog  *engine.Program
	plan  *lowering
	state *state // kept: the steps point into it
	arena *memory
	total int // floats of arena
	job   *job
	name  string

	once    *job  // what depends on the weights alone; nil for nothing
	version int64 // of the weights that once has run for
}

func load(d *device, p *engine.Program, st *state) (*exec, error) {
	// Only a backward pass waits long for what the forward pass computes.
	plan, err := lower(d.isa, p, st, p.Grads != nil && !d.keep)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	e := &exec{prog: p, plan: plan, state: st, total: plan.arrange(), name: d.Name()}
	if e.arena, err = newMemory(e.total); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	for _, b := range plan.buffers {
		b.mem = e.arena
	}
	e.job, err = newJob(d.isa, d.threads, calls(plan.steps))
	if err == nil && len(plan.once) > 0 {
		e.once, err = newJob(d.isa, d.threads, calls(plan.once))
	}
	if err != nil {
		_ = e.Close()
		return nil, fmt.Errorf("load: %w", err)
	}
	return e, nil
}

// calls are steps with the addresses of their operands, which are placed.
func calls(steps []planned) []call {
	c := make([]call, len(steps))
	for i, s := range steps {
		c[i] = s.call
		for _, r := range s.refs {
			c[i].p = append(c[i].p, r.at())
		}
	}
	return c
}

// floats is the memory of value v.
func (e *exec) floats(v int) []float32 {
	r := e.plan.value(v)
	return r.buf.mem.floats[r.buf.offset+r.off:][:e.prog.Values[v].Size()]
}

func (e *exec) Set(input int, src []float32)  { exactCopy(e.floats(e.prog.Inputs[input]), src) }
func (e *exec) Get(output int, dst []float32) { exactCopy(dst, e.floats(e.prog.Outputs[output])) }

// errClosed is returned by a run on memory that has been given back.
var errClosed = errors.New("run: the program or its state has been closed; load it again")

func (e *exec) Run(ctx context.Context) error {
	if e.arena.bytes == nil || e.state.mem.bytes == nil {
		return errClosed
	}
	if e.once != nil && e.version != e.state.version {
		if err := e.once.execute(ctx); err != nil {
			return err
		}
		e.version = e.state.version
	}
	return e.job.execute(ctx)
}

func (e *exec) Explain() string { return e.plan.explain(e.name, e.total) }

func (e *exec) Close() error {
	for _, j := range []*job{e.job, e.once} {
		if j != nil {
			j.close()
		}
	}
	return e.arena.close()
}
