//go:build ddpmcuda

package ddpm

import (
	"math"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda"
)

// Loss and all gradients of the tiny U-Net with the golden weights, first and second
// order, against the reference.
func TestCUDAGradients(t *testing.T) {
	d, err := cuda.New()
	if err != nil {
		t.Fatalf("%v; run `make test-cuda`", err)
	}
	defer d.Close()
	for _, tt := range []struct {
		name string
		v    Variant
		tol  float64
	}{
		{"ADM", ADM(), 2e-5},
		{"ADM-WD", Variant{WeightDecay: 0.03, WeightDecayMode: Coupled}, 2e-5},
		{"ADM-GP", GradPenalty(1e-3), 1e-4},
		{"ADM-GP ones", Variant{GradPenalty: 1e-3, GradPenaltyMode: Ones}, 1e-4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tinyLoss(t, tt.v)
			state, err := d.NewState(c.program.ParamLen)
			if err != nil {
				t.Fatal(err)
			}
			defer state.Close()
			exec, err := d.Load(c.program, state)
			if err != nil {
				t.Fatal(err)
			}
			defer exec.Close()
			for i := range c.inputs {
				exec.Set(i, narrow(c.inputs[i]))
			}
			state.Set(engine.Weights, narrow(c.weights))
			if err := exec.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			outputs, want := c.run(t)
			var loss [1]float32
			exec.Get(0, loss[:])
			if rel := math.Abs(float64(loss[0])/outputs[0] - 1); !(rel < tt.tol) {
				t.Errorf("loss %v, want %v", loss[0], outputs[0])
			}
			got := make([]float32, c.program.ParamLen)
			state.Get(engine.Grads, got)
			// Each parameter by itself: a small one must not hide behind a large one.
			for i, v := range c.program.Params {
				at, n := c.program.ParamOffset[i], c.program.Values[v].Size()
				diff := make([]float64, n)
				for j := range diff {
					diff[j] = float64(got[at+j]) - want[at+j]
				}
				if e, size := l2(diff), l2(want[at:at+n]); !(e <= tt.tol*size+1e-7*l2(want)) {
					t.Errorf("gradient of %s differs by %.2g, its norm is %.3g", c.program.Values[v].Name, e, size)
				}
			}
		})
	}
}
