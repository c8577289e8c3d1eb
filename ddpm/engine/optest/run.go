package optest

import (
	"context"
	"errors"
	"math"

	"ddpmlab/ddpm/engine"
)

// Run loads p on d with the given weights, runs it once, and returns its outputs and the
// gradients of all parameters.
func Run(ctx context.Context, d engine.Device, p *engine.Program, inputs [][]float64, weights []float64) (outputs [][]float32, grads []float32, err error) {
	s, err := d.NewState(p.ParamLen)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	e, err := d.Load(p, s)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	s.Set(engine.Weights, Narrow(weights))
	for i, x := range inputs {
		e.Set(i, Narrow(x))
	}
	if err := e.Run(ctx); err != nil {
		return nil, nil, err
	}
	for i, v := range p.Outputs {
		y := make([]float32, p.Values[v].Size())
		e.Get(i, y)
		outputs = append(outputs, y)
	}
	grads = make([]float32, s.Len())
	s.Get(engine.Grads, grads)
	return outputs, grads, nil
}

// Narrow rounds x to float32.
func Narrow(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

// Distance is the relative L2 distance of got from want.
func Distance[T float32 | float64](got []float32, want []T) float64 {
	var d, w float64
	for i := range want {
		e := float64(got[i]) - float64(want[i])
		d += e * e
		w += float64(want[i]) * float64(want[i])
	}
	if d == 0 {
		return 0
	}
	return math.Sqrt(d / w)
}
