package kernel

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// Timing is how long a piece of code takes.
type Timing struct {
	Loops int             // repetitions in each run
	Runs  []time.Duration // of one repetition, by run
}

// Timeit times f, which repeats what is to be timed n times: seven runs of as many
// repetitions as take about 0.1 s. The magic %timeit calls it.
func Timeit(ctx context.Context, f func(n int)) *Timing {
	const (
		runs  = 7
		least = 100 * time.Millisecond
	)
	loops := 1
	for took := time.Duration(0); ; {
		begun := time.Now()
		f(loops)
		if took = time.Since(begun); took >= least || ctx.Err() != nil {
			break
		}
		grow := 10
		if took > least/100 {
			grow = int(math.Ceil(1.2 * float64(least) / float64(took)))
		}
		loops *= grow
	}
	t := &Timing{Loops: loops}
	for range runs {
		if ctx.Err() != nil {
			break
		}
		begun := time.Now()
		f(loops)
		t.Runs = append(t.Runs, time.Since(begun)/time.Duration(loops))
	}
	return t
}

// Median is the median of the runs.
func (t *Timing) Median() time.Duration {
	if len(t.Runs) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t.Runs))
	return sorted[len(sorted)/2]
}

// String is the median and the range of the runs.
func (t *Timing) String() string {
	if len(t.Runs) == 0 {
		return "no run was finished"
	}
	return fmt.Sprintf("%v per loop (median of %d runs of %d loops; %v to %v)",
		short(t.Median()), len(t.Runs), t.Loops, short(slices.Min(t.Runs)), short(slices.Max(t.Runs)))
}

// short is a duration with about three digits.
func short(d time.Duration) string {
	unit := time.Duration(1)
	for d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit).String()
}
