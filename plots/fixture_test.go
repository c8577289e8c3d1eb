package plots_test

import (
	"math"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/fid"
	"ddpmlab/ddpm/unet"
	"ddpmlab/experiments"
)

// protocol is the tour's.
func protocol() experiments.Protocol {
	p := fid.Protocol{
		Metric: "FD (fashion-cnn)", Extractor: "fashion-cnn", ExtractorSHA256: "ab", Resize: "2x2 mean",
		N: 500, Pixels: "uint8", Reference: "fashion-mnist", ReferenceSHA256: "cd", ReferenceN: 10_000,
		Sampler: "ancestral", Steps: 50, Variance: "fixed-small", ClipDenoised: true, EMA: "0.999 warm",
	}
	return experiments.Protocol{Protocol: p, ID: p.Hash(), Floor: 0.0634}
}

// noise is the same pseudo-random number in [-1, 1] for the same arguments.
func noise(seed uint64, i int) float64 {
	x := seed*0x9e3779b97f4a7c15 + uint64(i)*0xbf58476d1ce4e5b9
	x ^= x >> 31
	x *= 0x94d049bb133111eb
	x ^= x >> 29
	return float64(x>>11)/(1<<52) - 1
}

// config is the part of a configuration that plots read. It is no preset: those are
// tuned, and the golden files do not depend on them.
func config(seed uint64) ddpm.Config {
	return ddpm.Config{
		Preset: "tour", Model: unet.Config{Channels: 16}, Seed: seed,
		Iterations: 1500, EvalFirst: 10, EvalEvery: 500, EvalSamples: 500,
	}
}

// run is a finished tour run whose losses and scores fall as they do in practice, to a
// last score of about level.
func run(v ddpm.Variant, seed uint64, level float64) *experiments.Run {
	cfg := config(seed)
	start := time.Date(2026, 11, 23, 12, 0, int(seed), 0, time.UTC)
	var losses, scores []experiments.Point
	stream := seed + uint64(level*1000)
	for i := 1; i <= cfg.Iterations; i++ {
		y := 0.085 + 0.9*math.Exp(-float64(i)/40) + 0.15*math.Exp(-float64(i)/400)
		y *= 1 + 0.18*noise(stream, i)
		losses = append(losses, experiments.Point{Step: int64(i), Value: y})
	}
	for k, i := range cfg.EvalSteps() {
		y := level + (14-level)*math.Exp(-float64(i)/210)
		y *= 1 + 0.05*noise(stream+7, k)
		scores = append(scores, experiments.Point{Step: int64(i), Value: y})
	}
	return experiments.Detached(experiments.Run{
		ID: "01J0000000000000000000000" + string(rune('A'+seed%26)), Name: v.Name(), Status: experiments.StatusFinished, Attempt: 1,
		Config: cfg, Variant: v, Seed: seed, Step: int64(cfg.Iterations), Started: start, Finished: start.Add(time.Minute),
	}, map[string][]experiments.Point{
		experiments.MetricLoss: losses, experiments.MetricFD: scores,
	}, map[string]experiments.Protocol{experiments.MetricFD: protocol()})
}

// tour is the tour's four runs.
func tour() experiments.Runs {
	return experiments.Runs{
		run(ddpm.ADM(), 1, 0.62),
		run(ddpm.WeightDecay(0.03), 1, 0.66),
		run(ddpm.GradPenalty(1e-6), 1, 0.71),
		run(ddpm.InputPerturbation(0.1), 1, 0.55),
	}
}

// withSeries is r with another series or protocol of scores.
func withScores(r *experiments.Run, p experiments.Protocol, points ...experiments.Point) *experiments.Run {
	return experiments.Detached(*r, map[string][]experiments.Point{
		experiments.MetricLoss: r.Series(experiments.MetricLoss), experiments.MetricFD: points,
	}, map[string]experiments.Protocol{experiments.MetricFD: p})
}

// bias is what lab.Bias gives for the runs.
func bias(runs ...*experiments.Run) *experiments.BiasResult {
	b := &experiments.BiasResult{Steps: []int{100, 300, 600, 1000}, N: 64, Protocol: "Mean over the first 64 images of fashion-mnist, ± standard error; EMA weights, no dropout; predictions of x₀ clipped to [-1, 1] but where it says as written.", Sampling: ddpm.Sampling{Steps: 20, Variance: ddpm.FixedSmall, ClipDenoised: true}}
	for k, r := range runs {
		row := experiments.BiasRow{Run: r}
		for i, l1 := range []float64{0.0491, 0.0943, 0.1488, 0.4413} {
			l1 += 0.0004 * float64(k)
			row.Bias = append(row.Bias, ddpm.Bias{
				Steps: b.Steps[i], N: 64, L1: l1, StdErr: l1 / 40,
				OneStepL1: l1 * []float64{0.95, 0.957, 1.068, 1.756}[i], OneStepStdErr: l1 / 45,
			})
		}
		for i, v := range row.Bias {
			v.L1, v.StdErr = v.L1*[]float64{1, 1, 1.01, 6.4}[i], v.StdErr*[]float64{1, 1, 1.2, 80}[i]
			row.AsWritten = append(row.AsWritten, v)
		}
		for i := range 20 {
			t := 999 - i*999/19
			u := float64(t) / 999
			norm := 14 * math.Sqrt(0.1+0.9*u)
			row.Drift = append(row.Drift, ddpm.Drift{
				T: t, N: 64, Delta: 0.2*u*(1-u)*(1+0.1*float64(k)) + 1e-5, DeltaFloor: 2e-5 * (0.2 + u), Std: 1, TrueStd: 1,
				Norm: norm * (1.02 - 0.01*u - 0.003*float64(k)), NormStdErr: 0.02, TrainNorm: norm, TrainNormStdErr: 0.02,
			})
		}
		for t := 0; t < 1000; t += 10 {
			u := float64(t) / 999
			row.Errors = append(row.Errors, ddpm.PredictionError{
				T: t, N: 64, Nu: 0.02 + 0.5*u*(1-0.02*float64(k)), Rejected: 0.4 - 0.3*u, Pixels: 190, Constant: 6, Tested: 64,
			})
		}
		b.Rows = append(b.Rows, row)
	}
	return b
}

// sweep is what lab.Sweep gives for the runs.
func sweep(runs ...*experiments.Run) *experiments.SweepResult {
	p := protocol()
	p.Steps, p.ID = 0, ""
	s := &experiments.SweepResult{Steps: []int{10, 20, 50, 100}, Protocol: p}
	for k, r := range runs {
		row := experiments.SweepRow{Run: r}
		for _, fd := range []float64{2.914, 0.7261, 0.4312, 0.2641} {
			row.FD = append(row.FD, fd*(1-0.04*float64(k)))
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

// samples is n images of the run: soft blobs, lighter in the middle, each another one.
func samples(r *experiments.Run, n, size, channels int) *experiments.Samples {
	m := ddpm.NewImages(n, size, size, channels)
	for i := range n {
		cx := float64(size) * (0.5 + 0.15*noise(uint64(i), 1))
		cy := float64(size) * (0.5 + 0.15*noise(uint64(i), 2))
		w := float64(size) * (0.25 + 0.1*noise(uint64(i), 3))
		for y := range size {
			for x := range size {
				d := math.Hypot((float64(x)+0.5-cx)/w, (float64(y)+0.5-cy)/(1.5*w))
				for c := range channels {
					v := 2/(1+math.Exp(6*(d-1)))*(1-0.3*float64(c)) - 1
					m.At(i)[(y*size+x)*channels+c] = float32(v)
				}
			}
		}
	}
	return &experiments.Samples{Run: r, Images: m, Sampling: ddpm.Sampling{Steps: 50, Seed: 1}}
}
