package ddpm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/unet"
)

// Network is a trained network, ready to predict noise: a Denoiser on the EMA
// weights of a checkpoint, without dropout. Its methods may be called from several
// goroutines; calls wait for each other.
type Network struct {
	model unet.Config
	opts  *options

	mu    sync.Mutex
	state engine.State
	execs map[int]*netExec // by batch size
}

// netExec is the network compiled for one batch size.
type netExec struct {
	engine.Exec
	xt, t, out []float32
}

// netBatches are the batch sizes a network is compiled for, when first needed. A
// batch that is not full is filled up with zeros.
var netBatches = [...]int{1, 2, 4, 8, 16, 32, chunk}

// NewNetwork loads the EMA weights of c on a device. Close it after use.
func NewNetwork(c *Checkpoint, opts ...Option) (*Network, error) {
	if err := c.Config.Validate(); err != nil {
		return nil, err
	}
	if n := c.Config.Model.NumParams(); len(c.EMA) != n {
		return nil, fmt.Errorf("load network: %d weights; the model has %d", len(c.EMA), n)
	}
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	n, err := newNetwork(c.Config.Model, o)
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	n.state.Set(engine.Weights, c.EMA)
	return n, nil
}

// newNetwork makes a network on o's device with weights to be set.
func newNetwork(model unet.Config, o *options) (*Network, error) {
	state, err := o.device.NewState(model.NumParams())
	if err != nil {
		return nil, fmt.Errorf("load network: %w", err)
	}
	return &Network{model: model, opts: o, state: state, execs: map[int]*netExec{}}, nil
}

// Size is the height, width and channels of the images that the network takes.
func (n *Network) Size() (h, w, c int) { return n.model.Size, n.model.Size, n.model.InChannels }

// Predict is Denoiser's: ε_θ of len(t) images.
func (n *Network) Predict(ctx context.Context, xt []float32, t []int, eps []float32) error {
	return n.predict(ctx, xt, t, eps, nil)
}

// PredictVariance is VarianceDenoiser's, of a network trained with Hybrid.
func (n *Network) PredictVariance(ctx context.Context, xt []float32, t []int, eps, v []float32) error {
	if n.model.OutChannels != 2*n.model.InChannels {
		return fmt.Errorf("the network has not learned its variance (loss %q); sample with %q or %q", Simple, FixedSmall, FixedLarge)
	}
	if len(v) != len(eps) {
		return fmt.Errorf("predict noise and variance: %d and %d values; want as many", len(eps), len(v))
	}
	return n.predict(ctx, xt, t, eps, v)
}

func (n *Network) predict(ctx context.Context, xt []float32, t []int, eps, v []float32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	size := n.model.Size * n.model.Size * n.model.InChannels
	if len(xt) != len(t)*size || len(eps) != len(xt) {
		return fmt.Errorf("predict the noise of %d images of %d values: %d values in, %d out", len(t), size, len(xt), len(eps))
	}
	for len(t) > 0 {
		batch := chunk
		for _, b := range netBatches {
			if len(t) <= b {
				batch = b
				break
			}
		}
		m := min(batch, len(t))
		out, err := n.run(ctx, batch, xt[:m*size], t[:m])
		if err != nil {
			return err
		}
		c, all := n.model.InChannels, n.model.OutChannels
		for i := range m * size / c { // pixels
			copy(eps[i*c:(i+1)*c], out[i*all:])
			if v != nil {
				copy(v[i*c:(i+1)*c], out[i*all+c:])
			}
		}
		xt, t, eps = xt[m*size:], t[m:], eps[m*size:]
		if v != nil {
			v = v[m*size:]
		}
	}
	return nil
}

// run computes at most batch images in one run of a program for batch images. Its result
// is overwritten by the next.
func (n *Network) run(ctx context.Context, batch int, xt []float32, t []int) ([]float32, error) {
	e, err := n.exec(batch)
	if err != nil {
		return nil, err
	}
	clear(e.xt[copy(e.xt, xt):])
	clear(e.t)
	for i, v := range t {
		e.t[i] = float32(v)
	}
	e.Set(0, e.xt)
	e.Set(1, e.t)
	if err := e.Run(ctx); err != nil {
		return nil, err
	}
	e.Get(0, e.out)
	return e.out, nil
}

// exec compiles the network for a batch size, once.
func (n *Network) exec(batch int) (*netExec, error) {
	if n.execs == nil {
		return nil, errors.New("predict noise: the network is closed")
	}
	if e := n.execs[batch]; e != nil {
		return e, nil
	}
	g := engine.NewGraph()
	x := g.Input("x_t", batch, n.model.Size, n.model.Size, n.model.InChannels)
	t := g.Input("t", batch)
	net, err := unet.Build(g, n.model, x, t, nil, 0)
	if err != nil {
		return nil, err
	}
	p, err := engine.Compile(engine.Spec{Inputs: nodes(x, t), Params: net.Params, Outputs: nodes(net.Out), Precision: n.opts.precision})
	if err != nil {
		return nil, fmt.Errorf("compile network: %w", err)
	}
	exec, err := n.opts.device.Load(p, n.state)
	if err != nil {
		return nil, fmt.Errorf("load network: %w", err)
	}
	pixels := batch * n.model.Size * n.model.Size
	e := &netExec{exec, make([]float32, pixels*n.model.InChannels), make([]float32, batch), make([]float32, pixels*n.model.OutChannels)}
	n.execs[batch] = e
	return e, nil
}

// Close frees the network, and the device if the network opened it.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.execs == nil {
		return nil
	}
	err := n.release()
	return errors.Join(err, n.opts.close())
}

// release frees all but the device.
func (n *Network) release() error {
	var errs []error
	for _, e := range n.execs {
		errs = append(errs, e.Close())
	}
	n.execs = nil
	return errors.Join(append(errs, n.state.Close())...)
}
