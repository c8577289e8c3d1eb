package main

import (
	"strings"
	"testing"
	"time"

	"ddpmlab/experiments"
)

// A terminal's screen is drawn over in place, and left with the last board on the user's
// own; elsewhere nothing but lines is written.
func TestScreen(t *testing.T) {
	first := &experiments.Board{At: time.Unix(1, 0)}
	last := &experiments.Board{At: time.Unix(2, 0)}
	var b strings.Builder
	s := &screen{out: &b, terminal: true}
	for _, board := range []*experiments.Board{first, last} {
		if err := s.draw(board); err != nil {
			t.Fatal(err)
		}
	}
	drawn := b.String()
	if strings.Count(drawn, enterScreen) != 1 || strings.Count(drawn, home) != 2 || strings.Count(drawn, clearRest) != 2 {
		t.Errorf("got %q, want one screen drawn twice from its top", drawn)
	}
	b.Reset()
	s.close()
	if left := b.String(); !strings.HasPrefix(left, leaveScreen) || !strings.Contains(left, last.At.Format("15:04:05")) {
		t.Errorf("got %q, want the last board after the screen is left", left)
	}
	b.Reset()
	s = newScreen(&b)
	if err := s.draw(first); err != nil {
		t.Fatal(err)
	}
	s.close()
	if strings.Contains(b.String(), "\x1b") {
		t.Errorf("got %q, want no control sequences", b.String())
	}
}
