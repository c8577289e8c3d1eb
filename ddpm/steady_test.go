package ddpm_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
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
	i := u.count
	u.count++
	// What the measurement itself allocates is outside of what is counted.
	if i > 0 {
		u.alloc[i] = mallocs()
	}
	runtime.GC()
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, pages int64
		if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
			u.t.Error(err)
		}
		u.rss[i] = pages * int64(os.Getpagesize())
	}
	if i == 0 {
		u.alloc[i] = mallocs()
	}
}

// mallocs counts allocations since the program's start.
func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// blank is a display that a reporter cannot tell from one that draws.
type blank struct{}

func (blank) Progress(display.Progress)  {}
func (blank) Curve(display.Curve)        {}
func (blank) Show(string, render.Bundle) {}

// A training is as large after a thousand steps as after the first ones, and its steps
// allocate nothing: neither the executor and its goroutines, nor the drawing of batches,
// nor what is reported, whatever is switched on. What is left, some dozens in all, is the
// garbage collector's and the display's room, taken 512 reports at a time.
func TestSteadyState(t *testing.T) {
	if testing.Short() {
		t.Skip("trains thousands of steps")
	}
	const perStep = 0.5 // a step that allocates has 1 or more
	cfg := ddpm.Tour()
	cfg.Model.Channels, cfg.Model.HeadChannels, cfg.Model.Groups = 8, 8, 4
	cfg.Batch, cfg.EvalSamples = 4, 0
	everything, v := full()
	everything.Data, everything.Flip = "stripes", true
	for _, tt := range []struct {
		name  string
		cfg   ddpm.Config
		v     ddpm.Variant
		steps int64
		opts  []ddpm.Option
	}{
		{"tour", cfg, ddpm.ADM(), 1200, nil},
		{"everything", everything, v, 500, []ddpm.Option{ddpm.WithData(stripes{})}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Iterations = int(tt.steps)
			ctx, cancel := context.WithCancel(display.NewContext(t.Context(), blank{}))
			defer cancel()
			u := &usage{t: t, at: [2]int64{200, tt.steps}}
			if _, err := ddpm.Train(ctx, tt.cfg, tt.v, append(tt.opts, ddpm.WithRecorder(u), ddpm.WithThreads(2))...); err != nil {
				t.Fatal(err)
			}
			n := float64(u.alloc[1]-u.alloc[0]) / float64(u.at[1]-u.at[0])
			grown := u.rss[1] - u.rss[0]
			t.Logf("%.3f allocations a step; resident memory %d kB at step %d, %+d kB at step %d", n, u.rss[0]>>10, u.at[0], grown>>10, u.at[1])
			if n > perStep {
				t.Errorf("%.3f allocations a step, want at most %g", n, perStep)
			}
			if grown > 1<<20 {
				t.Errorf("resident memory grows by %d kB in %d steps, want at most 1 MB", grown>>10, u.at[1]-u.at[0])
			}
		})
	}
}
