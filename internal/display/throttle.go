package display

import (
	"sync"
	"time"

	"ddpmlab/internal/render"
)

// The default shortest times between two reports of one id: progress at most 10 Hz, and
// images at most 2 Hz (faster ones flicker in browsers, and a figure costs milliseconds).
const (
	ProgressEvery = 100 * time.Millisecond
	ImageEvery    = 500 * time.Millisecond
)

// Throttle is a sink that passes on at most so many reports a second for each id, and of
// those it holds back always the newest. A held report goes out with the next report of
// any id once its time has come, before a final progress, and on Flush: the last state
// is always delivered. It starts no goroutine and calls the sink behind it from the
// reporter's, one call at a time.
type Throttle struct {
	// ProgressEvery and ImageEvery are the shortest times between two progress reports,
	// and between two curves or bundles, of one id.
	ProgressEvery, ImageEvery time.Duration
	// Now is the clock.
	Now func() time.Time

	to    Sink
	mu    sync.Mutex
	slots map[slotKey]*slot
	order []slotKey // slots holding a report, oldest first
}

// NewThrottle puts a throttle with the default times before to.
func NewThrottle(to Sink) *Throttle {
	return &Throttle{
		ProgressEvery: ProgressEvery, ImageEvery: ImageEvery, Now: time.Now,
		to: to, slots: make(map[slotKey]*slot),
	}
}

// slotKey tells a progress, a curve and a bundle of one id apart.
type slotKey struct {
	kind byte // 'p', 'c' or 's'
	id   string
}

// slot is what is known of one id.
type slot struct {
	last time.Time // of the last delivery
	send func()    // the report held back, nil when there is none
}

// Progress passes p on, or holds it back; a final state is never held back, and what
// else was held goes out before it.
func (t *Throttle) Progress(p Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	send := func() { t.to.Progress(p) }
	key := slotKey{'p', p.ID}
	if p.State.Final() {
		t.drop(key)
		t.flush(t.Now(), true)
		send()
		delete(t.slots, key)
		return
	}
	t.offer(key, send)
}

// Curve passes c on, or holds it back.
func (t *Throttle) Curve(c Curve) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.offer(slotKey{'c', c.ID}, func() { t.to.Curve(c) })
}

// Show passes the bundle on, or holds it back; with an empty id it is always passed on.
func (t *Throttle) Show(id string, b render.Bundle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id == "" {
		t.to.Show(id, b)
		return
	}
	t.offer(slotKey{'s', id}, func() { t.to.Show(id, b) })
}

// Flush delivers everything held back; the one who made the throttle calls it at the end.
func (t *Throttle) Flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flush(t.Now(), true)
}

// offer delivers what is due, this report included, and holds the report otherwise.
func (t *Throttle) offer(key slotKey, send func()) {
	now := t.Now()
	s := t.slots[key]
	if s == nil {
		s = &slot{}
		t.slots[key] = s
	}
	if s.send == nil {
		t.order = append(t.order, key)
	}
	s.send = send
	t.flush(now, false)
}

// flush delivers the held reports whose time has come, or all of them.
func (t *Throttle) flush(now time.Time, all bool) {
	kept := t.order[:0]
	for _, key := range t.order {
		s := t.slots[key]
		if !all && !s.last.IsZero() && now.Sub(s.last) < t.every(key) && !now.Before(s.last) {
			kept = append(kept, key)
			continue
		}
		s.last = now
		send := s.send
		s.send = nil
		send()
	}
	t.order = kept
}

// drop forgets the report held for key.
func (t *Throttle) drop(key slotKey) {
	s := t.slots[key]
	if s == nil || s.send == nil {
		return
	}
	s.send = nil
	for i, k := range t.order {
		if k == key {
			t.order = append(t.order[:i], t.order[i+1:]...)
			return
		}
	}
}

func (t *Throttle) every(key slotKey) time.Duration {
	if key.kind == 'p' {
		return t.ProgressEvery
	}
	return t.ImageEvery
}
