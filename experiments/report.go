package experiments

import (
	"context"
	"errors"
	"time"

	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

// report tells the display of a context how far a measurement has come. Parts of it that
// report for themselves do so under its id and title.
type report struct {
	sink  display.Sink
	begun time.Time
	last  display.Progress
	shown bool
}

func newReport(ctx context.Context, id, title string) *report {
	return &report{sink: display.FromContext(ctx), begun: time.Now(), last: display.Progress{ID: id, Title: title}}
}

// context is ctx with a display that shows what is reported as part of r. A part that is
// done leaves r running.
func (r *report) context(ctx context.Context) context.Context {
	return display.NewContext(ctx, part{r})
}

type part struct{ *report }

// Progress shows the progress of a part as that of the whole.
func (p part) Progress(x display.Progress) {
	x.ID, x.Title, x.Elapsed = p.last.ID, p.last.Title, time.Since(p.begun)
	if x.State == display.Done {
		x.State = display.Running
	}
	if x.State != display.Running { // the whole says how it ends
		return
	}
	p.report.last, p.report.shown = x, true
	p.sink.Progress(x)
}

// Curve passes a figure on.
func (p part) Curve(c display.Curve) { p.sink.Curve(c) }

// Show passes an output on.
func (p part) Show(id string, b render.Bundle) { p.sink.Show(id, b) }

// state shows that so much of two parts is done.
func (r *report) state(done int64) {
	r.last.Done, r.last.Total, r.last.Unit, r.shown = done, 2, "parts", true
	r.send(display.Running)
}

// value adds a result to what is shown.
func (r *report) value(name string, v float64) {
	r.last.Values = append(r.last.Values, display.Value{Name: name, V: v})
}

// done ends the report, if anything was shown.
func (r *report) done() {
	if r.shown {
		r.last.Done = r.last.Total
		r.send(display.Done)
	}
}

// failed ends the report and returns err.
func (r *report) failed(err error) error {
	state := display.Failed
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		state = display.Interrupted
	}
	if r.shown {
		if state == display.Failed { // how far an interrupted one came the bar shows
			r.last.Note = err.Error()
		}
		r.send(state)
	}
	return err
}

func (r *report) send(state display.State) {
	r.last.State, r.last.Elapsed, r.last.ETA = state, time.Since(r.begun), 0
	r.sink.Progress(r.last)
}
