package ddpm

import (
	"context"
	"fmt"
	"math"

	"ddpmlab/internal/display"
)

// Drift is how far a sampling chain has left the inputs of training at one time, by the
// two measures of Ning et al. 2024 ("Elucidating the exposure bias in diffusion models",
// ADM-ES).
type Drift struct {
	T int `json:"t"` // index into the full schedule, from 0
	N int `json:"n"` // images

	// Delta is δ_t = (σ̂_t - √(1-ᾱ_t))². σ̂_t, Std, is the standard deviation of x̂_t - √ᾱ_t·x_0
	// over the images, mean over pixels, in a chain that began at q(x_T|x_0); √(1-ᾱ_t),
	// TrueStd, is what it is in training. (Branch x_t_distribution_consecutive_sampling.)
	Delta   float64 `json:"delta"`
	Std     float64 `json:"std"`
	TrueStd float64 `json:"truthstd"`
	// DeltaFloor is δ_t of as many inputs of training: what N images can tell apart.
	DeltaFloor float64 `json:"delta_floor"`

	// Norm is the mean over images of ‖ε_θ(x̂_t, t)‖₂ along the chain, TrainNorm that on
	// inputs of training x_t. White noise of d values has about √d. (Branches
	// epsilon_consecutive_sampling and epsilon_each_step_sampling.)
	Norm            float64 `json:"norm"`
	NormStdErr      float64 `json:"norm_std_err"`
	TrainNorm       float64 `json:"train_norm"`
	TrainNormStdErr float64 `json:"train_norm_std_err"`
}

// String is the drift in one line.
func (d Drift) String() string {
	return fmt.Sprintf("t = %d: δ_t %.3g (floor %.3g), ‖ε‖ %.3f ± %.3f sampling, %.3f ± %.3f training (n = %d)",
		d.T, d.Delta, d.DeltaFloor, d.Norm, d.NormStdErr, d.TrainNorm, d.TrainNormStdErr, d.N)
}

// SamplingDrift measures the drift of the chain that p describes, begun from the images of
// x0 with noise of its first step, at every step: from its last time to its first. It
// takes the samplers that evaluate the network once a step, and two images or more.
//
// The reference takes 50,000 images and NumPy's standard deviation, which is too small by
// a share of about 3/(4n): with few images that alone would be a δ_t. Here the deviation is
// the unbiased one of normal values.
func SamplingDrift(ctx context.Context, d Denoiser, s *Schedule, x0 Images, p Sampling) ([]Drift, error) {
	if err := p.Validate(s.T()); err != nil {
		return nil, err
	}
	switch {
	case x0.N < 2:
		return nil, fmt.Errorf("drift of %d images; want 2 or more", x0.N)
	case p.Evaluations() != p.Steps:
		return nil, fmt.Errorf("drift of the sampler %q, which evaluates the network several times a step; use %q, %q or %q", p.Sampler, Ancestral, DDIM, DPMSolver2M)
	}
	short, err := p.respaced(s)
	if err != nil {
		return nil, err
	}
	k := short.T()
	chain, training := newDriftSums(k, x0.Size()), newDriftSums(k, x0.Size())
	work, done := 2*int64(k)*int64(x0.N), int64(0)
	report := newProgress(ctx, "drift", fmt.Sprintf("drift of sampling, %d steps", k), work, "steps")
	for from := 0; from < x0.N; from += chunk {
		part := x0.Part(from, min(from+chunk, x0.N))
		c := newChain(d, s, short, p, from)
		add := func(sums *driftSums) func(int, Images, []float32) {
			return func(t int, x Images, eps []float32) {
				sums.add(t, x, part, math.Sqrt(short.AlphaBar[t]), eps)
				done += int64(part.N)
				report(done, display.Running)
			}
		}
		c.observe = add(training)
		for t := range k {
			if err = c.evaluate(ctx, t, forward(s, part, from, short.Index[t], p.Seed)); err != nil {
				break
			}
		}
		if err == nil {
			c.observe = add(chain)
			err = samplers[p.sampler()].run(ctx, c, forward(s, part, from, short.Index[k-1], p.Seed))
		}
		if err != nil {
			state := stateOf(err)
			report(done, state)
			if state == display.Interrupted {
				return nil, fmt.Errorf("drift stopped after %d of %d images: %w", from, x0.N, cause(err))
			}
			return nil, fmt.Errorf("drift: %w", err)
		}
	}
	report(work, display.Done)
	out := make([]Drift, k)
	for i := range out {
		t := k - 1 - i
		truth := math.Sqrt(1 - short.AlphaBar[t])
		square := func(x float64) float64 { return (x - truth) * (x - truth) }
		std := chain.std(t)
		out[i] = Drift{
			T: short.Index[t], N: x0.N, Delta: square(std), Std: std, TrueStd: truth, DeltaFloor: square(training.std(t)),
			Norm: chain.norms[t].mean(), NormStdErr: chain.norms[t].stdErr(),
			TrainNorm: training.norms[t].mean(), TrainNormStdErr: training.norms[t].stdErr(),
		}
	}
	return out, nil
}

// driftSums are the sums over images behind Drift, by entry of the schedule.
type driftSums struct {
	pixels [][]float64 // for each pixel: its sum, and that of its squares
	norms  []meanErr
}

func newDriftSums(steps, size int) *driftSums {
	s := &driftSums{norms: make([]meanErr, steps)}
	for range steps {
		s.pixels = append(s.pixels, make([]float64, 2*size))
	}
	return s
}

// add takes the images x at entry t, which came of x0, where √ᾱ is root.
func (s *driftSums) add(t int, x, x0 Images, root float64, eps []float32) {
	pixels, size := s.pixels[t], x.Size()
	for i := range x.N {
		norm := 0.0
		for j, v := range x.At(i) {
			r := float64(v) - root*float64(x0.At(i)[j])
			pixels[2*j] += r
			pixels[2*j+1] += r * r
			e := float64(eps[i*size+j])
			norm += e * e
		}
		s.norms[t].take(math.Sqrt(norm))
	}
}

// std is the standard deviation over images, mean over pixels.
func (s *driftSums) std(t int) float64 {
	n, sum := s.norms[t].n, 0.0
	for j := 0; j < len(s.pixels[t]); j += 2 {
		sum += math.Sqrt(max(0, s.pixels[t][j+1]-s.pixels[t][j]*s.pixels[t][j]/n) / (n - 1))
	}
	return sum / float64(len(s.pixels[t])/2) / c4(n)
}

// c4 is the expected standard deviation (of n-1 degrees of freedom) of n standard normal
// values.
func c4(n float64) float64 {
	a, _ := math.Lgamma(n / 2)
	b, _ := math.Lgamma((n - 1) / 2)
	return math.Sqrt(2/(n-1)) * math.Exp(a-b)
}
