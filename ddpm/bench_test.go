package ddpm_test

import (
	"fmt"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine/cpu"
)

// timer is a Recorder that ends the training after b's iterations and reports its rate.
type timer struct{ rate, n float64 }

func (t *timer) Record(_ int64, key string, value float64) {
	if key == "images_per_s" {
		t.rate, t.n = t.rate+1/value, t.n+1
	}
}

// BenchmarkTrain is a training step of each preset and variant, update included.
func BenchmarkTrain(b *testing.B) {
	for _, preset := range []string{"tour", "fashion"} {
		for _, v := range []ddpm.Variant{ddpm.ADM(), ddpm.InputPerturbation(0.1), ddpm.GradPenalty(1e-6)} {
			b.Run(fmt.Sprintf("%s/%s", preset, v.Name()), func(b *testing.B) {
				cfg, err := ddpm.Preset(preset)
				if err != nil {
					b.Fatal(err)
				}
				cfg.Iterations, cfg.EvalSamples = b.N, 0
				var t timer
				if _, err := ddpm.Train(b.Context(), cfg, v, ddpm.WithRecorder(&t)); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(t.n/t.rate, "images/s")
			})
		}
	}
}

// BenchmarkSample is one denoising step of a batch of 64 images.
func BenchmarkSample(b *testing.B) {
	for _, preset := range []string{"tour", "fashion"} {
		b.Run(preset, func(b *testing.B) {
			cfg, err := ddpm.Preset(preset)
			if err != nil {
				b.Fatal(err)
			}
			device, err := cpu.New(0)
			if err != nil {
				b.Fatal(err)
			}
			defer device.Close()
			net, err := ddpm.NewNetwork(&ddpm.Checkpoint{Config: cfg, EMA: cfg.Model.Init(1)}, ddpm.WithDevice(device))
			if err != nil {
				b.Fatal(err)
			}
			defer net.Close()
			schedule, err := ddpm.NewSchedule(cfg.Schedule, cfg.T)
			if err != nil {
				b.Fatal(err)
			}
			h, w, c := net.Size()
			p := cfg.Sampling()
			for b.Loop() {
				if _, err := ddpm.Sample(b.Context(), net, schedule, p, 0, 64, h, w, c); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(64*float64(p.Steps*b.N)/b.Elapsed().Seconds(), "image-steps/s")
		})
	}
}
