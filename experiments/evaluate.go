package experiments

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/gonum/stat"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

// Evaluating says how samples are scored. Its zero value is as a run's own scores.
type Evaluating struct {
	N       int      // samples; 0: as many as for the run's own scores, or 1,000
	Steps   int      // of the sampler; 0: as for the run's own scores, or 50
	Sampler string   // one of ddpm.Samplers; "": ancestral
	Seeds   []uint64 // of the noise, one evaluation each; none: the run's seed alone
	Metrics []string // as fid.Metrics; none: the usual ones of the extractor

	// Sampling is all that a sampler can be told; with Steps 0 the fields above count.
	Sampling ddpm.Sampling
}

// Evaluation is the scores of images, or their means over evaluation seeds.
type Evaluation struct {
	Samples   fid.Described `json:"samples"`
	Reference fid.Described `json:"reference"`
	Seeds     []uint64      `json:"seeds,omitempty"`
	Scores    []Score       `json:"scores"`
	Notes     []string      `json:"notes,omitempty"`
}

// Score is one metric of an Evaluation.
type Score struct {
	Metric   string       `json:"metric"` // its key
	Name     string       `json:"name"`
	Value    float64      `json:"value"`            // the mean over seeds
	SD       float64      `json:"sd,omitempty"`     // over seeds; of one, over splits or subsets
	Values   []float64    `json:"values,omitempty"` // one for each of several seeds
	Protocol fid.Protocol `json:"protocol"`
	ID       string       `json:"id"` // the protocol's SHA-256
}

// Over joins evaluations of one model with several seeds to their means and deviations.
func Over(seeds []uint64, evals []*fid.Evaluation) (*Evaluation, error) {
	if len(evals) == 0 || len(seeds) > 0 && len(seeds) != len(evals) {
		return nil, fmt.Errorf("%d evaluations of %d seeds", len(evals), len(seeds))
	}
	first := evals[0]
	e := &Evaluation{Samples: first.Samples, Reference: first.Reference, Seeds: seeds, Notes: first.Notes}
	for i, v := range first.Values {
		s := Score{Metric: v.Metric, Name: v.Name, Value: v.Value, SD: v.SD, Protocol: v.Protocol}
		if len(evals) > 1 {
			s.Protocol.Seeds = seedList(seeds)
			for _, o := range evals {
				p := o.Values[i].Protocol
				p.Seeds = s.Protocol.Seeds
				if err := fid.Same(s.Protocol, p); err != nil {
					return nil, err
				}
				s.Values = append(s.Values, o.Values[i].Value)
			}
			s.Value, s.SD = stat.MeanStdDev(s.Values, nil)
		}
		s.ID = s.Protocol.Hash()
		e.Scores = append(e.Scores, s)
	}
	return e, nil
}

func seedList(seeds []uint64) string {
	list := make([]string, len(seeds))
	for i, s := range seeds {
		list[i] = strconv.FormatUint(s, 10)
	}
	return strings.Join(list, ", ")
}

// drawn is what a protocol says of samples drawn from a run in this way.
func drawn(c ddpm.Config, p ddpm.Sampling, seeds []uint64) fid.Protocol {
	out := fid.Protocol{
		Sampler: cmp.Or(p.Sampler, ddpm.Ancestral), Steps: p.Steps, Variance: p.Variance, ClipDenoised: p.ClipDenoised, EMA: emaName(c),
		Eta: p.Eta, Respacing: p.Respacing, EpsScale: p.EpsScale, EpsSlope: p.EpsSlope, ShiftWindow: p.ShiftWindow, ShiftCutoff: p.ShiftCutoff,
		Seeds: seedList(seeds),
	}
	if out.Sampler != ddpm.Ancestral {
		out.Variance = "" // of Ancestral alone
	}
	return out
}

// fill sets what h leaves open, for samples of a run with this configuration.
func (h Evaluating) fill(c ddpm.Config) Evaluating {
	h.N = cmp.Or(h.N, c.EvalSamples, 1000)
	own := c.Sampling()
	if h.Sampling.Steps == 0 {
		h.Sampling.Steps = cmp.Or(h.Steps, own.Steps, min(50, c.T))
		h.Sampling.Sampler, h.Sampling.ClipDenoised = h.Sampler, true
	}
	h.Sampling.Variance = cmp.Or(h.Sampling.Variance, own.Variance, ddpm.FixedSmall)
	h.Sampling.Seed = c.Seed
	if len(h.Seeds) > 0 {
		h.Sampling.Seed = h.Seeds[0]
	}
	return h
}

// For is how many images to draw from a network with this configuration, how, and what a
// protocol says of them; of several seeds the first counts.
func (h Evaluating) For(c ddpm.Config) (n int, p ddpm.Sampling, told fid.Protocol) {
	h = h.fill(c)
	return h.N, h.Sampling, drawn(c, h.Sampling, h.Seeds[:min(1, len(h.Seeds))])
}

// Source draws a run's samples, to be scored or compared with.
func (s *Store) Source(ctx context.Context, r *Run, how Evaluating) (*fid.Source, error) {
	n, p, told := how.For(r.Config)
	samples, err := s.Draw(ctx, r, n, p)
	if err != nil {
		return nil, err
	}
	return samples.source(told), nil
}

// source are the samples to be scored.
func (s *Samples) source(told fid.Protocol) *fid.Source {
	m := s.Images
	out := fid.Truncated(fmt.Sprintf("%s, run %s", s.Run.Variant, s.Run.ID), m.N, m.H, m.W, m.C, m.Pix)
	out.Drawn = told
	return out
}

// Evaluate scores samples of a run against the data it was trained on, by the extractor
// of those data. What was measured before of the same checkpoint is looked up.
func (s *Store) Evaluate(ctx context.Context, r *Run, how Evaluating) (*Evaluation, error) {
	e, err := s.network(r.Config.Data)
	if err != nil {
		return nil, err
	}
	return s.EvaluateWith(ctx, r, e, nil, how)
}

// EvaluateWith is Evaluate with an extractor of the caller's, against what open opens, once
// for each seed; nil: the run's data.
func (s *Store) EvaluateWith(ctx context.Context, r *Run, e fid.Network, open func() (fid.Against, error), how Evaluating) (*Evaluation, error) {
	how = how.fill(r.Config)
	c, err := s.newest(ctx, r)
	if err != nil {
		return nil, err
	}
	var set data.Set
	if open == nil {
		if set, err = s.openData(r.Config); err != nil {
			return nil, err
		}
		open = func() (fid.Against, error) { return fid.Against{Images: fid.OfSet(set)}, nil }
	}
	seeds := how.Seeds
	if len(seeds) == 0 {
		seeds = []uint64{r.Config.Seed}
	}
	against, err := open()
	if err != nil {
		return nil, err
	}
	var evals []*fid.Evaluation
	for _, seed := range seeds {
		one := how
		if len(how.Seeds) > 0 {
			one.Seeds = []uint64{seed}
		}
		eval, err := s.evaluateOne(ctx, r, c, e, against, fid.Request{Metrics: how.Metrics, Floats: set != nil}, one)
		if err != nil {
			return nil, err
		}
		against = eval.Against
		evals = append(evals, eval)
	}
	return Over(how.Seeds, evals)
}

// evaluateOne scores the samples of one seed, or looks them all up. What cannot be
// evaluated is refused before they are drawn.
func (s *Store) evaluateOne(ctx context.Context, r *Run, c saved, e fid.Network, against fid.Against, request fid.Request, how Evaluating) (*fid.Evaluation, error) {
	n, p, told := how.For(r.Config)
	m := r.Config.Model
	shape := (&Samples{Run: r, Images: ddpm.Images{N: n, H: m.Size, W: m.Size, C: m.InChannels}}).source(told)
	plan, err := fid.Plan(e, shape, against, request)
	if err != nil {
		return nil, err
	}
	if plan.Reference.SHA256 != "" {
		if known, err := s.recallScores(ctx, c.sum, plan.Values); known || err != nil {
			return plan, err
		}
	}
	samples, err := s.Draw(ctx, r, n, p)
	if err != nil {
		return nil, err
	}
	request = Showing(ctx, request, "evaluate-"+r.ID, fmt.Sprintf("%s: features of %s", r.Variant, e.Name()))
	eval, err := fid.Evaluate(ctx, e, samples.source(told), against, request)
	if err != nil {
		return nil, err
	}
	for _, v := range eval.Values {
		if err := s.keep(ctx, c.sum, scoreMethod(v), storedScore{v.Value, v.SD}); err != nil {
			return nil, err
		}
	}
	return eval, nil
}

// recallScores sets the numbers of the values, if all of them were measured before.
func (s *Store) recallScores(ctx context.Context, subject string, values []fid.Value) (bool, error) {
	for i, v := range values {
		var known storedScore
		if found, err := s.recall(ctx, subject, scoreMethod(v), &known); !found || err != nil {
			return false, err
		}
		values[i].Value, values[i].SD = known.Value, known.SD
	}
	return true, nil
}

func scoreMethod(v fid.Value) method {
	return method{id: v.ID, metric: v.Name, detail: v.Protocol, floor: math.NaN()}
}

// storedScore is a score as the database has it: a number, as those of a training, or an
// object where it has a deviation.
type storedScore struct{ Value, SD float64 }

// MarshalJSON implements json.Marshaler.
func (s storedScore) MarshalJSON() ([]byte, error) {
	if s.SD == 0 {
		return json.Marshal(s.Value)
	}
	type object storedScore
	return json.Marshal(object(s))
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *storedScore) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '{' {
		return json.Unmarshal(b, &s.Value)
	}
	type object storedScore
	return json.Unmarshal(b, (*object)(s))
}

// Showing is r with what tells the display of ctx how many images went through a network,
// and then which score is computed.
func Showing(ctx context.Context, r fid.Request, id, title string) fid.Request {
	r.Progress = ShowImages(ctx, id, title)
	show := shower(ctx, id+"-scores", "scores")
	r.Scoring = func(done, total int, next string) { show(done, total, cmp.Or(next, "scores")) }
	return r
}

// ShowImages returns what tells the display of ctx how many images went through a network.
func ShowImages(ctx context.Context, id, title string) func(done, total int) {
	show := shower(ctx, id, "images")
	return func(done, total int) { show(done, total, title) }
}

// shower returns what reports how many of so many things are done, from now on.
func shower(ctx context.Context, id, unit string) func(done, total int, title string) {
	sink, begun, last := display.FromContext(ctx), time.Now(), 0
	return func(done, total int, title string) {
		if done <= last { // it begins, perhaps anew
			begun = time.Now()
		}
		last = done
		took := time.Since(begun)
		p := display.Progress{ID: id, Title: title, Done: int64(done), Total: int64(total), Unit: unit, Elapsed: took}
		if p.Rate = float64(done) / max(took.Seconds(), 1e-9); done > 0 {
			p.ETA = time.Duration(float64(total-done) / p.Rate * float64(time.Second))
		}
		if done == total {
			p.State = display.Done
		}
		sink.Progress(p)
	}
}

// network is the extractor that suits the data.
func (s *Store) network(name string) (fid.Network, error) {
	e, err := s.openExtractor(name)
	if err != nil {
		return nil, err
	}
	n, ok := e.(fid.Network)
	if !ok {
		return nil, fmt.Errorf("the extractor %s has no layers to evaluate", e.Name())
	}
	return n, nil
}

// Difference is how two runs' samples from the same noise differ in their distance from the
// data, with a paired bootstrap over images: see fid.Compare.
func (s *Store) Difference(ctx context.Context, a, b *Run, how Evaluating, draws int) (fid.Difference, error) {
	var none fid.Difference
	how = how.fill(a.Config)
	told := drawn(a.Config, how.Sampling, how.Seeds[:min(1, len(how.Seeds))])
	set, err := s.openData(a.Config)
	if err != nil {
		return none, err
	}
	other, err := s.openData(b.Config)
	if err != nil {
		return none, err
	}
	if other.SHA256() != set.SHA256() {
		return none, fmt.Errorf("runs %s and %s are of different data: their distances do not compare", a.ID, b.ID)
	}
	if ea, eb := emaName(a.Config), emaName(b.Config); ea != eb {
		return none, fmt.Errorf("runs %s and %s do not compare: EMA %s against %s", a.ID, b.ID, ea, eb)
	}
	e, err := s.network(a.Config.Data)
	if err != nil {
		return none, err
	}
	var samples [2]*fid.Source
	for i, r := range []*Run{a, b} {
		drawn, err := s.Draw(ctx, r, how.N, how.Sampling) // the same noise for both
		if err != nil {
			return none, err
		}
		samples[i] = drawn.source(told)
	}
	request := Showing(ctx, fid.Request{Floats: true}, "difference", "features of "+e.Name())
	return fid.Compare(ctx, e, samples[0], samples[1], fid.Against{Images: fid.OfSet(set)}, request, draws)
}

// Table is one line a metric.
func (e *Evaluation) Table() *render.Table {
	t := &render.Table{
		Caption: fmt.Sprintf("%s against %s", e.Samples.Name, e.Reference.Name),
		Columns: append(render.Left("Metric"), render.Right("Value", "±", "N", "Reference", "Protocol")...),
	}
	for _, s := range e.Scores {
		t.Add(s.Name, formatScore(s.Value), spread(s.SD), countOrUnknown(s.Protocol.N), countOrUnknown(s.Protocol.ReferenceN), s.ID[:12])
	}
	switch {
	case len(e.Seeds) > 1:
		t.Notes = append(t.Notes, fmt.Sprintf("Mean and standard deviation over the seeds %s.", seedList(e.Seeds)))
	case slices.ContainsFunc(e.Scores, func(s Score) bool { return s.SD > 0 }):
		t.Notes = append(t.Notes, "± is the deviation over splits or subsets of the images.")
	}
	if len(e.Scores) > 0 {
		t.Notes = append(t.Notes, protocolNotes(e.Scores[0].Protocol)...)
	}
	t.Notes = append(t.Notes, e.Notes...)
	return t
}

// protocolNotes tell all of a protocol that the table has not.
func protocolNotes(p fid.Protocol) []string {
	how := "Images from files; how they were drawn is not known."
	if p.Samples == "" {
		how = fmt.Sprintf("Drawn with %s sampling in %s", p.Sampler, inSteps(p.Steps))
		if p.Respacing != "" {
			how += " (" + p.Respacing + ")"
		}
		how += ", EMA " + p.EMA
		for _, f := range []struct {
			told bool
			text string
		}{
			{p.Variance != "", "variance " + p.Variance},
			{p.Eta != 0, fmt.Sprintf("η %g", p.Eta)},
			{!p.ClipDenoised, "not clipped"},
			{p.EpsScale != 0, fmt.Sprintf("ε scale %g", p.EpsScale)},
			{p.EpsSlope != 0, fmt.Sprintf("ε slope %g", p.EpsSlope)},
			{p.ShiftWindow != 0, fmt.Sprintf("time shift within %d above %d", p.ShiftWindow, p.ShiftCutoff)},
			{p.Seeds != "", "seeds " + p.Seeds},
		} {
			if f.told {
				how += ", " + f.text
			}
		}
		how += "."
	}
	if p.ExtractorSHA256 == "" {
		return []string{fmt.Sprintf("Reference %s, SHA-256 %.12s. The files do not tell what features they are of.", p.Reference, p.ReferenceSHA256)}
	}
	return []string{
		fmt.Sprintf("Extractor %s (weights %.12s), resizing: %s, pixels %s.", p.Extractor, p.ExtractorSHA256, p.Resize, p.Pixels),
		fmt.Sprintf("Reference %s, SHA-256 %.12s.", p.Reference, p.ReferenceSHA256), how,
	}
}

func countOrUnknown(n int) string {
	if n == fid.UnknownN {
		return "unknown"
	}
	return strconv.Itoa(n)
}

func formatScore(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }

func spread(sd float64) string {
	if sd == 0 {
		return ""
	}
	return strconv.FormatFloat(sd, 'g', 2, 64)
}

// Bundle is the table.
func (e *Evaluation) Bundle() render.Bundle { return e.Table().Bundle() }

// String is the table as text.
func (e *Evaluation) String() string { return e.Table().String() }

// SideBySide is a table of evaluations, one line each and the metrics of the first as
// columns. Scores of different protocols are refused, with the field that differs;
// with force they stand in the table, set back, and it says why.
func SideBySide(evals []*Evaluation, force bool) (*render.Table, error) {
	if len(evals) < 2 {
		return nil, fmt.Errorf("%d evaluation; want two or more to compare", len(evals))
	}
	first := evals[0]
	t := &render.Table{Columns: render.Left("Samples")}
	for _, s := range first.Scores {
		t.Columns = append(t.Columns, render.Right(s.Name)...)
	}
	t.Columns = append(t.Columns, render.Right("N")...)
	for _, e := range evals {
		cells, why := []string{e.Samples.Name}, ""
		for _, s := range first.Scores {
			i := slices.IndexFunc(e.Scores, func(o Score) bool { return o.Metric == s.Metric })
			if i < 0 {
				cells = append(cells, "–")
				continue
			}
			o := e.Scores[i]
			if sum := s.Protocol.ReferenceSHA256; sum != "" && o.Protocol.ReferenceSHA256 == sum {
				o.Protocol.Reference = s.Protocol.Reference // the same images, in whatever file
			}
			if d := fid.Diff(s.Protocol, o.Protocol); d != "" && why == "" {
				why = fmt.Sprintf("%s of %s and of %s", s.Name, first.Samples.Name, e.Samples.Name)
				if o.Name != s.Name {
					why = fmt.Sprintf("%s of %s and %s of %s", s.Name, first.Samples.Name, o.Name, e.Samples.Name)
				}
				why += " do not compare: " + d
			}
			cell := formatScore(o.Value)
			if o.SD > 0 {
				cell += " ± " + spread(o.SD)
			}
			cells = append(cells, cell)
		}
		switch {
		case why == "":
			t.Add(append(cells, countOrUnknown(e.Samples.N))...)
		case !force:
			return nil, fmt.Errorf("%s; score them in the same way, or see them side by side all the same with --force", why)
		default:
			t.AddClass(render.ClassPaper, append(cells, countOrUnknown(e.Samples.N))...)
			t.Notes = append(t.Notes, "Not comparable, set back: "+why+".")
		}
	}
	if len(first.Scores) > 0 {
		t.Notes = append(t.Notes, protocolNotes(first.Scores[0].Protocol)...)
	}
	return t, nil
}
