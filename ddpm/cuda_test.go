//go:build ddpmcuda

package ddpm_test

import (
	"fmt"
	"math"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda"
	"ddpmlab/ddpm/engine/ref"
)

// newCUDA is the GPU; `make test-cuda` runs these tests on the fake one.
func newCUDA(t testing.TB) engine.Device {
	t.Helper()
	d, err := cuda.New()
	if err != nil {
		t.Fatalf("%v; run `make test-cuda`", err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// The GPU trains every variant as the reference does.
func TestCUDALosses(t *testing.T) {
	d := newCUDA(t)
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			cfg := tinyConfig()
			cfg.Iterations = 4
			_, want := train(t, cfg, v, ddpm.WithDevice(ref.New()))
			_, got := train(t, cfg, v, ddpm.WithDevice(d))
			for _, key := range []string{"loss", "grad_norm"} {
				for i, w := range want[key] {
					if d := math.Abs(got[key][i]-w) / w; !(d <= 2e-5) {
						t.Errorf("%s %d = %.8g, want %.8g (relative difference %.2g)", key, i, got[key][i], w, d)
					}
				}
			}
		})
	}
}

// And in bfloat16 it trains as in float32, nearly.
func TestCUDABFloat16Losses(t *testing.T) {
	d := newCUDA(t)
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			cfg := tinyConfig()
			cfg.Model.Channels, cfg.Model.HeadChannels, cfg.Iterations = 16, 16, 4
			_, want := train(t, cfg, v)
			plain := ""
			for _, p := range []string{ddpm.Mixed, ddpm.BFloat16} {
				cfg.Precision = p
				_, got := train(t, cfg, v, ddpm.WithDevice(d))
				for _, key := range []string{"loss", "grad_norm"} {
					for i, w := range want[key] {
						if d := math.Abs(got[key][i]-w) / w; !(d <= 0.02) {
							t.Errorf("%s: %s %d = %.6g, want %.6g", p, key, i, got[key][i], w)
						}
					}
				}
				if fmt.Sprint(got["grad_norm"]) == plain {
					t.Errorf("%s computes what the precision before it does", p)
				}
				plain = fmt.Sprint(got["grad_norm"])
			}
		})
	}
}

// A run begun on one device goes on on the other, with the same random numbers.
func TestCUDAResume(t *testing.T) {
	d := newCUDA(t)
	cfg := tinyConfig()
	v := ddpm.InputPerturbation(0.1)
	whole, _ := train(t, cfg, v)
	for name, devices := range map[string][2]engine.Device{"cuda then cpu": {d, newCPU(t, 1)}, "cpu then cuda": {newCPU(t, 1), d}} {
		half := cfg
		half.Iterations = 5
		c, _ := train(t, half, v, ddpm.WithDevice(devices[0]))
		c, _ = train(t, cfg, v, ddpm.WithDevice(devices[1]), ddpm.WithResume(c))
		for i, a := range [][2][]float32{{c.Weights, whole.Weights}, {c.EMA, whole.EMA}, {c.Moment1, whole.Moment1}, {c.Moment2, whole.Moment2}} {
			if e := relative(a[0], a[1]); !(e < 1e-3) {
				t.Errorf("%s: array %d differs by %.2g of its norm from a run on the processor alone", name, i, e)
			}
		}
	}
}

// Samples of one checkpoint from both devices.
func TestCUDASamples(t *testing.T) {
	c := newCheckpoint()
	for i := range c.EMA {
		c.EMA[i] *= 0.3
	}
	draw := func(d engine.Device) []float32 {
		n, err := ddpm.NewNetwork(c, ddpm.WithDevice(d))
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		x, err := ddpm.Sample(t.Context(), n, newSchedule(t, "cosine", 100), tinyConfig().Sampling(), 0, 3, 8, 8, 1)
		if err != nil {
			t.Fatal(err)
		}
		return x.Pix
	}
	if e := relative(draw(newCUDA(t)), draw(newCPU(t, 1))); !(e < 1e-3) {
		t.Errorf("samples differ by %.2g of their norm", e)
	}
}

// relative is the L2 distance of a from b, by the norm of b.
func relative(a, b []float32) float64 {
	var d, n float64
	for i := range b {
		e := float64(a[i]) - float64(b[i])
		d += e * e
		n += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(d / n)
}
