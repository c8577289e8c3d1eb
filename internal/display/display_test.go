package display_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

func TestContext(t *testing.T) {
	if got := display.FromContext(t.Context()); got != display.Discard {
		t.Errorf("without a sink: got %v, want Discard", got)
	}
	if got := display.FromContext(display.NewContext(t.Context(), nil)); got != display.Discard {
		t.Errorf("with a nil sink: got %v, want Discard", got)
	}
	rec := &display.Recording{}
	ctx, cancel := context.WithCancel(display.NewContext(t.Context(), rec))
	defer cancel()
	display.FromContext(ctx).Progress(display.Progress{ID: "a"})
	if p, ok := rec.Last(); !ok || p.ID != "a" {
		t.Errorf("got %v %v, want the progress recorded", p, ok)
	}
	display.Discard.Progress(display.Progress{})
	display.Discard.Curve(display.Curve{})
	display.Discard.Show("", render.Bundle{})
}

func TestRecordingKeepsCopies(t *testing.T) {
	rec := &display.Recording{}
	if _, ok := rec.Last(); ok {
		t.Error("an empty recording has a last progress")
	}
	x, values := []float64{1, 2}, []display.Value{{Name: "loss", V: 1}}
	rec.Curve(display.Curve{ID: "loss", Lines: []display.Line{{Name: "ADM", X: x, Y: x}}})
	rec.Progress(display.Progress{Values: values})
	x[0], values[0].V = 9, 9
	if got := rec.AllCurves()[0].Lines[0].X[0]; got != 1 {
		t.Errorf("curve changed under the recording: got %v, want 1", got)
	}
	if p, _ := rec.Last(); p.Values[0].V != 1 {
		t.Errorf("values changed under the recording: got %v, want 1", p.Values[0].V)
	}
}

func TestProgressString(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    display.Progress
		want string
	}{
		{"empty", display.Progress{}, ""},
		{"no total", display.Progress{Title: "scan", Done: 7, Unit: "images"}, "scan  7 images"},
		{"beyond its total", display.Progress{Done: 12, Total: 10}, "[####################]  12/10"},
		{"failed", display.Progress{Title: "ADM", State: display.Failed, Note: "loss is NaN"}, "ADM  failed; loss is NaN"},
		{"not finite", display.Progress{
			Title: "ADM", Rate: math.Inf(1),
			Values: []display.Value{{"loss", math.NaN()}, {"fd", math.Inf(1)}},
		}, "ADM  loss NaN  fd +Inf"},
		{"control characters", display.Progress{Title: "a\x1b[2Jb\n", Note: "c\rd"}, "a [2Jb; c d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.p.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestProgressBundle(t *testing.T) {
	p := running(512)
	p.Title, p.Note = "<b>ADM</b>", "a & b"
	b := p.Bundle()
	const want = `<div style="white-space:normal"><strong>&lt;b&gt;ADM&lt;/b&gt;</strong> ` +
		`<progress value="512" max="1500"></progress> 512/1500 it · 8.31 it/s · 1:59 left · loss 0.08123<br>a &amp; b</div>` + "\n"
	if got := string(b.Data[render.HTML]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !strings.Contains(b.String(), "512/1500 it") {
		t.Errorf("text %q lacks the counts", b)
	}
}

func TestFormat(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0 s", 3210 * time.Millisecond: "3.2 s", 9960 * time.Millisecond: "0:10",
		59*time.Second + 600*time.Millisecond: "1:00", 3661 * time.Second: "1:01:01",
	} {
		if got := display.FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%v) = %q, want %q", d, got, want)
		}
	}
	for r, want := range map[float64]string{12345: "12345", 123.4: "123", 12.34: "12.3", 8.314: "8.31", 0.01234: "0.0123"} {
		if got := display.FormatRate(r); got != want {
			t.Errorf("FormatRate(%v) = %q, want %q", r, got, want)
		}
	}
}

func TestStates(t *testing.T) {
	for s, want := range map[display.State]string{
		display.Running: "running", display.Done: "done",
		display.Interrupted: "interrupted", display.Failed: "failed",
	} {
		if s.String() != want || s.Final() != (s != display.Running) {
			t.Errorf("state %d: %q, final %v", s, s, s.Final())
		}
	}
}
