package kernel

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"ddpmlab/internal/display"
)

// console shows in a terminal how a notebook is being executed: what cells print, and one
// line that is drawn over and over for what they report. Where the writer is no terminal,
// that line is printed from time to time.
type console struct {
	w     io.Writer
	width int // of the terminal; 0: none

	live    string // what the cursor's line shows, "" when it is empty
	latest  string // the newest report
	printed time.Time
	open    bool // the last text did not end its line
}

func newConsole(w io.Writer) *console {
	c := &console{w: w}
	if w == nil {
		c.w = io.Discard
	}
	if f, ok := w.(*os.File); ok {
		c.width = display.NewTerminal(f).Width
	}
	return c
}

// line prints a line of its own.
func (c *console) line(format string, args ...any) {
	c.clear()
	fmt.Fprintf(c.w, format+"\n", args...)
}

// text prints what a cell printed.
func (c *console) text(s string) {
	if strings.TrimSpace(s) == "" && !c.open {
		return
	}
	if c.live != "" {
		c.clear()
	}
	io.WriteString(c.w, s)
	c.open = !strings.HasSuffix(s, "\n")
}

// textLines is how many lines are printed of a value that a cell shows; the notebook has
// them all.
const textLines = 25

// result prints the text of a value.
func (c *console) result(s string) {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if n := len(lines) - textLines; n > 1 {
		lines = append(lines[:textLines], fmt.Sprintf("(%d more lines)", n))
	}
	c.text(strings.Join(lines, "\n") + "\n")
}

// final recognises the line of a computation that has ended, as display.Progress writes it.
var final = regexp.MustCompile(`  (done|interrupted|failed)( after |  |$)`)

// report shows the text of a display, if it is a single line. A computation's last line
// stays.
func (c *console) report(_, s string) {
	s = strings.TrimRight(s, "\n")
	if s == "" || strings.Contains(s, "\n") {
		return
	}
	if final.MatchString(s) {
		c.line("%s", s)
		c.latest, c.printed = "", time.Time{}
		return
	}
	c.latest = s
	if c.width > 0 {
		if c.open {
			c.clear()
		}
		if r := []rune(s); len(r) >= c.width {
			s = string(r[:c.width-1])
		}
		fmt.Fprintf(c.w, "\r%s\x1b[K", s)
		c.live = s
		return
	}
	if now := time.Now(); now.Sub(c.printed) >= display.PlainEvery {
		c.printed = now
		c.line("%s", s)
		c.latest = ""
	}
}

// end leaves the newest report standing.
func (c *console) end() {
	if c.latest != "" {
		c.line("%s", c.latest)
	}
	c.clear()
	c.latest, c.printed = "", time.Time{}
}

// clear makes the cursor's line free.
func (c *console) clear() {
	switch {
	case c.live != "":
		io.WriteString(c.w, "\r\x1b[K")
	case c.open:
		io.WriteString(c.w, "\n")
	}
	c.live, c.open = "", false
}
