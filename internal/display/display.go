// Package display is how a running computation reports: numbers go in, and whoever runs
// the computation (a notebook cell, a terminal, a test) decides how they are shown. It
// is a leaf: it knows neither Jupyter nor diffusion.
package display

import (
	"context"
	"time"

	"ddpmlab/internal/render"
)

// Sink receives reports. Reporters call it as often as they like, also from several
// goroutines; sinks throttle (see Throttle) and never block for long.
//
// A slice handed to a Sink is kept until it is drawn: the reporter may append to it, but
// changes no value it has handed over.
type Sink interface {
	// Progress reports how far the computation p.ID has come.
	Progress(p Progress)
	// Curve reports a figure's lines as they are now; the figure c.ID is redrawn.
	Curve(c Curve)
	// Show shows the bundle. With an id it replaces what that id showed before; with an
	// empty id it is a new output each time.
	Show(id string, b render.Bundle)
}

// State is where a computation stands.
type State int

// A computation is running until it is done, interrupted (it can be resumed) or failed.
const (
	Running State = iota
	Done
	Interrupted
	Failed
)

// String is the state in one word.
func (s State) String() string {
	switch s {
	case Done:
		return "done"
	case Interrupted:
		return "interrupted"
	case Failed:
		return "failed"
	default:
		return "running"
	}
}

// Final reports whether nothing more is to come.
func (s State) Final() bool { return s != Running }

// Progress is how far a computation has come.
type Progress struct {
	ID    string // the same for all reports of one computation
	Title string // as "ADM, seed 1"
	Done  int64
	Total int64   // 0: not known
	Unit  string  // of Done and Total, as "it" or "images"
	Rate  float64 // units a second; 0: not known
	// Values are the latest figures, in the order they are shown.
	Values  []Value
	State   State
	Elapsed time.Duration
	ETA     time.Duration // time left; 0: not known
	Note    string        // one sentence, as how to resume
}

// Value is a named figure of a Progress.
type Value struct {
	Name string
	V    float64
}

// Curve is a figure of lines over a common axis, as a loss by training step.
type Curve struct {
	ID     string // the same for all reports of one figure
	Title  string
	XLabel string
	YLabel string
	LogY   bool
	Lines  []Line
}

// Line is one line of a Curve. X and Y have the same length; NaN in Y is a gap.
type Line struct {
	Name string
	X, Y []float64
}

type contextKey struct{}

// NewContext returns a context whose computations report to s.
func NewContext(ctx context.Context, s Sink) context.Context {
	return context.WithValue(ctx, contextKey{}, s)
}

// FromContext returns the context's sink, or Discard when it has none: never nil.
func FromContext(ctx context.Context) Sink {
	if s, ok := ctx.Value(contextKey{}).(Sink); ok && s != nil {
		return s
	}
	return Discard
}

// Discard is the sink that shows nothing.
var Discard Sink = discard{}

type discard struct{}

func (discard) Progress(Progress)          {}
func (discard) Curve(Curve)                {}
func (discard) Show(string, render.Bundle) {}
