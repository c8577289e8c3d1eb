package display_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

// clock is a clock that stands still until it is moved.
type clock struct{ t time.Time }

func newClock() *clock { return &clock{t: time.Unix(1_000_000_000, 0)} }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func newThrottle(c *clock) (*display.Throttle, *display.Recording) {
	rec := &display.Recording{}
	t := display.NewThrottle(rec)
	t.Now = c.now
	return t, rec
}

func TestThrottleRates(t *testing.T) {
	c := newClock()
	th, rec := newThrottle(c)
	// Ten seconds of a fast loop, 1 kHz.
	for i := range 10_000 {
		th.Progress(display.Progress{ID: "run", Done: int64(i)})
		th.Curve(display.Curve{ID: "loss"})
		th.Show("grid", render.Text("x"))
		c.advance(time.Millisecond)
	}
	for _, tt := range []struct {
		name      string
		got, want int
	}{
		{"progress", len(rec.AllProgress()), 100},
		{"curve", len(rec.AllCurves()), 20},
		{"show", len(rec.AllShown()), 20},
	} {
		if tt.got > tt.want || tt.got < tt.want-1 {
			t.Errorf("%s: delivered %d in 10 s, want %d", tt.name, tt.got, tt.want)
		}
	}
}

func TestThrottleDeliversTheLastState(t *testing.T) {
	c := newClock()
	th, rec := newThrottle(c)
	for i := range 5 {
		th.Progress(display.Progress{ID: "run", Done: int64(i)})
		th.Curve(display.Curve{ID: "loss", Title: fmt.Sprint(i)})
	}
	th.Progress(display.Progress{ID: "run", Done: 5, State: display.Done})

	var got []int64
	for _, p := range rec.AllProgress() {
		got = append(got, p.Done)
	}
	if fmt.Sprint(got) != "[0 5]" {
		t.Errorf("progress delivered %v, want [0 5]: the first and the final one", got)
	}
	curves := rec.AllCurves()
	if len(curves) != 2 || curves[1].Title != "4" {
		t.Errorf("curves delivered %v, want the first and the last, before the final progress", curves)
	}
}

func TestThrottleFlush(t *testing.T) {
	c := newClock()
	th, rec := newThrottle(c)
	for i := range 3 {
		th.Show("a", render.Text(fmt.Sprint("a", i)))
		th.Show("b", render.Text(fmt.Sprint("b", i)))
		th.Show("", render.Text(fmt.Sprint("new", i)))
	}
	th.Flush()
	th.Flush() // nothing left
	var got []string
	for _, s := range rec.AllShown() {
		got = append(got, s.Bundle.String())
	}
	if want := "[a0 b0 new0 new1 new2 a2 b2]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestThrottleHeldReportGoesOutWithAnothersTurn(t *testing.T) {
	c := newClock()
	th, rec := newThrottle(c)
	th.Curve(display.Curve{ID: "loss", Title: "first"})
	th.Curve(display.Curve{ID: "loss", Title: "second"})
	c.advance(time.Second)
	th.Progress(display.Progress{ID: "evaluation"})
	if curves := rec.AllCurves(); len(curves) != 2 || curves[1].Title != "second" {
		t.Errorf("got %v, want the held curve delivered once its time has come", curves)
	}
}

func TestThrottleClockSetBack(t *testing.T) {
	c := newClock()
	th, rec := newThrottle(c)
	th.Progress(display.Progress{ID: "run"})
	c.advance(-time.Hour)
	th.Progress(display.Progress{ID: "run", Done: 1})
	if p, _ := rec.Last(); p.Done != 1 {
		t.Error("a clock set back by an hour silences progress for an hour")
	}
}

func TestThrottleConcurrent(t *testing.T) {
	th, rec := newThrottle(newClock())
	th.Now = time.Now
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				th.Progress(display.Progress{ID: fmt.Sprint(g), Done: int64(i)})
				th.Show(fmt.Sprint(g), render.Text("x"))
			}
			th.Progress(display.Progress{ID: fmt.Sprint(g), State: display.Interrupted})
		})
	}
	wg.Wait()
	final := 0
	for _, p := range rec.AllProgress() {
		if p.State == display.Interrupted {
			final++
		}
	}
	if final != 4 {
		t.Errorf("%d final states delivered, want 4", final)
	}
}
