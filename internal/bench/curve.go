package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/philox"
	"ddpmlab/ddpm/unet"
)

const curve = "curve" // the losses of a short training

// Curve is a short training of a network without dropout, on inputs and from weights that
// are the same wherever it runs: its losses agree if forward, backward and update do.
type Curve struct {
	Model unet.Config
	Batch int
	Steps int
	LR    float64 // AdamW's, without decay
}

// inputs of a step: noisy images, their noise, both NHWC, and their times.
func (c Curve) inputs(step int) (x, eps, t []float32) {
	n := c.Batch * pixels(c.Model)
	x, eps, t = make([]float32, n), make([]float32, n), make([]float32, c.Batch)
	key := philox.Key(1, "bench curve")
	key.Uniforms(x, uint64(step), 0)
	key.Normals(eps, uint64(step), 1)
	key.Uniforms(t, uint64(step), 2)
	for i := range t {
		t[i] = float32(int(1000 * t[i]))
		kept := 1 - float64(t[i])/1000
		for j := i * pixels(c.Model); j < (i+1)*pixels(c.Model); j++ {
			x[j] = float32(math.Sqrt(kept)*float64(2*x[j]-1) + math.Sqrt(1-kept)*float64(eps[j]))
		}
	}
	return x, eps, t
}

// program is the loss, and its gradients.
func (c Curve) program(precision engine.Precision) (*engine.Program, error) {
	g, m := engine.NewGraph(), c.Model
	x := g.Input("x", c.Batch, m.Size, m.Size, m.InChannels)
	eps, t := g.Input("eps", c.Batch, m.Size, m.Size, m.InChannels), g.Input("t", c.Batch)
	net, err := unet.Build(g, m, x, t, nil, 1)
	if err != nil {
		return nil, err
	}
	d := op.Sub(net.Out, eps)
	loss := op.Mean(op.Mul(d, d))
	grads, err := grad.Grad(loss, net.Params...)
	if err != nil {
		return nil, err
	}
	return engine.Compile(engine.Spec{Inputs: []*op.Node{x, eps, t}, Params: net.Params, Outputs: []*op.Node{loss}, Grads: grads, Precision: precision})
}

// Ours is the losses on a device.
func (c Curve) Ours(ctx context.Context, d engine.Device, precision engine.Precision) (losses []float64, err error) {
	dir, err := os.MkdirTemp("", "ddpmlab-curve-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	j := job{Model: c.Model, Weights: filepath.Join(dir, "weights")}
	if err := writeWeights(j.Weights, c.Model); err != nil {
		return nil, err
	}
	weights, err := j.weights()
	if err != nil {
		return nil, err
	}
	p, err := c.program(precision)
	if err != nil {
		return nil, err
	}
	s, err := d.NewState(p.ParamLen)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	e, err := d.Load(p, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	s.Set(engine.Weights, weights)
	for step := range c.Steps {
		x, eps, t := c.inputs(step)
		e.Set(0, x)
		e.Set(1, eps)
		e.Set(2, t)
		if err := e.Run(ctx); err != nil {
			return losses, err
		}
		var loss [1]float32
		e.Get(0, loss[:])
		losses = append(losses, float64(loss[0]))
		s.Update(engine.AdamW{LR: c.LR, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: int64(step + 1)})
	}
	return losses, nil
}

// Theirs is the losses in PyTorch, on its device cpu or cuda, in precision "f32" or "bf16",
// if it has them in time.
func (c Curve) Theirs(ctx context.Context, python, device, precision string, limit time.Duration) ([]float64, error) {
	b, done, err := newBench(Options{Device: device})
	if err != nil {
		return nil, err
	}
	defer done()
	j, err := b.job(work{kind: curve, net: curve, batch: c.Batch, model: c.Model})
	if err != nil {
		return nil, err
	}
	j.Precision, j.Steps, j.LR, j.Inputs, j.Threads = precision, c.Steps, c.LR, filepath.Join(b.dir, "inputs"), runtime.NumCPU()
	var all []byte
	for step := range c.Steps {
		x, eps, t := c.inputs(step)
		for _, v := range [][]float32{x, eps, t} {
			if all, err = binary.Append(all, binary.LittleEndian, v); err != nil {
				return nil, err
			}
		}
	}
	if err := os.WriteFile(j.Inputs, all, 0o600); err != nil {
		return nil, err
	}
	s, err := start(ctx, curve, []string{python, b.peer}, j, limit)
	if err != nil {
		return nil, fmt.Errorf("PyTorch %s on %s: %w", precision, device, err)
	}
	s.end()
	return s.hello.Losses, nil
}
