package main

import (
	"cmp"
	"flag"
	"strings"

	"ddpmlab/ddpm"
)

// samplingFlags are the flags that say how images are drawn.
type samplingFlags struct {
	sampler, variance *string
	eta               *float64
	clip              *bool
	epsScale          *float64
	epsSlope          *float64
	shift, cutoff     *int
}

// samplerNames are what people call the samplers.
var samplerNames = map[string]string{"ddpm": ddpm.Ancestral, "dpm++": ddpm.DPMSolver2M}

func newSamplingFlags(f *flag.FlagSet) *samplingFlags {
	return &samplingFlags{
		sampler:  f.String("sampler", "", "draw by `NAME`: ddpm (Alg. 2, the default), ddim, heun or dpm++"),
		variance: f.String("variance", "", "σ² of ddpm, `NAME`: fixed-small, fixed-large or learned-range; default: the run's"),
		eta:      f.Float64("eta", 0, "noise of ddim, `X` from 0 (none, the default) to 1 (as ddpm)"),
		clip:     f.Bool("clip", true, "clip each predicted image to [-1, 1], as the authors do; --clip=false does not"),
		epsScale: f.Float64("eps-scale", 0, "divide the predicted noise by `X`, as 1.017 (Ning et al. 2024)"),
		epsSlope: f.Float64("eps-slope", 0, "let the scale rise by `X` each step of the chain"),
		shift:    f.Int("time-shift", 0, "choose the network's t within a window of `N` by the image's variance (Li et al. 2024); 0: do not"),
		cutoff:   f.Int("time-cutoff", 0, "only while t is above `N`"),
	}
}

// apply sets what was given on the command line; steps may be empty.
func (o *samplingFlags) apply(f *flag.FlagSet, p ddpm.Sampling, steps string, T int) (ddpm.Sampling, error) {
	f.Visit(func(g *flag.Flag) {
		switch g.Name {
		case "sampler":
			p.Sampler = cmp.Or(samplerNames[strings.ToLower(*o.sampler)], strings.ToLower(*o.sampler))
		case "variance":
			p.Variance = *o.variance
		case "eta":
			p.Eta = *o.eta
		case "clip":
			p.ClipDenoised = *o.clip
		case "eps-scale":
			p.EpsScale = *o.epsScale
		case "eps-slope":
			p.EpsSlope = *o.epsSlope
		case "time-shift":
			p.ShiftWindow = *o.shift
		case "time-cutoff":
			p.ShiftCutoff = *o.cutoff
		}
	})
	if p.Sampler == ddpm.Ancestral {
		p.Sampler = "" // one name for one thing: what was drawn before is found again
	}
	p.Variance = cmp.Or(p.Variance, ddpm.FixedSmall)
	if steps == "" {
		return p, p.Validate(T)
	}
	return p.In(steps, T)
}
