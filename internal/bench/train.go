package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/philox"
)

// training is ddpm.Train, one step at a time: what is measured is what users run.
type training struct {
	stop    context.CancelFunc
	batch   int
	data    *noise
	begun   bool
	proceed chan struct{} // another step is wanted
	rates   chan float64  // images per second of a step that has ended
	ended   chan error    // Train has returned
}

func train(ctx context.Context, w work, device engine.Device) *training {
	ctx, stop := context.WithCancel(ctx)
	t := &training{
		stop: stop, batch: w.batch, data: newNoise(w.model.Size, w.model.InChannels),
		proceed: make(chan struct{}), rates: make(chan float64), ended: make(chan error, 1),
	}
	go func() {
		_, err := ddpm.Train(ctx, w.config(), w.variant(),
			ddpm.WithDevice(device), ddpm.WithData(t.data), ddpm.WithRecorder(turns{ctx, t}))
		t.ended <- err
	}()
	return t
}

// turns makes Train wait after each step until the next is wanted.
type turns struct {
	ctx context.Context
	t   *training
}

func (t turns) Record(_ int64, key string, value float64) {
	if key != "images_per_s" { // what Train records last
		return
	}
	select {
	case t.t.rates <- value:
	case <-t.ctx.Done():
	}
	select {
	case <-t.t.proceed:
	case <-t.ctx.Done():
	}
}

// step makes a training step and returns its milliseconds, as Train measures them.
func (t *training) step() (ms float64, err error) {
	if t.begun {
		select {
		case t.proceed <- struct{}{}:
		case err := <-t.ended:
			return 0, t.early(err)
		}
	}
	t.begun = true
	select {
	case rate := <-t.rates:
		return 1e3 * float64(t.batch) / rate, nil
	case err := <-t.ended:
		return 0, t.early(err)
	}
}

func (t *training) early(err error) error {
	t.ended <- err
	return fmt.Errorf("training ended early: %w", err)
}

// footprint is how many bytes n steps raise the resident memory, from before the first.
func (t *training) footprint(n int) (int64, error) {
	for range n {
		if _, err := t.step(); err != nil {
			return 0, err
		}
	}
	_, peak, err := resident()
	return peak - t.data.before, errors.Join(err, t.data.err)
}

// close stops the training and waits for its end.
func (t *training) close() {
	t.stop()
	<-t.ended
}

// Noise is a data set of random images of size×size pixels.
func Noise(size, channels int) data.Set { return newNoise(size, channels) }

// noise is a data set of random images, all made beforehand.
type noise struct {
	size, channels int
	images         []float32

	// When the first image is read, all but the first step has been prepared.
	first  sync.Once
	before int64 // resident bytes then
	err    error
}

// noiseImages is how many different images there are.
const noiseImages = 256

func newNoise(size, channels int) *noise {
	n := &noise{size: size, channels: channels, images: make([]float32, noiseImages*size*size*channels)}
	philox.Key(1, "bench data").Uniforms(n.images, 0, 0)
	for i, u := range n.images {
		n.images[i] = 2*u - 1
	}
	return n
}

func (n *noise) Name() string         { return "noise" }
func (n *noise) Len() int             { return noiseImages }
func (n *noise) Shape() (h, w, c int) { return n.size, n.size, n.channels }
func (n *noise) SHA256() string       { return "noise" }
func (n *noise) Label(int) int        { return 0 }

func (n *noise) Read(i int, dst []float32) error {
	n.first.Do(func() {
		if n.err = resetPeak(); n.err == nil {
			n.before, _, n.err = resident()
		}
	})
	copy(dst, n.images[i*len(dst):])
	return nil
}
