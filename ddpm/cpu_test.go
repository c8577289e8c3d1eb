package ddpm_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/ref"
)

// The default device trains every variant as the reference does: float32 against
// float64, so the losses part slowly.
func TestCPULosses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the reference device for seconds")
	}
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			cfg := tinyConfig()
			cfg.Iterations = 5
			_, want := train(t, cfg, v, ddpm.WithDevice(ref.New()))
			_, got := train(t, cfg, v)
			for _, key := range []string{"loss", "grad_norm"} {
				for i, w := range want[key] {
					if d := math.Abs(got[key][i]-w) / w; d > 2e-5 {
						t.Errorf("%s %d = %.8g, want %.8g (relative difference %.2g)", key, i, got[key][i], w, d)
					}
				}
			}
		})
	}
}

// The number of threads changes no bit.
func TestCPUThreads(t *testing.T) {
	for _, v := range someVariants() {
		cfg := tinyConfig()
		cfg.Iterations = 4
		one, _ := train(t, cfg, v, ddpm.WithDevice(newCPU(t, 1)))
		three, _ := train(t, cfg, v, ddpm.WithDevice(newCPU(t, 3)))
		if one.SHA256() != three.SHA256() {
			t.Errorf("%v: one thread and three give other checkpoints", v)
		}
	}
}

// Training in bfloat16 stays near that in float32, and is the same on any number of threads.
func TestBFloat16(t *testing.T) {
	if !cpu.BFloat16(newCPU(t, 1)) {
		cfg := tinyConfig()
		cfg.Precision = ddpm.BFloat16
		if _, err := ddpm.Train(t.Context(), cfg, ddpm.ADM(), ddpm.WithData(stripes{}), ddpm.WithThreads(1)); err == nil || !strings.Contains(err.Error(), "bfloat16") {
			t.Errorf("got %v, want to be told that bfloat16 does not pay here", err)
		}
		t.Skip("this processor has no tiles")
	}
	for _, v := range []ddpm.Variant{ddpm.ADM(), ddpm.GradPenalty(1e-3)} {
		cfg := tinyConfig()
		cfg.Model.Channels, cfg.Model.HeadChannels, cfg.Iterations = 16, 16, 5
		_, want := train(t, cfg, v, ddpm.WithDevice(newCPU(t, 2)))
		plain := ""
		for _, p := range []string{ddpm.Mixed, ddpm.BFloat16} {
			cfg.Precision = p
			one, got := train(t, cfg, v, ddpm.WithDevice(newCPU(t, 1)))
			for _, threads := range []int{2, 3} {
				if c, _ := train(t, cfg, v, ddpm.WithDevice(newCPU(t, threads))); c.SHA256() != one.SHA256() {
					t.Errorf("%v in %s: one thread and %d give other checkpoints", v, p, threads)
				}
			}
			for _, key := range []string{"loss", "grad_norm"} {
				for i, w := range want[key] {
					if d := math.Abs(got[key][i]-w) / w; d > 0.02 {
						t.Errorf("%v in %s: %s %d = %.6g, want %.6g", v, p, key, i, got[key][i], w)
					}
				}
			}
			if fmt.Sprint(got["grad_norm"]) == plain {
				t.Errorf("%v: %s computes what the precision before it does", v, p)
			}
			plain = fmt.Sprint(got["grad_norm"])
		}
	}
}

// Prediction and samples of the default device.
func TestCPUNetwork(t *testing.T) {
	c := newCheckpoint()
	for i := range c.EMA {
		c.EMA[i] *= 0.3
	}
	s := newSchedule(t, "cosine", 100)
	sample := func(n *ddpm.Network, first, count int) ddpm.Images {
		x, err := ddpm.Sample(t.Context(), n, s, tinyConfig().Sampling(), first, count, 8, 8, 1)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	fast, err := ddpm.NewNetwork(c, ddpm.WithThreads(2))
	if err != nil {
		t.Fatal(err)
	}
	defer fast.Close()
	slow, err := ddpm.NewNetwork(c, ddpm.WithDevice(ref.New()))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	many, want := sample(fast, 0, 70), sample(slow, 0, 8)
	for i, w := range want.Pix {
		if math.Abs(float64(many.Pix[i]-w)) > 1e-4 {
			t.Fatalf("value %d of the samples = %v, want %v", i, many.Pix[i], w)
		}
	}
	if few := sample(fast, 60, 6); !slices.Equal(few.Pix, many.Part(60, 66).Pix) {
		t.Error("six images alone differ from the same in a batch of 70")
	}
}

func newCPU(t testing.TB, threads int) engine.Device {
	t.Helper()
	d, err := cpu.New(threads)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
