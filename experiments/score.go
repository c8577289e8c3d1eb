package experiments

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/fid"
)

// scorer measures the Fréchet distance of a network's samples to a reference set, by
// one protocol.
type scorer struct {
	store     *Store
	extractor fid.Extractor
	reference fid.Stats
	schedule  *ddpm.Schedule
	sampling  ddpm.Sampling
	protocol  Protocol
	h, w, c   int
}

// newScorer prepares to score samples of runs with this configuration: n of them, in so
// many sampling steps, against the data they were trained on. What it needs to know of
// the reference set is computed once for each database.
func (s *Store) newScorer(ctx context.Context, c ddpm.Config, set data.Set, n, steps int) (*scorer, error) {
	if n < 2 {
		return nil, fmt.Errorf("a score of %d samples; want 2 or more (eval_samples 0: no scores)", n)
	}
	sc := &scorer{store: s, sampling: c.Sampling()}
	sc.h, sc.w, sc.c = set.Shape()
	if sc.sampling.Variance == "" { // a run without scores of its own
		sc.sampling.Variance = ddpm.FixedSmall
	}
	var err error
	if sc.schedule, err = ddpm.NewSchedule(c.Schedule, c.T); err != nil {
		return nil, err
	}
	if sc.extractor, err = s.openExtractor(c.Data); err != nil {
		return nil, err
	}
	sc.protocol.Protocol = fid.Protocol{
		Metric: fid.MetricName(sc.extractor.Name()), Extractor: sc.extractor.Name(),
		ExtractorSHA256: sc.extractor.SHA256(), Resize: sc.extractor.Resize(),
		N: n, Pixels: "float", Reference: set.Name(), ReferenceSHA256: set.SHA256(), ReferenceN: set.Len(),
		Sampler: "ancestral", Variance: sc.sampling.Variance, ClipDenoised: sc.sampling.ClipDenoised,
		EMA: emaName(c),
	}
	if err := sc.measureReference(ctx, set); err != nil {
		return nil, err
	}
	return sc, sc.steps(steps)
}

// steps sets the number of sampling steps, and with it the protocol.
func (sc *scorer) steps(n int) error {
	sc.sampling.Steps = n
	if err := sc.sampling.Validate(sc.schedule.T()); err != nil {
		return err
	}
	sc.protocol.Steps = n
	sc.protocol.ID = sc.protocol.Hash()
	return nil
}

// emaName is how a protocol names the weights that are sampled from.
func emaName(c ddpm.Config) string {
	if c.EMA == 0 {
		return "none"
	}
	name := strconv.FormatFloat(c.EMA, 'g', -1, 64)
	if c.EMAWarmup {
		name += " warm"
	}
	return name
}

// measureReference finds the statistics of the reference set, and the floor.
func (sc *scorer) measureReference(ctx context.Context, set data.Set) error {
	p := sc.protocol.Protocol
	about := fid.Protocol{Extractor: p.Extractor, ExtractorSHA256: p.ExtractorSHA256, Resize: p.Resize, Pixels: p.Pixels}
	m, err := newMethod("feature statistics", about)
	if err != nil {
		return err
	}
	report := newReport(ctx, "reference-"+set.SHA256(), fmt.Sprintf("%s: features of %s", p.Metric, set.Name()))
	found, err := sc.store.recall(ctx, set.SHA256(), m, &sc.reference)
	if err != nil {
		return err
	}
	if !found {
		report.state(0)
		features, err := fid.SetFeatures(ctx, sc.extractor, set)
		if err != nil {
			return report.failed(err)
		}
		sc.reference = fid.NewStats(features, sc.extractor.Dim())
		if err := sc.store.keep(ctx, set.SHA256(), m, sc.reference); err != nil {
			return report.failed(err)
		}
	}
	if p.N <= set.Len()/2 {
		about.N = p.N
		if m, err = newMethod("floor of "+p.Metric, about); err != nil {
			return err
		}
		if found, err = sc.store.recall(ctx, set.SHA256(), m, &sc.protocol.Floor); err != nil {
			return err
		}
		if !found {
			report.state(1)
			floors, err := fid.Floor(ctx, sc.extractor, set, p.N)
			if err != nil {
				return report.failed(err)
			}
			sc.protocol.Floor = floors.At[0].Mean
			if err := sc.store.keep(ctx, set.SHA256(), m, sc.protocol.Floor); err != nil {
				return report.failed(err)
			}
		}
	}
	report.done()
	return nil
}

// method is the protocol as the database has it.
func (sc *scorer) method() method {
	p := sc.protocol
	m := method{id: p.ID, metric: p.Metric, detail: p.Protocol, floor: p.Floor}
	if p.Floor == 0 {
		m.floor = math.NaN() // not defined
	}
	return m
}

// score draws the protocol's samples from d and returns their distance to the reference
// set. Progress goes to the display of ctx, under the id and title given.
func (sc *scorer) score(ctx context.Context, d ddpm.Denoiser, id, title string) (float64, error) {
	report := newReport(ctx, id, title)
	images, err := ddpm.Sample(report.context(ctx), d, sc.schedule, sc.sampling, 0, sc.protocol.N, sc.h, sc.w, sc.c)
	if err != nil {
		return 0, report.failed(err)
	}
	features, err := sc.extractor.Features(ctx, images.Pix, images.N, sc.h, sc.w, sc.c)
	if err != nil {
		return 0, report.failed(fmt.Errorf("features of samples: %w", err))
	}
	fd, err := fid.Frechet(fid.NewStats(features, sc.extractor.Dim()), sc.reference)
	if err != nil {
		return 0, report.failed(fmt.Errorf("%s: %w", sc.protocol.Metric, err))
	}
	report.value(sc.protocol.Metric, fd)
	report.done()
	return fd, nil
}
