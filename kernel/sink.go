package kernel

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
	"ddpmlab/plots"
)

// cellSink shows under a cell what the cell's computations report: the first report of an
// id becomes a display, later ones update it. It is used behind a display.Throttle.
//
// Curves are drawn on a goroutine of their own, the newest of each id, so that drawing
// never holds up a training; and without the PNG, which costs ten times the rest, until
// the cell ends.
type cellSink struct {
	// show publishes a bundle: as a new display with that id, or as an update of it.
	show func(id string, update bool, b render.Bundle)

	mu      sync.Mutex
	ids     map[string]string // reporter's id -> display id
	pending map[string]display.Curve
	order   []string                 // ids in pending, oldest first
	last    map[string]display.Curve // the newest of each id, for the end of the cell
	drawing bool
	drawn   *sync.Cond // drawing or pending changed
}

func newCellSink(show func(id string, update bool, b render.Bundle)) *cellSink {
	s := &cellSink{show: show, ids: map[string]string{}, pending: map[string]display.Curve{}, last: map[string]display.Curve{}}
	s.drawn = sync.NewCond(&s.mu)
	return s
}

// Progress shows p's bar.
func (s *cellSink) Progress(p display.Progress) { s.publish("progress "+p.ID, p.Bundle()) }

// Show shows the bundle.
func (s *cellSink) Show(id string, b render.Bundle) {
	if id != "" {
		id = "show " + id
	}
	s.publish(id, b)
}

// Curve draws c, or a newer one of its id.
func (s *cellSink) Curve(c display.Curve) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.pending[c.ID]; !ok {
		s.order = append(s.order, c.ID)
	}
	s.pending[c.ID], s.last[c.ID] = c, c
	if !s.drawing {
		s.drawing = true
		go s.draw()
	}
}

// draw draws what is pending until nothing is.
func (s *cellSink) draw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.order) > 0 {
		c := s.pending[s.order[0]]
		delete(s.pending, c.ID)
		s.order = s.order[1:]
		s.mu.Unlock()
		s.publish("curve "+c.ID, drawCurve(c, (*plots.Figure).LiveBundle))
		s.mu.Lock()
	}
	s.drawing = false
	s.drawn.Broadcast()
}

// drawCurve draws the curve, or says in words why it cannot be drawn.
func drawCurve(c display.Curve, bundle func(*plots.Figure) render.Bundle) (b render.Bundle) {
	defer func() {
		if e := recover(); e != nil {
			b = render.Text(c.Title + " cannot be drawn: " + panicMessage(e))
		}
	}()
	return bundle(plots.Curve(c))
}

// flush returns when every curve reported so far is drawn as it stays, with its PNG.
func (s *cellSink) flush() {
	s.mu.Lock()
	for s.drawing {
		s.drawn.Wait()
	}
	last := slices.SortedFunc(maps.Values(s.last), func(a, b display.Curve) int { return cmp.Compare(a.ID, b.ID) })
	clear(s.last)
	s.mu.Unlock()
	for _, c := range last {
		s.publish("curve "+c.ID, drawCurve(c, (*plots.Figure).Bundle))
	}
}

func (s *cellSink) publish(id string, b render.Bundle) {
	if id == "" {
		s.show("", false, b)
		return
	}
	s.mu.Lock()
	displayID, update := s.ids[id]
	if !update {
		displayID = newID()
		s.ids[id] = displayID
	}
	s.mu.Unlock()
	s.show(displayID, update, b)
}
