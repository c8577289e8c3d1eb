package experiments

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

// A trail keeps the mean of all points it saw, in few parts, and gaps where there were no
// numbers.
func TestTrail(t *testing.T) {
	var tr trail
	const n = 10_000
	sum := 0.0
	for i := range n {
		tr.add(Point{Step: int64(i + 1), Value: float64(i)})
		sum += float64(i)
	}
	total, points := 0.0, 0
	for _, b := range tr.parts {
		total, points = total+b.sum, points+b.n
	}
	if total != sum || points != n || len(tr.parts) > trailParts || len(tr.parts) < trailParts/2 || tr.last != n {
		t.Errorf("sum %g of %d points in %d parts up to %d, want %g of %d", total, points, len(tr.parts), tr.last, sum, n)
	}
	for i, b := range tr.parts[:len(tr.parts)-1] {
		if b.seen != tr.each {
			t.Fatalf("part %d has %d points, want %d as the others", i, b.seen, tr.each)
		}
	}
	got := tr.points()
	for i := 1; i < len(got); i++ {
		if got[i].Step <= got[i-1].Step || got[i].Value <= got[i-1].Value {
			t.Fatalf("part %d is %v after %v", i, got[i], got[i-1])
		}
	}
	tr = trail{}
	tr.add(Point{Step: 1, Value: math.NaN()})
	tr.add(Point{Step: 2, Value: 1})
	if p := tr.points(); !math.IsNaN(p[0].Value) || p[1].Value != 1 {
		t.Errorf("got %v, want a gap and 1", p)
	}
}

// A run is watched from its first steps to its end, by another store on the same file, and
// its last state is static: no scripts, and readable without HTML.
func TestWatch(t *testing.T) {
	s := testStore(t)
	other, err := Open(s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	a, _, err := s.begin(t.Context(), testOrder(5))
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	for step := int64(1); step <= 10; step++ {
		a.Record(step, MetricLoss, 1/float64(step))
		a.Record(step, MetricImagesPerSec, 640)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	sink := &lastShown{first: make(chan struct{})}
	done := make(chan error, 1)
	var last *Board
	go func() {
		var err error
		last, err = other.Watch(display.NewContext(context.Background(), sink), "")
		done <- err
	}()
	<-sink.first
	if text := sink.text(); !strings.Contains(text, "1 of 1 runs are being trained") || !strings.Contains(text, "10.0") {
		t.Errorf("got:\n%s\nwant one run at 10 iterations a second", text)
	}
	for step := int64(11); step <= 20; step++ {
		a.Record(step, MetricLoss, 1/float64(step))
	}
	if err := a.finish(StatusFinished, 20, ""); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("watching does not end with the run")
	}
	if len(last.Runs) != 1 || last.Runs[0].Status != StatusFinished || len(last.trails[0].points()) != 20 {
		t.Errorf("got %v with %d losses, want a finished run with 20", last, len(last.trails[0].points()))
	}
	sink.mu.Lock()
	defer sink.mu.Unlock()
	b := sink.bundle
	for _, mime := range []string{render.HTML, render.LaTeX, render.Markdown, render.Plain} {
		if text := string(b.Data[mime]); !strings.Contains(text, StatusFinished) || strings.Contains(text, "<script") {
			t.Errorf("%s is:\n%s", mime, text)
		}
	}
	if len(sink.ids) != 1 || sink.curves < 2 || len(sink.curve.Lines) != 1 || len(sink.curve.Lines[0].X) != 20 {
		t.Errorf("shown under %v, %d curves, the last %+v; want one id and 20 losses", sink.ids, sink.curves, sink.curve)
	}
}

// lastShown is a display that keeps what was shown last.
type lastShown struct {
	display.Recording
	mu     sync.Mutex
	first  chan struct{}
	bundle render.Bundle
	ids    map[string]bool
	curves int
	curve  display.Curve
}

func (l *lastShown) Show(id string, b render.Bundle) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids == nil {
		l.ids = map[string]bool{}
		close(l.first)
	}
	l.bundle, l.ids[id] = b, true
}

func (l *lastShown) Curve(c display.Curve) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.curves, l.curve = l.curves+1, c
}

func (l *lastShown) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bundle.String()
}
