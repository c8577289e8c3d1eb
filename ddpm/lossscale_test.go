package ddpm_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine"
)

// half is a device that keeps gradients as float16 does: rounded to eleven bits, 0 below
// 2^-25, infinite above 65504. Its gradients are limit times too large for it besides.
type half struct {
	engine.Device
	limit float32
}

type halfExec struct {
	engine.Exec
	state engine.State
	limit float32
	grads []float32
}

func (half) HalfRange() bool { return true }

func (h half) Load(p *engine.Program, s engine.State) (engine.Exec, error) {
	e, err := h.Device.Load(p, s)
	if err != nil || p.Grads == nil {
		return e, err
	}
	return &halfExec{e, s, h.limit, make([]float32, s.Len())}, nil
}

func (e *halfExec) Run(ctx context.Context) error {
	if err := e.Exec.Run(ctx); err != nil {
		return err
	}
	e.state.Get(engine.Grads, e.grads)
	for i, g := range e.grads {
		e.grads[i] = float16(g*e.limit) / e.limit
	}
	e.state.Set(engine.Grads, e.grads)
	return nil
}

// float16 is x rounded to float16.
func float16(x float32) float32 {
	a := math.Abs(float64(x))
	_, exp := math.Frexp(a)
	unit := math.Ldexp(1, max(exp-11, -24))
	r := math.RoundToEven(a/unit) * unit
	if r > 65504 {
		r = math.Inf(1)
	}
	return float32(math.Copysign(r, float64(x)))
}

func TestFloat16(t *testing.T) {
	for x, want := range map[float32]float32{
		1: 1, 1 + 1./2048: 1, 1 + 3./2048: 1 + 1./512, 65504: 65504, 70000: float32(math.Inf(1)), 1e-9: 0, -6e-8: -1. / (1 << 24),
	} {
		if got := float16(x); got != want {
			t.Errorf("float16(%v) = %v, want %v", x, got, want)
		}
	}
}

// The scale is found by skipping iterations, which the NaN guard does not count, and then
// grows.
func TestLossScale(t *testing.T) {
	cfg := tinyConfig()
	cfg.Iterations, cfg.MaxBadSteps = 60, 1
	got, r := train(t, cfg, ddpm.ADM(), ddpm.WithDevice(half{newCPU(t, 2), 1}))
	skipped := len(r["skipped"])
	if skipped == 0 || skipped > 20 || int64(skipped) != got.Skipped {
		t.Fatalf("%d iterations skipped, checkpoint says %d; want some, until the gradient fits", skipped, got.Skipped)
	}
	scales := r["lg_loss_scale"]
	if want := 20 - float64(skipped) + 0.001*float64(60-skipped); len(scales) != 60 || scales[0] != 19 || math.Abs(scales[59]-want) > 1e-9 ||
		math.Abs(math.Log2(got.LossScale)-want) > 1e-9 {
		t.Errorf("log2 of the scale %v, in the checkpoint %v; want %v at the end", scales, math.Log2(got.LossScale), want)
	}
}

// With a scale that fits, a training in float16's range goes as in float32's, up to
// the rounding of gradients, also in micro-batches.
func TestLossScaleChangesNothing(t *testing.T) {
	for _, micro := range []int{0, 1} {
		cfg := tinyConfig()
		cfg.Iterations, cfg.MicroBatch = 12, micro
		var saved *ddpm.Checkpoint
		want, w := train(t, cfg, ddpm.ADM(), ddpm.WithCheckpoints(6, func(_ context.Context, c *ddpm.Checkpoint) error {
			if c.Step == 6 {
				saved = c
			}
			return nil
		}))
		saved.LossScale = 256
		got, r := train(t, cfg, ddpm.ADM(), ddpm.WithDevice(half{newCPU(t, 2), 1}), ddpm.WithResume(saved))
		var moved, apart float64
		for i, w := range got.Weights {
			d, m := float64(w-want.Weights[i]), float64(want.Weights[i]-saved.Weights[i])
			apart, moved = apart+d*d, moved+m*m
		}
		if ratio := math.Sqrt(apart / moved); ratio > 0.02 || ratio == 0 {
			t.Errorf("micro-batch %d: weights are %.4f of the way apart from float32's", micro, ratio)
		}
		if a, b := r["grad_norm"][0], w["grad_norm"][6]; math.Abs(a/b-1) > 1e-3 {
			t.Errorf("micro-batch %d: gradient norm %v, want %v", micro, a, b)
		}
	}
}

// Where all gradients vanish unscaled, nothing would be learned: the weights do move.
func TestLossScaleSavesSmallGradients(t *testing.T) {
	cfg := tinyConfig()
	cfg.Iterations = 3
	// Gradients of about 1e-3 are of 1e-9 there.
	c, r := train(t, cfg, ddpm.ADM(), ddpm.WithDevice(half{newCPU(t, 2), 1e-6}))
	if slices.Equal(c.Weights, cfg.Model.Init(cfg.Seed)) || r["grad_norm"][0] == 0 {
		t.Errorf("weights did not move; gradient norm %v", r["grad_norm"])
	}
	_, w := train(t, cfg, ddpm.ADM())
	if a, b := r["grad_norm"][0], w["grad_norm"][0]; math.Abs(a/b-1) > 1e-2 {
		t.Errorf("gradient norm %v, want %v", a, b)
	}
}

// The scale ends at 1: then an iteration whose gradient is not finite is a bad one.
func TestLossScaleHasAFloor(t *testing.T) {
	cfg := tinyConfig()
	cfg.Iterations, cfg.MaxBadSteps = 60, 3
	r := record{}
	c, err := ddpm.Train(t.Context(), cfg, ddpm.ADM(), ddpm.WithDevice(half{newCPU(t, 2), 1e12}), ddpm.WithData(stripes{}), ddpm.WithRecorder(r))
	if !errors.Is(err, ddpm.ErrDiverged) || !strings.Contains(err.Error(), "at iteration 23, the last of 3 in a row") {
		t.Fatalf("Train = %v, want it diverged 3 iterations after the scale has come from 2^20 to 1", err)
	}
	if c.Step != 20 || c.LossScale != 1 || len(r["loss"]) != 0 {
		t.Errorf("state at step %d, scale %v, %d losses; want the one before the first bad iteration", c.Step, c.LossScale, len(r["loss"]))
	}
}

// The scale is part of a checkpoint.
func TestLossScaleResumes(t *testing.T) {
	cfg := tinyConfig()
	cfg.Iterations = 30
	d := ddpm.WithDevice(half{newCPU(t, 2), 1})
	var saved []*ddpm.Checkpoint
	whole, _ := train(t, cfg, ddpm.ADM(), d, ddpm.WithCheckpoints(1, func(_ context.Context, c *ddpm.Checkpoint) error {
		saved = append(saved, c)
		return nil
	}))
	for _, at := range []int{1, 3, 20} {
		c, err := ddpm.ReadCheckpoint(bytes.NewReader(encode(t, saved[at])))
		if err != nil {
			t.Fatal(err)
		}
		if resumed, _ := train(t, cfg, ddpm.ADM(), d, ddpm.WithResume(c)); resumed.SHA256() != whole.SHA256() {
			t.Errorf("resumed at %d with the scale %v the run ends in another checkpoint", c.Step, c.LossScale)
		}
	}
}
