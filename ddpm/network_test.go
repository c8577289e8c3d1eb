package ddpm_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"ddpmlab/ddpm"
)

// newNetwork is the tiny network with weights that are not zero anywhere.
func newNetwork(t testing.TB) *ddpm.Network {
	t.Helper()
	c := newCheckpoint()
	for i := range c.EMA {
		c.EMA[i] *= 0.3
	}
	n, err := ddpm.NewNetwork(c, ddpm.WithThreads(2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// An image's prediction does not depend on how many others go with it, from how
// many goroutines.
func TestPredictAnyNumber(t *testing.T) {
	n := newNetwork(t)
	h, w, c := n.Size()
	size := h * w * c
	if size != 64 {
		t.Fatalf("Size = %d×%d×%d, want 8×8×1", h, w, c)
	}
	const all = 10
	xt, eps, ts := make([]float32, all*size), make([]float32, all*size), make([]int, all)
	for i := range xt {
		xt[i] = float32(math.Sin(float64(i) * 0.7))
	}
	for i := range ts {
		ts[i] = i * 9
	}
	if err := n.Predict(t.Context(), xt, ts, eps); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(eps[:size], eps[size:2*size]) {
		t.Error("two images have one prediction")
	}
	var wg sync.WaitGroup
	for _, part := range [][2]int{{0, 1}, {3, 7}, {9, 10}, {4, 4}} {
		wg.Go(func() {
			from, to := part[0], part[1]
			got := make([]float32, (to-from)*size)
			if err := n.Predict(t.Context(), xt[from*size:to*size], ts[from:to], got); err != nil {
				t.Error(err)
			}
			if !slices.Equal(got, eps[from*size:to*size]) {
				t.Errorf("images %v alone have another prediction", part)
			}
		})
	}
	wg.Wait()
}

func TestNetworkErrors(t *testing.T) {
	n := newNetwork(t)
	if err := n.Predict(t.Context(), make([]float32, 64), []int{1, 2}, make([]float32, 64)); err == nil || !strings.Contains(err.Error(), "2 images of 64 values: 64 values in") {
		t.Errorf("Predict of half an image each = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Predict(ctx, make([]float32, 64), []int{1}, make([]float32, 64)); !errors.Is(err, context.Canceled) {
		t.Errorf("Predict of a cancelled context = %v, want context.Canceled", err)
	}
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Errorf("Close twice = %v, want nil", err)
	}
	if err := n.Predict(t.Context(), make([]float32, 64), []int{1}, make([]float32, 64)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Predict after Close = %v, want an error that says so", err)
	}
	c := newCheckpoint()
	c.EMA = c.EMA[1:]
	if _, err := ddpm.NewNetwork(c); err == nil || !strings.Contains(err.Error(), "weights; the model has") {
		t.Errorf("NewNetwork of too few weights = %v", err)
	}
}

// A network samples, and the images are in range.
func TestSampleFromNetwork(t *testing.T) {
	n := newNetwork(t)
	s := newSchedule(t, "cosine", 100)
	x, err := ddpm.Sample(t.Context(), n, s, tinyConfig().Sampling(), 0, 3, 8, 8, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range x.Pix {
		if !(v >= -1 && v <= 1) {
			t.Fatalf("value %d = %v, want [-1, 1]", i, v)
		}
	}
	if _, err := ddpm.Sample(t.Context(), n, s, tinyConfig().Sampling(), 0, 3, 9, 9, 1); err == nil {
		t.Error("images of another size: no error")
	}
}
