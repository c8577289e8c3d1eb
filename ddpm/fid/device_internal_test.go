package fid

import (
	"context"
	"math"
	"slices"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/ref"
)

// lossAndGradient computes both for a few fake images on a device.
func lossAndGradient(t *testing.T, dev engine.Device, a net, batch int) (float64, []float32) {
	t.Helper()
	opts := TrainOptions{Seed: 1, Epochs: 1, Batch: batch, LR: 1e-30, EMA: 0.5, Device: dev}
	tr, err := newTrainer(a, fakeSet{batch, 28, 1}, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	loss := 0.0
	tr.opts.Progress = func(p TrainProgress) { loss = p.Loss }
	if err := tr.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	g := make([]float32, a.numParams())
	tr.state.Get(engine.Grads, g)
	return loss, g
}

// The CPU device computes the classifier's loss and gradient as the reference
// does, to the accuracy of its Winograd convolutions in float32.
func TestCPUGradient(t *testing.T) {
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	a := net{c1: 16, c2: 32}
	want, wantG := lossAndGradient(t, ref.New(), a, 3)
	got, gotG := lossAndGradient(t, dev, a, 3)
	if math.Abs(got-want) > 1e-5*want {
		t.Errorf("loss %.8g, want %.8g", got, want)
	}
	off := 0
	for _, p := range a.params() {
		var diff, norm float64
		for i := off; i < off+p.size(); i++ {
			d, w := float64(gotG[i]-wantG[i]), float64(wantG[i])
			diff, norm = diff+d*d, norm+w*w
		}
		off += p.size()
		if e := math.Sqrt(diff / norm); !(e < 5e-5) {
			t.Errorf("%s: gradient differs by %.2g of its norm %.3g, want less than 5e-5", p.Name, e, math.Sqrt(norm))
		}
	}
}

// Threads change no bit of a training step.
func TestCPUThreads(t *testing.T) {
	var grads [][]float32
	for _, threads := range []int{1, 3} {
		dev, err := cpu.New(threads)
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		_, g := lossAndGradient(t, dev, fashionNet, 20)
		grads = append(grads, g)
	}
	if !slices.Equal(grads[0], grads[1]) {
		t.Error("1 and 3 threads give other gradients")
	}
}
