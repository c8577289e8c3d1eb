package gpukit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/experiments"
	"ddpmlab/internal/bench"
)

// plan counts what an iteration with the paper's network for CIFAR-10 takes. It measures
// nothing.
func plan(ctx context.Context, t *trial) error {
	columns := []string{"iteration", "precision", "TFLOP", "GB", "launches", "arena, GB"}
	for _, p := range cuda.Peaks {
		columns = append(columns, p.Name+", ms")
	}
	table := t.table("what the plan of an iteration at batch 128 takes, and the least time for that by the data sheets: not measured", columns...)
	c := ddpm.CIFAR10()
	for _, v := range []ddpm.Variant{ddpm.ADM(), ddpm.GradPenalty(ddpm.PaperGradPenalty)} {
		for _, precision := range []string{ddpm.Float32, ddpm.BFloat16} {
			c.Precision = precision
			program, err := ddpm.Program(c, v)
			if err != nil {
				return err
			}
			n, err := cuda.Count(program)
			if err != nil {
				return err
			}
			name := precisionNames[program.Precision]
			row := []string{
				"cifar10 " + v.String(), name, fmt.Sprintf("%.2f", n.Flops/1e12), fmt.Sprintf("%.1f", n.Bytes/1e9),
				strconv.Itoa(n.Launches), fmt.Sprintf("%.1f", float64(n.Arena)/1e9),
			}
			for _, p := range cuda.Peaks {
				least := 1e3 * p.Roofline(n, precision == ddpm.BFloat16)
				row = append(row, fmt.Sprintf("%.1f", least))
				t.result.Numbers[fmt.Sprintf("%s %s %s ms", v, name, p.Name)] = least
			}
			table.add(row...)
			if err := t.say(); err != nil {
				return err
			}
		}
	}
	first := table.Rows[len(table.Rows)/2-1]
	t.sum("an iteration of ADM in bfloat16 is %s TFLOP, %s GB of operands, %s launches: %s ms at least on an H100, by its data sheet", first[2], first[3], first[4], first[6])
	return nil
}

// calibrate measures what this GPU copies and multiplies, by kernels of our own.
func calibrate(ctx context.Context, t *trial) error {
	d, err := cuda.New()
	if err != nil {
		return err
	}
	defer d.Close()
	table := t.table("what this GPU does", "what", "size", "ms", "rate")
	measure := func(what, size, unit string, amount float64, y *op.Node, p engine.Precision, in ...*op.Node) error {
		program, err := engine.Compile(engine.Spec{Inputs: in, Outputs: []*op.Node{y}, Precision: p})
		if err != nil {
			return err
		}
		seconds, err := bestOf(ctx, d, program, sized(t, 5, 2))
		if err != nil {
			return err
		}
		rate := amount / seconds / 1e12
		table.add(what, size, fmt.Sprintf("%.3f", 1e3*seconds), fmt.Sprintf("%.3g %s", rate, unit))
		t.result.Numbers[what+" "+unit] = rate
		return t.say()
	}
	n := sized(t, 1<<28, 1<<16)
	g := engine.NewGraph()
	x := g.Input("x", n)
	if err := measure("scale an array", fmt.Sprintf("%d floats", n), "TB/s", 8*float64(n), op.Scale(x, 2), engine.Float32, x); err != nil {
		return err
	}
	n = sized(t, 8192, 96)
	for _, p := range []engine.Precision{engine.Float32, engine.BFloat16} {
		g := engine.NewGraph()
		a, b := g.Input("a", 1, n, n), g.Input("b", 1, n, n)
		if err := measure("product in "+precisionNames[p], fmt.Sprintf("%d×%d", n, n), "TFLOP/s", 2*float64(n)*float64(n)*float64(n), op.MatMul(a, b, false, false), p, a, b); err != nil {
			return err
		}
	}
	var rates []string
	for _, r := range table.Rows {
		rates = append(rates, r[0]+" "+r[3])
	}
	t.sum("%s", strings.Join(rates, ", "))
	return nil
}

// bestOf is the least time of so many runs, after one that does not count.
func bestOf(ctx context.Context, d engine.Device, p *engine.Program, runs int) (seconds float64, err error) {
	s, err := d.NewState(p.ParamLen)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	e, err := d.Load(p, s)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	for i, v := range p.Inputs {
		e.Set(i, make([]float32, p.Values[v].Size()))
	}
	for i := range runs + 1 {
		start := time.Now()
		if err := e.Run(ctx); err != nil {
			return 0, err
		}
		if s := time.Since(start).Seconds(); i == 1 || i > 1 && s < seconds {
			seconds = s
		}
	}
	return seconds, nil
}

// profile measures kernels in iterations at the paper's batch.
func profile(ctx context.Context, t *trial) error {
	s := subject{"cifar10 at batch 128", ddpm.CIFAR10(), ddpm.ADM()}
	if t.Small {
		s = subject{"toy at batch 2", ddpm.Toy(), ddpm.ADM()}
		s.config.Batch = 2
	}
	times := &cuda.Profile{}
	d, err := cuda.Open(cuda.Options{Profile: times})
	if err != nil {
		return err
	}
	iterations := sized(t, 10, 2)
	_, err = s.train(ctx, d, iterations, ddpm.BFloat16)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	table := t.table(s.name+" in bfloat16: kernels of an iteration, launched one by one", "kernel", "launches", "ms", "of all", "TFLOP/s", "GB/s")
	var all float64
	for _, k := range times.Times() {
		all += k.Seconds
	}
	for _, k := range times.Times() {
		n := float64(iterations)
		flops := ""
		if k.Flops > 0 {
			flops = fmt.Sprintf("%.1f", k.Flops/k.Seconds/1e12)
		}
		table.add(k.Name, fmt.Sprintf("%.0f", float64(k.Launches)/n), fmt.Sprintf("%.3f", 1e3*k.Seconds/n), fmt.Sprintf("%.1f %%", 100*k.Seconds/all),
			flops, fmt.Sprintf("%.0f", k.Bytes/k.Seconds/1e9))
		t.result.Numbers[k.Name+" ms"] = 1e3 * k.Seconds / n
	}
	classes := t.table("the same by what they do", "class", "launches", "ms", "of all")
	sums := map[string]*cuda.KernelTime{}
	for _, k := range times.Times() {
		c := classOf(k.Name)
		if sums[c] == nil {
			sums[c] = &cuda.KernelTime{Name: c}
		}
		sums[c].Launches += k.Launches
		sums[c].Seconds += k.Seconds
	}
	for _, c := range (&cuda.Profile{Kernels: sums}).Times() {
		n := float64(iterations)
		classes.add(c.Name, fmt.Sprintf("%.0f", float64(c.Launches)/n), fmt.Sprintf("%.3f", 1e3*c.Seconds/n), fmt.Sprintf("%.1f %%", 100*c.Seconds/all))
		t.result.Numbers["class "+c.Name+" ms"] = 1e3 * c.Seconds / n
	}
	t.sum("%.1f ms of kernels in an iteration of %s; the most in %s: %s", 1e3*all/float64(iterations), s.name, classes.Rows[0][0], classes.Rows[0][3])
	return nil
}

// classes of kernels by how their names begin; the first that fits counts.
var classes = []struct{ prefix, class string }{
	{"cudnn_conv", "convolutions by cuDNN"},
	{"conv", "convolutions"},
	{"narrow", "what cuDNN wants"},
	{"transpose", "what cuDNN wants"},
	{"finish", "what cuDNN wants"},
	{"product", "products of matrices"},
	{"attention", "attention"},
	{"softmax", "attention"},
	{"norm_check", "update"},
	{"norm", "normalisation"},
	{"adamw", "update"},
	{"sum_squares", "update"},
	{"", "all else: sums, copies, resampling, dropout"},
}

func classOf(kernel string) string {
	for _, c := range classes {
		if strings.HasPrefix(kernel, c.prefix) {
			return c.class
		}
	}
	return ""
}

// Limits of the mission's target: a step no slower than PyTorch's compiled, and the gradient
// penalty at most so many times a step.
const (
	slowest   = 1.0
	gpSlowest = 2.5
)

// steps measures whole steps beside PyTorch's on the same network, in turns.
func steps(ctx context.Context, t *trial) error {
	o := bench.Options{
		Device: "cuda", Small: t.Small, Worker: []string{t.Self[0], "bench", "worker"}, Python: t.Python,
		Rounds: sized(t, 5, 1), Limit: sized(t, 100*time.Second, 20*time.Second),
		Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	}
	left := ""
	if out, err := exec.CommandContext(ctx, t.Python, "-c", "import torch; torch.zeros(1, device='cuda')").CombinedOutput(); err != nil {
		o.Python, left = "", fmt.Sprintf("; PyTorch is left out: %s", why(out, err))
	}
	r, err := bench.Run(ctx, o)
	if r == nil {
		return err
	}
	table := t.table("steps, medians of rounds in turns", "work", "ddpmlab, ms", "in", "PyTorch, ms", "in", "ratio")
	ms := map[string]float64{}
	ratios := map[string]float64{}
	for _, x := range r.Results {
		kind, _, _ := strings.Cut(x.Name, "/")
		base, ratio := "", ""
		if x.Base > 0 {
			base, ratio = fmt.Sprintf("%.2f", x.Base), fmt.Sprintf("%.2f", x.Ratio)
			ratios[kind] = x.Ratio
		}
		ms[kind] = x.Ours
		table.add(x.Name, fmt.Sprintf("%.2f", x.Ours), x.OursMode, base, x.BaseMode, ratio)
		t.result.Numbers[x.Name+" ms"], t.result.Numbers[x.Name+" PyTorch ms"] = x.Ours, x.Base
	}
	for _, l := range r.LeftOut {
		table.add("left out", "", l)
	}
	if err != nil {
		return err
	}
	over := ms["gp"] / ms["step"]
	t.result.Numbers["gp over step"] = over
	if r := ratios["step"]; r > 0 {
		left = fmt.Sprintf("; %.2f of PyTorch's", r)
	}
	t.sum("a step takes %.2f ms, one with the gradient penalty %.2f times that%s", ms["step"], over, left)
	if !t.Small && (ratios["step"] > slowest || over > gpSlowest) {
		t.fail("%s; wanted: at most %.1f, and at most %.1f steps", t.result.Summary, slowest, gpSlowest)
	}
	return nil
}

// store opens the runs of the kit.
func (t *trial) store(ctx context.Context, f func(s *experiments.Store) error) (err error) {
	d, err := cuda.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	dir, err := filepath.Abs(t.Dir)
	if err != nil {
		return err
	}
	s, err := experiments.Open(filepath.Join(dir, "runs.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	s.Device = d
	return f(s)
}

// trainings trains the four variants and looks whether their losses fall.
func trainings(ctx context.Context, t *trial) error {
	c := ddpm.Fashion()
	c.Iterations, c.Warmup = 1500, 100
	if t.Small {
		c = ddpm.Toy()
		c.Batch, c.Iterations, c.Warmup, c.LR = 4, 8, 0, 5e-3
	}
	c.EvalSamples, c.Seed = 0, 1
	table := t.table("trainings of "+c.Preset, "variant", "iterations", "first losses", "last losses", "images/s")
	return t.store(ctx, func(s *experiments.Store) error {
		for _, v := range variants(ddpm.PaperGradPenalty) {
			r, err := s.Rerun(ctx, c, v)
			if err != nil {
				return fmt.Errorf("%v: %w", v, err)
			}
			losses, err := s.Points(ctx, r.ID, "loss")
			if err != nil {
				return err
			}
			rates, err := s.Points(ctx, r.ID, "images_per_s")
			if err != nil {
				return err
			}
			n := max(1, len(losses)/4)
			first, last := mean(losses[:n]), mean(losses[len(losses)-n:])
			table.add(v.String(), strconv.Itoa(len(losses)), fmt.Sprintf("%.4f", first), fmt.Sprintf("%.4f", last), fmt.Sprintf("%.0f", mean(rates[len(rates)-n:])))
			t.result.Numbers[v.String()+" loss"] = last
			if !(last < first) || len(losses) != c.Iterations {
				t.fail("%v: %d losses, the first quarter's mean %.4f, the last's %.4f", v, len(losses), first, last)
				return nil
			}
			t.sum("%d variants trained for %d iterations; all losses fall", len(table.Rows), c.Iterations)
			if err := t.say(); err != nil {
				return err
			}
		}
		return nil
	})
}

func mean(p []experiments.Point) float64 {
	var sum float64
	for _, x := range p {
		sum += x.Value
	}
	return sum / float64(len(p))
}

// samples draws from the run of the last variant.
func samples(ctx context.Context, t *trial) error {
	n, count := sized(t, 50, 4), sized(t, 64, 4)
	return t.store(ctx, func(s *experiments.Store) error {
		runs, err := s.AllRuns(ctx)
		if err != nil {
			return err
		}
		if len(runs) == 0 {
			return errors.New("there is no run to draw from; the phase trainings makes them")
		}
		r := runs[len(runs)-1]
		p := r.Config.Sampling()
		p.Steps = n
		start := time.Now()
		x, err := s.Draw(ctx, r, count, p)
		if err != nil {
			return err
		}
		seconds := time.Since(start).Seconds()
		sum, squares := 0.0, 0.0
		for _, v := range x.Images.Pix {
			sum, squares = sum+float64(v), squares+float64(v)*float64(v)
		}
		size := float64(len(x.Images.Pix))
		spread := squares/size - sum*sum/size/size
		if !(spread > 1e-4) {
			return fmt.Errorf("the pixels' variance is %g", spread)
		}
		picture, err := x.Images.PNG(0, max(1, 56/x.Images.W), nil)
		if err != nil {
			return err
		}
		t.result.Numbers["images/s"] = float64(count) / seconds
		t.sum("%d images of %v in %d steps, %.1f s with loading, in samples.png", count, r.Variant, n, seconds)
		return os.WriteFile(filepath.Join(t.Dir, "samples.png"), picture, 0o644)
	})
}

// biases measures the exposure bias of the trainings' runs (Alg. 3).
func biases(ctx context.Context, t *trial) error {
	steps, n := sized(t, []int{25, 50, 100}, []int{2, 4}), sized(t, 32, 1)
	columns := []string{"variant"}
	for _, k := range steps {
		columns = append(columns, fmt.Sprintf("chain of %d", k), "in one step")
	}
	table := t.table(fmt.Sprintf("exposure bias (Alg. 3) of the trainings, on %d images: mean L1 distance of a pixel", n), columns...)
	return t.store(ctx, func(s *experiments.Store) error {
		runs, err := s.AllRuns(ctx)
		if err != nil {
			return err
		}
		if len(runs) == 0 {
			return errors.New("there is no run to measure; the phase trainings makes them")
		}
		for _, r := range runs {
			b, err := s.Bias(ctx, experiments.Runs{r}, n, steps...)
			if err != nil {
				return fmt.Errorf("%v: %w", r.Variant, err)
			}
			row := []string{r.Variant.String()}
			for _, x := range b.Rows[0].Bias {
				if !(x.L1 > 0 && x.L1 < 2) || !(x.OneStepL1 > 0 && x.OneStepL1 < 2) {
					return fmt.Errorf("%v: %v", r.Variant, x)
				}
				row = append(row, fmt.Sprintf("%.4f", x.L1), fmt.Sprintf("%.4f", x.OneStepL1))
				t.result.Numbers[fmt.Sprintf("%v %d", r.Variant, x.Steps)] = x.L1
			}
			table.add(row...)
			t.sum("%d runs, chains of %v steps", len(table.Rows), steps)
			if err := t.say(); err != nil {
				return err
			}
		}
		return nil
	})
}
