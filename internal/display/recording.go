package display

import (
	"slices"
	"sync"

	"ddpmlab/internal/render"
)

// Recording is a sink that keeps all it gets, for tests. The zero value is ready.
type Recording struct {
	mu       sync.Mutex
	progress []Progress
	curves   []Curve
	shown    []Shown
}

// Shown is one call of Show.
type Shown struct {
	ID     string
	Bundle render.Bundle
}

// Progress keeps p.
func (r *Recording) Progress(p Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.Values = slices.Clone(p.Values)
	r.progress = append(r.progress, p)
}

// Curve keeps c.
func (r *Recording) Curve(c Curve) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := make([]Line, len(c.Lines))
	for i, l := range c.Lines {
		lines[i] = Line{Name: l.Name, X: slices.Clone(l.X), Y: slices.Clone(l.Y)}
	}
	c.Lines = lines
	r.curves = append(r.curves, c)
}

// Show keeps the bundle.
func (r *Recording) Show(id string, b render.Bundle) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown = append(r.shown, Shown{ID: id, Bundle: b})
}

// AllProgress returns every progress reported so far, oldest first.
func (r *Recording) AllProgress() []Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.progress)
}

// AllCurves returns every curve reported so far, oldest first.
func (r *Recording) AllCurves() []Curve {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.curves)
}

// AllShown returns every bundle shown so far, oldest first.
func (r *Recording) AllShown() []Shown {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.shown)
}

// Last returns the last progress reported, and false when there is none.
func (r *Recording) Last() (Progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.progress) == 0 {
		return Progress{}, false
	}
	return r.progress[len(r.progress)-1], true
}
