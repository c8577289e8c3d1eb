package ddpm

import (
	"context"
	"fmt"
	"math"

	"ddpmlab/ddpm/philox"
)

// sampler is a way from x_T to x_0.
type sampler struct {
	// run replaces the noise in x, images first.. of the chain, by images.
	run func(ctx context.Context, c *chain, x Images) error
	// evaluations is how often run calls the network over so many steps.
	evaluations func(steps int) int
}

var samplers map[string]sampler

func init() {
	once := func(steps int) int { return steps }
	samplers = map[string]sampler{
		Ancestral:   {ancestral, once},
		DDIM:        {ddim, once},
		Heun:        {heun, func(steps int) int { return 2*steps - 1 }},
		DPMSolver2M: {dpmSolver2M, once},
	}
}

// chain is what all samplers share: the schedule, and predictions made fit for use.
type chain struct {
	d    Denoiser
	full *Schedule
	s    *Schedule // the short one
	p    Sampling
	// noise writes z of the step at entry t of s for image i of the batch.
	noise func(z []float32, t, i int)

	// observe, unless nil, is shown the images x at entry t of s, and the ε that the sampler
	// goes on with.
	observe func(t int, x Images, eps []float32)

	shifted []int // what the network is told instead of t, by image; nil: t
	x0, eps []float32
	v       []float32 // of a VarianceDenoiser, where it is wanted
	times   []int
}

func newChain(d Denoiser, full, short *Schedule, p Sampling, first int) *chain {
	stream := philox.Key(p.Seed, "z")
	return &chain{
		d: d, full: full, s: short, p: p,
		noise: func(z []float32, t, i int) { stream.Normals(z, uint64(short.Index[t]), uint32(first+i)) },
	}
}

// predict sets c.x0 and c.eps to what the network says of x at entry t of the schedule:
// ε scaled, x_0 clipped if asked for and ε then made to agree with it.
func (c *chain) predict(ctx context.Context, t int, x Images) error {
	if err := c.evaluate(ctx, t, x); err != nil {
		return err
	}
	if len(c.x0) != len(x.Pix) {
		c.x0 = make([]float32, len(x.Pix))
	}
	a, b := math.Sqrt(c.s.AlphaBar[t]), math.Sqrt(1-c.s.AlphaBar[t])
	for i, v := range x.Pix {
		x0 := denoised(c.s, t, v, c.eps[i], c.p.ClipDenoised)
		c.x0[i] = float32(x0)
		c.eps[i] = float32((float64(v) - a*x0) / b)
	}
	return nil
}

// evaluate sets c.eps, and c.v if the variance is learned, by one call of the network.
func (c *chain) evaluate(ctx context.Context, t int, x Images) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stopped with %d steps to go: %w", t+1, err)
	}
	if len(c.eps) != len(x.Pix) {
		c.eps, c.times = make([]float32, len(x.Pix)), make([]int, x.N)
	}
	for i := range c.times {
		c.times[i] = c.s.Index[t]
		if c.shifted != nil {
			c.times[i] = c.shifted[i]
		}
	}
	var err error
	if c.p.Variance == LearnedRange && c.p.sampler() == Ancestral {
		d, ok := c.d.(VarianceDenoiser)
		if !ok {
			return fieldError("sampling", "variance", c.p.Variance,
				fmt.Sprintf("%q or %q: this network has not learned its variance", FixedSmall, FixedLarge))
		}
		if len(c.v) != len(x.Pix) {
			c.v = make([]float32, len(x.Pix))
		}
		err = d.PredictVariance(ctx, x.Pix, c.times, c.eps, c.v)
	} else {
		err = c.d.Predict(ctx, x.Pix, c.times, c.eps)
	}
	if err != nil {
		return fmt.Errorf("predict noise at t = %d: %w", c.s.Index[t], err)
	}
	if scale := c.p.epsScale(t); scale != 1 {
		for i, e := range c.eps {
			c.eps[i] = float32(float64(e) / scale)
		}
	}
	if c.observe != nil {
		c.observe(t, x, c.eps)
	}
	return nil
}

// shift chooses what the network is told of the images x that have come to entry t.
func (c *chain) shift(t int, x Images) {
	if c.p.ShiftWindow == 0 {
		return
	}
	if len(c.shifted) != x.N {
		c.shifted = make([]int, x.N)
	}
	at := c.s.Index[t]
	for i := range c.shifted {
		c.shifted[i] = at
		if at <= c.p.ShiftCutoff {
			continue
		}
		variance := pixelVariance(x.At(i))
		best := math.Inf(1)
		lo, hi := max(0, at-c.p.ShiftWindow/2), min(c.full.T()-1, at+c.p.ShiftWindow/2)
		for u := lo; u <= hi; u++ {
			if d := math.Abs(variance - (1 - c.full.AlphaBar[u])); d < best {
				best, c.shifted[i] = d, u
			}
		}
	}
}

// pixelVariance is the variance of an image's values (over n, as theirs).
func pixelVariance(x []float32) float64 {
	var sum, squares float64
	for _, v := range x {
		sum, squares = sum+float64(v), squares+float64(v)*float64(v)
	}
	mean := sum / float64(len(x))
	return squares/float64(len(x)) - mean*mean
}

// reverseMean replaces x_t in x by the mean of p_θ(x_(t-1) | x_t) (Eq. 3; Alg. 2
// line 4 and Alg. 3 line 8 without z), where t is an entry of the schedule.
func (c *chain) reverseMean(ctx context.Context, t int, x Images) error {
	if err := c.evaluate(ctx, t, x); err != nil {
		return err
	}
	a, b, _ := c.s.posterior(t)
	for i, v := range x.Pix {
		x.Pix[i] = float32(a*denoised(c.s, t, v, c.eps[i], c.p.ClipDenoised) + b*float64(v))
	}
	return nil
}

// ancestral is Alg. 2.
func ancestral(ctx context.Context, c *chain, x Images) error {
	z := make([]float32, x.Size())
	for t := c.s.T() - 1; t >= 0; t-- { // line 2
		if err := c.reverseMean(ctx, t, x); err != nil {
			return err
		}
		if t == 0 { // line 3: the last step adds no noise
			break
		}
		_, _, variance := c.s.posterior(t)
		if c.p.Variance == FixedLarge {
			variance = c.s.Beta[t]
		}
		sigma := float32(math.Sqrt(variance))
		logBeta, logTilde, _ := c.s.learnedRange(t)
		for i := range x.N {
			c.noise(z, t, i)
			pix := x.At(i)
			for j, v := range pix {
				if c.p.Variance == LearnedRange {
					f := (float64(c.v[i*len(pix)+j]) + 1) / 2
					sigma = float32(math.Exp(0.5 * (f*logBeta + (1-f)*logTilde)))
				}
				pix[j] = v + float32(sigma*z[j])
			}
		}
		c.shift(t-1, x)
	}
	return nil
}

// ddim is Song, Meng and Ermon 2021, eq. 12 and 16.
func ddim(ctx context.Context, c *chain, x Images) error {
	z := make([]float32, x.Size())
	for t := c.s.T() - 1; t >= 0; t-- {
		if err := c.predict(ctx, t, x); err != nil {
			return err
		}
		before, abar := c.s.alphaBarBefore(t), c.s.AlphaBar[t]
		sigma := c.p.Eta * math.Sqrt((1-before)/(1-abar)*(1-abar/before))
		a, b := math.Sqrt(before), math.Sqrt(max(0, 1-before-sigma*sigma))
		for i := range x.Pix {
			x.Pix[i] = float32(a*float64(c.x0[i]) + b*float64(c.eps[i]))
		}
		if t == 0 {
			break
		}
		for i := 0; sigma > 0 && i < x.N; i++ {
			c.noise(z, t, i)
			for j, v := range x.At(i) {
				x.At(i)[j] = v + float32(float32(sigma)*z[j])
			}
		}
		c.shift(t-1, x)
	}
	return nil
}

// heun solves dz/dσ = ε, z = x/√ᾱ, by the trapezoidal rule.
func heun(ctx context.Context, c *chain, x Images) error {
	next := NewImages(x.N, x.H, x.W, x.C)
	eps := make([]float32, len(x.Pix))
	for t := c.s.T() - 1; t > 0; t-- {
		if err := c.predict(ctx, t, x); err != nil {
			return err
		}
		a, b := math.Sqrt(c.s.AlphaBar[t-1]), math.Sqrt(1-c.s.AlphaBar[t-1])
		for i := range x.Pix {
			next.Pix[i] = float32(a*float64(c.x0[i]) + b*float64(c.eps[i]))
		}
		copy(eps, c.eps)
		c.shift(t-1, next)
		if err := c.predict(ctx, t-1, next); err != nil {
			return err
		}
		// z' - z = (σ' - σ)·ε, of which Euler's half is in next already.
		half := 0.5 * a * (sigmaOf(c.s, t-1) - sigmaOf(c.s, t))
		for i := range x.Pix {
			x.Pix[i] = float32(float64(next.Pix[i]) + half*(float64(c.eps[i])-float64(eps[i])))
		}
		c.shift(t-1, x)
	}
	return c.last(ctx, x)
}

// sigmaOf is the noise level √((1-ᾱ)/ᾱ) of entry t.
func sigmaOf(s *Schedule, t int) float64 { return math.Sqrt((1 - s.AlphaBar[t]) / s.AlphaBar[t]) }

// last is the step from the first entry of the schedule to x_0, which every solver makes
// by Euler's rule, as σ ends at 0: the predicted x_0.
func (c *chain) last(ctx context.Context, x Images) error {
	if err := c.predict(ctx, 0, x); err != nil {
		return err
	}
	copy(x.Pix, c.x0)
	return nil
}

// dpmSolver2M extrapolates x_0 linearly in λ = log(√ᾱ/√(1-ᾱ)) from the last two steps.
func dpmSolver2M(ctx context.Context, c *chain, x Images) error {
	lambda := func(t int) float64 { return -math.Log(sigmaOf(c.s, t)) }
	var before []float32 // x_0 of the step before
	for t := c.s.T() - 1; t > 0; t-- {
		if err := c.predict(ctx, t, x); err != nil {
			return err
		}
		h := lambda(t-1) - lambda(t)
		w := 0.0 // first order at the first step
		if before != nil {
			w = 0.5 * h / (lambda(t) - lambda(t+1))
		} else {
			before = make([]float32, len(x.Pix))
		}
		keep := math.Sqrt((1 - c.s.AlphaBar[t-1]) / (1 - c.s.AlphaBar[t]))
		gain := -math.Sqrt(c.s.AlphaBar[t-1]) * math.Expm1(-h)
		for i, v := range x.Pix {
			d := (1+w)*float64(c.x0[i]) - w*float64(before[i])
			x.Pix[i] = float32(keep*float64(v) + gain*d)
		}
		copy(before, c.x0)
		c.shift(t-1, x)
	}
	return c.last(ctx, x)
}
