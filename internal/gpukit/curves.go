package gpukit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/cuda"
	"ddpmlab/internal/bench"
)

// convolutions has cuDNN compute every different convolution of trainings, beside our own
// kernels: whether it is right, and what is faster.
func convolutions(ctx context.Context, t *trial) error {
	if _, err := cuda.InspectCuDNN(); err != nil {
		t.result.Verdict = Skip
		t.sum("%v", err)
		return nil
	}
	c := sized(t, ddpm.CIFAR10(), ddpm.Toy())
	c.Batch = sized(t, c.Batch, 2)
	if t.Small {
		c.Model.Mult = []int{1} // the test double is slow
	}
	table := t.table("convolutions of "+c.Preset+" by cuDNN and by our own kernels, with the rounding around them", "convolution", "ours, ms", "cuDNN, ms", "engine", "workspace, MB", "used")
	seen := map[string]bool{}
	used := 0
	for _, precision := range []string{ddpm.BFloat16, ddpm.Float32} {
		c.Precision = precision
		p, err := ddpm.Program(c, ddpm.ADM())
		if err != nil {
			return err
		}
		err = cuda.Convolutions(p, func(c cuda.Convolution) error {
			if seen[c.Name] {
				return ctx.Err()
			}
			seen[c.Name] = true
			answer := "no"
			if c.Used {
				answer = "yes"
				used++
			}
			table.add(c.Name, fmt.Sprintf("%.4f", 1e3*c.Own), fmt.Sprintf("%.4f", 1e3*c.Seconds), strconv.FormatInt(c.Engine, 10), fmt.Sprintf("%.1f", float64(c.Workspace)/1e6), answer)
			t.sum("%d convolutions so far; cuDNN is faster, and right, in %d", len(table.Rows), used)
			return errors.Join(ctx.Err(), t.say())
		})
		if err != nil {
			return err
		}
	}
	t.result.Numbers["convolutions"], t.result.Numbers["used"] = float64(len(table.Rows)), float64(used)
	t.sum("%d convolutions; cuDNN is faster in %d, and its numbers are those of our own kernels", len(table.Rows), used)
	return nil
}

// curveTolerance is how far a loss may be from that of another device, precision or library.
const curveTolerance = 0.02

// curves compares the losses of a short training on this GPU with the processor's, and
// PyTorch's where it is installed.
func curves(ctx context.Context, t *trial) error {
	c := bench.Curve{Model: ddpm.Fashion().Model, Batch: 64, Steps: 20, LR: 1e-3}
	if t.Small {
		c.Model, c.Batch = ddpm.Toy().Model, 2
	}
	c.Model.Dropout = 0
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
	table := t.table("losses of a short training, the same inputs and weights everywhere", "step")
	for i := range c.Steps {
		table.add(strconv.Itoa(i + 1))
	}
	var base []float64
	worst := 0.0
	add := func(name string, losses []float64, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(losses) != c.Steps {
			return fmt.Errorf("%s: %d losses, want %d", name, len(losses), c.Steps)
		}
		if base == nil {
			base = losses
		}
		table.Columns = append(table.Columns, name)
		apart := 0.0
		for i, l := range losses {
			table.Rows[i] = append(table.Rows[i], fmt.Sprintf("%.5f", l))
			if d := math.Abs(l/base[i] - 1); !(d <= apart) {
				apart = d
			}
		}
		t.result.Numbers[name+" apart"] = apart
		if !(apart <= curveTolerance) {
			return fmt.Errorf("the losses of %s are up to %.3g apart from those of %s, want at most %g", name, apart, table.Columns[1], curveTolerance)
		}
		worst = max(worst, apart)
		t.sum("%d curves so far", len(table.Columns)-1)
		return t.say()
	}
	for _, ours := range []struct {
		name      string
		device    engine.Device
		precision engine.Precision
	}{
		{"processor", host, engine.Float32}, {"GPU", gpu, engine.Float32}, {"GPU, bfloat16", gpu, engine.BFloat16},
	} {
		losses, err := c.Ours(ctx, ours.device, ours.precision)
		if err := add(ours.name, losses, err); err != nil {
			return err
		}
	}
	device, left := "", ""
	if out, err := exec.CommandContext(ctx, t.Python, "-c", "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')").CombinedOutput(); err != nil {
		left = "; PyTorch is left out: " + why(out, err)
	} else if device = lastLine(string(out)); device == "cpu" {
		left = "; PyTorch finds no GPU and is on the processor"
	}
	for _, precision := range []string{"f32", "bf16"} {
		if device == "" {
			break
		}
		losses, err := c.Theirs(ctx, t.Python, device, precision, sized(t, 40*time.Second, time.Minute))
		if err := add("PyTorch "+precision, losses, err); err != nil {
			return err
		}
	}
	t.sum("%d steps: %s; no loss further than %.2g from the processor's%s", c.Steps, strings.Join(table.Columns[1:], ", "), worst, left)
	return nil
}
