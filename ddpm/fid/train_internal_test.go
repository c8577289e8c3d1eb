package fid

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine/ref"
	"ddpmlab/ddpm/philox"
)

// tiny is a classifier that the reference device can train in a moment.
var tiny = net{c1: 2, c2: 4}

func tinyOptions() TrainOptions {
	return TrainOptions{Seed: 1, Epochs: 2, Batch: 10, LR: 3e-2, WeightDecay: 0.01, EMA: 0.5, Device: ref.New()}
}

// A small training lowers the loss, and says how it went.
func TestTrain(t *testing.T) {
	train, test := fakeSet{20, 28, 1}, fakeSet{20, 14, 2}
	var losses []float64
	opts := tinyOptions()
	opts.Epochs = 20
	opts.Progress = func(p TrainProgress) {
		losses = append(losses, p.Loss)
		if p.Step != len(losses) || p.Steps != 40 {
			t.Errorf("progress %+v after %d steps of 40", p, len(losses))
		}
	}
	w, err := trainCNN(t.Context(), tiny, train, test, opts)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(losses); n != 40 || math.Abs(losses[0]-math.Log(10)) > 0.7 || losses[n-1] > 0.9*losses[0] {
		t.Errorf("%d losses, want 40 that fall from about ln 10: %.3f", n, losses)
	}
	want := Training{
		TrainedOn: "fake", TrainedOnSHA256: train.SHA256(), TestedOn: "fake", TestedOnSHA256: test.SHA256(),
		Seed: 1, Epochs: 20, Batch: 10, LR: 3e-2, WeightDecay: 0.01, EMA: 0.5, Augment: augmentation, Accuracy: w.Accuracy,
	}
	if w.Training != want {
		t.Errorf("header %+v, want %+v", w.Training, want)
	}
	e, err := newCNN(w, ref.New(), 10)
	if err != nil {
		t.Fatal(err)
	}
	s, err := SetStats(t.Context(), e, train)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Dim {
		if v := s.Cov[i*s.Dim+i]; math.Abs(v-1) > 1e-5 {
			t.Errorf("feature %d has variance %g over the training images, want 1", i, v)
		}
	}
	acc, err := e.Accuracy(t.Context(), test, test.Len())
	if err != nil || acc != w.Accuracy {
		t.Errorf("accuracy %g, %v, header says %g", acc, err, w.Accuracy)
	}
}

// Weights depend on the settings and on nothing else.
func TestTrainSettings(t *testing.T) {
	train, test := fakeSet{30, 28, 1}, fakeSet{10, 14, 2}
	w, err := trainCNN(t.Context(), tiny, train, test, tinyOptions())
	if err != nil {
		t.Fatal(err)
	}
	again, err := trainCNN(t.Context(), tiny, train, test, tinyOptions())
	if err != nil || !slices.Equal(w.flat, again.flat) {
		t.Errorf("the same training gives other weights (%v)", err)
	}
	for _, change := range []func(*TrainOptions){
		func(o *TrainOptions) { o.Seed = 2 },
		func(o *TrainOptions) { o.EMA = 0 },
		func(o *TrainOptions) { o.WeightDecay = 0 },
		func(o *TrainOptions) { o.LR = 1e-2 },
	} {
		other := tinyOptions()
		change(&other)
		if again, err = trainCNN(t.Context(), tiny, train, test, other); err != nil || slices.Equal(w.flat, again.flat) {
			t.Errorf("the same weights with %+v (%v)", other, err)
		}
	}
}

// recorder notes which images are read.
type recorder struct {
	fakeSet
	read *[]int
}

func (r recorder) Read(i int, dst []float32) error {
	*r.read = append(*r.read, i)
	return r.fakeSet.Read(i, dst)
}

// Each epoch reads every image once, in an order of its own.
func TestTrainOrder(t *testing.T) {
	var read []int
	train := recorder{fakeSet{20, 28, 1}, &read}
	if _, err := trainCNN(t.Context(), tiny, train, fakeSet{10, 14, 2}, tinyOptions()); err != nil {
		t.Fatal(err)
	}
	first, second := read[:20], read[20:40] // then come those for the scale of the features
	if slices.Equal(first, second) || slices.IsSorted(first) {
		t.Errorf("orders %v and %v", first, second)
	}
	for _, epoch := range [][]int{first, second} {
		sorted := slices.Sorted(slices.Values(epoch))
		for i, v := range sorted {
			if i != v {
				t.Fatalf("epoch reads %v", sorted)
			}
		}
	}
}

func TestTrainRefusals(t *testing.T) {
	good := fakeSet{60, 28, 1}
	for _, tt := range []struct {
		name   string
		set    data.Set
		change func(*TrainOptions)
		want   string
	}{
		{"size", fakeSet{60, 14, 1}, func(*TrainOptions) {}, "want 28×28×1"},
		{"epochs", good, func(o *TrainOptions) { o.Epochs = 0 }, "Epochs is 0"},
		{"batch", good, func(o *TrainOptions) { o.Batch = 61 }, "Batch is 61, want 1 to 60"},
		{"lr", good, func(o *TrainOptions) { o.LR = math.NaN() }, "LR is NaN"},
		{"ema", good, func(o *TrainOptions) { o.EMA = 1 }, "EMA is 1"},
		{"device", good, func(o *TrainOptions) { o.Device = nil }, "Device is nil"},
		{"diverges", good, func(o *TrainOptions) { o.LR = 1e38 }, "lower LR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := tinyOptions()
			tt.change(&opts)
			if _, err := trainCNN(t.Context(), tiny, tt.set, good, opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTrainCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	opts := tinyOptions()
	opts.Progress = func(p TrainProgress) {
		if p.Step == 3 {
			cancel()
		}
	}
	_, err := trainCNN(ctx, tiny, fakeSet{60, 28, 1}, fakeSet{20, 14, 2}, opts)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "step 4 of 12") {
		t.Errorf("error %v, want cancelled at step 4", err)
	}
}

// Warm-up, peak and end of the learning rate.
func TestLearningRate(t *testing.T) {
	tr := trainer{opts: TrainOptions{LR: 1}, steps: 100 * warmup}
	for _, tt := range []struct {
		step     int
		min, max float64
	}{{1, .0099, .0101}, {warmup, .999, 1}, {50*warmup + 1, .4999, .5001}, {100 * warmup, 0, 1e-6}} {
		if got := tr.lr(tt.step); got < tt.min || got > tt.max {
			t.Errorf("step %d: %g, want %g to %g", tt.step, got, tt.min, tt.max)
		}
	}
}

// Every flip and shift occurs, and each is what it says: the image is moved,
// mirrored and averaged by the plain definition.
func TestAugmented(t *testing.T) {
	image := make([]float32, 28*28)
	if err := (fakeSet{10, 28, 3}).Read(7, image); err != nil {
		t.Fatal(err)
	}
	plain := func(flip bool, dy, dx int) []float32 {
		moved := slices.Repeat([]float32{-1}, 28*28)
		for y := range 28 {
			for x := range 28 {
				to := x
				if flip {
					to = 27 - x
				}
				if y+dy >= 0 && y+dy < 28 && to+dx >= 0 && to+dx < 28 {
					moved[(y+dy)*28+to+dx] = image[y*28+x]
				}
			}
		}
		dst := make([]float32, 14*14)
		halve(dst, moved)
		return dst
	}
	seen := map[[3]int]bool{}
	got := make([]float32, 14*14)
	stream := philox.Key(1, "test")
	for index := range 1000 {
		augmented(got, image, stream, 0, index)
		found := false
		for k := range 2 * 3 * 3 {
			f, dy, dx := k%2, k/2%3-1, k/6-1
			if slices.Equal(got, plain(f == 1, dy, dx)) {
				found = true
				seen[[3]int{f, dy, dx}] = true
			}
		}
		if !found {
			t.Fatalf("image %d is none of the 18", index)
		}
	}
	if len(seen) != 18 {
		t.Errorf("%d of 18 ways in 1000 images", len(seen))
	}
}
