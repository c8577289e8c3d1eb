package bench_test

import (
	"math"
	"os"
	"testing"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/ref"
	"ddpmlab/internal/bench"
)

// Losses of the processor are those of the reference, fall, and, where the interpreter
// DDPMLAB_TORCH has PyTorch, are those of PyTorch.
func TestCurve(t *testing.T) {
	c := bench.Curve{Model: ddpm.Toy().Model, Batch: 4, Steps: 20, LR: 1e-3}
	d, err := cpu.New(0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := c.Ours(t.Context(), d, engine.Float32)
	if err != nil || len(got) != c.Steps || !(got[c.Steps-1] < 0.8*got[0]) {
		t.Fatalf("losses %v, error %v; want %d that fall", got, err, c.Steps)
	}
	same := func(who string, want []float64, tolerance float64) {
		for i, w := range want {
			if !(math.Abs(got[i]/w-1) <= tolerance) {
				t.Errorf("step %d: %v, %s has %v", i, got[i], who, w)
			}
		}
	}
	first := c
	first.Steps = 2
	want, err := first.Ours(t.Context(), ref.New(), engine.Float32)
	if err != nil || len(want) != 2 {
		t.Fatalf("losses %v, error %v", want, err)
	}
	same("the reference", want, 1e-4)
	python := os.Getenv("DDPMLAB_TORCH")
	if python == "" {
		t.Skip("no interpreter with PyTorch in DDPMLAB_TORCH")
	}
	for precision, tolerance := range map[string]float64{"f32": 1e-3, "bf16": 2e-2} {
		want, err := c.Theirs(t.Context(), python, "cpu", precision, time.Minute)
		if err != nil || len(want) != c.Steps {
			t.Fatalf("losses %v, error %v", want, err)
		}
		t.Logf("%s: %.5f, ours %.5f", precision, want, got)
		same("PyTorch in "+precision, want, tolerance)
	}
}
