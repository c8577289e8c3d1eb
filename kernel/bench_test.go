package kernel_test

import (
	"testing"

	"ddpmlab/kernel"
)

// TestBench measures this kernel. The limits are those of a machine that does other
// things, too; `ddpmlab bench kernel` prints the figures.
func TestBench(t *testing.T) {
	if testing.Short() {
		t.Skip("takes over 2 s")
	}
	m, err := kernel.Bench(t.Context(), kernel.This(), 3)
	if err != nil || m.Failure != "" {
		t.Fatal(err, m.Failure)
	}
	if len(m.Start) != 3 || len(m.Cell) != 11_000 || len(m.Interrupt) != 5 || len(m.Print) != 3 {
		t.Fatalf("%d starts, %d cells, %d interrupts, %d outputs", len(m.Start), len(m.Cell), len(m.Interrupt), len(m.Print))
	}
	for _, tt := range []struct {
		name       string
		got, limit float64
	}{
		{"start, median, s", kernel.Quantile(m.Start, 0.5), 1},
		{"cell, median, s", kernel.Quantile(m.Cell, 0.5), 0.01},
		{"10 MB of output, s", kernel.Quantile(m.Print, 0.5), 2},
		{"slowest interrupt, s", kernel.Quantile(m.Interrupt, 1), 0.5},
		{"growth over 10,000 cells, MB", float64(m.Growth) / 1e6, 20},
	} {
		t.Logf("%s: %.3g", tt.name, tt.got)
		if tt.got > tt.limit {
			t.Errorf("%s: %.3g, want at most %.3g", tt.name, tt.got, tt.limit)
		}
	}
}
