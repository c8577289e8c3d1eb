package cpu_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
)

// A step of training allocates nothing: the workers stay, and so does what cancels them.
func TestRunAllocatesNothing(t *testing.T) {
	p := net(t, 2, 8, 16)
	inputs, weights := fillFor(p)
	for _, threads := range []int{1, 2, 3} {
		d, _ := cpu.New(threads)
		s, err := d.NewState(p.ParamLen)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		e, err := d.Load(p, s)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		s.Set(engine.Weights, narrow(weights))
		input := narrow(inputs[0])
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out := make([]float32, 1)
		n := testing.AllocsPerRun(20, func() {
			e.Set(0, input)
			if err := e.Run(ctx); err != nil {
				t.Fatal(err)
			}
			e.Get(0, out)
			s.GradNorm()
			s.Update(engine.AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1})
		})
		if n != 0 {
			t.Errorf("%d threads: %g allocations a step, want none", threads, n)
		}
	}
}

// The workers end with their program, and a context that ends touches no program that ran
// with it before.
func TestWorkersEnd(t *testing.T) {
	p := net(t, 2, 8, 16)
	before := runtime.NumGoroutine()
	d, _ := cpu.New(3)
	s, err := d.NewState(p.ParamLen)
	if err != nil {
		t.Fatal(err)
	}
	e, err := d.Load(p, s)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		first, cancelFirst := context.WithCancel(t.Context())
		if err := e.Run(first); err != nil {
			t.Fatal(err)
		}
		second, cancelSecond := context.WithCancel(t.Context())
		go cancelFirst()
		if err := e.Run(second); err != nil {
			t.Fatalf("a run was cancelled by the context of the one before: %v", err)
		}
		cancelSecond()
		if err := e.Run(second); !errors.Is(err, context.Canceled) {
			t.Fatalf("a run with a cancelled context returned %v", err)
		}
		<-first.Done()
	}
	s.GradNorm()
	ctx, cancel := context.WithCancel(t.Context())
	if err := e.Run(ctx); err != nil {
		t.Fatal(err)
	}
	e.Close()
	s.Close()
	cancel() // finds nothing to cancel
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
