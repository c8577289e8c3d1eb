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

// The variance of an ancestral step. Which one is better depends on the number of
// steps, so it goes with every score.
const (
	FixedSmall = "fixed-small" // σ²_t = β̃_t, the paper's (below Eq. 4)
	FixedLarge = "fixed-large" // σ²_t = β_t (Ho et al. 2020)
)

// Sampling says how images are drawn. Its zero value is not valid; see
// Config.Sampling and Validate.
type Sampling struct {
	Steps        int    `json:"steps"`         // 1 to T
	Variance     string `json:"variance"`      // FixedSmall or FixedLarge
	ClipDenoised bool   `json:"clip_denoised"` // clip each predicted x_0 to [-1, 1], as the authors do
	Seed         uint64 `json:"seed"`
}

// Sampling is how a run with this configuration is sampled for its scores.
func (c Config) Sampling() Sampling {
	return Sampling{Steps: c.SamplingSteps, Variance: c.SamplingVariance, ClipDenoised: true, Seed: c.Seed}
}

// Validate reports the first field that cannot be sampled with on a schedule of T steps.
func (p Sampling) Validate(T int) error {
	if p.Steps < 1 || p.Steps > T {
		return fieldError("sampling", "steps", p.Steps, fmt.Sprintf("1 to %d, the steps of training", T))
	}
	if p.Variance != FixedSmall && p.Variance != FixedLarge {
		return fieldError("sampling", "variance", p.Variance, fmt.Sprintf("%q or %q", FixedSmall, FixedLarge))
	}
	return nil
}

// chunk is how many images go through a chain together: a batch size that Network
// compiles for. It changes no number.
const chunk = 64

// Sample draws images first..first+n-1 of h×w×c by ancestral sampling (Alg. 2) from
// noise, over the respaced schedule of p.Steps steps. Image i of a seed is the same
// in whatever batch it is drawn: x_T and each step's z are its own streams.
//
// Without ClipDenoised a step is Alg. 2's line 4 exactly; with it, the x_0 that ε
// implies is clipped to [-1, 1] first, which the authors' code does and which the
// first step, dividing by √ᾱ_T = 5e-5, cannot do without.
func Sample(ctx context.Context, d Denoiser, s *Schedule, p Sampling, first, n, h, w, c int) (Images, error) {
	if err := p.Validate(s.T()); err != nil {
		return Images{}, err
	}
	if n < 0 || h < 1 || w < 1 || c < 1 || first < 0 {
		return Images{}, fmt.Errorf("sample %d images of %d×%d×%d from number %d; want sizes above 0", n, h, w, c, first)
	}
	short, err := s.respaced(p.Steps)
	if err != nil {
		return Images{}, err
	}
	out := NewImages(n, h, w, c)
	report := newProgress(ctx, "sample", fmt.Sprintf("sampling, %d steps", p.Steps), int64(n), "images")
	for from := 0; from < n; from += chunk {
		part := out.Part(from, min(from+chunk, n))
		if err := ancestral(ctx, d, short, p, first+from, part); err != nil {
			state := stateOf(err)
			report(int64(from), state)
			if state == display.Interrupted {
				return Images{}, fmt.Errorf("sampling stopped after %d of %d images: %w", from, n, cause(err))
			}
			return Images{}, fmt.Errorf("sample images %d to %d of %d: %w", from, from+part.N, n, err)
		}
		report(int64(from+part.N), display.Running)
	}
	report(int64(n), display.Done)
	return out, nil
}

// ancestral fills x, images first.. of p.Seed, by Alg. 2 on the schedule s.
func ancestral(ctx context.Context, d Denoiser, s *Schedule, p Sampling, first int, x Images) error {
	start, noise := philox.Key(p.Seed, "x_T"), philox.Key(p.Seed, "z")
	for i := range x.N {
		start.Normals(x.At(i), 0, uint32(first+i)) // line 1
	}
	z := make([]float32, x.Size())
	for t := s.T() - 1; t >= 0; t-- { // line 2
		if err := reverseMean(ctx, d, s, t, p.ClipDenoised, x); err != nil {
			return err
		}
		if t == 0 { // line 3: the last step adds no noise
			break
		}
		_, _, variance := s.posterior(t)
		if p.Variance == FixedLarge {
			variance = s.Beta[t]
		}
		sigma := float32(math.Sqrt(variance))
		for i := range x.N {
			noise.Normals(z, uint64(s.Index[t]), uint32(first+i))
			for j, v := range x.At(i) {
				x.At(i)[j] = v + float32(sigma*z[j])
			}
		}
	}
	return nil
}

// reverseMean replaces x_t in x by the mean of p_θ(x_(t-1) | x_t) (Eq. 3; Alg. 2
// line 4 and Alg. 3 line 8 without z), where t is an entry of s.
func reverseMean(ctx context.Context, d Denoiser, s *Schedule, t int, clip bool, x Images) error {
	eps := make([]float32, len(x.Pix))
	if err := predict(ctx, d, s, t, x, eps); err != nil {
		return err
	}
	a, b, _ := s.posterior(t)
	for i, v := range x.Pix {
		x.Pix[i] = float32(a*denoised(s, t, v, eps[i], clip) + b*float64(v))
	}
	return nil
}

// predict is d.Predict of all of x at entry t of s, which d knows by its index in
// the full schedule.
func predict(ctx context.Context, d Denoiser, s *Schedule, t int, x Images, eps []float32) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stopped with %d steps to go: %w", t+1, err)
	}
	ts := make([]int, x.N)
	for i := range ts {
		ts[i] = s.Index[t]
	}
	if err := d.Predict(ctx, x.Pix, ts, eps); err != nil {
		return fmt.Errorf("predict noise at t = %d: %w", s.Index[t], err)
	}
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
