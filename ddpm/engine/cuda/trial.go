//go:build ddpmcuda

package cuda

import (
	"errors"
	"fmt"
	"math"

	"gorgonia.org/cu"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda/cudnn"
	"ddpmlab/ddpm/engine/cuda/cudrv"
	"ddpmlab/ddpm/engine/op"
)

// program is j alone, with what stands around it in a network: its operands become what
// the library wants, and its output becomes float32.
func (j job) program() (*engine.Program, error) {
	g := engine.NewGraph()
	x, w := g.Input("x", j.N, j.H, j.W, j.C), g.Input("w", j.R, j.S, j.C, j.K)
	y := op.ConvPadded(x, w, j.Stride, j.Pad, j.PadX)
	spec := engine.Spec{Inputs: []*op.Node{x, w}, Outputs: []*op.Node{y}, Precision: engine.Float32}
	if j.Type == cudnn.BFloat16 {
		spec.Precision = engine.BFloat16
	}
	if j.Direction != cudnn.Forward {
		gy := g.Input("gy", y.Shape()...)
		grads, err := op.VJP(y, gy, []*op.Node{x, w}[j.Direction-cudnn.Data:][:1])
		if err != nil {
			return nil, err
		}
		spec.Inputs, spec.Outputs = append(spec.Inputs, gy), grads
	}
	return engine.Compile(spec)
}

// depth is how many products an entry of the output is the sum of, at most.
func (j job) depth() int {
	switch j.Direction {
	case cudnn.Forward:
		return j.R * j.S * j.C
	case cudnn.Data:
		return j.R * j.S * j.K
	}
	return j.pixels()
}

// pixels is how many the output has in direction Forward, in all images.
func (j job) pixels() int {
	h, w := j.Out()
	return j.N * h * w
}

// trial is a program of one convolution on noise, by the library's plan p or by our own
// kernel.
func (l *library) trial(j job, p *cudnn.Plan) (e *exec, err error) {
	program, err := j.program()
	if err != nil {
		return nil, err
	}
	s, err := newState(l.d, 0)
	if err != nil {
		return nil, err
	}
	e, err = loadPlanned(l.d, program, s, func(job) (*cudnn.Plan, error) { return p, nil })
	if err != nil {
		return nil, errors.Join(err, s.mem.free())
	}
	return e, e.prepare()
}

// prepare fills the inputs of a trial with noise, and all else with what is no number.
func (e *exec) prepare() (err error) {
	for _, m := range e.arena {
		err = errors.Join(err, cu.MemsetD8(m.at, 0xff, 4*int64(m.floats)))
	}
	for i, v := range e.prog.Inputs {
		n := e.prog.Values[v].Size()
		err = errors.Join(err, e.d.queue(each("noise", n, e.at(v), int64(n), uint32(i)<<28)))
	}
	return err
}

// end gives back what a trial has.
func (e *exec) end() error { return errors.Join(e.release(), e.state.mem.free()) }

// runs is how often a trial's convolution is timed, after once that does not count.
const runs = 3

// time is how long the library's plan p or our own kernel takes for j, in seconds: the
// least of several times.
func (l *library) time(j job, p *cudnn.Plan) (seconds float64, err error) {
	e, err := l.trial(j, p)
	if e == nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.end()) }()
	if err = errors.Join(err, e.queue()); err != nil {
		return 0, err
	}
	for i := range runs {
		s, err := e.once()
		if err != nil {
			return 0, err
		}
		if i == 0 || s < seconds {
			seconds = s
		}
	}
	return seconds, nil
}

// once is how long the launches take, in seconds.
func (e *exec) once() (seconds float64, err error) {
	from, err := cudrv.Record(e.d.stream)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if err := e.queue(); err != nil {
		return 0, err
	}
	to, err := cudrv.Record(e.d.stream)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := e.d.stream.Synchronize(); err != nil {
		return 0, err
	}
	return to.Since(from)
}

// Bounds of how far the library's numbers may be from ours: a part of the number, and of
// the size that a sum of so many products of noise has. Ours are rounded once more, to
// bfloat16; in float32 sums are in another order, or of transforms.
var bounds = map[cudnn.Type]float32{cudnn.BFloat16: 1.0 / 256, cudnn.Float32: 2e-4}

// check compares plan p with our own kernel, as it is recorded and launched in a graph, after
// it has been launched directly: the library may load code when it first executes a plan,
// which cannot be recorded.
func (l *library) check(j job, p *cudnn.Plan) (err error) {
	want, err := l.trial(j, nil)
	if want == nil {
		return err
	}
	defer func() { err = errors.Join(err, want.end()) }()
	got, more := l.trial(j, p)
	if got == nil {
		return errors.Join(err, more)
	}
	defer func() { err = errors.Join(err, got.end()) }()
	if err = errors.Join(err, more, want.queue(), got.queue(), l.d.stream.Synchronize(), got.prepare()); err != nil {
		return err
	}
	g, err := cudrv.Capture(l.d.stream, got.queue)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if err := g.Launch(l.d.stream); err != nil {
		return err
	}
	y := got.prog.Outputs[0]
	n := got.prog.Values[y].Size()
	c := each("differ", n, got.at(y), want.at(y), nil, int64(n), bounds[j.Type], bounds[j.Type]*float32(math.Sqrt(float64(j.depth()))/3))
	count, err := l.d.allocate(c.grid[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, count.free()) }()
	c.args[2] = count.at
	if err := errors.Join(l.d.queue(c), l.d.stream.Synchronize()); err != nil {
		return err
	}
	parts := make([]float32, count.floats)
	if err := cudrv.Download(parts, count.at); err != nil {
		return err
	}
	wrong := 0.0
	for _, v := range parts {
		wrong += float64(v)
	}
	if wrong > 0 {
		return fmt.Errorf("plan %d of engine %d computes %.0f of %d numbers otherwise than ddpmlab's own kernel", p.Index, p.Engine, wrong, n)
	}
	return nil
}
