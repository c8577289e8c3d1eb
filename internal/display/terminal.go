package display

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"ddpmlab/internal/render"
)

// PlainEvery is how often a Terminal that is no terminal (a file, a pipe, a CI log)
// prints a line for a running computation.
const PlainEvery = 10 * time.Second

// Terminal is a sink that writes to a terminal: one bar, drawn over and over, and a line
// that stays when its computation ends. Where the writer is no terminal it prints plain
// lines from time to time. Figures have no place there and are left out; of a bundle the
// text is printed, for one with an id the last, on Close.
type Terminal struct {
	// Width is the terminal's width in columns; 0 means that it is none.
	Width int
	// Every is the shortest time between two lines of one computation without a terminal.
	Every time.Duration
	// Now is the clock.
	Now func() time.Time

	mu     sync.Mutex
	w      io.Writer
	bar    string               // what the cursor's line shows, "" when it is empty
	barID  string               // whose it is
	barAt  time.Time            // when it was drawn
	lineAt map[string]time.Time // when a plain line was last printed, by id
	shown  map[string]string    // last text by id
	order  []string             // ids in shown, in order of their first
	held   map[string]Progress  // newest reports not drawn yet, by id
}

// NewTerminal returns a sink on f, usually os.Stderr. The width is found once, here.
func NewTerminal(f *os.File) *Terminal {
	t := NewTerminalWriter(f)
	t.Width = terminalWidth(f)
	return t
}

// NewTerminalWriter returns a sink that prints plain lines to w until Width is set.
func NewTerminalWriter(w io.Writer) *Terminal {
	return &Terminal{
		Every: PlainEvery, Now: time.Now, w: w,
		lineAt: map[string]time.Time{}, shown: map[string]string{}, held: map[string]Progress{},
	}
}

// Progress draws p's bar, at most ten times a second. A final state leaves a line.
func (t *Terminal) Progress(p Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.Now()
	switch {
	case p.State.Final():
		delete(t.held, p.ID)
		delete(t.lineAt, p.ID)
		t.print(p.line(0))
	case t.Width == 0:
		t.held[p.ID] = p
		if last, ok := t.lineAt[p.ID]; !ok || now.Sub(last) >= t.Every {
			t.lineAt[p.ID] = now
			t.print(p.line(0))
			delete(t.held, p.ID)
		}
	case t.bar == "" || now.Sub(t.barAt) >= ProgressEvery:
		delete(t.held, p.ID)
		t.draw(p.ID, t.fit(p), now)
	default:
		t.held[p.ID] = p
	}
}

// Curve draws nothing: the latest values are in the progress line.
func (t *Terminal) Curve(Curve) {}

// Show prints the bundle's text, on Close when it has an id (only the last is printed).
func (t *Terminal) Show(id string, b render.Bundle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := b.String()
	if text == "" {
		return
	}
	if id == "" {
		t.print(text)
		return
	}
	if _, ok := t.shown[id]; !ok {
		t.order = append(t.order, id)
	}
	t.shown[id] = text
}

// Println prints a line of its own, above the bar.
func (t *Terminal) Println(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.print(s)
}

// Close ends the bar's line with the newest state, and prints what is still to be shown.
// The terminal can be used again afterwards.
func (t *Terminal) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p, ok := t.held[t.barID]; ok && t.bar != "" {
		t.draw(p.ID, t.fit(p), t.Now())
	}
	if t.bar != "" {
		fmt.Fprintln(t.w)
		t.bar = ""
	}
	for _, id := range t.order {
		fmt.Fprintln(t.w, t.shown[id])
	}
	clear(t.shown)
	clear(t.held)
	clear(t.lineAt)
	t.order = nil
	return nil
}

// fit is p's line cut to the terminal's width, with the bar given what is left over.
func (t *Terminal) fit(p Progress) string {
	rest := len([]rune(p.line(0)))
	line := []rune(p.line(min(30, max(0, t.Width-rest-4))))
	if limit := max(1, t.Width-1); len(line) > limit {
		line = line[:limit]
	}
	return string(line)
}

// draw puts the line where the bar is.
func (t *Terminal) draw(id, line string, now time.Time) {
	fmt.Fprintf(t.w, "\r%s\x1b[K", line)
	t.bar, t.barID, t.barAt = line, id, now
}

// print writes text on lines of its own in the bar's place; a bar comes back below it
// with the next report.
func (t *Terminal) print(text string) {
	if t.bar != "" {
		fmt.Fprint(t.w, "\r\x1b[K")
		t.bar = ""
	}
	fmt.Fprintln(t.w, strings.TrimRight(text, "\n"))
}
