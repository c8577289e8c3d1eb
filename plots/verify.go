package plots

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

// source is what a figure was drawn from, to be recorded once it is shown or saved.
type source struct {
	kind   string
	runs   experiments.Runs
	args   any                                   // what else it was drawn with, as JSON
	points func(context.Context) (string, error) // SHA-256 of the numbers drawn
}

// kinds draw figures again from the database.
var kinds = map[string]func(ctx context.Context, s *experiments.Store, runs experiments.Runs, args []byte) (*Figure, error){
	"FDCurve":    ofRuns(FDCurve),
	"LossCurve":  ofRuns(LossCurve),
	"DriftCurve": ofBias(DriftCurve),
	"NormCurve":  ofBias(NormCurve),
	"ErrorCurve": ofBias(ErrorCurve),
	"SampleGrid": ofSamples,
}

// keep records the figure in its runs' database. A database that cannot take it costs
// nobody the picture: it is only not to be verified later.
func (f *Figure) keep() {
	if f.source == nil {
		return
	}
	ctx := context.Background()
	if points, err := f.source.points(ctx); err == nil {
		_, _ = f.source.runs.KeepFigure(ctx, f.source.kind, f.source.args, points, f.SVG())
	}
}

// from records that the figure is drawn from these series of the runs.
func (f *Figure) from(kind string, runs experiments.Runs, keys ...string) *Figure {
	f.source = &source{kind, runs, keys, func(ctx context.Context) (string, error) { return runs.PointsHash(ctx, keys) }}
	return f
}

func ofRuns(draw func(experiments.Runs) (*Figure, error)) func(context.Context, *experiments.Store, experiments.Runs, []byte) (*Figure, error) {
	return func(_ context.Context, _ *experiments.Store, runs experiments.Runs, _ []byte) (*Figure, error) {
		return draw(runs)
	}
}

// biasArgs are what a bias is measured with besides the runs.
type biasArgs struct {
	N     int   `json:"n"`
	Steps []int `json:"steps"`
}

// fromBias records that the figure is drawn from a measurement of exposure bias.
func (f *Figure) fromBias(kind string, b *experiments.BiasResult) *Figure {
	f.source = &source{kind, rowRuns(b), biasArgs{b.N, b.Steps}, func(context.Context) (string, error) {
		rows := slices.Clone(b.Rows)
		for i := range rows {
			rows[i].Run = nil
		}
		text, err := json.Marshal(rows)
		return fmt.Sprintf("%x", sha256.Sum256(text)), err
	}}
	return f
}

// ofBias draws what is kept of the measurement, or measures again.
func ofBias(draw func(*experiments.BiasResult) (*Figure, error)) func(context.Context, *experiments.Store, experiments.Runs, []byte) (*Figure, error) {
	return func(ctx context.Context, s *experiments.Store, runs experiments.Runs, args []byte) (*Figure, error) {
		var how biasArgs
		if err := json.Unmarshal(args, &how); err != nil {
			return nil, err
		}
		b, err := s.Bias(ctx, runs, how.N, how.Steps...)
		if err != nil {
			return nil, err
		}
		return draw(b)
	}
}

// samplesArgs are how one run's samples are drawn.
type samplesArgs struct {
	N int `json:"n"`
	ddpm.Sampling
}

// fromSamples records that the figure shows these samples, where all come from runs.
func (f *Figure) fromSamples(samples []*experiments.Samples) *Figure {
	var runs experiments.Runs
	var args []samplesArgs
	h := sha256.New()
	for _, s := range samples {
		if s == nil {
			continue
		}
		if s.Run == nil {
			return f
		}
		runs, args = append(runs, s.Run), append(args, samplesArgs{s.Images.N, s.Sampling})
		fmt.Fprintf(h, "%s %v\n", s.Run.ID, s.Images)
		h.Write(s.Images.Bytes())
	}
	f.source = &source{"SampleGrid", runs, args, func(context.Context) (string, error) { return fmt.Sprintf("%x", h.Sum(nil)), nil }}
	return f
}

// ofSamples shows the samples that are kept, or draws them again.
func ofSamples(ctx context.Context, s *experiments.Store, runs experiments.Runs, args []byte) (*Figure, error) {
	var how []samplesArgs
	if err := json.Unmarshal(args, &how); err != nil {
		return nil, err
	}
	if len(how) != len(runs) {
		return nil, fmt.Errorf("%d runs and %d ways to draw samples", len(runs), len(how))
	}
	var all []*experiments.Samples
	for i, r := range runs {
		drawn, err := s.Draw(ctx, r, how[i].N, how[i].Sampling)
		if err != nil {
			return nil, err
		}
		all = append(all, drawn)
	}
	return SampleGrid(all...)
}

// Verification is whether a recorded figure is what the database gives today.
type Verification struct {
	Figure  experiments.Figure `json:"figure"`
	Points  bool               `json:"points"`  // the numbers are those that were drawn
	Picture bool               `json:"picture"` // drawn again it is the same to the byte
	Problem string             `json:"problem,omitempty"`
}

// OK reports that the figure is what its data gives.
func (v Verification) OK() bool { return v.Points && v.Picture && v.Problem == "" }

// Verify draws the recorded figures whose ids begin with id again, all of them for "", from
// what their runs have in the database now, and compares numbers and pictures. The SHA-256
// of a saved SVG is an id too.
func Verify(ctx context.Context, lab *experiments.Lab, id string) (Verifications, error) {
	return VerifyIn(ctx, lab.Store(), id)
}

// VerifyIn is Verify for programs.
func VerifyIn(ctx context.Context, s *experiments.Store, id string) (Verifications, error) {
	figures, err := s.Figures(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(figures) == 0 && id != "" {
		return nil, fmt.Errorf("no figure %q in %s; one is recorded when it is shown in a notebook or saved", id, s.Path())
	}
	var all Verifications
	for _, f := range figures {
		v, err := verify(ctx, s, f)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func verify(ctx context.Context, s *experiments.Store, f experiments.Figure) (Verification, error) {
	v := Verification{Figure: f}
	runs, err := s.RunsOf(ctx, f)
	if errors.Is(err, experiments.ErrNoRun) {
		v.Problem = err.Error()
		return v, nil
	}
	if err != nil {
		return v, err
	}
	draw := kinds[f.Kind]
	if draw == nil {
		v.Problem = fmt.Sprintf("this ddpmlab draws no %s", f.Kind)
		return v, nil
	}
	again, err := draw(ctx, s, runs, f.Args)
	if ctx.Err() != nil {
		return v, ctx.Err()
	}
	if err != nil {
		v.Problem = err.Error()
		return v, nil
	}
	points, err := again.source.points(ctx)
	if err != nil {
		return v, err
	}
	v.Points = points == f.Points
	v.Picture = fmt.Sprintf("%x", sha256.Sum256(again.SVG())) == f.Picture
	return v, nil
}

// Verifications is a list of them, shown as a table.
type Verifications []Verification

// Table is one line a figure.
func (vs Verifications) Table() *render.Table {
	t := &render.Table{Columns: render.Left("Figure", "Kind", "Runs", "Numbers", "Picture", "")}
	words := map[bool]string{true: "same", false: "changed"}
	for _, v := range vs {
		numbers, picture := words[v.Points], words[v.Picture]
		if v.Problem != "" {
			numbers, picture = missing, missing
		}
		t.Add(short(v.Figure.ID), v.Figure.Kind, fmt.Sprint(len(v.Figure.Runs)), numbers, picture, v.Problem)
	}
	if len(vs) == 0 {
		t.Notes = []string{"No figure was recorded yet: one is when it is shown in a notebook or saved."}
	}
	return t
}

// Bundle is the table.
func (vs Verifications) Bundle() render.Bundle { return vs.Table().Bundle() }

// String is the table as text.
func (vs Verifications) String() string { return vs.Table().String() }
