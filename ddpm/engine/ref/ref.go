// Package ref runs programs in float64, in plain Go, one loop after the other.
// It is the oracle that every faster device is tested against, and it is itself
// tested against finite differences and PyTorch.
package ref

import (
	"context"
	"fmt"
	"math"
	"strings"

	"ddpmlab/ddpm/engine"
)

// Run computes p. inputs[i] belongs to p.Inputs[i], weights is the flat array of
// all parameters. It returns the outputs and, if p has gradients, their flat array.
func Run(ctx context.Context, p *engine.Program, inputs [][]float64, weights []float64) (outputs [][]float64, grads []float64, err error) {
	if len(inputs) != len(p.Inputs) || len(weights) != p.ParamLen {
		return nil, nil, fmt.Errorf("run: %d inputs and %d weights, want %d and %d", len(inputs), len(weights), len(p.Inputs), p.ParamLen)
	}
	vals := make([][]float64, len(p.Values))
	for i, v := range p.Inputs {
		if n := p.Values[v].Size(); len(inputs[i]) != n {
			return nil, nil, fmt.Errorf("run: input %s has %d numbers, want %d", p.Values[v].Name, len(inputs[i]), n)
		}
		vals[v] = inputs[i]
	}
	for i, v := range p.Params {
		vals[v] = weights[p.ParamOffset[i]:][:p.Values[v].Size()]
	}
	last := p.LastUse()
	for i, s := range p.Steps {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		in := make([][]float64, len(s.In))
		for j, v := range s.In {
			in[j] = vals[v]
		}
		vals[s.Out] = make([]float64, p.Values[s.Out].Size())
		Eval(s.Op, in, vals[s.Out])
		for _, v := range s.In {
			if last[v] == i {
				vals[v] = nil
			}
		}
	}
	for _, v := range p.Outputs {
		outputs = append(outputs, vals[v])
	}
	if p.Grads != nil {
		grads = make([]float64, p.ParamLen)
		for i, v := range p.Grads {
			copy(grads[p.ParamOffset[i]:], vals[v])
		}
	}
	return outputs, grads, nil
}

// New returns the reference device.
func New() engine.Device { return device{} }

type device struct{}

func (device) Name() string { return "ref" }
func (device) Close() error { return nil }

func (device) NewState(n int) (engine.State, error) {
	s := &state{}
	for a := range s.arrays {
		s.arrays[a] = make([]float64, n)
	}
	return s, nil
}

func (device) Load(p *engine.Program, s engine.State) (engine.Exec, error) {
	st, ok := s.(*state)
	if !ok {
		return nil, fmt.Errorf("load: a state of type %T is not of device ref", s)
	}
	if st.Len() != p.ParamLen {
		return nil, fmt.Errorf("load: the state has %d parameters, the program %d", st.Len(), p.ParamLen)
	}
	e := &exec{p: p, s: st}
	for _, v := range p.Inputs {
		e.inputs = append(e.inputs, make([]float64, p.Values[v].Size()))
	}
	return e, nil
}

type state struct {
	arrays [engine.EMA + 1][]float64
}

func (s *state) Len() int                          { return len(s.arrays[0]) }
func (s *state) Set(a engine.Array, src []float32) { widen(s.arrays[a], src) }
func (s *state) Get(a engine.Array, dst []float32) { narrow(dst, s.arrays[a]) }
func (s *state) Close() error                      { return nil }

func (s *state) GradNorm() float64 {
	var sum float64
	for _, g := range s.arrays[engine.Grads] {
		sum += g * g
	}
	return math.Sqrt(sum)
}

func (s *state) Update(h engine.AdamW) {
	w, g, ema := s.arrays[engine.Weights], s.arrays[engine.Grads], s.arrays[engine.EMA]
	m1, m2 := s.arrays[engine.Moment1], s.arrays[engine.Moment2]
	unbias1 := 1 - math.Pow(h.Beta1, float64(h.Step))
	unbias2 := 1 - math.Pow(h.Beta2, float64(h.Step))
	for i := range w {
		m1[i] += (1 - h.Beta1) * (g[i] - m1[i])
		m2[i] += (1 - h.Beta2) * (g[i]*g[i] - m2[i])
		w[i] -= h.LR * h.WeightDecay * w[i]
		w[i] -= h.LR * (m1[i] / unbias1) / (math.Sqrt(m2[i]/unbias2) + h.Eps)
		ema[i] += (1 - h.EMARate) * (w[i] - ema[i])
	}
}

type exec struct {
	p       *engine.Program
	s       *state
	inputs  [][]float64
	outputs [][]float64
}

func (e *exec) Set(input int, src []float32)  { widen(e.inputs[input], src) }
func (e *exec) Get(output int, dst []float32) { narrow(dst, e.outputs[output]) }
func (e *exec) Close() error                  { return nil }

func (e *exec) Run(ctx context.Context) error {
	outputs, grads, err := Run(ctx, e.p, e.inputs, e.s.arrays[engine.Weights])
	if err != nil {
		return err
	}
	e.outputs = outputs
	copy(e.s.arrays[engine.Grads], grads)
	return nil
}

func (e *exec) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "reference device, float64, %d steps, no arena\n%s", len(e.p.Steps), e.p)
	return b.String()
}

func widen(dst []float64, src []float32) {
	if len(dst) != len(src) {
		panic(fmt.Sprintf("ref: set %d numbers, want %d", len(src), len(dst)))
	}
	for i, v := range src {
		dst[i] = float64(v)
	}
}

func narrow(dst []float32, src []float64) {
	if len(dst) != len(src) {
		panic(fmt.Sprintf("ref: get %d numbers, want %d", len(dst), len(src)))
	}
	for i, v := range src {
		dst[i] = float32(v)
	}
}
