package ddpm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"ddpmlab/ddpm/philox"
	"ddpmlab/internal/display"
)

// Denoiser predicts noise: ε_θ(x_t, t).
type Denoiser interface {
	// Predict writes to eps the noise in the images xt, both len(t) images of H·W·C
	// values (NHWC). t[i] is image i's index into the full schedule of training,
	// from 0 to T-1 (the paper's t is one more). Any number of images will do.
	Predict(ctx context.Context, xt []float32, t []int, eps []float32) error
}

// chunk is how many images go through a chain together: a batch size that Network
// compiles for. It changes no number.
const chunk = 64

// VarianceDenoiser is a Denoiser that has learned its variance too (Hybrid).
type VarianceDenoiser interface {
	Denoiser
	// PredictVariance is Predict that also writes v, by which LearnedRange lies between its
	// two bounds: -1 is β̃_t, 1 is β_t. v has the length of eps.
	PredictVariance(ctx context.Context, xt []float32, t []int, eps, v []float32) error
}

// Sample draws images first..first+n-1 of h×w×c by p.Sampler from noise, over the respaced
// schedule. Image i of a seed is the same in whatever batch it is drawn: x_T and each
// step's z are its own streams.
//
// Without ClipDenoised a step of Ancestral is Alg. 2's line 4 exactly; with it, the x_0
// that ε implies is clipped to [-1, 1] first, which the authors' code does and which the
// first step, dividing by √ᾱ_T = 5e-5, cannot do without.
func Sample(ctx context.Context, d Denoiser, s *Schedule, p Sampling, first, n, h, w, c int) (Images, error) {
	out := Images{H: h, W: w, C: c}
	err := SampleTo(ctx, d, s, p, first, n, h, w, c, func(part Images) error {
		if out.Pix == nil {
			out = NewImages(n, h, w, c)
			out.N = 0
		}
		copy(out.Pix[out.N*out.Size():], part.Pix)
		out.N += part.N
		return nil
	})
	if err != nil {
		return Images{}, err
	}
	return out, nil
}

// SampleTo is Sample that hands the images to take as they are ready, in order, at most 64
// at once, so that many take no more memory than few. What take gets is used again after it
// returns; an error of take ends the sampling, and so does a number that is not finite.
func SampleTo(ctx context.Context, d Denoiser, s *Schedule, p Sampling, first, n, h, w, c int, take func(Images) error) error {
	if err := p.Validate(s.T()); err != nil {
		return err
	}
	if n < 0 || h < 1 || w < 1 || c < 1 || first < 0 {
		return fmt.Errorf("sample %d images of %d×%d×%d from number %d; want sizes above 0", n, h, w, c, first)
	}
	short, err := p.respaced(s)
	if err != nil {
		return err
	}
	all := NewImages(min(n, chunk), h, w, c)
	report := newProgress(ctx, "sample", fmt.Sprintf("sampling, %d steps", short.T()), int64(n), "images")
	start := philox.Key(p.Seed, "x_T")
	for from := 0; from < n; from += chunk {
		part := all.Part(0, min(chunk, n-from))
		for i := range part.N {
			start.Normals(part.At(i), 0, uint32(first+from+i)) // Alg. 2 line 1
		}
		chain := newChain(d, s, short, p, first+from)
		if err := samplers[p.sampler()].run(ctx, chain, part); err != nil {
			state := stateOf(err)
			report(int64(from), state)
			if state == display.Interrupted {
				return fmt.Errorf("sampling stopped after %d of %d images: %w", from, n, cause(err))
			}
			return fmt.Errorf("sample images %d to %d of %d: %w", from, from+part.N, n, err)
		}
		for i, v := range part.Pix[:part.N*part.Size()] {
			if !finite(float64(v)) {
				report(int64(from), display.Failed)
				return fmt.Errorf("sample images: number %d of image %d is %g; the network or the sampler has diverged", i%part.Size()+1, first+from+i/part.Size()+1, v)
			}
		}
		if err := take(part); err != nil {
			report(int64(from), display.Failed)
			return err
		}
		report(int64(from+part.N), display.Running)
	}
	report(int64(n), display.Done)
	return nil
}

// denoised is the x_0 that x_t and ε imply (Eq. 5 solved for x_0), clipped to
// [-1, 1] on demand. float64: at t = T it is a difference divided by 5e-5.
func denoised(s *Schedule, t int, xt, eps float32, clip bool) float64 {
	abar := s.AlphaBar[t]
	x0 := (float64(xt) - math.Sqrt(1-abar)*float64(eps)) / math.Sqrt(abar)
	if clip {
		return max(-1, min(1, x0))
	}
	return x0
}

// newProgress returns a function that reports how far the computation id has come
// to the display of ctx.
func newProgress(ctx context.Context, id, title string, total int64, unit string) func(done int64, state display.State) {
	sink, start := display.FromContext(ctx), time.Now()
	return func(done int64, state display.State) {
		p := display.Progress{ID: id, Title: title, Done: done, Total: total, Unit: unit, State: state, Elapsed: time.Since(start)}
		if done > 0 && p.Elapsed > 0 {
			p.Rate = float64(done) / p.Elapsed.Seconds()
			p.ETA = time.Duration(float64(total-done) / p.Rate * float64(time.Second))
		}
		sink.Progress(p)
	}
}

// cause is which of the two interruptions err is, without where it struck.
func cause(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// stateOf tells an interruption from a failure.
func stateOf(err error) display.State {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return display.Interrupted
	}
	return display.Failed
}
