package gpukit

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/cuda"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/optest"
	"ddpmlab/ddpm/engine/ref"
	"ddpmlab/ddpm/philox"
	"ddpmlab/internal/bench"
)

// doctor loads every kernel, and says what else there is.
func doctor(ctx context.Context, t *trial) error {
	r := cuda.Inspect()
	if r.Err != nil {
		return r.Err
	}
	all, err := cuda.Kernels()
	if err != nil {
		return err
	}
	d := r.Devices[0]
	facts := t.table("the machine", "what", "found")
	facts.add("driver", r.String())
	facts.add("GPU", d.String())
	library, err := cuda.InspectCuDNN()
	if err != nil {
		library = err.Error()
	}
	facts.add("cuDNN", library)
	for _, c := range [][]string{
		{"nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"},
		{"nvcc", "--version"},
		{t.Python, "-c", "import torch; print('PyTorch', torch.__version__, 'CUDA', torch.version.cuda, 'cuDNN', torch.backends.cudnn.version())"},
	} {
		out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput()
		if err != nil {
			facts.add(c[0], "does not run: "+why(out, err))
			continue
		}
		facts.add(c[0], lastLine(string(out)))
	}
	local := t.table("kernels with local memory", "kernel", "registers", "bytes a thread")
	most := cuda.Kernel{}
	for _, k := range all {
		if k.Local > 0 {
			local.add(k.Name, strconv.Itoa(k.Registers), strconv.Itoa(k.Local))
		}
		if k.Registers > most.Registers {
			most = k
		}
	}
	t.result.Numbers["kernels"], t.result.Numbers["most_registers"] = float64(len(all)), float64(most.Registers)
	t.sum("%s; %d kernels load, %d of them with local memory, up to %d registers a thread", d, len(all), len(local.Rows), most.Registers)
	if d.Major < 8 {
		t.fail("%s; compute capability 8.0 is needed", d)
	}
	return nil
}

// bf16Tolerance is for products of numbers that have been rounded to 8 bits.
const bf16Tolerance = 2e-2

// kernels compares every operation with float64, in an arena and with buffers of their own,
// which must give the same bits; products in bfloat16 too. All is computed by kernels of our
// own.
func kernels(ctx context.Context, t *trial) error {
	alone, err := cuda.Open(cuda.Options{Separate: true, Own: true})
	if err != nil {
		return err
	}
	defer alone.Close()
	shared, err := cuda.Open(cuda.Options{Own: true})
	if err != nil {
		return err
	}
	defer shared.Close()
	type worst struct {
		cases int
		ratio float64 // of the tolerance
		name  string
	}
	kinds := map[op.Kind]*worst{}
	var wrong []string
	n := 0
	for _, c := range slices.Concat(optest.Cases(), optest.Shapes()) {
		w := kinds[c.Kind]
		if w == nil {
			w = &worst{}
			kinds[c.Kind] = w
		} else if t.Small {
			continue
		}
		_, in, y := c.Build()
		vals := c.Values(0.1)
		for _, p := range []engine.Precision{engine.Float32, engine.BFloat16} {
			program, err := engine.Compile(engine.Spec{Inputs: in, Outputs: []*op.Node{y}, Precision: p})
			if err != nil {
				return err
			}
			want, _, err := ref.Run(ctx, program, vals, nil)
			if err != nil {
				return err
			}
			a, _, err := optest.Run(ctx, alone, program, vals, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			tolerance := optest.Tolerance(c.Kind)
			if p == engine.BFloat16 {
				tolerance = bf16Tolerance
			}
			ratio := optest.Distance(a[0], want[0]) / tolerance
			if !(ratio <= 1) {
				wrong = append(wrong, fmt.Sprintf("%s in %v is %.3g of the tolerance %g from float64", c.Name, precisionNames[p], ratio, tolerance))
			}
			for range 2 {
				b, _, err := optest.Run(ctx, shared, program, vals, nil)
				if err != nil {
					return fmt.Errorf("%s: %w", c.Name, err)
				}
				if !slices.Equal(a[0], b[0]) {
					wrong = append(wrong, c.Name+" gives other bits in an arena")
					break
				}
			}
			n++
			w.cases++
			if !(ratio <= w.ratio) {
				w.ratio, w.name = ratio, c.Name+" in "+precisionNames[p]
			}
		}
	}
	table := t.table("kernels against float64: the distance as a part of the tolerance", "operation", "cases", "worst", "of")
	largest := 0.0
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		w := kinds[k]
		largest = max(largest, w.ratio)
		table.add(k.String(), strconv.Itoa(w.cases), fmt.Sprintf("%.2f", w.ratio), w.name)
	}
	t.result.Numbers["cases"], t.result.Numbers["worst"] = float64(n), largest
	t.sum("%d runs of %d operations; worst %.2f of the tolerance; the same bits in an arena and alone", n, len(kinds), largest)
	if len(wrong) > 0 {
		t.fail("%d of %d runs are wrong, the first: %s", len(wrong), n, wrong[0])
	}
	return nil
}

var precisionNames = map[engine.Precision]string{engine.Float32: "float32", engine.BFloat16: "bfloat16"}

// subject is a network and a variant to be trained.
type subject struct {
	name    string
	config  ddpm.Config
	variant ddpm.Variant
}

// subjects are the toy preset's network with every variant, and the paper's for CIFAR-10.
func subjects(t *trial) []subject {
	toy := ddpm.Toy()
	toy.Batch, toy.Model.Dropout = 2, 0.1
	var all []subject
	for _, v := range variants(1e-3) { // so much that it counts
		all = append(all, subject{"toy " + v.String(), toy, v})
	}
	if !t.Small {
		big := ddpm.CIFAR10()
		big.Batch = 2
		all = append(all, subject{"cifar10 ADM", big, ddpm.ADM()}, subject{"cifar10 ADM-GP", big, ddpm.GradPenalty(ddpm.PaperGradPenalty)})
	}
	return all
}

// variants are the paper's four; penalty is λ of the third.
func variants(penalty float64) []ddpm.Variant {
	return []ddpm.Variant{ddpm.ADM(), ddpm.WeightDecay(0.03), ddpm.GradPenalty(penalty), ddpm.InputPerturbation(0.1)}
}

// train trains for so many iterations from weights of which none are zero: those of a fresh
// network make most gradients vanish.
func (s subject) train(ctx context.Context, d engine.Device, iterations int, precision string) (*ddpm.Checkpoint, error) {
	c := s.config
	c.Data, c.Iterations, c.Precision, c.EvalSamples = "noise", iterations, precision, 0
	set := bench.Noise(c.Model.Size, c.Model.InChannels)
	w, err := c.Model.InitContext(ctx, 1)
	if err != nil {
		return nil, err
	}
	more := make([]float32, len(w))
	philox.Key(1, "gpu kit").Normals(more, 0, 0)
	for i := range w {
		w[i] += 0.02 * more[i]
	}
	zero := make([]float32, len(w))
	start := &ddpm.Checkpoint{
		Config: c, Variant: s.variant.Normal(), DataSHA256: set.SHA256(), Numerics: ddpm.NumericsVersion,
		Weights: w, EMA: w, Moment1: zero, Moment2: zero,
	}
	return ddpm.Train(ctx, c, s.variant, ddpm.WithDevice(d), ddpm.WithData(set), ddpm.WithResume(start))
}

// Bounds of gradients: the distance of one tensor's, relative to its own size and, for those
// that are nearly nothing, to that of all.
const (
	gradTolerance, gradFloor             = 2e-4, 1e-6
	gradTolerance16, gradFloor16         = 4.5e-2, 2e-3 // a cosine of 0.999
	gradOverall, gradOverall16           = 1e-4, 3e-2
	firstMoment                  float32 = 1 - 0.9
)

// gradients compares every tensor's gradient with the processor's, in float32 and bfloat16.
// After one iteration Adam's first moment is a tenth of it.
func gradients(ctx context.Context, t *trial) error {
	gpu, err := cuda.New()
	if err != nil {
		return err
	}
	defer gpu.Close()
	host, err := cpu.New(0)
	if err != nil {
		return err
	}
	defer host.Close()
	table := t.table("gradients against the processor's float32", "network", "precision", "tensors", "distance of all", "worst tensor", "its distance")
	var wrong []string
	for _, s := range subjects(t) {
		want, err := s.train(ctx, host, 1, ddpm.Float32)
		if err != nil {
			return fmt.Errorf("%s on the processor: %w", s.name, err)
		}
		for _, precision := range []string{ddpm.Float32, ddpm.BFloat16} {
			name, tolerance, floor, overall := "float32", gradTolerance, gradFloor, gradOverall
			if precision == ddpm.BFloat16 {
				name, tolerance, floor, overall = "bfloat16", gradTolerance16, gradFloor16, gradOverall16
			}
			got, err := s.train(ctx, gpu, 1, precision)
			if err != nil {
				return fmt.Errorf("%s in %s: %w", s.name, name, err)
			}
			whole, all := optest.Distance(got.Moment1, want.Moment1), norm(want.Moment1)
			var worst string
			most, at := 0.0, 0
			keys := s.config.Model.Keys()
			for _, k := range keys {
				a, b := got.Moment1[at:at+k.Len()], want.Moment1[at:at+k.Len()]
				at += k.Len()
				if e := apart(a, b) / (tolerance*norm(b) + floor*all); !(e <= most) {
					most, worst = e, k.Name
				}
			}
			table.add(s.name, name, strconv.Itoa(len(keys)), fmt.Sprintf("%.2g", whole), worst, fmt.Sprintf("%.2f of the bound", most))
			if !(most <= 1) || !(whole <= overall) {
				wrong = append(wrong, fmt.Sprintf("%s in %s: %s is %.3g of its bound apart, all gradients %.2g of their norm", s.name, name, worst, most, whole))
			}
			t.result.Numbers[s.name+" "+name] = whole
		}
		t.sum("%d networks and variants so far", len(table.Rows)/2)
		if err := t.say(); err != nil {
			return err
		}
	}
	t.sum("%d networks and variants in float32 and bfloat16: every tensor's gradient within its bound", len(table.Rows)/2)
	if len(wrong) > 0 {
		t.fail("%d of %d are wrong, the first: %s", len(wrong), len(table.Rows), wrong[0])
	}
	return nil
}

func norm(x []float32) float64 { return apart(x, make([]float32, len(x))) }

// apart is the L2 distance.
func apart(a, b []float32) float64 {
	var d float64
	for i := range a {
		e := float64(a[i]) - float64(b[i])
		d += e * e
	}
	return math.Sqrt(d)
}

// graph compares iterations that are launched as graphs with the same launched kernel by
// kernel: to the bit.
func graph(ctx context.Context, t *trial) error {
	replayed, err := cuda.New()
	if err != nil {
		return err
	}
	defer replayed.Close()
	direct, err := cuda.Open(cuda.Options{Direct: true})
	if err != nil {
		return err
	}
	defer direct.Close()
	n := 0
	all := subjects(t)
	for _, s := range sized(t, all, all[2:]) {
		for _, precision := range sized(t, []string{ddpm.Float32, ddpm.BFloat16}, []string{ddpm.BFloat16}) {
			a, err := s.train(ctx, replayed, 3, precision)
			if err != nil {
				return fmt.Errorf("%s as a graph: %w", s.name, err)
			}
			b, err := s.train(ctx, direct, 3, precision)
			if err != nil {
				return fmt.Errorf("%s launched directly: %w", s.name, err)
			}
			if !slices.Equal(a.Weights, b.Weights) || !slices.Equal(a.EMA, b.EMA) || !slices.Equal(a.Moment2, b.Moment2) {
				return fmt.Errorf("%s: three iterations as a graph and launched directly differ by %.2g of the weights' norm", s.name, optest.Distance(a.Weights, b.Weights))
			}
			n++
		}
	}
	t.sum("three iterations as a graph and launched directly: the same bits in %d trainings", n)
	return nil
}

// summaries are how compute-sanitizer ends: with the number of what it has found.
var summaries = regexp.MustCompile(`(?:ERROR|RACECHECK) SUMMARY: (\d+)`)

// sanitizer runs the small phase of kernels under compute-sanitizer.
func sanitizer(ctx context.Context, t *trial) error {
	const name = "compute-sanitizer"
	path, err := exec.LookPath(name)
	if err != nil {
		if path = "/usr/local/cuda/bin/" + name; !executable(path) {
			t.result.Verdict = Skip
			t.sum("%s is neither on PATH nor in /usr/local/cuda/bin", name)
			return nil
		}
	}
	var said []string
	for _, tool := range []string{"memcheck", "racecheck"} {
		line := append([]string{"--tool", tool}, t.Self...)
		cmd := exec.CommandContext(ctx, path, append(line, "kernels", "--small", "--dir", t.Dir)...)
		out, err := cmd.CombinedOutput()
		if err := os.WriteFile(filepath.Join(t.Dir, tool+".log"), out, 0o644); err != nil {
			return err
		}
		found := summaries.FindSubmatch(out)
		switch {
		case found == nil:
			said = append(said, fmt.Sprintf("%s did not run: %s", tool, why(out, err)))
			t.result.Verdict = Skip
		case string(found[1]) != "0":
			return fmt.Errorf("%s finds %s errors; see %s.log", tool, found[1], tool)
		case err != nil:
			return fmt.Errorf("%s finds nothing, but the kernels fail under it (%v); see %s.log", tool, err, tool)
		default:
			said = append(said, tool+" finds nothing")
		}
	}
	t.sum("%s", strings.Join(said, "; "))
	return nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
