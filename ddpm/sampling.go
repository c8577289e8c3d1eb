package ddpm

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The variance of an ancestral step. Which one is better depends on the number of
// steps, so it goes with every score.
const (
	FixedSmall = "fixed-small" // σ²_t = β̃_t, the paper's (below Eq. 4)
	FixedLarge = "fixed-large" // σ²_t = β_t (Ho et al. 2020)
	// LearnedRange is the network's own, log σ² between log β̃_t and log β_t (Nichol and
	// Dhariwal 2021); of networks trained with Hybrid.
	LearnedRange = "learned-range"
)

// The samplers. A network evaluation counts once for a whole batch.
const (
	Ancestral = "ancestral" // Alg. 2 (Ho et al. 2020): stochastic, one evaluation a step
	// DDIM is deterministic at Eta 0 and much like Ancestral with FixedSmall at 1 (Song,
	// Meng and Ermon 2021, eq. 12): one evaluation a step.
	DDIM = "ddim"
	// Heun is the second-order method of Karras et al. 2022 (Alg. 1 without churn) on this
	// schedule's own σ = √((1-ᾱ)/ᾱ): two evaluations a step, one at the last.
	Heun = "heun"
	// DPMSolver2M is DPM-Solver++(2M), multistep of second order (Lu et al. 2022, Alg. 2): one
	// evaluation a step.
	DPMSolver2M = "dpm++2m"
)

// Sampling says how images are drawn. Its zero value is not valid; see
// Config.Sampling and Validate.
type Sampling struct {
	Steps        int    `json:"steps"`         // 1 to T
	Variance     string `json:"variance"`      // of Ancestral: FixedSmall, FixedLarge or LearnedRange
	ClipDenoised bool   `json:"clip_denoised"` // clip each predicted x_0 to [-1, 1], as the authors do
	Seed         uint64 `json:"seed"`

	Sampler   string  `json:"sampler,omitempty"`   // one of Samplers; empty: Ancestral
	Eta       float64 `json:"eta,omitempty"`       // of DDIM, in [0, 1]
	Respacing string  `json:"respacing,omitempty"` // which steps: see Schedule.Respace; empty: as many as Steps, evenly

	// Epsilon scaling (Ning et al. 2024, "Elucidating the exposure bias"): ε is divided by
	// EpsScale + EpsSlope·i, i the step of the short chain from 0. EpsScale 0 means 1. Their
	// values for CIFAR-10 are 1.017, or in 20 steps EpsScale 1 and EpsSlope 0.0025.
	EpsScale float64 `json:"eps_scale,omitempty"`
	EpsSlope float64 `json:"eps_slope,omitempty"`

	// Time shift (Li et al. 2024, TS-DPM): after a step to t the network is called with the
	// time within ShiftWindow/2 of t at which 1-ᾱ is nearest the variance of the image's
	// pixels, while t is above ShiftCutoff (both in steps of the full schedule). The
	// sampler's own coefficients stay those of t. ShiftWindow 0: no shift.
	ShiftWindow int `json:"shift_window,omitempty"`
	ShiftCutoff int `json:"shift_cutoff,omitempty"`
}

// Samplers lists what Sampling.Sampler may be.
func Samplers() []string { return slices.Sorted(maps.Keys(samplers)) }

// Sampling is how a run with this configuration is sampled for its scores.
func (c Config) Sampling() Sampling {
	return Sampling{Steps: c.SamplingSteps, Variance: c.SamplingVariance, ClipDenoised: true, Seed: c.Seed}
}

// In is p in the steps that the text names, of a schedule of T: a number, as "100", or a
// respacing, as "50,25,25" or "ddim50"; see Schedule.Respace.
func (p Sampling) In(steps string, T int) (Sampling, error) {
	if n, err := strconv.Atoi(steps); err == nil {
		p.Steps, p.Respacing = n, ""
		return p, p.Validate(T)
	}
	use, err := (&Schedule{Beta: make([]float64, T)}).Respace(steps)
	if err != nil {
		return p, err
	}
	p.Steps, p.Respacing = len(use), steps
	return p, p.Validate(T)
}

func (p Sampling) sampler() string { return cmp.Or(p.Sampler, Ancestral) }

// Evaluations is the number of network evaluations that an image costs.
func (p Sampling) Evaluations() int {
	if s, ok := samplers[p.sampler()]; ok {
		return s.evaluations(p.Steps)
	}
	return 0
}

// Validate reports the first field that cannot be sampled with on a schedule of T steps.
func (p Sampling) Validate(T int) error {
	for _, f := range []struct {
		ok    bool
		field string
		value any
		want  string
	}{
		{p.Steps >= 1 && p.Steps <= T, "steps", p.Steps, fmt.Sprintf("1 to %d, the steps of training", T)},
		{
			p.Variance == FixedSmall || p.Variance == FixedLarge || p.Variance == LearnedRange,
			"variance", p.Variance, fmt.Sprintf("%q, %q or %q", FixedSmall, FixedLarge, LearnedRange),
		},
		{samplers[p.sampler()].run != nil, "sampler", p.Sampler, "one of " + strings.Join(Samplers(), ", ")},
		{p.Eta >= 0 && p.Eta <= 1, "eta", p.Eta, "0 (deterministic) to 1"},
		{p.Eta == 0 || p.sampler() == DDIM, "eta", p.Eta, fmt.Sprintf("0: it belongs to the sampler %q", DDIM)},
		{p.EpsScale >= 0 && !math.IsInf(p.EpsScale, 1), "eps_scale", p.EpsScale, "a factor above 0, as 1.017, or 0 for none"},
		{p.epsScale(0) > 0 && p.epsScale(T-1) > 0 && finite(p.epsScale(T-1)), "eps_slope", p.EpsSlope, "a slope that keeps the scale above 0, as 0.0025"},
		{p.ShiftWindow >= 0 && p.ShiftWindow <= T, "shift_window", p.ShiftWindow, fmt.Sprintf("0 (no shift) to %d", T)},
		{p.ShiftCutoff >= 0 && p.ShiftCutoff <= T, "shift_cutoff", p.ShiftCutoff, fmt.Sprintf("0 to %d", T)},
	} {
		if !f.ok {
			return fieldError("sampling", f.field, f.value, f.want)
		}
	}
	return nil
}

// epsScale is what ε is divided by at step i of the short chain.
func (p Sampling) epsScale(i int) float64 { return cmp.Or(p.EpsScale, 1) + p.EpsSlope*float64(i) }

// respaced is the short schedule to sample over.
func (p Sampling) respaced(s *Schedule) (*Schedule, error) {
	if p.Respacing == "" {
		return s.respaced(p.Steps)
	}
	use, err := s.Respace(p.Respacing)
	if err != nil {
		return nil, err
	}
	if len(use) != p.Steps {
		return nil, fieldError("sampling", "steps", p.Steps, fmt.Sprintf("%d, the steps of respacing %q", len(use), p.Respacing))
	}
	return s.Sub(use)
}
