package cpu_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/ref"
)

// TestAdamW compares some steps with float64.
func TestAdamW(t *testing.T) {
	const n = 50021 // several parts, and no multiple of a vector
	_, _, grads := waves(n)
	eachISA(t, func(t *testing.T) {
		d, err := cpu.New(2)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.NewState(n)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		want, err := ref.New().NewState(n)
		if err != nil {
			t.Fatal(err)
		}
		w, ema, _ := waves(n)
		for _, s := range []engine.State{got, want} {
			s.Set(engine.Weights, w)
			s.Set(engine.EMA, ema)
			for step := range 5 {
				s.Set(engine.Grads, grads)
				s.Update(engine.AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.05, EMARate: 0.99, Step: int64(step) + 1})
			}
		}
		for _, a := range []engine.Array{engine.Weights, engine.Moment1, engine.Moment2, engine.EMA} {
			g, f := make([]float32, n), make([]float32, n)
			got.Get(a, g)
			want.Get(a, f)
			wide := make([]float64, n)
			for i, v := range f {
				wide[i] = float64(v)
			}
			if d := distance(g, wide); !(d <= 1e-6) {
				t.Errorf("%v: %.2g from float64", a, d)
			}
		}
		if g, f := got.GradNorm(), want.GradNorm(); math.Abs(g-f) > 1e-12*f {
			t.Errorf("gradient norm %.15g, want %.15g", g, f)
		}
	})
}

func waves(n int) (a, b, c []float32) {
	out := [3][]float32{}
	for k := range out {
		out[k] = make([]float32, n)
		for i := range out[k] {
			out[k][i] = float32(math.Sin(float64(i)*0.7+float64(k)) + 0.3*math.Sin(float64(i*i)))
		}
	}
	return out[0], out[1], out[2]
}

func TestUpdateDoesNotDependOnThreads(t *testing.T) {
	const n = 100003
	w, ema, grads := waves(n)
	var first []float32
	var norm float64
	for threads := 1; threads <= 3; threads++ {
		d, _ := cpu.New(threads)
		s, err := d.NewState(n)
		if err != nil {
			t.Fatal(err)
		}
		s.Set(engine.Weights, w)
		s.Set(engine.EMA, ema)
		s.Set(engine.Grads, grads)
		s.Update(engine.AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, EMARate: 0.99, Step: 1})
		got := make([]float32, n)
		s.Get(engine.EMA, got)
		if threads == 1 {
			first, norm = got, s.GradNorm()
		} else if !slices.Equal(got, first) || s.GradNorm() != norm {
			t.Errorf("1 and %d threads differ: norms %v and %v", threads, norm, s.GradNorm())
		}
		s.Close()
	}
}

func TestEmptyState(t *testing.T) {
	d, _ := cpu.New(2)
	s, err := d.NewState(0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Update(engine.AdamW{Step: 1})
	if n := s.GradNorm(); n != 0 {
		t.Errorf("norm of nothing: %g", n)
	}
}

func TestErrors(t *testing.T) {
	t.Setenv("DDPMLAB_CPU", "mmx")
	if _, err := cpu.New(1); err == nil || !strings.Contains(err.Error(), "amx, avx512, avx2 or baseline") {
		t.Errorf("unknown instruction set: %v", err)
	}
	t.Setenv("DDPMLAB_CPU", "baseline")
	if _, err := cpu.New(-1); err == nil {
		t.Error("-1 threads accepted")
	}
	d, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.Name(), "cpu baseline 2 threads"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
	foreign, _ := ref.New().NewState(0)
	if _, err := d.Load(&engine.Program{}, foreign); err == nil {
		t.Error("a state of another device accepted")
	}
	s, _ := d.NewState(3)
	defer s.Close()
	if _, err := d.Load(&engine.Program{ParamLen: 4}, s); err == nil {
		t.Error("a state of another size accepted")
	}
}
