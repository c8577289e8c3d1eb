package ddpm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/unet"
)

// AdamW as the authors have it; lr and decay are in Config and Variant.
const (
	adamBeta1 = 0.9
	adamBeta2 = 0.999
	adamEps   = 1e-8
)

// Train trains the network of cfg by Alg. 1 (ADM, ADM-GP, ADM-WD) or Alg. 4
// (DDPM-IP) and returns its last state. Progress and a live loss curve go to the
// display of ctx.
//
// When it is stopped early it returns the state it had reached together with the
// error, which wraps ctx's error after a cancellation, and ErrDiverged when a loss
// or gradient was not finite; WithResume goes on from there. The checkpoint is nil
// when training did not start.
func Train(ctx context.Context, cfg Config, v Variant, opts ...Option) (c *Checkpoint, err error) {
	if err := errors.Join(cfg.Validate(), v.Validate()); err != nil {
		return nil, err
	}
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	t, err := newTrainer(cfg, v, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()

	live := newLive(ctx, t)
	err = t.run(ctx, live)
	live.end(t.step, err)
	return t.checkpoint(), err
}

// trainer is a training in progress.
type trainer struct {
	cfg  Config
	v    Variant
	opts *options
	set  data.Set
	step int64 // iterations done

	batches *batches
	state   engine.State
	exec    engine.Exec
	outputs []string // keys of the program's outputs
	net     *Network // for evaluation, made when first needed
}

// newTrainer opens data, builds and compiles the loss, and sets the weights.
func newTrainer(cfg Config, v Variant, o *options) (*trainer, error) {
	t := &trainer{cfg: cfg.clone(), v: v.Normal(), opts: o, set: o.set}
	if err := t.openData(); err != nil {
		return nil, err
	}
	schedule, err := NewSchedule(cfg.Schedule, cfg.T)
	if err != nil {
		return nil, err
	}
	t.batches = newBatches(t.cfg, t.set, schedule)
	if err := t.checkResume(); err != nil {
		return nil, err
	}
	spec, keys, err := trainSpec(t.cfg, t.v)
	if err != nil {
		return nil, fmt.Errorf("build loss: %w", err)
	}
	program, err := engine.Compile(spec)
	if err != nil {
		return nil, fmt.Errorf("compile loss: %w", err)
	}
	t.outputs = keys
	if t.state, err = o.device.NewState(program.ParamLen); err != nil {
		return nil, fmt.Errorf("load weights: %w", err)
	}
	if t.exec, err = o.device.Load(program, t.state); err != nil {
		return nil, errors.Join(fmt.Errorf("load loss: %w", err), t.state.Close())
	}
	if c := o.resume; c != nil {
		t.step = c.Step
		t.state.Set(engine.Weights, c.Weights)
		t.state.Set(engine.EMA, c.EMA)
		t.state.Set(engine.Moment1, c.Moment1)
		t.state.Set(engine.Moment2, c.Moment2)
		return t, nil
	}
	w := cfg.Model.Init(cfg.Seed)
	t.state.Set(engine.Weights, w)
	t.state.Set(engine.EMA, w)
	return t, nil
}

// openData opens the data set unless there is one, and checks that it fits.
func (t *trainer) openData() (err error) {
	m := t.cfg.Model
	if t.set == nil {
		if t.set, err = data.Open(t.cfg.Data, m.Size); err != nil {
			return err
		}
	}
	if h, w, c := t.set.Shape(); h != m.Size || w != m.Size || c != m.InChannels {
		return fmt.Errorf("images of %s are %d×%d×%d; the model takes %d×%d×%d: change model.size or model.in_channels, or the data",
			t.set.Name(), h, w, c, m.Size, m.Size, m.InChannels)
	}
	if n := t.set.Len(); t.cfg.Batch > n {
		return fieldError("config", "batch", t.cfg.Batch, fmt.Sprintf("1 to %d, the images of %s", n, t.set.Name()))
	}
	return nil
}

// checkResume reports why the checkpoint to resume from belongs to another run.
func (t *trainer) checkResume() error {
	c := t.opts.resume
	if c == nil {
		return nil
	}
	numbers := func(cfg Config, v Variant, sum string) string {
		cfg.Iterations, cfg.EvalFirst, cfg.EvalEvery, cfg.EvalSamples = 1, 0, 0, 0
		cfg.SamplingSteps, cfg.SamplingVariance = 0, ""
		return Key(cfg, v, sum)
	}
	switch n := t.cfg.Model.NumParams(); {
	case numbers(c.Config, c.Variant, c.DataSHA256) != numbers(t.cfg, t.v, t.set.SHA256()):
		return errors.New("resume training: the checkpoint is of another config, variant or data set; pass those it was made with, or start anew")
	case c.Step < 0 || c.Step > int64(t.cfg.Iterations):
		return fmt.Errorf("resume training: the checkpoint has %d iterations, the config %d; raise iterations", c.Step, t.cfg.Iterations)
	case len(c.Weights) != n || len(c.EMA) != n || len(c.Moment1) != n || len(c.Moment2) != n:
		return fmt.Errorf("resume training: arrays of %d, %d, %d and %d numbers; the model has %d",
			len(c.Weights), len(c.EMA), len(c.Moment1), len(c.Moment2), n)
	}
	return nil
}

// trainSpec is the training program: the loss of v with its gradients. Its inputs
// are those of trainer.set, its outputs have the keys returned.
func trainSpec(cfg Config, v Variant) (spec engine.Spec, keys []string, err error) {
	g, m := engine.NewGraph(), cfg.Model
	input := func(name string, shape ...int) *op.Node {
		n := g.Input(name, shape...)
		spec.Inputs = append(spec.Inputs, n)
		return n
	}
	image := func(name string) *op.Node { return input(name, cfg.Batch, m.Size, m.Size, m.InChannels) }

	in := lossInputs{x0: image("x_0"), eps: image("eps")}
	if v.Gamma > 0 {
		in.xi = image("xi")
	}
	if needsSigns(v) {
		in.signs = image("v")
	}
	time := input("t", cfg.Batch)
	in.a, in.s = input("sqrt_alpha_bar", cfg.Batch), input("sqrt_one_minus_alpha_bar", cfg.Batch)
	var counters *op.Node
	if m.Dropout > 0 {
		counters = input("counters", cfg.Batch, 4)
	}

	l, err := buildLoss(in, v, func(x *op.Node) (*op.Node, []*op.Node, error) {
		net, err := unet.Build(g, m, x, time, counters, cfg.Seed)
		if err != nil {
			return nil, nil, err
		}
		spec.Params = net.Params
		return net.Out, net.Params, nil
	})
	if err != nil {
		return spec, nil, err
	}
	spec.Outputs, keys = nodes(l.total), []string{"loss"}
	if l.total != l.mse {
		spec.Outputs, keys = append(spec.Outputs, l.mse), append(keys, "mse")
	}
	if l.penalty != nil {
		spec.Outputs, keys = append(spec.Outputs, l.penalty), append(keys, "jacobian")
	}
	spec.Grads, err = grad.Grad(l.total, spec.Params...)
	return spec, keys, err
}

// setInputs passes a batch to the program, in the order of trainSpec.
func (t *trainer) setInputs(b *batch) {
	i := 0
	for _, x := range [][]float32{b.x0, b.eps, b.xi, b.signs, b.t, b.a, b.s, b.counters} {
		if x != nil {
			t.exec.Set(i, x)
			i++
		}
	}
}

// nodes is a list of nodes.
func nodes(n ...*op.Node) []*op.Node { return n }

// run trains from t.step to the end. The next batch is drawn while the device works
// on this one; run waits for that goroutine whatever happens.
func (t *trainer) run(ctx context.Context, live *live) error {
	if t.step > 0 && t.opts.resume != nil {
		if err := t.evaluate(ctx, live); err != nil {
			return err
		}
	}
	last := int64(t.cfg.Iterations)
	bufs := [2]*batch{t.batches.newBatch(t.v), t.batches.newBatch(t.v)}
	ready := make(chan error, 1)
	draw := func(step int64) { go func() { ready <- t.batches.fill(bufs[step%2], step) }() }
	if t.step < last {
		draw(t.step + 1)
	}
	for step := t.step + 1; step <= last; step++ {
		start := t.opts.now()
		if err := <-ready; err != nil {
			return fmt.Errorf("training stopped after %d of %d iterations: %w", t.step, last, err)
		}
		t.setInputs(bufs[step%2])
		if step < last {
			draw(step + 1)
		}
		out, norm, err := t.iterate(ctx, step)
		if err == nil {
			t.step = step
			seconds := t.opts.now().Sub(start).Seconds()
			t.record(step, out, norm, float64(t.cfg.Batch)/max(seconds, 1e-9))
			live.update(step, out[0], float64(t.cfg.Batch)/max(seconds, 1e-9))
			err = t.afterStep(ctx, live)
		}
		if err != nil {
			if step < last {
				<-ready
			}
			return err
		}
	}
	return nil
}

// iterate is one iteration: loss and gradients, then the update. The weights are
// touched only when all is finite and ctx is not done.
func (t *trainer) iterate(ctx context.Context, step int64) (outputs []float64, gradNorm float64, err error) {
	if err = ctx.Err(); err == nil {
		err = t.exec.Run(ctx)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("training stopped after %d of %d iterations: %w", t.step, t.cfg.Iterations, err)
	}
	var x [1]float32
	for i := range t.outputs {
		t.exec.Get(i, x[:])
		outputs = append(outputs, float64(x[0]))
	}
	gradNorm = t.state.GradNorm()
	if !finite(outputs[0]) || !finite(gradNorm) {
		return nil, 0, fmt.Errorf("%w at iteration %d: loss %g, gradient norm %g; lower lr, lengthen warmup, or lower the penalty",
			ErrDiverged, step, outputs[0], gradNorm)
	}
	u := engine.AdamW{
		LR: t.cfg.learningRate(step), Beta1: adamBeta1, Beta2: adamBeta2, Eps: adamEps,
		EMARate: t.cfg.emaRate(step), Step: step,
	}
	if t.v.WeightDecayMode == Decoupled {
		u.WeightDecay = t.v.WeightDecay
	}
	t.state.Update(u)
	return outputs, gradNorm, nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// record passes the numbers of an iteration to the recorder.
func (t *trainer) record(step int64, outputs []float64, gradNorm, rate float64) {
	r := t.opts.recorder
	if r == nil {
		return
	}
	for i, key := range t.outputs {
		r.Record(step, key, outputs[i])
	}
	r.Record(step, "grad_norm", gradNorm)
	r.Record(step, "images_per_s", rate)
}

// afterStep saves and evaluates where it is time to.
func (t *trainer) afterStep(ctx context.Context, live *live) error {
	o := t.opts
	if o.save != nil && t.step < int64(t.cfg.Iterations) &&
		(t.isEval() || o.saveEvery > 0 && t.step%int64(o.saveEvery) == 0) {
		if err := o.save(ctx, t.checkpoint()); err != nil {
			return fmt.Errorf("save checkpoint at iteration %d: %w", t.step, err)
		}
	}
	return t.evaluate(ctx, live)
}

func (t *trainer) isEval() bool { return slices.Contains(t.cfg.EvalSteps(), int(t.step)) }

// evaluate calls the eval callback, if it is time to, with the EMA weights of now.
func (t *trainer) evaluate(ctx context.Context, live *live) (err error) {
	if t.opts.eval == nil || !t.isEval() {
		return nil
	}
	if t.net == nil {
		if t.net, err = newNetwork(t.cfg.Model, t.opts); err != nil {
			return err
		}
	}
	ema := make([]float32, t.state.Len())
	t.state.Get(engine.EMA, ema)
	t.net.state.Set(engine.Weights, ema)
	start := t.opts.now()
	if err := t.opts.eval(ctx, t.step, t.net); err != nil {
		return fmt.Errorf("evaluate iteration %d: %w", t.step, err)
	}
	live.evaluated(t.opts.now().Sub(start))
	if r := t.opts.recorder; r != nil {
		r.Record(t.step, "ema_rate", t.cfg.emaRate(t.step))
	}
	return nil
}

// checkpoint copies the run as it is now.
func (t *trainer) checkpoint() *Checkpoint {
	c := &Checkpoint{Config: t.cfg.clone(), Variant: t.v, Step: t.step, DataSHA256: t.set.SHA256()}
	for i, a := range []engine.Array{engine.Weights, engine.EMA, engine.Moment1, engine.Moment2} {
		x := make([]float32, t.state.Len())
		t.state.Get(a, x)
		*c.arrays()[i] = x
	}
	return c
}

// close frees what newTrainer and evaluate made.
func (t *trainer) close() error {
	var err error
	if t.net != nil {
		err = t.net.release()
	}
	return errors.Join(err, t.exec.Close(), t.state.Close())
}
