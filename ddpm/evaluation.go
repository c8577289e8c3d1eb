package ddpm

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/display"
)

// WithEvaluation scores the EMA weights every so many iterations and at the end: n samples
// are drawn in so many steps, and their Fréchet distance from the training data, in the
// features of e, goes to the recorder as a series of the metric's name (fid.MetricName), and
// as a curve to the display of the training's context. It changes nothing of the training,
// and comes beside what Config and WithEval say of evaluations. The caller closes e.
func WithEvaluation(every, n, steps int, e fid.Extractor) Option {
	return func(o *options) { o.scores = &scoring{every: every, n: n, steps: steps, extractor: e} }
}

// scoring is what WithEvaluation asks for.
type scoring struct {
	every, n, steps int
	extractor       fid.Extractor
	reference       fid.Stats // of the training data, once it is known

	at, values []float64 // the curve so far
}

// validate refuses what cannot be measured, before the training.
func (s *scoring) validate(c Config) error {
	if s == nil {
		return nil
	}
	if s.every < 1 || s.n < 2 || s.extractor == nil {
		return fmt.Errorf("evaluation every %d iterations of %d samples; want 1 or more iterations, 2 or more samples and an extractor", s.every, s.n)
	}
	return s.sampling(c).Validate(c.T)
}

// due reports whether iteration step of so many is scored.
func (s *scoring) due(step int64, iterations int) bool {
	return s != nil && (step%int64(s.every) == 0 || step == int64(iterations))
}

func (s *scoring) sampling(c Config) Sampling {
	p := c.Sampling()
	p.Steps, p.Variance = s.steps, cmp.Or(p.Variance, FixedSmall)
	return p
}

// score is the distance of samples of d from the set.
func (s *scoring) score(ctx context.Context, d Denoiser, c Config, schedule *Schedule, set data.Set) (float64, error) {
	if s.reference.N == 0 {
		var err error
		if s.reference, err = fid.SetStats(ctx, s.extractor, set); err != nil {
			return 0, err
		}
	}
	h, w, channels := set.Shape()
	images, err := Sample(ctx, d, schedule, s.sampling(c), 0, s.n, h, w, channels)
	if err != nil {
		return 0, err
	}
	features, err := s.extractor.Features(ctx, images.Pix, images.N, h, w, channels)
	if err != nil {
		return 0, err
	}
	return fid.Frechet(fid.NewStats(features, s.extractor.Dim()), s.reference)
}

// show draws the curve, with a new value, on the display of ctx.
func (s *scoring) show(ctx context.Context, id, title string, step int64, value float64) {
	s.at, s.values = append(s.at, float64(step)), append(s.values, value)
	name := fid.MetricName(s.extractor.Name())
	display.FromContext(ctx).Curve(display.Curve{
		ID: id + "-score", Title: fmt.Sprintf("%s, %d samples in %d steps", title, s.n, s.steps), XLabel: "iteration", YLabel: name,
		Lines: []display.Line{{Name: name, X: slices.Clone(s.at), Y: slices.Clone(s.values)}},
	})
}

// evalSteps lists the iterations after which there is something to evaluate, in order.
func (o *options) evalSteps(c Config) []int {
	steps := c.EvalSteps()
	if s := o.scores; s != nil {
		for at := s.every; at < c.Iterations; at += s.every {
			steps = append(steps, at)
		}
		steps = append(steps, c.Iterations)
	}
	slices.Sort(steps)
	return slices.Compact(steps)
}
