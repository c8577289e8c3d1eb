package ddpm

import (
	"fmt"
	"math"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/philox"
)

// input is an input of the training program: its name, its shape without the axis of images,
// and where it comes from. Batches are filled by it, on the processor or by a device itself.
type input struct {
	name   string
	shape  []int
	source engine.Source
}

// size is how many numbers an image has.
func (in input) size() int {
	n := 1
	for _, d := range in.shape {
		n *= d
	}
	return n
}

// inputs lists the inputs of the training program of v, the last of which is the loss's scale
// if wanted. The index that a device draws for each image is t.
func inputs(c Config, v Variant, scaled bool) (all []input, err error) {
	schedule, err := NewSchedule(c.Schedule, c.T)
	if err != nil {
		return nil, err
	}
	gammas, err := v.gammas(c.T)
	if err != nil {
		return nil, err
	}
	add := func(wanted bool, name string, s engine.Source, shape ...int) {
		if wanted {
			all = append(all, input{name, shape, s})
		}
	}
	image := []int{c.Model.Size, c.Model.Size, c.Model.InChannels}
	stream := func(k engine.SourceKind, name string) engine.Source {
		return engine.Source{Kind: k, Key: philox.Key(c.Seed, name)}
	}
	// byT is a number for each t.
	byT := func(wanted bool, name string, f func(t int) float64) {
		if !wanted {
			return
		}
		table := make([]float32, c.T)
		for t := range table {
			table[t] = float32(f(t))
		}
		add(true, name, engine.Source{Kind: engine.Lookup, Table: table})
	}
	learned := func(name string, f func(beta, tilde, k float64) float64) {
		byT(c.Loss == Hybrid, name, func(t int) float64 { return f(schedule.learnedRange(t)) })
	}

	add(true, "x_0", engine.Source{Kind: engine.Images}, image...)
	add(true, "eps", stream(engine.Normals, "eps"), image...)
	add(v.Gamma > 0, "xi", stream(engine.Normals, "xi"), image...)
	for i := range probes(c, v) {
		name := "v"
		if i > 0 {
			name = fmt.Sprintf("v %d", i)
		}
		s := stream(engine.Signs, name)
		if v.GradPenaltyMode == Exact {
			s = engine.Source{Kind: engine.Constant, Table: make([]float32, imageSize(c))}
			s.Table[i] = 1
		}
		add(true, name, s, image...)
	}
	byT(true, "t", func(t int) float64 { return float64(t) })
	byT(true, "sqrt_alpha_bar", func(t int) float64 { return math.Sqrt(schedule.AlphaBar[t]) })
	byT(true, "sqrt_one_minus_alpha_bar", func(t int) float64 { return math.Sqrt(1 - schedule.AlphaBar[t]) })
	byT(gammas != nil, "gamma", func(t int) float64 { return gammas[t] })
	add(c.TimeSampler == LossSecondMoment, "weight", engine.Source{Kind: engine.Weight})
	learned("log_beta", func(beta, _, _ float64) float64 { return beta })
	learned("log_tilde", func(_, tilde, _ float64) float64 { return tilde })
	learned("log_k", func(_, _, k float64) float64 { return k })
	byT(c.Loss == Hybrid, "first", func(t int) float64 { return max(0, float64(1-t)) })
	add(c.Model.Dropout > 0, "counters", engine.Source{Kind: engine.Counters}, 4)
	add(scaled, "loss_scale", engine.Source{Kind: engine.LossScale})
	return all, nil
}

// imageSize is H·W·C.
func imageSize(c Config) int { return c.Model.Size * c.Model.Size * c.Model.InChannels }

// probes is how many vectors v the loss multiplies Jacobians by.
func probes(c Config, v Variant) int {
	switch {
	case v.GradPenalty == 0 || v.GradPenaltyMode == Ones:
		return 0
	case v.GradPenaltyMode == Exact:
		return imageSize(c) // unit vectors, the same for every image
	}
	return max(1, v.GradPenaltyDraws)
}
