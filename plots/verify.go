package plots

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

// source is what a figure was drawn from, to be recorded once it is shown or saved.
type source struct {
	kind string
	runs experiments.Runs
	keys []string // the series that were drawn
}

// kinds are the figures that can be drawn again from the database.
var kinds = map[string]func(experiments.Runs) (*Figure, error){
	"FDCurve":   FDCurve,
	"LossCurve": LossCurve,
}

// from records what the figure is drawn from.
func (f *Figure) from(kind string, runs experiments.Runs, keys ...string) *Figure {
	f.source = &source{kind, runs, keys}
	return f
}

// keep records the figure in its runs' database. A database that cannot take it costs
// nobody the picture: it is only not to be verified later.
func (f *Figure) keep() {
	if f.source != nil {
		_, _ = f.source.runs.KeepFigure(context.Background(), f.source.kind, f.source.keys, f.SVG())
	}
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
	var keys []string
	if err := errors.Join(err, json.Unmarshal(f.Args, &keys)); err != nil {
		return v, err
	}
	draw := kinds[f.Kind]
	if draw == nil {
		v.Problem = fmt.Sprintf("this ddpmlab draws no %s", f.Kind)
		return v, nil
	}
	points, err := runs.PointsHash(ctx, keys)
	if err != nil {
		return v, err
	}
	v.Points = points == f.Points
	again, err := draw(runs)
	if err != nil {
		v.Problem = err.Error()
		return v, nil
	}
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
