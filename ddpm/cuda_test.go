//go:build ddpmcuda

package ddpm_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda"
	"ddpmlab/ddpm/engine/ref"
	"ddpmlab/internal/display"
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

// With cuDNN, of which `make test-cuda` has a double, it trains as with our own kernels, nearly;
// and to the bit when that fails as the graph of an iteration is recorded.
func TestCUDALibraryLosses(t *testing.T) {
	fake := os.Getenv("FAKE_CUDNN")
	if fake == "" {
		t.Skip("run by `make test-cuda`")
	}
	cfg := tinyConfig()
	cfg.Model.Channels, cfg.Model.HeadChannels, cfg.Iterations, cfg.Precision = 16, 16, 4, ddpm.BFloat16
	v := ddpm.InputPerturbation(0.1)
	own, err := cuda.Open(cuda.Options{Own: true})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	_, want := train(t, cfg, v, ddpm.WithDevice(own))

	t.Setenv("DDPMLAB_CUDNN", fake)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var said []string
	d, err := cuda.Open(cuda.Options{Log: func(line string) { said = append(said, line) }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, got := train(t, cfg, v, ddpm.WithDevice(d))
	for i, w := range want["loss"] {
		if d := math.Abs(got["loss"][i]-w) / w; !(d <= 0.02) {
			t.Errorf("loss %d = %.6g, want %.6g", i, got["loss"][i], w)
		}
	}
	if slices.Equal(got["grad_norm"], want["grad_norm"]) || len(said) > 0 {
		t.Errorf("cuDNN is not used: norms %v; it says %q", got["grad_norm"], said)
	}
	t.Setenv("FAKECUDNN_FAULT", "later 3")
	_, got = train(t, cfg, v, ddpm.WithDevice(d))
	if !slices.Equal(got["loss"], want["loss"]) || !slices.Equal(got["grad_norm"], want["grad_norm"]) {
		t.Errorf("losses %v, with our own kernels %v", got["loss"], want["loss"])
	}
	if len(said) != 1 || !strings.Contains(said[0], "cuDNN is not used: ") {
		t.Errorf("it says %q, want why cuDNN is not used, once", said)
	}
}

// A run begun on one device goes on on the other, with the same random numbers.
func TestCUDAResume(t *testing.T) {
	d := newCUDA(t)
	cfg := tinyConfig()
	cfg.EvalSamples = 0
	everything, v := full()
	everything.T, everything.SamplingSteps, everything.Batch, everything.MicroBatch, everything.Iterations = 2, 2, 8, 4, 6
	everything.Model.Size, everything.Model.Attention, everything.Anneal = 4, []int{2}, false // to an end that half of it has not
	for _, tt := range []struct {
		name string
		cfg  ddpm.Config
		v    ddpm.Variant
		data data.Set
	}{
		{"ADM-WD", cfg, ddpm.WeightDecay(0.03), stripes{}},
		{"DDPM-IP", cfg, ddpm.InputPerturbation(0.1), stripes{}},
		{"everything", everything, v, tinyImages{}}, // with GP, and micro-batches
	} {
		whole, _ := train(t, tt.cfg, tt.v, ddpm.WithData(tt.data))
		for name, devices := range map[string][2]engine.Device{"cuda then cpu": {d, newCPU(t, 1)}, "cpu then cuda": {newCPU(t, 1), d}} {
			half := tt.cfg
			half.Iterations /= 2
			c, _ := train(t, half, tt.v, ddpm.WithDevice(devices[0]), ddpm.WithData(tt.data))
			c, _ = train(t, tt.cfg, tt.v, ddpm.WithDevice(devices[1]), ddpm.WithResume(c), ddpm.WithData(tt.data))
			arrays := [][2][]float32{{c.Weights, whole.Weights}, {c.EMA, whole.EMA}, {c.Moment1, whole.Moment1}, {c.Moment2, whole.Moment2}}
			for i, e := range c.ExtraEMA {
				arrays = append(arrays, [2][]float32{e, whole.ExtraEMA[i]})
			}
			for i, a := range arrays {
				if e := relative(a[0], a[1]); !(e < 1e-3) {
					t.Errorf("%s, %s: array %d differs by %.2g of its norm from a run on the processor alone", tt.name, name, i, e)
				}
			}
			if !slices.Equal(c.TimeCounts, whole.TimeCounts) {
				t.Errorf("%s, %s: losses by t are %v, want %v", tt.name, name, c.TimeCounts, whole.TimeCounts)
			}
			for i, l := range c.TimeLosses {
				if !(math.Abs(float64(l-whole.TimeLosses[i])) <= 1e-3) {
					t.Errorf("%s, %s: loss %d of the time sampler is %v, want %v", tt.name, name, i, l, whole.TimeLosses[i])
				}
			}
		}
	}
}

// byHost is a device whose batches are made on the processor, as on one that cannot do better.
type byHost struct{ engine.Device }

func (d byHost) Load(p *engine.Program, s engine.State) (engine.Exec, error) {
	e, err := d.Device.Load(p, s)
	return struct{ engine.Exec }{e}, err
}

// scaled is a device that says its gradients have the range of float16.
type scaled struct{ engine.Device }

func (scaled) HalfRange() bool { return true }

// scaledByHost is both.
type scaledByHost struct{ byHost }

func (scaledByHost) HalfRange() bool { return true }

// spoiled is a data set with some infinite pixels.
type spoiled struct {
	data.Set
	bad []int
}

func (s spoiled) Read(i int, dst []float32) error {
	err := s.Set.Read(i, dst)
	if slices.Contains(s.bad, i) {
		dst[7] = float32(math.Inf(1))
	}
	return err
}

// Batches that the GPU makes are the processor's: trainings by them are the same, weights,
// averages, and all that is recorded, for every variant and with everything switched on.
func TestCUDABatches(t *testing.T) {
	d := newCUDA(t)
	type training struct {
		name string
		cfg  ddpm.Config
		v    ddpm.Variant
		half bool
		opts []ddpm.Option
	}
	small := tinyConfig() // of 9 images, so that epochs end within batches
	small.Data, small.Model.Size, small.Model.Attention, small.Iterations, small.EvalSamples = "tiny", 4, []int{2}, 3, 0
	var all []training
	for _, v := range variants {
		all = append(all, training{name: v.String(), cfg: small, v: v})
	}
	cfg, v := full()
	cfg.Data, cfg.Model.Size, cfg.Model.Attention = small.Data, small.Model.Size, small.Model.Attention
	cfg.T, cfg.SamplingSteps, cfg.Batch, cfg.MicroBatch, cfg.Iterations = 2, 2, 8, 4, 4 // with ten losses of each t, the sampler begins
	all = append(all, training{name: "everything", cfg: cfg, v: v})
	cfg.Iterations = 1
	all = append(all, training{name: "everything scaled", cfg: cfg, v: v, half: true})
	rounded := small
	rounded.Precision, rounded.Model.Channels, rounded.Model.HeadChannels = ddpm.BFloat16, 16, 16
	all = append(all, training{name: "bfloat16", cfg: rounded, v: ddpm.InputPerturbation(0.1)})
	c, _ := train(t, small, ddpm.ADM(), ddpm.WithDevice(d), ddpm.WithData(tinyImages{}))
	c.LossScale = 1e39
	small.Iterations = 8
	all = append(all, training{name: "scaled too much", cfg: small, half: true, opts: []ddpm.Option{ddpm.WithResume(c)}})
	all = append(all, training{name: "spoiled", cfg: small, opts: []ddpm.Option{ddpm.WithData(spoiled{tinyImages{}, []int{3}})}})
	small.Batch, small.Iterations, small.Flip = 9, 2, false
	all = append(all, training{name: "a batch of all", cfg: small})
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			var here, host engine.Device = d, byHost{d}
			if tt.half {
				here, host = scaled{d}, scaledByHost{byHost{d}}
			}
			got, series := train(t, tt.cfg, tt.v, append([]ddpm.Option{ddpm.WithData(tinyImages{}), ddpm.WithDevice(here)}, tt.opts...)...)
			want, wantSeries := train(t, tt.cfg, tt.v, append([]ddpm.Option{ddpm.WithData(tinyImages{}), ddpm.WithDevice(host)}, tt.opts...)...)
			if got.SHA256() != want.SHA256() {
				t.Errorf("the checkpoints differ: weights by %.2g, EMA by %.2g of their norm; steps %d and %d, skipped %d and %d",
					relative(got.Weights, want.Weights), relative(got.EMA, want.EMA), got.Step, want.Step, got.Skipped, want.Skipped)
			}
			delete(series, "images_per_s")
			delete(wantSeries, "images_per_s")
			if !reflect.DeepEqual(series, wantSeries) {
				t.Errorf("recorded is %v, want %v", series, wantSeries)
			}
			if counts := slices.Compact(slices.Clone(got.TimeCounts)); tt.name == "everything" && !slices.Equal(counts, []float32{10}) {
				t.Errorf("losses by t: %v; want the time sampler to have begun", got.TimeCounts)
			}
			if skips := tt.name == "scaled too much" || tt.name == "spoiled"; skips != (got.Skipped > 0) {
				t.Errorf("%d iterations skipped", got.Skipped)
			}
		})
	}
}

// tinyImages is a data set of 9 images of 4×4.
type tinyImages struct{ stripes }

func (tinyImages) Len() int             { return 9 }
func (tinyImages) Shape() (h, w, c int) { return 4, 4, 1 }

// stopper ends a context when a loss of some iteration is recorded.
type stopper struct {
	record
	at   int64
	stop func()
}

func (s stopper) Record(step int64, key string, v float64) {
	if step == s.at && key == "loss" {
		s.stop()
	}
	s.record.Record(step, key, v)
}

// A training that is cancelled keeps all iterations that were recorded, and goes on as if it had
// not been; one that diverges ends in the state and with the words of the processor's.
func TestCUDAStops(t *testing.T) {
	d := newCUDA(t)
	cfg := tinyConfig()
	cfg.Iterations, cfg.EvalSamples, cfg.ExtraEMA = 30, 0, []float64{0.5}
	whole, want := train(t, cfg, ddpm.InputPerturbation(0.1), ddpm.WithDevice(d))
	ctx, cancel := context.WithCancel(t.Context())
	r := stopper{record{}, 9, cancel}
	c, err := ddpm.Train(ctx, cfg, ddpm.InputPerturbation(0.1), ddpm.WithDevice(d), ddpm.WithData(stripes{}), ddpm.WithRecorder(r))
	if !errors.Is(err, context.Canceled) || c == nil || c.Step < 9 || c.Step == 30 || !strings.Contains(err.Error(), fmt.Sprintf("after %d of 30 iterations", c.Step)) {
		t.Fatalf("a cancelled training: %v, in the state %+v", err, c)
	}
	if got := r.record["loss"]; !slices.Equal(got, want["loss"][:c.Step]) {
		t.Errorf("%d losses recorded until iteration %d, or other ones", len(got), c.Step)
	}
	if again, _ := train(t, cfg, ddpm.InputPerturbation(0.1), ddpm.WithDevice(d), ddpm.WithResume(c)); again.SHA256() != whole.SHA256() {
		t.Error("resumed, it ends in another state")
	}

	cfg.MaxBadSteps = 2
	diverge := func(d engine.Device) (*ddpm.Checkpoint, string, record) {
		r := record{}
		c, err := ddpm.Train(t.Context(), cfg, ddpm.ADM(), ddpm.WithDevice(d), ddpm.WithData(spoiled{stripes{}, []int{2, 8, 13, 14, 22, 31, 38}}), ddpm.WithRecorder(r))
		if !errors.Is(err, ddpm.ErrDiverged) {
			t.Fatalf("training on spoiled images: %v", err)
		}
		delete(r, "images_per_s")
		return c, err.Error(), r
	}
	c, text, series := diverge(d)
	host, hostText, hostSeries := diverge(byHost{d})
	if c.SHA256() != host.SHA256() || text != hostText || !reflect.DeepEqual(series, hostSeries) || c.Step == 0 {
		t.Errorf("diverged at %d with %q, want %d with %q; recorded is %v, want %v", c.Step, text, host.Step, hostText, series, hostSeries)
	}
}

// many is stripes, so many of them that there is no room for them on the fake GPU.
type many struct{ stripes }

func (many) Len() int { return 1 << 17 }

func (m many) Read(i int, dst []float32) error { return m.stripes.Read(i%1000, dst) }

// Images for which there is no room are copied as they are needed, and somebody says so; one that
// cannot be read ends the training after those before it.
func TestCUDAImages(t *testing.T) {
	t.Setenv("FAKECUDA_MEMORY_MB", "64")
	d := newCUDA(t)
	cfg := tinyConfig()
	cfg.EvalSamples = 0
	rec := &display.Recording{}
	got, err := ddpm.Train(display.NewContext(t.Context(), rec), cfg, ddpm.ADM(), ddpm.WithDevice(d), ddpm.WithData(many{}))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := train(t, cfg, ddpm.ADM(), ddpm.WithDevice(byHost{d}), ddpm.WithData(many{}))
	if got.SHA256() != want.SHA256() {
		t.Errorf("the checkpoints differ: weights by %.2g of their norm", relative(got.Weights, want.Weights))
	}
	const note = "131072 images of the data set take 33.6 MB of GPU memory, more than half of the "
	if p, _ := rec.Last(); d.Name() == "cuda "+cuda.FakeName && (!strings.HasPrefix(p.Note, note) || !strings.HasSuffix(p.Note, "; images are copied for each iteration")) {
		t.Errorf("the display says %q, want %q", p.Note, note)
	}
	torn, err := ddpm.Train(t.Context(), cfg, ddpm.ADM(), ddpm.WithDevice(d), ddpm.WithData(stripes{bad: 30}))
	host, hostErr := ddpm.Train(t.Context(), cfg, ddpm.ADM(), ddpm.WithDevice(byHost{d}), ddpm.WithData(stripes{bad: 30}))
	if err == nil || err.Error() != hostErr.Error() || torn.SHA256() != host.SHA256() {
		t.Errorf("on damaged images: %v in the state of iteration %d, want %v in that of %d", err, torn.Step, hostErr, host.Step)
	}
}

// Bytes stay bytes on the GPU.
func TestCUDABytes(t *testing.T) {
	d := newCUDA(t)
	set, err := data.Open("fashion-mnist", 28)
	if err != nil {
		t.Fatal(err)
	}
	if data.Levels(set) == nil {
		t.Fatal("the images are no bytes")
	}
	cfg := tinyConfig()
	cfg.Model.Size, cfg.Model.Attention, cfg.Iterations, cfg.EvalSamples = 28, nil, 1, 0
	got, _ := train(t, cfg, ddpm.ADM(), ddpm.WithDevice(d), ddpm.WithData(set))
	want, _ := train(t, cfg, ddpm.ADM(), ddpm.WithDevice(byHost{d}), ddpm.WithData(set))
	if got.SHA256() != want.SHA256() {
		t.Errorf("the checkpoints differ: weights by %.2g of their norm", relative(got.Weights, want.Weights))
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
