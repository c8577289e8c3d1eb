//go:build ddpmcuda

package cuda

import (
	"errors"
	"fmt"
	"math"

	"gorgonia.org/cu"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda/cudrv"
)

const arrays = int(engine.EMA) + 1

// sumPart is how many gradients make a part of the norm's sum.
const sumPart = 1 << 14

// hyper is how many numbers an update takes, see kernel adamw.
const hyper = 8

// state is the flat arrays, one after another, then the numbers of an update, and in
// doubles the partial sums of the norm.
type state struct {
	d         *device
	n, stride int
	mem       *memory
}

func newState(d *device, n int) (*state, error) {
	if n < 0 {
		return nil, errors.New("there cannot be fewer than none")
	}
	s := &state{d: d, n: n, stride: alignUp(n)}
	var err error
	if s.mem, err = d.allocate(s.sums() + 2*s.parts()); err != nil {
		return nil, err
	}
	if err := cu.MemsetD8(s.mem.at, 0, int64(s.mem.floats)*4); err != nil {
		return nil, errors.Join(err, s.mem.free())
	}
	return s, nil
}

func (s *state) parts() int { return (s.n + sumPart - 1) / sumPart }

// start is where an array starts in mem, numbers and sums where the others do.
func (s *state) start(a engine.Array) int { return int(a) * s.stride }
func (s *state) numbers() int             { return arrays * s.stride }
func (s *state) sums() int                { return s.numbers() + alignUp(hyper) }

func (s *state) Len() int { return s.n }

func (s *state) Set(a engine.Array, src []float32) {
	sameLength(s.n, len(src))
	s.d.must("set the "+a.String(), func() error { return cudrv.Upload(s.mem.pointer(s.start(a)), src) })
}

func (s *state) Get(a engine.Array, dst []float32) {
	sameLength(s.n, len(dst))
	s.d.must("get the "+a.String(), func() error { return cudrv.Download(dst, s.mem.pointer(s.start(a))) })
}

// GradNorm is NaN if the GPU fails, which the next run reports.
func (s *state) GradNorm() float64 {
	norm := math.NaN()
	s.d.must("the norm of the gradient", func() error {
		if s.n == 0 {
			norm = 0
			return nil
		}
		if err := s.d.launch(s.squares()); err != nil {
			return err
		}
		sums := make([]float64, s.parts())
		if err := cudrv.Download(sums, s.mem.pointer(s.sums())); err != nil {
			return err
		}
		var sum float64
		for _, v := range sums {
			sum += v
		}
		norm = math.Sqrt(sum)
		return nil
	})
	return norm
}

// squares is the launch that leaves the parts of the norm.
func (s *state) squares() call {
	return call{
		kernel: "sum_squares", grid: [3]int{s.parts(), 1, 1}, threads: 256,
		args: []any{s.pointer(engine.Grads), s.mem.pointer(s.sums()), int64(s.n), int32(sumPart)},
	}
}

// update is the launch of an update by the numbers at h.
func (s *state) update(h any) call {
	return each("adamw", s.n, s.pointer(engine.Weights), s.pointer(engine.Grads), s.pointer(engine.Moment1),
		s.pointer(engine.Moment2), s.pointer(engine.EMA), h, int64(s.n))
}

func (s *state) Update(h engine.AdamW) {
	s.d.must("update the weights", func() error {
		if s.n == 0 {
			return nil
		}
		r := rowOf(h)
		f := [hyper]float32{
			float32(r[lr] / r[unbias1]), float32(r[gain1]), float32(r[gain2]), float32(r[unbias2]),
			float32(r[eps]), float32(r[decay]), float32(r[ema]), 0,
		}
		at := s.mem.pointer(s.numbers())
		return errors.Join(cudrv.Upload(at, f[:]), s.d.launch(s.update(at)))
	})
}

// What an update takes, in double: a row of a loop's plan, see kernels/batch.cu.
const (
	lr = iota
	gain1
	gain2
	eps
	decay
	ema
	unbias1
	unbias2
)

func rowOf(h engine.AdamW) [hyper]float64 {
	return [hyper]float64{
		lr: h.LR, gain1: 1 - h.Beta1, gain2: 1 - h.Beta2, eps: h.Eps, decay: h.LR * h.WeightDecay, ema: 1 - h.EMARate,
		unbias1: 1 - math.Pow(h.Beta1, float64(h.Step)), unbias2: 1 / (1 - math.Pow(h.Beta2, float64(h.Step))),
	}
}

func (s *state) pointer(a engine.Array) cu.DevicePtr { return s.mem.pointer(s.start(a)) }

func (s *state) Close() error { return s.d.thread.do(s.mem.free) }

func sameLength(want, got int) {
	if want != got {
		panic(fmt.Sprintf("cuda: copy %d numbers, want %d", got, want))
	}
}
