package ddpm_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"ddpmlab/ddpm"
)

// usage is a Recorder that notes allocations and resident memory after certain steps.
type usage struct {
	t     *testing.T
	at    [2]int64 // steps
	count int
	alloc [2]uint64 // allocations since the program's start
	rss   [2]int64  // bytes; 0 where the system does not tell
}

func (u *usage) Record(step int64, key string, _ float64) {
	if key != "loss" || u.count == len(u.at) || step != u.at[u.count] {
		return
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.alloc[u.count] = m.Mallocs
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, pages int64
		if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
			u.t.Error(err)
		}
		u.rss[u.count] = pages * int64(os.Getpagesize())
	}
	u.count++
}

// A training is as large at its end as after the first steps, and its steps allocate next
// to nothing: what grows with the steps would end long trainings.
func TestSteadyState(t *testing.T) {
	if testing.Short() {
		t.Skip("trains hundreds of steps")
	}
	const steps, perStep = 300, 32 // allocations, all small: goroutines that start, and the live curve
	cfg := ddpm.Tour()
	cfg.Model.Channels, cfg.Model.HeadChannels, cfg.Model.Groups = 8, 8, 4
	cfg.Batch, cfg.Iterations, cfg.EvalSamples = 4, steps, 0
	u := &usage{t: t, at: [2]int64{50, steps}}
	if _, err := ddpm.Train(t.Context(), cfg, ddpm.ADM(), ddpm.WithRecorder(u), ddpm.WithThreads(2)); err != nil {
		t.Fatal(err)
	}
	n := float64(u.alloc[1]-u.alloc[0]) / float64(u.at[1]-u.at[0])
	grown := u.rss[1] - u.rss[0]
	t.Logf("%.1f allocations a step; resident memory %d kB at step %d, %+d kB at step %d", n, u.rss[0]>>10, u.at[0], grown>>10, u.at[1])
	if n > perStep {
		t.Errorf("%.1f allocations a step, want at most %d", n, perStep)
	}
	if grown > 4<<20 {
		t.Errorf("resident memory grows by %d kB in %d steps, want at most 4 MB", grown>>10, u.at[1]-u.at[0])
	}
}
