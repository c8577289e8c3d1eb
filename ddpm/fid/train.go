package fid

import (
	"context"
	"fmt"
	"math"
	"slices"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/philox"
)

// TrainOptions are the settings of TrainFashionCNN. All but Device and Progress
// change the weights.
type TrainOptions struct {
	Seed        uint64
	Epochs      int
	Batch       int
	LR          float64 // after a warm-up of warmup steps it falls to 0 along a cosine
	WeightDecay float64
	EMA         float64 // rate of the moving average that is kept

	Device   engine.Device       // left open; required
	Progress func(TrainProgress) // called after every step; may be nil
}

// TrainProgress is how far a training is.
type TrainProgress struct {
	Step, Steps int
	Loss        float64 // of this batch
}

// DefaultTraining returns the settings of the weights that are built in, less
// the device.
func DefaultTraining() TrainOptions {
	return TrainOptions{Seed: 1, Epochs: 10, Batch: 100, LR: 3e-3, WeightDecay: 0.01, EMA: 0.995}
}

// warmup is the number of steps in which the learning rate rises.
const warmup = 100

// TrainFashionCNN trains the classifier of FashionCNN on images of 28×28×1 with
// AdamW, and measures its accuracy on test. The same settings and sets give the
// same weights on any number of threads; another instruction set changes last
// digits.
func TrainFashionCNN(ctx context.Context, train, test data.Set, opts TrainOptions) (*Weights, error) {
	w, err := trainCNN(ctx, fashionNet, train, test, opts)
	if err != nil {
		return nil, fmt.Errorf("train fashion-cnn: %w", err)
	}
	return w, nil
}

func (o TrainOptions) validate(train data.Set) error {
	h, w, c := train.Shape()
	switch {
	case h != 2*inputSize || w != 2*inputSize || c != 1:
		return fmt.Errorf("images of data set %s are %d×%d×%d, want 28×28×1", train.Name(), h, w, c)
	case o.Epochs < 1:
		return fmt.Errorf("option Epochs is %d, want at least 1", o.Epochs)
	case o.Batch < 1 || o.Batch > train.Len():
		return fmt.Errorf("option Batch is %d, want 1 to %d, the size of data set %s", o.Batch, train.Len(), train.Name())
	case !(o.LR > 0):
		return fmt.Errorf("option LR is %g, want more than 0", o.LR)
	case !(o.EMA >= 0 && o.EMA < 1):
		return fmt.Errorf("option EMA is %g, want 0 up to 1", o.EMA)
	case o.Device == nil:
		return fmt.Errorf("option Device is nil; use a device of package engine/cpu")
	}
	return nil
}

func trainCNN(ctx context.Context, a net, train, test data.Set, opts TrainOptions) (*Weights, error) {
	if err := opts.validate(train); err != nil {
		return nil, err
	}
	t, err := newTrainer(a, train, opts)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if err := t.run(ctx); err != nil {
		return nil, err
	}
	w := &Weights{
		Training: Training{
			TrainedOn: train.Name(), TrainedOnSHA256: train.SHA256(),
			TestedOn: test.Name(), TestedOnSHA256: test.SHA256(),
			Seed: opts.Seed, Epochs: opts.Epochs, Batch: opts.Batch,
			LR: opts.LR, WeightDecay: opts.WeightDecay, EMA: opts.EMA,
			Augment: augmentation,
		},
		net: a, flat: make([]float32, a.numParams()), scale: slices.Repeat([]float32{1}, a.c2),
	}
	t.state.Get(engine.EMA, w.flat)
	cnn, err := newCNN(w, keepOpen{opts.Device}, min(cnnBatch, test.Len()))
	if err != nil {
		return nil, err
	}
	defer cnn.Close()
	if w.Accuracy, err = cnn.Accuracy(ctx, test, test.Len()); err != nil {
		return nil, err
	}
	s, err := SetStats(ctx, cnn, train)
	if err != nil {
		return nil, err
	}
	for i := range w.scale {
		w.scale[i] = 0 // of a feature that never changes
		if v := s.Cov[i*s.Dim+i]; v > 0 {
			w.scale[i] = float32(1 / math.Sqrt(v))
		}
	}
	return w, nil
}

// keepOpen is a device that stays open when the CNN on it is closed.
type keepOpen struct{ engine.Device }

func (keepOpen) Close() error { return nil }

// trainer is a training under way.
type trainer struct {
	opts  TrainOptions
	set   data.Set
	state engine.State
	exec  engine.Exec
	steps int // in all
}

func newTrainer(a net, set data.Set, opts TrainOptions) (*trainer, error) {
	g := engine.NewGraph()
	x := g.Input("images", opts.Batch, inputSize, inputSize, 1)
	onehot := g.Input("classes", opts.Batch, classes)
	net := a.build(g, x)
	loss := net.loss(onehot)
	grads, err := grad.Grad(loss, net.params...)
	if err != nil {
		return nil, err
	}
	p, err := engine.Compile(engine.Spec{Inputs: nodes(x, onehot), Params: net.params, Outputs: []*op.Node{loss}, Grads: grads})
	if err != nil {
		return nil, err
	}
	t := &trainer{opts: opts, set: set, steps: opts.Epochs * (set.Len() / opts.Batch)}
	if t.state, err = opts.Device.NewState(p.ParamLen); err != nil {
		return nil, err
	}
	if t.exec, err = opts.Device.Load(p, t.state); err != nil {
		t.state.Close()
		return nil, err
	}
	flat := a.init(opts.Seed)
	t.state.Set(engine.Weights, flat)
	t.state.Set(engine.EMA, flat)
	return t, nil
}

func (t *trainer) close() {
	t.exec.Close()
	t.state.Close()
}

// run does all epochs. In each, every image comes once, in an order of its own;
// a rest that does not fill a batch is left out.
func (t *trainer) run(ctx context.Context) error {
	order := philox.Key(t.opts.Seed, "fashion-cnn order")
	augment := philox.Key(t.opts.Seed, "fashion-cnn augment")
	n := t.opts.Batch
	image := make([]float32, 4*inputSize*inputSize)
	x := make([]float32, n*inputSize*inputSize)
	onehot := make([]float32, n*classes)
	loss := make([]float32, 1)
	step := 0
	for epoch := range t.opts.Epochs {
		perm := order.Perm(t.set.Len(), uint64(epoch))
		for ; len(perm) >= n; perm = perm[n:] {
			clear(onehot)
			for i, index := range perm[:n] {
				if err := t.set.Read(index, image); err != nil {
					return err
				}
				augmented(x[i*inputSize*inputSize:(i+1)*inputSize*inputSize], image, augment, epoch, index)
				onehot[i*classes+t.set.Label(index)] = 1
			}
			t.exec.Set(0, x)
			t.exec.Set(1, onehot)
			if err := t.exec.Run(ctx); err != nil {
				return fmt.Errorf("step %d of %d: %w", step+1, t.steps, err)
			}
			t.exec.Get(0, loss)
			if l := float64(loss[0]); math.IsNaN(l) || math.IsInf(l, 0) {
				return fmt.Errorf("step %d of %d: the loss is %g; lower LR", step+1, t.steps, l)
			}
			step++
			t.state.Update(engine.AdamW{
				LR: t.lr(step), Beta1: 0.9, Beta2: 0.999, Eps: 1e-8,
				WeightDecay: t.opts.WeightDecay, EMARate: t.opts.EMA, Step: int64(step),
			})
			if t.opts.Progress != nil {
				t.opts.Progress(TrainProgress{Step: step, Steps: t.steps, Loss: float64(loss[0])})
			}
		}
	}
	return nil
}

// lr is the learning rate of a step, counted from 1.
func (t *trainer) lr(step int) float64 {
	up := min(1, float64(step)/warmup)
	return t.opts.LR * up * (1 + math.Cos(math.Pi*float64(step-1)/float64(t.steps))) / 2
}
