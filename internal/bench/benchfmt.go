package bench

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
)

// WriteSamples writes the median of each round in the format of Go's benchmarks, for
// benchstat: `benchstat -col /by FILE` compares the sides of one run, `benchstat OLD NEW`
// two runs.
func (r *Report) WriteSamples(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: ddpmlab/internal/bench\ncpu: %s\n", runtime.GOOS, runtime.GOARCH, r.Machine); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.Samples)) {
		for _, ms := range r.Samples[name] {
			// A name ends at the first blank and, so that benchstat sees the threads, in their number.
			if _, err := fmt.Fprintf(w, "BenchmarkEngine/%s-%d 1 %.0f ns/op\n", strings.NewReplacer(", ", ",", " ", "-").Replace(name), r.Threads, ms*1e6); err != nil {
				return err
			}
		}
	}
	for _, x := range r.Ops {
		if _, err := fmt.Fprintf(w, "BenchmarkEngine/%s-%d 1 %.4g %s\n", x.Name, r.Threads, x.Ours, x.Unit); err != nil {
			return err
		}
	}
	return nil
}
