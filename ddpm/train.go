package ddpm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/fid"
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
// when training did not start, or was cancelled before the end of its first iteration.
func Train(ctx context.Context, cfg Config, v Variant, opts ...Option) (c *Checkpoint, err error) {
	if err := errors.Join(cfg.Validate(), v.Validate()); err != nil {
		return nil, err
	}
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	if err := o.scores.validate(cfg); err != nil {
		return nil, err
	}
	t, err := newTrainer(ctx, cfg, v, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()

	live := newLive(ctx, t)
	err = t.run(ctx, live)
	live.end(t.step, err)
	if t.step == 0 && ctx.Err() != nil {
		return nil, err // nothing to keep, and a copy of a large network takes a while
	}
	return t.checkpoint(), err
}

// trainer is a training in progress.
type trainer struct {
	cfg  Config
	v    Variant
	opts *options
	set  data.Set
	step int64 // iterations done

	schedule *Schedule
	batches  *batches
	state    engine.State
	exec     engine.Exec
	loop     engine.Loop // on a device that makes iterations by itself; else nil
	outputs  []string    // keys of the program's scalar outputs; the images' losses follow
	net      *Network    // for evaluation, made when first needed
	extra    [][]float32 // further moving averages, of Config.ExtraEMA
	values   []float64   // of the outputs in an iteration
	one      [1]float32  // of one output
	losses   []float32   // of its images
	sum      []float32   // of the micro-batches' gradients
	buffer   []float32   // of all weights, for what the device has no array for
	evals    []int       // the iterations after which there is something to evaluate
	saved    time.Time   // when the last checkpoint was passed on, or the training began
	skipped  int64       // iterations skipped because of numbers that are not finite
	scale    *lossScale  // on a device with the range of float16; else nil
	bad      int64       // how many of them just now, in a row
}

// newTrainer opens data, builds and compiles the loss, and sets the weights. It looks
// between these whether ctx has ended.
func newTrainer(ctx context.Context, cfg Config, v Variant, o *options) (*trainer, error) {
	t := &trainer{cfg: cfg.clone(), v: v.Normal(), opts: o, set: o.set, evals: o.evalSteps(cfg), losses: make([]float32, cfg.Batch)}
	if err := t.openData(); err != nil {
		return nil, err
	}
	if engine.IsHalfRange(o.device) {
		t.scale = &lossScale{startScale}
	}
	var err error
	if t.schedule, err = NewSchedule(cfg.Schedule, cfg.T); err != nil {
		return nil, err
	}
	if t.batches, err = newBatches(t.cfg, t.v, t.set, t.scale); err != nil {
		return nil, err
	}
	if n := imageSize(t.cfg); t.v.GradPenaltyMode == Exact && n > maxExact {
		return nil, fmt.Errorf("variant: grad_penalty_mode %q takes images of at most %d values, not %d; use %q", Exact, maxExact, n, Hutchinson)
	}
	if err := t.checkResume(); err != nil {
		return nil, err
	}
	stopped := func(err error) (*trainer, error) {
		newLive(ctx, t).end(t.step, err)
		return nil, err
	}
	spec, keys, err := trainSpec(t.cfg, t.v, t.scale != nil)
	if err != nil {
		return nil, fmt.Errorf("build loss: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return stopped(err)
	}
	program, err := engine.Compile(spec)
	if err != nil {
		return nil, fmt.Errorf("compile loss: %w", err)
	}
	t.outputs, t.values = keys, make([]float64, len(keys))
	var w []float32 // initial weights
	if o.resume == nil {
		if w, err = cfg.Model.InitContext(ctx, cfg.Seed); err != nil {
			return stopped(err)
		}
	}
	if err := ctx.Err(); err != nil {
		return stopped(err)
	}
	if t.state, err = o.device.NewState(program.ParamLen); err != nil {
		return nil, fmt.Errorf("load weights: %w", err)
	}
	if t.exec, err = o.device.Load(program, t.state); err != nil {
		return nil, errors.Join(fmt.Errorf("load loss: %w", err), t.state.Close())
	}
	if c := o.resume; c != nil {
		t.restore(c)
		return t, nil
	}
	t.state.Set(engine.Weights, w)
	t.state.Set(engine.EMA, w)
	for range cfg.ExtraEMA {
		t.extra = append(t.extra, slices.Clone(w))
	}
	return t, nil
}

// restore sets the state to that of c, which checkResume has seen.
func (t *trainer) restore(c *Checkpoint) {
	t.step, t.skipped, t.bad = c.Step, c.Skipped, c.Bad
	if t.scale != nil && c.LossScale > 0 {
		t.scale.factor = c.LossScale
	}
	for i, a := range savedArrays {
		t.state.Set(a, *c.arrays()[i])
	}
	for _, e := range c.ExtraEMA {
		t.extra = append(t.extra, slices.Clone(e))
	}
	if m := t.batches.moments; m != nil {
		copy(m.losses, c.TimeLosses)
		copy(m.count, c.TimeCounts)
	}
}

// openData opens the data set unless there is one, and checks that it fits.
func (t *trainer) openData() (err error) {
	if t.set == nil {
		if t.set, err = t.cfg.OpenData(); err != nil {
			return err
		}
	}
	return t.cfg.CheckData(t.set)
}

// checkResume reports why the checkpoint to resume from belongs to another run, with the
// fields that differ.
func (t *trainer) checkResume() error {
	c := t.opts.resume
	if c == nil {
		return nil
	}
	if d := differences(c.Config, c.Variant, t.cfg, t.v); len(d) > 0 {
		return fmt.Errorf("resume training: the checkpoint is of another config: %s; pass what it was made with, or start anew", strings.Join(d, ", "))
	}
	if c.DataSHA256 != t.set.SHA256() {
		return fmt.Errorf("resume training: the checkpoint is of another data set: SHA-256 %.12s there, %.12s here; pass what it was made with, or start anew",
			c.DataSHA256, t.set.SHA256())
	}
	n, history := t.cfg.Model.NumParams(), 0
	if t.batches.moments != nil {
		history = t.cfg.T
	}
	for _, a := range c.arrays() {
		if len(*a) != n {
			return fmt.Errorf("resume training: arrays of %d numbers; the model has %d: this checkpoint is for sampling alone", len(*a), n)
		}
	}
	switch {
	case c.Numerics != 0 && c.Numerics != NumericsVersion:
		return fmt.Errorf("resume training: the checkpoint was made by numerics %d, this ddpmlab has %d; start anew", c.Numerics, NumericsVersion)
	case c.Step < 0 || c.Step > int64(t.cfg.Iterations):
		return fmt.Errorf("resume training: the checkpoint has %d iterations, the config %d; raise iterations", c.Step, t.cfg.Iterations)
	case len(c.ExtraEMA) != len(t.cfg.ExtraEMA) || len(c.TimeCounts) != history || len(c.TimeLosses) != history*momentHistory:
		return errors.New("resume training: the checkpoint lacks moving averages or the time sampler's losses; start anew")
	}
	return nil
}

// Program is what Train runs for each micro-batch: the loss of v and its gradients.
func Program(cfg Config, v Variant) (*engine.Program, error) {
	if err := errors.Join(cfg.Validate(), v.Validate()); err != nil {
		return nil, err
	}
	spec, _, err := trainSpec(cfg, v.Normal(), false)
	if err != nil {
		return nil, fmt.Errorf("build loss: %w", err)
	}
	return engine.Compile(spec)
}

// trainSpec is the training program: the loss of v with its gradients, which are scaled by a
// last input if wanted. Its inputs are those of inputs, its outputs have the keys
// returned; the losses of the images follow.
func trainSpec(cfg Config, v Variant, scaled bool) (spec engine.Spec, keys []string, err error) {
	g, m, n := engine.NewGraph(), cfg.Model, cfg.microBatch()
	spec.Precision = precisions[cfg.Precision]
	list, err := inputs(cfg, v, scaled)
	if err != nil {
		return spec, nil, err
	}
	node := map[string]*op.Node{} // nil for what there is not
	var in lossInputs
	for _, i := range list {
		x := g.Input(i.name, append([]int{n}, i.shape...)...)
		spec.Inputs = append(spec.Inputs, x)
		node[i.name] = x
		if k := i.source.Kind; k == engine.Signs || k == engine.Constant {
			in.probes = append(in.probes, x)
		}
	}
	in.x0, in.eps, in.xi = node["x_0"], node["eps"], node["xi"]
	in.a, in.s = node["sqrt_alpha_bar"], node["sqrt_one_minus_alpha_bar"]
	in.gamma, in.weight = node["gamma"], node["weight"]
	if cfg.Loss == Hybrid {
		in.hybrid = &hybridInputs{node["log_beta"], node["log_tilde"], node["log_k"], node["first"], float64(cfg.T) / 1000}
	}

	l, err := buildLoss(in, v, func(x *op.Node) (*op.Node, []*op.Node, error) {
		net, err := unet.Build(g, m, x, node["t"], node["counters"], cfg.Seed)
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
	for _, o := range []struct {
		key  string
		node *op.Node
	}{{"mse", l.mse}, {"vb", l.bound}, {"jacobian", l.penalty}} {
		if o.node != nil && o.node != l.total {
			spec.Outputs, keys = append(spec.Outputs, o.node), append(keys, o.key)
		}
	}
	spec.Outputs = append(spec.Outputs, l.losses)
	total := l.total
	if s := node["loss_scale"]; s != nil {
		total = op.Mean(op.Mul(s, op.Broadcast(total, op.Scalar, s.Shape(), 0)))
	}
	spec.Grads, err = grad.Grad(total, spec.Params...)
	return spec, keys, err
}

// setInputs passes micro-batch part of a batch to the program.
func (t *trainer) setInputs(b *batch, part int) {
	parts := t.cfg.Batch / t.cfg.microBatch()
	for i, x := range b.all {
		n := len(x) / parts
		t.exec.Set(i, x[part*n:(part+1)*n])
	}
}

// nodes is a list of nodes.
func nodes(n ...*op.Node) []*op.Node { return n }

// run trains from t.step to the end.
func (t *trainer) run(ctx context.Context, live *live) error {
	if t.step > 0 && t.opts.resume != nil {
		if err := t.evaluate(ctx, live); err != nil {
			return err
		}
	}
	t.saved = t.opts.now()
	if l, ok := t.exec.(engine.Looper); ok {
		return t.runLoop(ctx, live, l)
	}
	last := int64(t.cfg.Iterations)
	ahead := t.batches.drawAhead(t.step+1, last)
	defer ahead.stop()
	for step := t.step + 1; step <= last; step++ {
		start := t.opts.now()
		b, err := ahead.next()
		if err != nil {
			return t.stopped(err)
		}
		t.batches.times(b, step)
		if err := t.iterate(ctx, live, step, b, start); err != nil {
			return err
		}
		ahead.reuse(b)
		if err := t.afterStep(ctx, live); err != nil {
			return err
		}
	}
	return nil
}

// stopped says how far a training came that err ends.
func (t *trainer) stopped(err error) error {
	return fmt.Errorf("training stopped after %d of %d iterations: %w", t.step, t.cfg.Iterations, err)
}

// iterate is one iteration: loss and gradients, then the update. The weights are
// touched only when all is finite and ctx is not done.
func (t *trainer) iterate(ctx context.Context, live *live, step int64, b *batch, start time.Time) error {
	if err := t.gradients(ctx, b); err != nil {
		return t.stopped(err)
	}
	norm, u := t.state.GradNorm(), t.update(step)
	good, err := t.judge(step, norm)
	if err != nil || !good {
		return err
	}
	t.state.Update(u)
	t.average(step)
	t.end(live, b.t, norm, float64(t.cfg.Batch)/max(t.opts.now().Sub(start).Seconds(), 1e-9))
	return nil
}

// judge reports whether iteration step, whose outputs are there, updates the weights. One whose
// loss or gradient is not finite is skipped and counted; too many in a row end the training, in
// the state before the first of them.
func (t *trainer) judge(step int64, norm float64) (good bool, err error) {
	loss := t.values[0]
	if finite(loss) && finite(norm) {
		t.bad, t.step = 0, step
		return true, nil
	}
	t.skipped, t.step = t.skipped+1, step
	if !finite(loss) || t.scale == nil || !t.scale.overflow() {
		if t.bad++; t.bad >= int64(t.cfg.maxBadSteps()) {
			t.step, t.skipped, t.bad = t.step-t.bad, t.skipped-t.bad, 0
			return false, fmt.Errorf("%w at iteration %d, the last of %d in a row: loss %g, gradient norm %g; lower lr, lengthen warmup, or lower the penalty",
				ErrDiverged, step, t.cfg.maxBadSteps(), loss, norm)
		}
	}
	t.recordSkipped(step)
	return false, nil
}

// end follows a good iteration, with the t of its images.
func (t *trainer) end(live *live, ts []int, norm, rate float64) {
	if m := t.batches.moments; m != nil {
		for i, l := range t.losses {
			m.add(ts[i], l)
		}
	}
	if t.scale != nil {
		t.scale.good()
	}
	t.record(t.step, t.values, norm, rate)
	t.recordQuartiles(t.step, ts, t.losses)
	live.update(t.step, t.values[0], rate)
}

// update is what the optimizer does in iteration step, if all is finite.
func (t *trainer) update(step int64) engine.AdamW {
	u := engine.AdamW{
		LR: t.cfg.learningRate(step), Beta1: adamBeta1, Beta2: adamBeta2, Eps: adamEps,
		EMARate: t.cfg.emaRate(step), Step: step - t.skipped,
	}
	if t.v.WeightDecayMode == Decoupled {
		u.WeightDecay = t.v.WeightDecay
	}
	return u
}

// gradients computes the loss's outputs and each image's loss, and leaves the gradients
// in the state. Of micro-batches, which are equally large, the means are taken.
func (t *trainer) gradients(ctx context.Context, b *batch) error {
	parts := t.cfg.Batch / t.cfg.microBatch()
	divisor := float32(parts) // of each micro-batch's gradient
	if t.scale != nil {
		divisor *= float32(t.scale.factor)
	}
	clear(t.values)
	clear(t.sum)
	for part := range parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.setInputs(b, part)
		if err := t.exec.Run(ctx); err != nil {
			return err
		}
		for i := range t.values {
			t.exec.Get(i, t.one[:])
			t.values[i] += float64(t.one[0]) / float64(parts)
		}
		n := len(t.losses) / parts
		t.exec.Get(len(t.values), t.losses[part*n:(part+1)*n])
		if divisor == 1 {
			return nil
		}
		g := t.weights(engine.Grads)
		if t.sum == nil {
			t.sum = make([]float32, len(g))
		}
		for i, v := range g {
			t.sum[i] += v / divisor
		}
	}
	t.state.Set(engine.Grads, t.sum)
	return nil
}

// recordSkipped records that iteration step was skipped.
func (t *trainer) recordSkipped(step int64) {
	if r := t.opts.recorder; r != nil {
		r.Record(step, "skipped", float64(t.skipped))
		t.recordScale(step)
	}
}

// recordScale records the loss scale, by the name and in the unit of the authors' logs.
func (t *trainer) recordScale(step int64) {
	if t.scale != nil {
		t.opts.recorder.Record(step, "lg_loss_scale", math.Log2(t.scale.factor))
	}
}

// weights copies an array of the state into the trainer's buffer.
func (t *trainer) weights(a engine.Array) []float32 {
	if t.buffer == nil {
		t.buffer = make([]float32, t.state.Len())
	}
	t.state.Get(a, t.buffer)
	return t.buffer
}

// average moves the further moving averages.
func (t *trainer) average(step int64) {
	if len(t.extra) == 0 {
		return
	}
	w := t.weights(engine.Weights)
	for i, ema := range t.extra {
		k := float32(1 - t.cfg.warm(t.cfg.ExtraEMA[i], step))
		for j, v := range w {
			ema[j] += k * (v - ema[j])
		}
	}
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
	t.recordScale(step)
}

// quartiles are the keys of the series of recordQuartiles.
var quartiles = [4]string{"loss_q0", "loss_q1", "loss_q2", "loss_q3"}

// recordQuartiles records the mean loss of the images whose t lies in each quarter of the
// schedule, for the quarters that the batch has, as the authors' logs do: "loss_q0" is
// that of the least noise.
func (t *trainer) recordQuartiles(step int64, ts []int, losses []float32) {
	r := t.opts.recorder
	if r == nil {
		return
	}
	var sum, n [4]float64
	for i, l := range losses {
		q := ts[i] * 4 / t.cfg.T
		sum[q], n[q] = sum[q]+float64(l), n[q]+1
	}
	for q := range sum {
		if n[q] > 0 {
			r.Record(step, quartiles[q], sum[q]/n[q])
		}
	}
}

// afterStep saves and evaluates where it is time to.
func (t *trainer) afterStep(ctx context.Context, live *live) error {
	o := t.opts
	if o.save != nil && t.step < int64(t.cfg.Iterations) &&
		(t.isSave(t.step) || o.saveAfter > 0 && o.now().Sub(t.saved) >= o.saveAfter) {
		t.saved = o.now()
		if err := o.save(ctx, t.checkpoint()); err != nil {
			return fmt.Errorf("save checkpoint at iteration %d: %w", t.step, err)
		}
	}
	return t.evaluate(ctx, live)
}

func (t *trainer) isEval(step int64) bool { return slices.Contains(t.evals, int(step)) }

// isSave reports whether a checkpoint is wanted of iteration step.
func (t *trainer) isSave(step int64) bool {
	every := int64(t.opts.saveEvery)
	return t.isEval(step) || every > 0 && step%every == 0
}

// evaluate calls the eval callback and scores samples, if it is time to, with the EMA
// weights of now.
func (t *trainer) evaluate(ctx context.Context, live *live) (err error) {
	if !t.isEval(t.step) {
		return nil
	}
	call := t.opts.eval != nil && slices.Contains(t.cfg.EvalSteps(), int(t.step))
	score := t.opts.scores.due(t.step, t.cfg.Iterations)
	if !call && !score {
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
	if call {
		if err := t.opts.eval(ctx, t.step, t.net); err != nil {
			return fmt.Errorf("evaluate iteration %d: %w", t.step, err)
		}
	}
	var fd float64
	if score {
		if fd, err = t.opts.scores.score(ctx, t.net, t.cfg, t.schedule, t.set); err != nil {
			return fmt.Errorf("evaluate iteration %d: %w", t.step, err)
		}
		t.opts.scores.show(ctx, live.id, live.title, t.step, fd)
	}
	live.evaluated(t.opts.now().Sub(start))
	if r := t.opts.recorder; r != nil {
		r.Record(t.step, "ema_rate", t.cfg.emaRate(t.step))
		if score {
			r.Record(t.step, fid.MetricName(t.opts.scores.extractor.Name()), fd)
		}
	}
	return nil
}

// savedArrays are the arrays of the state that a checkpoint has, in its order.
var savedArrays = [...]engine.Array{engine.Weights, engine.EMA, engine.Moment1, engine.Moment2}

// checkpoint copies the run as it is now.
func (t *trainer) checkpoint() *Checkpoint {
	c := &Checkpoint{
		Config: t.cfg.clone(), Variant: t.v, Step: t.step, DataSHA256: t.set.SHA256(), Numerics: NumericsVersion,
		Skipped: t.skipped, Bad: t.bad,
	}
	if t.scale != nil {
		c.LossScale = t.scale.factor
	}
	for i, a := range savedArrays {
		x := make([]float32, t.state.Len())
		t.state.Get(a, x)
		*c.arrays()[i] = x
	}
	for i, e := range t.extra {
		if t.loop != nil {
			t.loop.Average(i, e)
		}
		c.ExtraEMA = append(c.ExtraEMA, slices.Clone(e))
	}
	if m := t.batches.moments; m != nil {
		c.TimeLosses, c.TimeCounts = slices.Clone(m.losses), slices.Clone(m.count)
	}
	return c
}

// close frees what newTrainer and evaluate made.
func (t *trainer) close() error {
	var err error
	if t.net != nil {
		err = t.net.release()
	}
	if t.loop != nil {
		err = errors.Join(err, t.loop.Close())
	}
	return errors.Join(err, t.exec.Close(), t.state.Close())
}
