package ddpm

import (
	"context"
	"time"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
)

// Option is something about a training or a network that changes no number: where
// it runs, and who is told. Numbers are in Config and Variant. (WithPrecision of a
// network is the exception.)
type Option func(*options)

type options struct {
	device     engine.Device
	threads    int
	recorder   Recorder
	save       func(context.Context, *Checkpoint) error
	saveEvery  int
	saveAfter  time.Duration
	eval       func(ctx context.Context, step int64, d Denoiser) error
	scores     *scoring // of WithEvaluation
	set        data.Set
	resume     *Checkpoint
	now        func() time.Time
	precision  engine.Precision // of a network
	ownsDevice bool
}

// Recorder takes the numbers of a run as they come up, step from 1.
type Recorder interface {
	Record(step int64, key string, value float64)
}

// WithDevice runs on d, which the caller closes. The default is a cpu device of its own.
func WithDevice(d engine.Device) Option { return func(o *options) { o.device = d } }

// WithThreads sets the number of threads of the default device; 0 means one for each processor.
func WithThreads(n int) Option { return func(o *options) { o.threads = n } }

// WithRecorder passes the series of a training to r: at every iteration "loss" (what
// is minimised, mean over the batch), "grad_norm" (L2, of all of it) and
// "images_per_s", and "loss_q0" to "loss_q3" (the loss of the images in each quarter of
// the time steps, where there are any); with more than Eq. 6 in the loss also "mse" (Eq.
// 6's part), "vb" (the bound of Hybrid, in bits, before its factor) and "jacobian" (Eq. 9's
// norm before its factor); at iterations that are skipped "skipped", their number so far,
// alone; on a device with the range of float16 "lg_loss_scale", log2 of the loss scale; at
// evaluations "ema_rate", and the scores of WithEvaluation. A device that makes iterations by
// itself tells of up to 64, or half a second's, at a time; their rate is one.
func WithRecorder(r Recorder) Option { return func(o *options) { o.recorder = r } }

// WithCheckpoints calls save with a copy of the run every so many iterations (0:
// never so) and before each evaluation. The last state is not passed again: Train
// returns it. An error of save ends the training.
func WithCheckpoints(every int, save func(ctx context.Context, c *Checkpoint) error) Option {
	return func(o *options) { o.save, o.saveEvery = save, every }
}

// WithCheckpointsAfter calls the save of WithCheckpoints too when that long has passed since
// the last time, so that slow iterations are not lost by the hundred.
func WithCheckpointsAfter(d time.Duration) Option { return func(o *options) { o.saveAfter = d } }

// WithEval calls eval at the iterations of Config.EvalSteps, with the network on its
// EMA weights, valid during the call. When a training is resumed at such an
// iteration eval is called for it again, in case it had not come to its end. An
// error of eval ends the training.
func WithEval(eval func(ctx context.Context, step int64, d Denoiser) error) Option {
	return func(o *options) { o.eval = eval }
}

// WithData trains on set, which the caller has opened, instead of opening Config.Data.
func WithData(set data.Set) Option { return func(o *options) { o.set = set } }

// WithResume goes on from c, which must be of the same Config (Iterations and what
// concerns evaluation may differ), Variant and data.
func WithResume(c *Checkpoint) Option { return func(o *options) { o.resume = c } }

// WithPrecision lets a network compute its products in Mixed or BFloat16. Without it a
// network computes in float32, whatever it was trained in, so that scores compare and every
// machine can sample. It does not change a training, whose precision is in its Config.
func WithPrecision(p string) Option { return func(o *options) { o.precision = precisions[p] } }

// newOptions applies opts and opens the default device.
func newOptions(opts []Option) (*options, error) {
	o := &options{now: time.Now}
	for _, f := range opts {
		f(o)
	}
	if o.device == nil {
		d, err := cpu.New(o.threads)
		if err != nil {
			return nil, err
		}
		o.device, o.ownsDevice = d, true
	}
	return o, nil
}

// close closes the device if it is the default one.
func (o *options) close() error {
	if o.ownsDevice {
		return o.device.Close()
	}
	return nil
}
