package kernel

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"ddpmlab/internal/display"
)

// TestConsole shows two computations, what is printed between them, and a long value.
func TestConsole(t *testing.T) {
	running := display.Progress{Title: "A", Done: 5, Total: 10}.String()
	done := display.Progress{Title: "A", Done: 10, Total: 10, State: display.Done, Elapsed: 2 * time.Second}.String()
	var table []string
	for i := range 40 {
		table = append(table, fmt.Sprint("row ", i))
	}
	show := func(width int) string {
		var b bytes.Buffer
		c := newConsole(&b)
		c.width = width
		c.line("[1/2] train")
		c.report("a", running)
		c.text("printed")
		c.report("a", done)
		c.report("a", "several\nlines")
		c.report("b", "B 1/2")
		c.end()
		c.result(strings.Join(table, "\n"))
		return b.String()
	}
	head := strings.Join(table[:25], "\n") + "\n(15 more lines)\n"
	want := "[1/2] train\n" + running + "\nprinted\n" + done + "\nB 1/2\n" + head
	if got := show(0); got != want {
		t.Errorf("without a terminal:\n%q\nwant\n%q", got, want)
	}
	want = "[1/2] train\n\r" + running[:19] + "\x1b[K\r\x1b[Kprinted\n" + done + "\n\rB 1/2\x1b[K\r\x1b[KB 1/2\n" + head
	if got := show(20); got != want {
		t.Errorf("on a terminal:\n%q\nwant\n%q", got, want)
	}
}
