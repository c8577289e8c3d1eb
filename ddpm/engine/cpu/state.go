package cpu

import (
	"context"
	"fmt"
	"math"
	"unsafe"

	"ddpmlab/ddpm/engine"
)

const arrays = int(engine.EMA) + 1

// updatePart is how many parameters make a part of an update: the number of
// partial sums of the gradient norm follows from it, not from the threads.
const updatePart = 1 << 14

// state is the flat arrays, one after another, and the two jobs on them.
type state struct {
	n      int
	mem    *memory // arrays, then the partial sums of the gradient norm
	stride int     // from one array to the next

	update, norm *job

	version int64 // of the weights, from 1
}

func newState(d *device, n int) (*state, error) {
	if n < 0 {
		return nil, fmt.Errorf("new state: %d parameters", n)
	}
	s := &state{n: n, stride: alignUp(n), version: 1}
	parts := (n + updatePart - 1) / updatePart
	var err error
	if s.mem, err = newMemory(arrays*s.stride + 2*parts); err != nil {
		return nil, err
	}
	w, g, m, v, ema := s.at(engine.Weights), s.at(engine.Grads), s.at(engine.Moment1), s.at(engine.Moment2), s.at(engine.EMA)
	s.update, err = newJob(d.isa, d.threads, []call{{kAdamW, parts, []*float32{w, g, m, v, ema}, []int{n, updatePart}, make([]float32, 7)}})
	if err == nil {
		s.norm, err = newJob(d.isa, d.threads, []call{{kSumSquares, parts, []*float32{g, s.sums()}, []int{n, updatePart}, nil}})
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// start is where an array starts in mem.
func (s *state) start(a engine.Array) int { return int(a) * s.stride }

func (s *state) at(a engine.Array) *float32     { return s.mem.at(s.start(a)) }
func (s *state) array(a engine.Array) []float32 { return s.mem.floats[s.start(a):][:s.n] }

func (s *state) sums() *float32 { return s.mem.at(arrays * s.stride) }

func (s *state) Len() int { return s.n }

func (s *state) Set(a engine.Array, src []float32) {
	exactCopy(s.array(a), src)
	s.version++
}
func (s *state) Get(a engine.Array, dst []float32) { exactCopy(dst, s.array(a)) }

func (s *state) GradNorm() float64 {
	_ = s.norm.execute(context.Background()) // fails only when cancelled
	var sum float64
	for _, v := range unsafe.Slice((*float64)(unsafe.Pointer(s.sums())), (s.n+updatePart-1)/updatePart) {
		sum += v
	}
	return math.Sqrt(sum)
}

func (s *state) Update(h engine.AdamW) {
	unbias1 := 1 - math.Pow(h.Beta1, float64(h.Step))
	unbias2 := 1 - math.Pow(h.Beta2, float64(h.Step))
	s.update.setFloats(0, h.LR/unbias1, 1-h.Beta1, 1-h.Beta2, 1/unbias2, h.Eps, h.LR*h.WeightDecay, 1-h.EMARate)
	_ = s.update.execute(context.Background())
	s.version++
}

func (s *state) Close() error {
	for _, j := range []*job{s.update, s.norm} {
		if j != nil {
			j.close()
		}
	}
	return s.mem.close()
}

func exactCopy(dst, src []float32) {
	if len(dst) != len(src) {
		panic(fmt.Sprintf("cpu: copy %d numbers to %d", len(src), len(dst)))
	}
	copy(dst, src)
}
