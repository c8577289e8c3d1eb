//go:build ddpmcuda

package ddpm

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/cuda"
	"ddpmlab/ddpm/engine/optest"
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
			loss, got := lossAndGradients(t, d, c, engine.Float32)
			outputs, want := c.run(t)
			if rel := math.Abs(loss/outputs[0] - 1); !(rel < tt.tol) {
				t.Errorf("loss %v, want %v", loss, outputs[0])
			}
			sameGradients(t, c.program, got, want, tt.tol, 1e-7)
		})
	}
}

// In bfloat16 against the same network in float32 on the processor, whose bfloat16
// rounds more.
func TestCUDABFloat16Gradients(t *testing.T) {
	d, err := cuda.New()
	if err != nil {
		t.Fatalf("%v; run `make test-cuda`", err)
	}
	defer d.Close()
	processor, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		v    Variant
	}{
		{"ADM", ADM()},
		{"ADM-IP", InputPerturbation(0.1)},
		{"ADM-WD", Variant{WeightDecay: 0.03, WeightDecayMode: Coupled}},
		{"ADM-GP", GradPenalty(1e-3)},
	} {
		for _, precision := range []engine.Precision{engine.Mixed, engine.BFloat16} {
			t.Run(fmt.Sprintf("%s in precision %d", tt.name, precision), func(t *testing.T) {
				c := tinyLoss(t, tt.v)
				c.inputs[2], c.inputs[3] = []float64{0.8, 0.6}, []float64{0.6, 0.8} // x_t with some of ε, and of ξ
				loss, got := lossAndGradients(t, d, c, precision)
				wantLoss, want := lossAndGradients(t, processor, c, engine.Float32) // in bf16 it rounds more than a GPU does
				if rel := math.Abs(loss/wantLoss - 1); !(rel < 1.0/256) {           // a unit of the last of eight bits
					t.Errorf("loss %v, want %v", loss, wantLoss)
				}
				sameGradients(t, c.program, got, want, 0.045, 2e-3) // a cosine of 0.999; the GPU kit's bounds
				diff := make([]float64, len(want))
				for i := range diff {
					diff[i] = got[i] - want[i]
				}
				if e := l2(diff) / l2(want); !(e <= 0.02) {
					t.Errorf("all gradients differ by %.2g of their norm", e)
				}
				if _, exact := lossAndGradients(t, d, c, engine.Float32); slices.Equal(got, exact) {
					t.Error("nothing was rounded")
				}
			})
		}
	}
}

// lossAndGradients runs c on d, with the products in some precision.
func lossAndGradients(t *testing.T, d engine.Device, c *lossCase, precision engine.Precision) (float64, []float64) {
	t.Helper()
	spec := c.spec
	spec.Precision = precision
	p, err := engine.Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range append(slices.Clone(c.inputs), c.weights) {
		narrow(x)
	}
	outputs, grads, err := optest.Run(t.Context(), d, p, c.inputs, c.weights)
	if err != nil {
		t.Fatal(err)
	}
	gradients := make([]float64, len(grads))
	for i, g := range grads {
		gradients[i] = float64(g)
	}
	return float64(outputs[0][0]), gradients
}

// sameGradients compares each parameter by itself, since a small one must not hide behind
// a large one: up to tol of its norm, and some of that of all.
func sameGradients(t *testing.T, p *engine.Program, got, want []float64, tol, ofAll float64) {
	t.Helper()
	worst := 0.0
	for i, v := range p.Params {
		at, n := p.ParamOffset[i], p.Values[v].Size()
		diff := make([]float64, n)
		for j := range diff {
			diff[j] = got[at+j] - want[at+j]
		}
		e, size := l2(diff), l2(want[at:at+n])
		if !(e <= tol*size+ofAll*l2(want)) {
			t.Errorf("gradient of %s differs by %.2g, its norm is %.3g", p.Values[v].Name, e, size)
		}
		worst = max(worst, e/(tol*size+ofAll*l2(want)))
	}
	t.Logf("the gradient that differs most does by %.2g of what it may", worst)
}
