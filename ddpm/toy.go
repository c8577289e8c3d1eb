package ddpm

import (
	"context"
	"fmt"
	"math"

	"ddpmlab/ddpm/philox"
)

// Gaussian is a toy world in which everything has a closed form: each value of an
// image is normal and independent, so the best noise prediction is known, and with
// it what sampling and Alg. 3 must give. It is a Denoiser, the oracle in the tests
// of schedule, sampler, exposure bias and Eq. 7, and a network-free model to try
// ideas on.
type Gaussian struct {
	Schedule *Schedule // the full one
	Mean     float64   // of every value of x_0
	Var      float64   // of every value of x_0, 0 or more
	Gamma    float64   // predict as a network trained with Eq. 7 would; 0: Eq. 6
}

// Predict is the minimiser of the loss:
//
//	Eq. 6: ε*(x,t) = E[ε | x_t = x] = √(1-ᾱ)·(x-√ᾱ·µ) / (ᾱ·σ² + 1-ᾱ)
//	Eq. 7: E[ε | y_t = x] is the same with (1-ᾱ)·(1+γ²) in the denominator
//
// since y_t = √ᾱ·x_0 + √(1-ᾱ)·(ε+γξ) has the same covariance with ε and a larger
// variance: input perturbation shrinks ε by 1/(1+γ²) where noise dominates.
func (g Gaussian) Predict(ctx context.Context, xt []float32, t []int, eps []float32) error {
	if len(t) == 0 {
		return nil
	}
	if len(xt)%len(t) != 0 || len(eps) != len(xt) {
		return fmt.Errorf("predict the noise of %d images: %d values in, %d out", len(t), len(xt), len(eps))
	}
	size := len(xt) / len(t)
	for i, v := range xt {
		at := t[i/size]
		if at < 0 || at >= g.Schedule.T() {
			return fmt.Errorf("predict noise at t = %d; want 0 to %d", at, g.Schedule.T()-1)
		}
		slope, offset := g.line(at)
		eps[i] = float32(slope*float64(v) + offset)
	}
	return ctx.Err()
}

// line is ε*(x,t) = slope·x + offset.
func (g Gaussian) line(t int) (slope, offset float64) {
	abar := g.Schedule.AlphaBar[t]
	slope = math.Sqrt(1-abar) / (abar*g.Var + (1-abar)*(1+g.Gamma*g.Gamma))
	return slope, -slope * math.Sqrt(abar) * g.Mean
}

// Loss is the expected loss at t, (ε - Predict)² on y_t of the given gamma, which need
// not be the one the prediction was made for: with 0 it is the error on the inputs of
// Alg. 2, with the amplitude of a sampler's own error it is what exposure bias costs.
func (g Gaussian) Loss(t int, gamma float64) float64 {
	abar := g.Schedule.AlphaBar[t]
	slope, offset := g.line(t)
	// ε - slope·y - offset, with y = √ᾱ·x_0 + √(1-ᾱ)·(ε+γξ); µ cancels.
	fromX0 := slope * slope * abar * g.Var
	fromEps := 1 - slope*math.Sqrt(1-abar)
	fromXi := slope * slope * (1 - abar) * gamma * gamma
	bias := slope*math.Sqrt(abar)*g.Mean + offset
	return fromX0 + fromEps*fromEps + fromXi + bias*bias
}

// Images draws n images of x_0, image i from its own stream of seed.
func (g Gaussian) Images(seed uint64, n, h, w, c int) Images {
	m := NewImages(n, h, w, c)
	stream := philox.Key(seed, "toy")
	sd := math.Sqrt(g.Var)
	for i := range n {
		stream.Normals(m.At(i), 0, uint32(i))
		for j, z := range m.At(i) {
			m.At(i)[j] = float32(g.Mean + sd*float64(z))
		}
	}
	return m
}

// Sampled is the mean and variance of every value that Sample draws with this
// prediction, without clipping: the chain is a linear recursion.
func (g Gaussian) Sampled(steps int, variance string) (mean, v float64, err error) {
	if err := (Sampling{Steps: steps, Variance: variance}).Validate(g.Schedule.T()); err != nil {
		return 0, 0, err
	}
	s, err := g.Schedule.respaced(steps)
	if err != nil {
		return 0, 0, err
	}
	v = 1
	for t := s.T() - 1; t >= 0; t-- {
		a, b, sigma2 := g.step(s, t)
		switch {
		case t == 0:
			sigma2 = 0
		case variance == FixedLarge:
			sigma2 = s.Beta[t]
		}
		mean, v = a*mean+b, a*a*v+sigma2
	}
	return mean, v, nil
}

// step is the mean-only step x_(t-1) = a·x_t + b of Alg. 2, and β̃_t.
func (g Gaussian) step(s *Schedule, t int) (a, b, variance float64) {
	slope, offset := g.line(s.Index[t])
	beta, abar := s.Beta[t], s.AlphaBar[t]
	k := beta / math.Sqrt(1-abar) // Alg. 2 line 4, as the paper writes it
	a = (1 - k*slope) / math.Sqrt(1-beta)
	b = -k * offset / math.Sqrt(1-beta)
	return a, b, beta * (1 - s.alphaBarBefore(t)) / (1 - abar)
}

// Bias is what ExposureBias measures over a chain of k steps, without clipping and
// with no sampling error (StdErr 0): both distances are means of |normal|.
func (g Gaussian) Bias(k int) (Bias, error) {
	s := g.Schedule
	if k < 1 || k > s.T() {
		return Bias{}, fmt.Errorf("exposure bias over %d steps; want 1 to %d", k, s.T())
	}
	abar := s.AlphaBar[k-1]
	a, b := 1.0, 0.0 // x̂_0 = a·x_t + b
	for t := k - 1; t >= 0; t-- {
		at, bt, _ := g.step(s, t)
		a, b = at*a, at*b+bt
	}
	slope, offset := g.line(k - 1)
	once := (1 - math.Sqrt(1-abar)*slope) / math.Sqrt(abar) // one-step x_0
	onceB := -math.Sqrt(1-abar) * offset / math.Sqrt(abar)
	// a·x_t + b - x_0 = (a√ᾱ - 1)·x_0 + a√(1-ᾱ)·ε + b
	l1 := func(a, b float64) float64 {
		p, q := a*math.Sqrt(abar)-1, a*math.Sqrt(1-abar)
		return meanAbs(p*g.Mean+b, math.Sqrt(p*p*g.Var+q*q))
	}
	return Bias{Steps: k, L1: l1(a, b), OneStepL1: l1(once, onceB)}, nil
}

// Drift is what SamplingDrift measures of images of d values, over the ancestral chain p
// without clipping, and with no sampling error; ‖ε‖ to the second order in 1/d.
func (g Gaussian) Drift(p Sampling, d int) ([]Drift, error) {
	if err := p.Validate(g.Schedule.T()); err != nil {
		return nil, err
	}
	s, err := p.respaced(g.Schedule)
	if err != nil {
		return nil, err
	}
	// x̂_t = a·x_0 + b + a normal value of variance v
	t := s.T() - 1
	a, b, v := math.Sqrt(s.AlphaBar[t]), 0.0, 1-s.AlphaBar[t]
	var out []Drift
	for ; t >= 0; t-- {
		root, truth := math.Sqrt(s.AlphaBar[t]), math.Sqrt(1-s.AlphaBar[t])
		std := math.Sqrt((a-root)*(a-root)*g.Var + v)
		slope, offset := g.line(s.Index[t])
		norm := func(mean, variance float64) float64 {
			return meanNorm(slope*mean+offset, math.Abs(slope)*math.Sqrt(variance), float64(d))
		}
		out = append(out, Drift{
			T: s.Index[t], Delta: (std - truth) * (std - truth), Std: std, TrueStd: truth,
			Norm: norm(a*g.Mean+b, a*a*g.Var+v), TrainNorm: norm(root*g.Mean, root*root*g.Var+1-s.AlphaBar[t]),
		})
		sa, sb, sigma2 := g.step(s, t)
		if p.Variance == FixedLarge {
			sigma2 = s.Beta[t]
		}
		a, b, v = sa*a, sa*b+sb, sa*sa*v+sigma2
	}
	return out, nil
}

// PredictionError is what PredictionErrors measures at t without clipping: the error is
// normal, and rejected with the test's own probability.
func (g Gaussian) PredictionError(t int) PredictionError {
	abar := g.Schedule.AlphaBar[t]
	slope, offset := g.line(t)
	// x̂_0 - x_0 = (p - 1)·x_0 + q·ε - √(1-ᾱ)/√ᾱ·offset
	p := 1 - math.Sqrt(1-abar)*slope
	q := p * math.Sqrt(1-abar) / math.Sqrt(abar)
	return PredictionError{
		T: t, Nu: math.Sqrt((p-1)*(p-1)*g.Var + q*q), Rejected: rejectBelow,
		Mean: (p-1)*g.Mean - math.Sqrt(1-abar)*offset/math.Sqrt(abar),
	}
}

// meanNorm is about E‖X‖₂ for d independent normal values of mean m and deviation sd: the
// root of the mean square less its curvature.
func meanNorm(m, sd, d float64) float64 {
	mean := d * (m*m + sd*sd)
	variance := d * (2*sd*sd*sd*sd + 4*m*m*sd*sd)
	return math.Sqrt(mean) * (1 - variance/(8*mean*mean))
}

// meanAbs is E|X| for X normal with mean m and standard deviation sd.
func meanAbs(m, sd float64) float64 {
	if sd == 0 {
		return math.Abs(m)
	}
	r := m / sd
	return sd*math.Sqrt(2/math.Pi)*math.Exp(-r*r/2) + m*math.Erf(r/math.Sqrt2)
}
