package display_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

func newTerminal(c *clock, width int) (*display.Terminal, *bytes.Buffer) {
	var out bytes.Buffer
	t := display.NewTerminalWriter(&out)
	t.Width, t.Now = width, c.now
	return t, &out
}

func running(done int64) display.Progress {
	return display.Progress{
		ID: "run", Title: "ADM, seed 1", Done: done, Total: 1500, Unit: "it", Rate: 8.314,
		ETA: 119 * time.Second, Values: []display.Value{{Name: "loss", V: 0.08123}},
	}
}

func TestTerminalBar(t *testing.T) {
	c := newClock()
	term, out := newTerminal(c, 100)
	term.Progress(running(512))
	const want = "\rADM, seed 1 [##########--------------------]  512/1500 it  8.31 it/s  1:59 left  loss 0.08123\x1b[K"
	if got := out.String(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}

	out.Reset()
	term.Progress(running(513)) // at once: held back
	if out.Len() != 0 {
		t.Errorf("drawn twice within 100 ms: %q", out)
	}
	c.advance(time.Second)
	for range 1000 {
		term.Progress(running(600))
		c.advance(time.Millisecond)
	}
	if n := strings.Count(out.String(), "\r"); n < 9 || n > 10 {
		t.Errorf("drawn %d times in 1 s, want 10", n)
	}

	out.Reset()
	p := running(1500)
	p.State, p.Elapsed, p.ETA = display.Done, 181*time.Second, 0
	term.Progress(p)
	const last = "\r\x1b[KADM, seed 1  1500/1500 it  8.31 it/s  done after 3:01  loss 0.08123\n"
	if got := out.String(); got != last {
		t.Errorf("got\n%q\nwant\n%q", got, last)
	}
}

func TestTerminalNarrow(t *testing.T) {
	for _, width := range []int{1, 20, 40, 79} {
		term, out := newTerminal(newClock(), width)
		term.Progress(running(512))
		line := strings.TrimSuffix(strings.TrimPrefix(out.String(), "\r"), "\x1b[K")
		if n := len([]rune(line)); n >= max(width, 2) {
			t.Errorf("width %d: line of %d columns would wrap: %q", width, n, line)
		}
	}
}

func TestTerminalCloseFinishesTheLine(t *testing.T) {
	term, out := newTerminal(newClock(), 100)
	term.Progress(running(512))
	term.Progress(running(520))
	term.Show("grid", render.Text("old"))
	term.Show("grid", render.Text("16 samples"))
	if err := term.Close(); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	if !strings.Contains(got, "520/1500") {
		t.Errorf("newest state missing in %q", got)
	}
	if !strings.HasSuffix(got, "\x1b[K\n16 samples\n") || strings.Contains(got, "old") {
		t.Errorf("line not ended before the text in %q", got)
	}
}

func TestTerminalPlain(t *testing.T) {
	c := newClock()
	term, out := newTerminal(c, 0)
	for i := range 250 { // 25 s
		term.Progress(running(int64(i)))
		c.advance(100 * time.Millisecond)
	}
	p := running(250)
	p.State, p.Elapsed, p.Note = display.Interrupted, 25*time.Second, "`ddpmlab train --resume 01ABC` goes on"
	term.Progress(p)
	got := out.String()
	if strings.ContainsAny(got, "\r\x1b") {
		t.Errorf("terminal codes in a log: %q", got)
	}
	if n := strings.Count(got, "\n"); n != 4 { // at 0, 10 and 20 s, and the end
		t.Errorf("%d lines in 25 s, want 4:\n%s", n, got)
	}
	if !strings.HasSuffix(got, "interrupted after 0:25  loss 0.08123; `ddpmlab train --resume 01ABC` goes on\n") {
		t.Errorf("last line does not say how to go on: %q", got)
	}
}

func TestTerminalTextAboveBar(t *testing.T) {
	term, out := newTerminal(newClock(), 100)
	term.Progress(running(1))
	out.Reset()
	term.Println("resumed at step 1")
	term.Curve(display.Curve{ID: "loss"})
	term.Show("", render.Text("shown\n"))
	term.Show("", render.Bundle{})
	if got, want := out.String(), "\r\x1b[Kresumed at step 1\nshown\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNewTerminalOnAFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if term := display.NewTerminal(f); term.Width != 0 {
		t.Errorf("a file has width %d, want 0", term.Width)
	}
}
