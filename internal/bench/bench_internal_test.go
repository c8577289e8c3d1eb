package bench

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/unet"
)

// TestMain makes the test's program a worker where the variable says so.
func TestMain(m *testing.M) {
	if os.Getenv("DDPMLAB_BENCH_WORKER") == "" {
		os.Exit(m.Run())
	}
	if err := Work(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func tiny(kind string) work {
	return work{kind: kind, net: "tiny", batch: 2, model: unet.Config{
		Size: 8, InChannels: 1, OutChannels: 1, Channels: 8, Mult: []int{1, 2}, ResBlocks: 1, Attention: []int{4}, HeadChannels: 8, Groups: 4,
	}}
}

// options run the test's own program as worker, and in place of PyTorch a script.
func options(t *testing.T, script string) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Threads: 1, Rounds: 3, Worker: []string{"env", "DDPMLAB_BENCH_WORKER=1", self}, Guard: []string{"env"}}
	if script != "" {
		o.Python = filepath.Join(t.TempDir(), "python")
		script = "#!/bin/sh\n" + strings.ReplaceAll(script, "SELF", "DDPMLAB_BENCH_WORKER=1 exec "+self)
		if err := os.WriteFile(o.Python, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func measured(t *testing.T, o Options, w work) (*Report, error) {
	t.Helper()
	b, done, err := newBench(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return b.report, b.measure(t.Context(), w)
}

func TestMeasure(t *testing.T) {
	for _, kind := range []string{step, gp, forward, gpOverADM, memory} {
		t.Run(kind, func(t *testing.T) {
			r, err := measured(t, options(t, ""), tiny(kind))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Results) != 1 || r.Results[0].Name != kind+"/tiny-b2" || !(r.Results[0].Ours > 0) {
				t.Fatalf("got %+v", r.Results)
			}
			if n := len(r.Samples[kind+"/tiny-b2/by=ddpmlab f32"]); kind != memory && n != 3 {
				t.Errorf("%d samples, want one for each of 3 rounds", n)
			}
			if base := r.Results[0].Base; (kind == gpOverADM) != (base > 0) {
				t.Errorf("base %g", base)
			}
		})
	}
}

// Our own worker in PyTorch's place speaks the same protocol and gives the same outputs.
func TestSides(t *testing.T) {
	r, err := measured(t, options(t, "SELF"), tiny(forward))
	if err != nil {
		t.Fatal(err)
	}
	got := r.Results[0]
	if !(got.Base > 0) || math.Abs(got.Ratio-got.Ours/got.Base) > 1e-12 || !slices.Contains([]string{"f32 eager", "bf16 eager", "f32 compile", "bf16 compile"}, got.BaseMode) {
		t.Errorf("got %+v", got)
	}
	var b bytes.Buffer
	if err := r.WriteSamples(&b); err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^BenchmarkEngine/forward/tiny-b2/by=[^ ]+-1 1 \d+ ns/op$`)
	sides := 5 // four modes of PyTorch and our float32
	if d, err := cpu.New(1); err == nil && cpu.BFloat16(d) {
		sides++
	}
	if n := len(line.FindAllString(b.String(), -1)); n != 3*sides {
		t.Errorf("%d lines, want 3 of each of %d sides:\n%s", n, sides, b.String())
	}

	path := filepath.Join(t.TempDir(), "recorded.json")
	for range 2 { // the second adds to the first
		if err := r.Record(path); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := recorded(text)
	if err != nil || len(all["forward/tiny-b2"].Modes) != 4 {
		t.Errorf("recorded %s, %v", text, err)
	}
}

// What goes wrong on PyTorch's side is told by its last line, or left out.
func TestSidesFail(t *testing.T) {
	if _, err := measured(t, options(t, "echo 'no torch' >&2; exit 1"), tiny(forward)); err == nil || !strings.Contains(err.Error(), "no torch") {
		t.Errorf("got %v, want what it said", err)
	}
	o := options(t, "exec sleep 100")
	o.Limit = 300 * time.Millisecond
	o.Worker = options(t, "").Worker
	b, done, err := newBench(o)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	theirs, err := b.startTheirs(t.Context(), tiny(forward), job{Threads: 1}, &side{})
	if err != nil || len(theirs) != 0 || len(b.report.LeftOut) != len(modes) {
		t.Errorf("got %d sides, %v, left out %q; want all left out", len(theirs), err, b.report.LeftOut)
	}
}

func TestSameNetwork(t *testing.T) {
	ours := hello{Params: 3, Out: []float32{1, 2, 2}}
	for _, tt := range []struct {
		name   string
		theirs hello
		mode   mode
		ok     bool
	}{
		{"equal", ours, modes[0], true},
		{"close", hello{Params: 3, Out: []float32{1, 2, 2.0002}}, modes[0], true},
		{"far", hello{Params: 3, Out: []float32{1, 2, 2.001}}, modes[0], false},
		{"far in bfloat16", hello{Params: 3, Out: []float32{1, 2, 2.001}}, modes[1], true},
		{"not a number", hello{Params: 3, Out: []float32{1, 2, float32(math.NaN())}}, modes[0], false},
		{"another length", hello{Params: 3, Out: []float32{1, 2}}, modes[0], false},
		{"other weights", hello{Params: 4, Out: ours.Out}, modes[0], false},
		{"nothing to compare", hello{Params: 3}, modes[0], true},
	} {
		if err := sameNetwork(ours, tt.theirs, tt.mode.precision); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}

// A quick run takes from the recorded one the modes that it has not measured, no others.
func TestRecordedBase(t *testing.T) {
	b := &bench{o: Options{Quick: true, Python: "python", Log: func(string, ...any) {}}, report: &Report{modes: map[string]map[string]float64{}}}
	b.recorded = map[string]record{"step/x-b1": {Date: "2026-01-02", Modes: map[string]float64{"bf16 eager, contiguous": 1, "f32 compile": 3}}}
	now := []*side{{mode: "bf16 eager, channels_last", ms: []float64{5}}}
	b.add(Result{Name: "step/x-b1", Ours: 2}, now, func(s *side) float64 { return median(s.ms) })
	if r := b.report.Results[0]; r.Base != 3 || !strings.HasPrefix(r.BaseMode, "f32 compile (recorded 2026-01-02") {
		t.Errorf("got %+v, want the recorded compiled mode", r)
	}
}

func TestNets(t *testing.T) {
	if got := nets[3].model.NumParams(); got != 57_091_203 {
		t.Errorf("cifar10 has %d weights, want the paper's 57 million: 57,091,203", got)
	}
	names := map[string]bool{}
	for _, w := range (Options{}).works() {
		if err := w.config().Validate(); err != nil || names[w.name()] {
			t.Errorf("%s: %v, or named twice", w.name(), err)
		}
		names[w.name()] = true
	}
	for _, name := range []string{
		"step/ch32-28x28x1-b64", "step/ch32-32x32x3-b64", "step/ch64-32x32x3-b32", "step/cifar10-b4",
		"forward/cifar10-b1", "gp/ch32-28x28x1-b64", "gp-over-adm/ch32-28x28x1-b64", "memory/ch32-28x28x1-b64",
	} {
		if !names[name] {
			t.Errorf("no work is named %s", name)
		}
	}
	_, grown := growths()
	for _, w := range grown {
		if err := w.config().Validate(); err != nil {
			t.Errorf("%s: %v", w.name(), err)
		}
	}
}

func TestRates(t *testing.T) {
	if p := measurePeak(1); !(p.GFlops > 1 && p.GFlops < 1e4 && p.GBytes > 0.5 && p.GBytes < 1e4) {
		t.Errorf("peak %+v", p)
	}
	all, err := operations()
	if err != nil {
		t.Fatal(err)
	}
	device, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	names := map[string]bool{}
	for _, o := range all {
		if names[o.name] {
			t.Errorf("two operations are named %s", o.name)
		}
		names[o.name] = true
		if o.name != "op/softmax-128x256x256" && o.name != "op/conv3x3-256-256-at-4-b4/dw" {
			continue
		}
		if rate, err := o.rate(t.Context(), device); err != nil || !(rate > 0.01) {
			t.Errorf("%s: %g, %v", o.name, rate, err)
		}
	}
}
