//go:build ddpmcuda

package cuda

import (
	"context"
	"errors"
	"fmt"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda/cudrv"
)

// exec is a program with its memory and its launches.
type exec struct {
	d     *device
	prog  *engine.Program
	state *state // kept: the launches point into it
	plan  *lowering
	arena []*memory    // one, or one for each buffer
	total int          // floats of arena
	graph *cudrv.Graph // of a run
}

// load is loadPlanned with the library if that works, else without.
func load(d *device, p *engine.Program, st *state) (*exec, error) {
	e, err := loadPlanned(d, p, st, d.plan)
	if err != nil {
		if err := d.withoutLibrary(err); err != nil {
			return nil, err
		}
		return loadPlanned(d, p, st, ours)
	}
	if d.library != nil {
		if err := d.library.findings.save(); err != nil {
			d.say("how convolutions are computed fastest is not kept: %v", err)
		}
	}
	return e, nil
}

func loadPlanned(d *device, p *engine.Program, st *state, choose planner) (*exec, error) {
	plan, err := lower(p, st, choose)
	if err != nil {
		return nil, err
	}
	e := &exec{d: d, prog: p, state: st, plan: plan, total: plan.arrange()}
	if err := e.allocate(); err != nil {
		var full *outOfMemory
		if errors.As(err, &full) && len(p.Inputs) > 0 && e.total > 0 {
			err = fmt.Errorf("%w%s", err, advice(p, full))
		}
		return nil, errors.Join(err, e.release())
	}
	return e, nil
}

// advice names a batch that would fit: what the arena takes grows with it.
func advice(p *engine.Program, full *outOfMemory) string {
	batch := 1
	if s := p.Values[p.Inputs[0]].Shape; s.Dims() > 0 {
		batch = s[0]
	}
	if fit := int(float64(batch) * 0.95 * float64(full.free) / float64(full.wanted)); fit > 0 {
		return fmt.Sprintf("; a batch of %d instead of %d would fit", fit, batch)
	}
	return "; lower model.channels or model.size"
}

func (e *exec) allocate() error {
	if !e.d.separate {
		m, err := e.d.allocate(e.total)
		if err != nil {
			return err
		}
		e.arena = []*memory{m}
		for _, b := range e.plan.buffers {
			b.mem = m
		}
		return nil
	}
	for _, b := range e.plan.buffers {
		m, err := e.d.allocate(b.size)
		if err != nil {
			return err
		}
		e.arena = append(e.arena, m)
		b.mem, b.offset = m, 0
	}
	return nil
}

// at is where value v is.
func (e *exec) at(v int) place { return e.plan.value(v) }

func (e *exec) Set(input int, src []float32) {
	v := e.prog.Inputs[input]
	sameLength(e.prog.Values[v].Size(), len(src))
	e.d.must("set an input", func() error { return cudrv.Upload(e.at(v).pointer(), src) })
}

func (e *exec) Get(output int, dst []float32) {
	v := e.prog.Outputs[output]
	sameLength(e.prog.Values[v].Size(), len(dst))
	e.d.must("get an output", func() error { return cudrv.Download(dst, e.at(v).pointer()) })
}

// errClosed is returned by a run on memory that has been given back.
var errClosed = errors.New("run: the program or its state has been closed; load it again")

func (e *exec) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := e.d.do(func() error {
		if e.closed() {
			return errClosed
		}
		if err := e.replay(&e.graph, e.queue); err != nil {
			return err
		}
		return e.d.wait()
	})
	if err != nil {
		return err
	}
	return ctx.Err()
}

func (e *exec) closed() bool { return e.arena == nil || e.state.mem.at == 0 }

// replay queues what queue does, as a graph that is recorded the first time, without the library
// if that fails.
func (e *exec) replay(graph **cudrv.Graph, queue func() error) error {
	err := e.d.replay(graph, queue)
	if _, ok := errors.AsType[*libraryError](err); ok {
		if err = e.replace(err); err == nil {
			err = e.d.replay(graph, queue)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.d.name, err)
	}
	return nil
}

// replace lowers the program anew without the library, which has failed, and keeps its
// inputs.
func (e *exec) replace(failure error) error {
	inputs := make([][]float32, len(e.prog.Inputs))
	for i, v := range e.prog.Inputs {
		inputs[i] = make([]float32, e.prog.Values[v].Size())
		if err := cudrv.Download(inputs[i], e.at(v).pointer()); err != nil {
			return err
		}
	}
	if err := errors.Join(e.d.withoutLibrary(failure), e.release()); err != nil {
		return err
	}
	own, err := loadPlanned(e.d, e.prog, e.state, ours)
	if err != nil {
		return err
	}
	*e = *own
	for i, v := range e.prog.Inputs {
		if err := cudrv.Upload(e.at(v).pointer(), inputs[i]); err != nil {
			return err
		}
	}
	return nil
}

// queue launches the kernels one after the other.
func (e *exec) queue() error {
	for _, s := range e.plan.steps {
		if err := e.d.launchPlanned(s); err != nil {
			return err
		}
	}
	return nil
}

func (e *exec) Explain() string { return e.plan.explain(e.d.name, e.total) }

func (e *exec) Close() error { return e.d.thread.do(e.release) }

// release frees what e has, on the GPU's thread.
func (e *exec) release() error {
	err := e.graph.Close()
	e.graph = nil
	for _, m := range e.arena {
		err = errors.Join(err, m.free())
	}
	e.arena = nil
	return err
}
