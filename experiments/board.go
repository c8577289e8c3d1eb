package experiments

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

// Board is runs as they are at a moment, with the course of their losses: what `ddpmlab
// runs watch` and Lab.Watch show.
type Board struct {
	Runs Runs
	At   time.Time

	trails []*trail
}

// trail is the course of a series in at most trailParts means of equal numbers of points,
// so that watching a long run reads each point once and keeps few.
type trail struct {
	last  int64 // step of the last point seen
	each  int   // points in a full part
	parts []bucket
}

type bucket struct {
	step, sum float64
	n         int // numbers
	seen      int // points, NaN too
}

const trailParts = 256

func (t *trail) add(p Point) {
	t.last = p.Step
	if t.each == 0 {
		t.each = 1
	}
	if n := len(t.parts); n == 0 || t.parts[n-1].seen == t.each {
		if n == trailParts { // join them in pairs
			for i := range n / 2 {
				a, b := t.parts[2*i], t.parts[2*i+1]
				t.parts[i] = bucket{b.step, a.sum + b.sum, a.n + b.n, a.seen + b.seen}
			}
			t.parts, t.each = t.parts[:n/2], 2*t.each
		}
		if n = len(t.parts); n == 0 || t.parts[n-1].seen == t.each {
			t.parts = append(t.parts, bucket{})
		}
	}
	x := &t.parts[len(t.parts)-1]
	x.step, x.seen = float64(p.Step), x.seen+1
	if !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
		x.sum, x.n = x.sum+p.Value, x.n+1
	}
}

// points is the means, at the last step of each part.
func (t *trail) points() []Point {
	out := make([]Point, 0, len(t.parts))
	for _, p := range t.parts {
		out = append(out, Point{Step: int64(p.step), Value: p.sum / float64(p.n)}) // 0/0: a gap
	}
	return out
}

// Watching follows the runs of a query while they are trained, by whatever process.
type Watching struct {
	store  *Store
	query  string
	trails map[string]*trail
	seen   map[string]bool // runs on the board before
}

// NewWatching follows the runs that the query finds; "" is those that are running.
func (s *Store) NewWatching(query string) *Watching {
	if strings.TrimSpace(query) == "" {
		query = "status = running"
	}
	return &Watching{store: s, query: query, trails: make(map[string]*trail), seen: make(map[string]bool)}
}

// Next reads how the runs stand now. A run that was on the board stays on it, also when the
// query finds it no more: one sees how it ended.
func (w *Watching) Next(ctx context.Context) (*Board, error) {
	if err := w.store.reapAtOpen(ctx); err != nil {
		return nil, err
	}
	runs, err := w.store.Query(ctx, w.query)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		delete(w.seen, r.ID)
	}
	for id := range w.seen {
		r, err := w.store.Run(ctx, id)
		if err == nil { // deleted ones are gone
			runs = append(runs, r)
		}
	}
	slices.SortFunc(runs, func(a, b *Run) int { return strings.Compare(a.ID, b.ID) })
	b := &Board{Runs: runs, At: w.store.now()}
	for _, r := range runs {
		w.seen[r.ID] = true
		t := w.trails[r.ID]
		if t == nil {
			t = &trail{}
			w.trails[r.ID] = t
		}
		if err := w.follow(ctx, r, t); err != nil {
			return nil, err
		}
		b.trails = append(b.trails, t)
	}
	return b, nil
}

// follow reads the losses after those that are known.
func (w *Watching) follow(ctx context.Context, r *Run, t *trail) error {
	if r.Step < t.last { // resumed from before
		*t = trail{}
	}
	if r.Status != StatusRunning && t.each > 0 && r.Step <= t.last {
		return nil // nothing more is to come
	}
	read := func() ([]Point, error) { return w.store.pointsAfter(ctx, r.ID, MetricLoss, t.last) }
	if t.each == 0 {
		read = func() ([]Point, error) { return w.store.Points(ctx, r.ID, MetricLoss) } // which knows of packs
	}
	points, err := read()
	for _, p := range points {
		t.add(p)
	}
	return err
}

const selectAfter = `SELECT step, value FROM point WHERE series = (SELECT max(id) FROM series WHERE run = ? AND context = ? AND key = ?) AND step > ? ORDER BY step`

// pointsAfter reads the points of a series after a step; their times are zero.
func (s *Store) pointsAfter(ctx context.Context, run, name string, step int64) ([]Point, error) {
	where, key := splitSeries(name)
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, selectAfter, run, where, key, step)
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer rows.Close()
	var points []Point
	for rows.Next() {
		var p Point
		var v number
		if err := rows.Scan(&p.Step, &v); err != nil {
			return nil, explain(s.path, err)
		}
		p.Value = float64(v)
		points = append(points, p)
	}
	return points, explain(s.path, rows.Err())
}

// Running counts the runs that are being trained.
func (b *Board) Running() int {
	n := 0
	for _, r := range b.Runs {
		if r.Status == StatusRunning {
			n++
		}
	}
	return n
}

// Table is the board, a line a run.
func (b *Board) Table() *render.Table {
	t := &render.Table{
		Caption: fmt.Sprintf("%d of %d runs are being trained, at %s", b.Running(), len(b.Runs), b.At.Format("15:04:05")),
		Columns: append(append(render.Left("Run", "Variant"), render.Right("Seed")...), render.Left("Status")...),
	}
	t.Columns = append(append(t.Columns, render.Right("Step", "it/s", "Left", "Loss", b.Runs.scoreName())...), render.Left("Loss by step")...)
	n := b.Runs.idLength()
	for i, r := range b.Runs {
		rate, left := r.pace()
		t.Add(r.ID[:min(n, len(r.ID))], r.Title(), fmt.Sprint(r.Seed), r.Status, r.steps("/"),
			rate, left, r.showLoss(), r.show(MetricFD, "%.2f"), sparkline(b.trails[i].points(), 24))
	}
	t.Notes = b.Runs.scoreNotes()
	if len(b.Runs) == 0 {
		t.Notes = []string{"No runs are being trained."}
	}
	return t
}

// pace is the iterations a second and the time left of a running run, as text.
func (r *Run) pace() (rate, left string) {
	images, ok := r.Last(MetricImagesPerSec)
	if r.Status != StatusRunning || !ok || !(images > 0) || r.Config.Batch < 1 {
		return "", ""
	}
	perSecond := images / float64(r.Config.Batch)
	seconds := float64(int64(r.Config.Iterations)-r.Step) / perSecond
	if !(seconds >= 0 && seconds < 1e8) {
		return fmt.Sprintf("%.1f", perSecond), ""
	}
	return fmt.Sprintf("%.1f", perSecond), (time.Duration(seconds) * time.Second).String()
}

// Bundle is the table.
func (b *Board) Bundle() render.Bundle { return b.Table().Bundle() }

// String is the table as text.
func (b *Board) String() string { return b.Table().String() }

// curve is the losses as a figure.
func (b *Board) curve(id string) display.Curve {
	c := display.Curve{ID: id, Title: "training loss", XLabel: "training step", YLabel: "loss, mean over the batch", LogY: true}
	for i, r := range b.Runs {
		l := display.Line{Name: fmt.Sprintf("%s, seed %d", r.Title(), r.Seed)}
		for _, p := range b.trails[i].points() {
			l.X, l.Y = append(l.X, float64(p.Step)), append(l.Y, p.Value)
		}
		c.Lines = append(c.Lines, l)
	}
	return c
}

// Watch shows the runs that the query finds, "" for those that are running, while they are
// trained, in this process or another: a table and the losses, drawn anew every second in
// place. It returns the last state when none is running any more, or when ctx ends.
func (s *Store) Watch(ctx context.Context, query string) (*Board, error) {
	const every = time.Second
	w := s.NewWatching(query)
	id := "watch-" + w.query
	for {
		b, err := w.Next(ctx)
		if err != nil {
			return nil, err
		}
		sink := display.FromContext(ctx)
		sink.Show(id, b.Bundle())
		if len(b.Runs) > 0 {
			sink.Curve(b.curve(id + "-loss"))
		}
		if b.Running() == 0 {
			return b, nil
		}
		select {
		case <-ctx.Done():
			return b, nil
		case <-time.After(every):
		}
	}
}

// Watch shows runs while they are trained by other notebooks and processes; "" is all that
// are running. It ends when none is, or with the stop button.
func (l *Lab) Watch(ctx context.Context, query string) {
	must(l.store.Watch(ctx, query))
}
