package kernel_test

import (
	"context"
	"strings"
	"testing"
	"time"

	kernel "ddpmlab/kernel/cells"
)

func TestTimeit(t *testing.T) {
	calls := 0
	got := kernel.Timeit(t.Context(), func(n int) {
		calls += n
		time.Sleep(time.Duration(n) * time.Millisecond)
	})
	if m := got.Median(); len(got.Runs) != 7 || m < time.Millisecond || m > 2*time.Millisecond {
		t.Errorf("a millisecond took %v in %d runs", m, len(got.Runs))
	}
	if got.Loops < 10 || calls < 8*got.Loops || !strings.Contains(got.String(), "ms per loop (median of 7 runs of ") {
		t.Errorf("%d calls, %s", calls, got)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := kernel.Timeit(ctx, func(int) {}); got.String() != "no run was finished" {
		t.Errorf("after the end of its context: %s", got)
	}
}

// TestElsewhere calls what needs a notebook outside one.
func TestElsewhere(t *testing.T) {
	defer func() {
		m, ok := recover().(interface{ CellMessage() string })
		if !ok || !strings.Contains(m.CellMessage(), "pass the cell's ctx") {
			t.Errorf("got %v, want a message", m)
		}
	}()
	kernel.Input(t.Context(), "")
}
