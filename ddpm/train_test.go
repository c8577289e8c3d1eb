package ddpm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/ref"
	"ddpmlab/ddpm/unet"
	"ddpmlab/internal/display"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// stripes is a data set of 40 images of 8×8: gratings of several phases and widths.
type stripes struct{ bad int }

func (stripes) Name() string         { return "stripes" }
func (stripes) Len() int             { return 40 }
func (stripes) Shape() (h, w, c int) { return 8, 8, 1 }
func (stripes) Label(int) int        { return 0 }
func (stripes) SHA256() string       { return fmt.Sprintf("%x", sha256.Sum256([]byte("stripes"))) }

func (s stripes) Read(i int, dst []float32) error {
	if s.bad > 0 && i >= s.bad {
		return errors.New("image is torn")
	}
	for p := range dst {
		dst[p] = float32(math.Round(100*math.Sin(0.3*float64(i)+float64(p%8)*(0.5+0.01*float64(i)))) / 100)
	}
	return nil
}

// tinyConfig trains a network of some thousand weights on stripes.
func tinyConfig() ddpm.Config {
	return ddpm.Config{
		Data: "stripes",
		Model: unet.Config{
			Size: 8, InChannels: 1, OutChannels: 1, Channels: 8, Mult: []int{1, 2}, ResBlocks: 1,
			Attention: []int{4}, HeadChannels: 8, Groups: 4, Dropout: 0.1,
		},
		T: 100, Schedule: "cosine", Loss: "simple", TimeSampler: "uniform",
		Batch: 2, Iterations: 10, LR: 2e-3, Warmup: 5, EMA: 0.99, EMAWarmup: true, Flip: true,
		EvalFirst: 2, EvalEvery: 4, EvalSamples: 3, SamplingSteps: 5, SamplingVariance: ddpm.FixedSmall,
		Seed: 11,
	}
}

// variants lists what every property must hold for.
var variants = []ddpm.Variant{
	ddpm.ADM(),
	ddpm.WeightDecay(0.03),
	{WeightDecay: 1e-4, WeightDecayMode: ddpm.Coupled},
	ddpm.GradPenalty(1e-3),
	{GradPenalty: 1e-3, GradPenaltyMode: ddpm.Ones},
	ddpm.InputPerturbation(0.1),
	{Gamma: 0.1, WeightDecay: 0.03, GradPenalty: 1e-3},
}

// someVariants is variants, or with -short every third of them.
func someVariants() []ddpm.Variant {
	if testing.Short() {
		return []ddpm.Variant{variants[0], variants[3], variants[6]}
	}
	return variants
}

// record keeps the series of a run.
type record map[string][]float64

func (r record) Record(step int64, key string, value float64) { r[key] = append(r[key], value) }

// train is Train on stripes, on a cpu device of two threads unless opts say otherwise.
func train(t testing.TB, cfg ddpm.Config, v ddpm.Variant, opts ...ddpm.Option) (*ddpm.Checkpoint, record) {
	t.Helper()
	r := record{}
	c, err := ddpm.Train(t.Context(), cfg, v, append([]ddpm.Option{
		ddpm.WithDevice(newCPU(t, 2)), ddpm.WithData(stripes{}), ddpm.WithRecorder(r),
	}, opts...)...)
	if err != nil {
		t.Fatalf("Train(%v): %v", v, err)
	}
	return c, r
}

// The first losses of every variant, seeded, as the reference device computes them.
// They guard NumericsVersion: when they change, seeded runs of before can no longer
// be compared with those of after.
func TestGoldenLosses(t *testing.T) {
	if testing.Short() {
		t.Skip("trains seven variants on the reference device")
	}
	const file = "testdata/losses.golden"
	var text strings.Builder
	fmt.Fprintf(&text, "numerics %d\n", ddpm.NumericsVersion)
	losses := map[string][]float64{}
	for _, v := range variants {
		_, r := train(t, tinyConfig(), v, ddpm.WithDevice(ref.New()))
		losses[v.String()] = r["loss"]
		fmt.Fprintf(&text, "%s:", v)
		for _, l := range r["loss"] {
			fmt.Fprintf(&text, " %.9g", l)
		}
		text.WriteByte('\n')
	}
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	sameVersion := lines[0] == fmt.Sprintf("numerics %d", ddpm.NumericsVersion)
	for _, line := range lines[1:] {
		name, numbers, _ := strings.Cut(line, ":")
		got := losses[name]
		for i, s := range strings.Fields(numbers) {
			want, err := strconv.ParseFloat(s, 64)
			if err != nil {
				t.Fatal(err)
			}
			// exp and cos differ between architectures in the last bits of float64, and
			// AdamW makes the most of a gradient near zero.
			if i >= len(got) || math.Abs(got[i]-want) > 1e-6*want {
				t.Errorf("%s: losses %.9g, want %s\nseeded losses changed: raise ddpm.NumericsVersion, then go test ./ddpm -run GoldenLosses -update", name, got, numbers)
				break
			}
		}
	}
	if len(lines) != len(variants)+1 || !sameVersion {
		t.Errorf("%s is of %q with %d variants, want numerics %d with %d: go test ./ddpm -run GoldenLosses -update",
			file, lines[0], len(lines)-1, ddpm.NumericsVersion, len(variants))
	}
}

// What every variant must do: be reproducible, learn, record every step.
func TestTrainProperties(t *testing.T) {
	for _, v := range someVariants() {
		t.Run(v.String(), func(t *testing.T) {
			cfg := tinyConfig()
			cfg.Iterations = 3
			c, r := train(t, cfg, v)
			again, _ := train(t, cfg, v)
			if c.SHA256() != again.SHA256() {
				t.Error("two runs of one seed differ")
			}
			if c.Step != 3 || c.DataSHA256 != (stripes{}).SHA256() || !reflect.DeepEqual(c.Config, cfg) || c.Variant != v.Normal() {
				t.Errorf("checkpoint of %+v %+v at %d, want %+v %+v at 3", c.Config, c.Variant, c.Step, cfg, v)
			}
			for _, key := range []string{"loss", "grad_norm", "images_per_s"} {
				if len(r[key]) != 3 {
					t.Errorf("%d values of %s, want 3", len(r[key]), key)
				}
			}
			if penalised := v.GradPenalty > 0 || v.WeightDecayMode == ddpm.Coupled; penalised != (len(r["mse"]) == 3) {
				t.Errorf("%d values of mse; penalty in the loss: %v", len(r["mse"]), penalised)
			}
			cfg.Seed++
			if other, _ := train(t, cfg, v); other.SHA256() == c.SHA256() {
				t.Error("another seed gives the same run")
			}
		})
	}
}

// Over a few hundred iterations the loss falls far below 1, the loss of predicting
// nothing.
func TestTrainLearns(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for some seconds")
	}
	cfg := tinyConfig()
	cfg.Iterations, cfg.Batch, cfg.Model.Dropout, cfg.EvalSamples = 200, 8, 0, 0
	_, r := train(t, cfg, ddpm.InputPerturbation(0.1))
	mean := func(x []float64) (m float64) {
		for _, v := range x {
			m += v / float64(len(x))
		}
		return m
	}
	first, last := mean(r["loss"][:10]), mean(r["loss"][150:])
	if first < 0.7 || last > 0.5*first {
		t.Errorf("mean loss of the first 10 iterations %.3f, of the last 50 %.3f; want about 1 and below half", first, last)
	}
}

// The tour, on real images, learns within some dozens of iterations, whatever the
// variant.
func TestTourLearns(t *testing.T) {
	if testing.Short() {
		t.Skip("trains the tour's network for some seconds")
	}
	for _, v := range []ddpm.Variant{ddpm.ADM(), ddpm.WeightDecay(0.03), ddpm.GradPenalty(1e-6), ddpm.InputPerturbation(0.1)} {
		cfg := ddpm.Tour()
		cfg.Iterations, cfg.Batch, cfg.Warmup = 60, 16, 10
		r := record{}
		if _, err := ddpm.Train(t.Context(), cfg, v, ddpm.WithThreads(2), ddpm.WithRecorder(r)); err != nil {
			t.Fatalf("%v: %v", v, err)
		}
		last := 0.0
		for _, l := range r["loss"][50:] {
			last += l / 10
		}
		if first := r["loss"][0]; first < 0.9 || last > 0.4 {
			t.Errorf("%v: first loss %.3f, mean of the last 10 of 60 %.3f; want about 1 and below 0.4", v, first, last)
		}
		t.Logf("%v: %.3f, %.3f, %.3f", v, r["loss"][0], last, r["grad_norm"][59])
	}
}

// ADM and DDPM-IP of one seed see the same x_0, t and ε: at the first iteration the
// network is the same, predicts 0 (its last layer starts at zero), and so the losses
// are equal; then they part.
func TestPairedStreams(t *testing.T) {
	_, adm := train(t, tinyConfig(), ddpm.ADM())
	_, ip := train(t, tinyConfig(), ddpm.InputPerturbation(0.1))
	if adm["loss"][0] != ip["loss"][0] {
		t.Errorf("first losses %v and %v, want equal", adm["loss"][0], ip["loss"][0])
	}
	if adm["loss"][2] == ip["loss"][2] {
		t.Errorf("third losses are equal: %v", adm["loss"][2])
	}
	for i, a := range adm["loss"] {
		if d := math.Abs(a - ip["loss"][i]); d > 0.02 {
			t.Errorf("loss %d: ADM %v, IP %v; want within 0.02, as their draws are the same", i, a, ip["loss"][i])
		}
	}
}

// full is a configuration with all that a checkpoint has to keep.
func full() (ddpm.Config, ddpm.Variant) {
	cfg := tinyConfig()
	cfg.Loss, cfg.TimeSampler, cfg.Model.OutChannels = ddpm.Hybrid, ddpm.LossSecondMoment, 2
	cfg.T, cfg.SamplingSteps, cfg.Iterations, cfg.Batch, cfg.MicroBatch = 4, 4, 40, 4, 2
	cfg.EvalEvery, cfg.Anneal, cfg.ExtraEMA, cfg.SamplingVariance = 0, true, []float64{0.9, 0.5}, ddpm.LearnedRange
	return cfg, ddpm.Variant{Gamma: 0.1, GammaSchedule: ddpm.Rising, GradPenalty: 1e-4, GradPenaltyDraws: 2}
}

// With everything switched on, a run resumed at any iteration ends as one that was not
// interrupted, through a file; and the time sampler leaves its warm-up on the way.
func TestResumeEverything(t *testing.T) {
	cfg, v := full()
	var saved []*ddpm.Checkpoint
	whole, r := train(t, cfg, v, ddpm.WithCheckpoints(1, func(_ context.Context, c *ddpm.Checkpoint) error {
		saved = append(saved, c)
		return nil
	}))
	for _, n := range whole.TimeCounts {
		if n != 10 {
			t.Fatalf("losses by t = %v, want 10 of each", whole.TimeCounts)
		}
	}
	if len(r["vb"]) != 40 || len(r["jacobian"]) != 40 {
		t.Errorf("%d values of vb and %d of jacobian, want 40", len(r["vb"]), len(r["jacobian"]))
	}
	for _, at := range []int{0, 17, 38} {
		c, err := ddpm.ReadCheckpoint(bytes.NewReader(encode(t, saved[at])))
		if err != nil {
			t.Fatal(err)
		}
		if resumed, _ := train(t, cfg, v, ddpm.WithResume(c)); resumed.SHA256() != whole.SHA256() {
			t.Errorf("resumed at %d the run ends in another checkpoint", c.Step)
		}
	}
	half, err := whole.Average(0.5)
	if err != nil || slices.Equal(half, whole.EMA) || slices.Equal(half, whole.Weights) {
		t.Errorf("the average of rate 0.5 is another one: %v", err)
	}
	if _, err := whole.Average(0.7); err == nil || !strings.Contains(err.Error(), "it has [0.99 0.9 0.5]") {
		t.Errorf("Average(0.7) = %v, want the rates there are", err)
	}
}

// Micro-batches change the order of sums, and nothing else.
func TestMicroBatches(t *testing.T) {
	cfg := tinyConfig()
	cfg.Batch = 6
	v := ddpm.Variant{Gamma: 0.1, WeightDecay: 1e-3, WeightDecayMode: ddpm.Coupled, GradPenalty: 1e-3}
	whole, r := train(t, cfg, v)
	cfg.MicroBatch = 2
	parts, s := train(t, cfg, v)
	for i, want := range r["loss"] {
		if got := s["loss"][i]; math.Abs(got-want) > 2e-4*want {
			t.Errorf("loss %d = %v in micro-batches, %v in one", i, got, want)
		}
	}
	for i, w := range whole.Weights {
		if d := math.Abs(float64(w - parts.Weights[i])); d > 2e-3 { // AdamW makes the most of a gradient near zero
			t.Errorf("weight %d differs by %g", i, d)
			break
		}
	}
}

// A run that is interrupted and resumed is, bit for bit, one that was not.
func TestResume(t *testing.T) {
	for _, v := range someVariants() {
		whole, r := train(t, tinyConfig(), v)
		ctx, cancel := context.WithCancel(t.Context())
		stopped, err := ddpm.Train(ctx, tinyConfig(), v, ddpm.WithDevice(newCPU(t, 2)), ddpm.WithData(stripes{}),
			ddpm.WithEval(func(_ context.Context, step int64, _ ddpm.Denoiser) error {
				if step == 4 {
					cancel()
				}
				return nil
			}))
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "after 4 of 10 iterations") {
			t.Fatalf("interrupted training: %v, want context.Canceled and how far it came", err)
		}
		if stopped.Step != 4 {
			t.Fatalf("interrupted at step %d, want 4", stopped.Step)
		}
		var evals []int64
		resumed, rr := train(t, tinyConfig(), v, ddpm.WithResume(stopped),
			ddpm.WithEval(func(_ context.Context, step int64, _ ddpm.Denoiser) error {
				evals = append(evals, step)
				return nil
			}))
		if want := []int64{4, 8, 10}; !slices.Equal(evals, want) {
			t.Errorf("evaluations after resuming at 4: %v, want %v", evals, want)
		}
		if !slices.Equal(rr["loss"], r["loss"][4:]) {
			t.Errorf("%v: losses after resuming = %v, want %v", v, rr["loss"], r["loss"][4:])
		}
		if resumed.SHA256() != whole.SHA256() {
			t.Errorf("%v: the resumed run ends in another checkpoint", v)
		}
	}
}

func TestTrainErrors(t *testing.T) {
	c, _ := train(t, tinyConfig(), ddpm.ADM())
	for _, tt := range []struct {
		name   string
		change func(*ddpm.Config, *ddpm.Variant)
		opts   []ddpm.Option
		want   string
	}{
		{"no iterations", func(c *ddpm.Config, _ *ddpm.Variant) { c.Iterations = 0 }, nil, "iterations is 0; want 1 or more"},
		{"batch larger than the data", func(c *ddpm.Config, _ *ddpm.Variant) { c.Batch = 41 }, nil, "batch is 41; want 1 to 40, the images of stripes"},
		{"gamma", func(_ *ddpm.Config, v *ddpm.Variant) { v.Gamma = -1 }, nil, "gamma is -1"},
		{"size", func(c *ddpm.Config, _ *ddpm.Variant) { c.Model.Size = 16 }, nil, "images of stripes are 8×8×1; the model takes 16×16×1"},
		{"resume another variant", func(_ *ddpm.Config, v *ddpm.Variant) { v.Gamma = 0.1 }, []ddpm.Option{ddpm.WithResume(c)}, "another config: variant.gamma is 0 in the checkpoint, 0.1 here"},
		{"resume beyond the end", func(c *ddpm.Config, _ *ddpm.Variant) { c.Iterations = 5 }, []ddpm.Option{ddpm.WithResume(c)}, "the checkpoint has 10 iterations, the config 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, v := tinyConfig(), ddpm.ADM()
			tt.change(&cfg, &v)
			c, err := ddpm.Train(t.Context(), cfg, v, append(tt.opts, ddpm.WithDevice(newCPU(t, 2)), ddpm.WithData(stripes{}))...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || c != nil {
				t.Errorf("Train = %v, %v, want nil and %q in the error", c, err, tt.want)
			}
		})
	}
	if _, err := ddpm.Train(t.Context(), tinyConfig(), ddpm.ADM(), ddpm.WithDevice(newCPU(t, 2))); err == nil || !strings.Contains(err.Error(), `unknown data set "stripes"`) {
		t.Errorf("Train on a data set that there is not: %v", err)
	}
	got, err := ddpm.Train(t.Context(), tinyConfig(), ddpm.ADM(), ddpm.WithDevice(newCPU(t, 2)), ddpm.WithData(stripes{bad: 20}))
	if err == nil || !strings.HasSuffix(err.Error(), "of stripes: image is torn") || got == nil || got.Step > 5 {
		t.Errorf("Train on damaged images = %v, %v, want the state before it and which was read", got, err)
	}
}

// broken is a device whose loss is not finite in runs from to to.
type broken struct {
	engine.Device
	from, to int
}

type brokenExec struct {
	engine.Exec
	runs, from, to int
}

func (b broken) Load(p *engine.Program, s engine.State) (engine.Exec, error) {
	e, err := b.Device.Load(p, s)
	return &brokenExec{Exec: e, from: b.from, to: b.to}, err
}

func (e *brokenExec) Run(ctx context.Context) error {
	e.runs++
	return e.Exec.Run(ctx)
}

func (e *brokenExec) Get(i int, dst []float32) {
	e.Exec.Get(i, dst)
	if e.runs >= e.from && e.runs <= e.to {
		dst[0] = float32(math.NaN())
	}
}

func TestDivergedKeepsTheLastGoodState(t *testing.T) {
	cfg := tinyConfig()
	cfg.MaxBadSteps = 3
	r := record{}
	c, err := ddpm.Train(t.Context(), cfg, ddpm.ADM(), ddpm.WithDevice(broken{newCPU(t, 2), 4, 99}), ddpm.WithData(stripes{}), ddpm.WithRecorder(r))
	if !errors.Is(err, ddpm.ErrDiverged) || !strings.Contains(err.Error(), "at iteration 6, the last of 3 in a row: loss NaN") {
		t.Fatalf("Train = %v, want ErrDiverged at iteration 6", err)
	}
	if !slices.Equal(r["skipped"], []float64{1, 2}) || len(r["loss"]) != 3 {
		t.Errorf("skipped = %v, losses %v; want 1, 2 and three losses", r["skipped"], r["loss"])
	}
	cfg.Iterations = 3
	want, _ := train(t, cfg, ddpm.ADM())
	if c.Step != 3 || !slices.Equal(c.Weights, want.Weights) {
		t.Errorf("state at step %d, want that after 3 iterations", c.Step)
	}
}

// Bad iterations are skipped, weights and averages untouched, and counted; fewer in a row
// than MaxBadSteps do not end the run.
func TestBadStepsAreSkipped(t *testing.T) {
	cfg := tinyConfig()
	cfg.MaxBadSteps = 3
	r := record{}
	c, err := ddpm.Train(t.Context(), cfg, ddpm.ADM(), ddpm.WithDevice(broken{newCPU(t, 2), 4, 5}), ddpm.WithData(stripes{}), ddpm.WithRecorder(r))
	if err != nil || c.Step != 10 || c.Skipped != 2 || len(r["loss"]) != 8 {
		t.Fatalf("Train = %+v, %v with %d losses; want 10 iterations, 2 of them skipped", c, err, len(r["loss"]))
	}
	whole, _ := train(t, cfg, ddpm.ADM())
	if slices.Equal(whole.Weights, c.Weights) {
		t.Error("skipping changed nothing")
	}
}

// Evaluations come at Config.EvalSteps, after the checkpoint of that iteration, and
// see the EMA weights.
func TestEvalAndCheckpoints(t *testing.T) {
	var log []string
	var saved *ddpm.Checkpoint
	var inside []float32
	xt, ts := make([]float32, 3*64), []int{0, 50, 99}
	for i := range xt {
		xt[i] = float32(math.Sin(float64(i)))
	}
	final, r := train(t, tinyConfig(), ddpm.ADM(),
		ddpm.WithCheckpoints(3, func(_ context.Context, c *ddpm.Checkpoint) error {
			log = append(log, fmt.Sprint("save ", c.Step))
			saved = c
			return nil
		}),
		ddpm.WithEval(func(ctx context.Context, step int64, d ddpm.Denoiser) error {
			log = append(log, fmt.Sprint("eval ", step))
			inside = make([]float32, len(xt))
			return d.Predict(ctx, xt, ts, inside)
		}))
	want := []string{"save 2", "eval 2", "save 3", "save 4", "eval 4", "save 6", "save 8", "eval 8", "save 9", "eval 10"}
	if !slices.Equal(log, want) {
		t.Errorf("calls = %v, want %v", log, want)
	}
	if saved.Step != 9 || slices.Equal(saved.Weights, final.Weights) {
		t.Errorf("saved checkpoint is of step %d; want 9, and not to change afterwards", saved.Step)
	}
	if want := []float64{3. / 12, 5. / 14, 9. / 18, 11. / 20}; !slices.Equal(r["ema_rate"], want) {
		t.Errorf("ema_rate = %v, want (1+n)/(10+n) at each evaluation: %v", r["ema_rate"], want)
	}
	net, err := ddpm.NewNetwork(final, ddpm.WithDevice(newCPU(t, 2)))
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	outside := make([]float32, len(xt))
	if err := net.Predict(t.Context(), xt, ts, outside); err != nil {
		t.Fatal(err)
	}
	for i, v := range inside {
		if v != outside[i] {
			t.Fatalf("prediction %d during the last evaluation = %v, from the checkpoint %v", i, v, outside[i])
		}
	}
	failed, err := ddpm.Train(t.Context(), tinyConfig(), ddpm.ADM(), ddpm.WithDevice(newCPU(t, 2)), ddpm.WithData(stripes{}),
		ddpm.WithEval(func(context.Context, int64, ddpm.Denoiser) error { return errors.New("no score") }))
	if err == nil || err.Error() != "evaluate iteration 2: no score" || failed.Step != 2 {
		t.Errorf("an evaluation that fails: %v at %v", err, failed)
	}
}

// A training reports to the display of its context, and a curve of any length stays
// short.
func TestTrainReports(t *testing.T) {
	rec := &display.Recording{}
	cfg := tinyConfig()
	_, err := ddpm.Train(display.NewContext(t.Context(), rec), cfg, ddpm.ADM(), ddpm.WithDevice(newCPU(t, 2)), ddpm.WithData(stripes{}))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(rec.AllProgress()); n != 11 {
		t.Errorf("%d reports of progress, want one an iteration and the last", n)
	}
	p, _ := rec.Last()
	if p.State != display.Done || p.Done != 10 || p.Total != 10 || p.Title != "ADM, seed 11" || p.Values[0].Name != "loss" || !(p.Values[0].V > 0) {
		t.Errorf("last progress = %+v, want 10 of 10 done with a loss", p)
	}
	curves := rec.AllCurves()
	if last := curves[len(curves)-1].Lines[0]; len(last.X) != 10 || last.X[9] != 10 || len(last.Y) != 10 {
		t.Errorf("last curve = %+v, want 10 points", last)
	}
	rec = &display.Recording{}
	ctx, cancel := context.WithCancel(display.NewContext(t.Context(), rec))
	cancel()
	if c, err := ddpm.Train(ctx, cfg, ddpm.ADM(), ddpm.WithDevice(newCPU(t, 2)), ddpm.WithData(stripes{})); c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Train of a cancelled context = %v, %v", c, err)
	}
	if p, _ := rec.Last(); p.State != display.Interrupted || p.Done != 0 || p.Total != 10 || p.Note != "" {
		t.Errorf("last progress = %+v, want interrupted at 0 of 10, and no more said", p)
	}
}
