package fid_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/fid"
	"ddpmlab/ddpm/philox"
)

func fashionCNN(tb testing.TB, threads int) *fid.CNN {
	tb.Helper()
	e, err := fid.FashionCNN(threads)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { e.Close() })
	return e
}

// images returns the first n test images, 14×14.
func images(tb testing.TB, size, n int) (data.Set, []float32) {
	tb.Helper()
	s, err := data.Open("fashion-mnist", size)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := data.ReadRange(s, 0, n)
	if err != nil {
		tb.Fatal(err)
	}
	return s, x
}

// The weights do on the embedded test images what their header says.
func TestFashionCNNAccuracy(t *testing.T) {
	e := fashionCNN(t, 0)
	set, _ := images(t, 14, 0)
	h := e.Training()
	if h.Accuracy < 0.89 || h.TrainedOn != "fashion-mnist-train" || h.TestedOn != "fashion-mnist" || h.TestedOnSHA256 != set.SHA256() {
		t.Errorf("header %+v, want an accuracy of 0.89 or more on %s", h, set.SHA256())
	}
	n, tolerance := set.Len(), 5e-4 // another instruction set may turn a few images over
	if testing.Short() {
		n, tolerance = 1000, 0.03 // three standard deviations of a share of 1,000
	}
	got, err := e.Accuracy(t.Context(), set, n)
	if err != nil || math.Abs(got-h.Accuracy) > tolerance {
		t.Errorf("accuracy on %d images %.4f, %v, want %.4f within %g", n, got, err, h.Accuracy, tolerance)
	}
}

// Threads change no bit of the features, instruction sets only the last ones.
func TestFashionCNNDeterministic(t *testing.T) {
	_, x := images(t, 14, 150)
	features := func(threads int) []float64 {
		f, err := fashionCNN(t, threads).Features(t.Context(), x, 150, 14, 14, 1)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	one, three := features(1), features(3)
	if !slices.Equal(one, three) {
		t.Error("1 and 3 threads give other features")
	}
	t.Setenv("DDPMLAB_CPU", "baseline")
	var diff, norm float64
	for i, v := range features(1) {
		diff, norm = diff+(v-one[i])*(v-one[i]), norm+v*v
	}
	if e := math.Sqrt(diff / norm); !(e < 1e-5) {
		t.Errorf("baseline features differ by %.2g of their norm, want less than 1e-5", e)
	}
}

// Whether the 28×28 image comes or its mean, the features are the same but for
// the rounding of pixels to float32.
func TestFashionCNNSizes(t *testing.T) {
	e := fashionCNN(t, 0)
	_, small := images(t, 14, 20)
	_, large := images(t, 28, 20)
	a, err := e.Features(t.Context(), small, 20, 14, 14, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Features(t.Context(), large, 20, 28, 28, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a {
		if math.Abs(a[i]-b[i]) > 1e-4*max(1, math.Abs(a[i])) {
			t.Fatalf("feature %d: %g of the mean, %g of the image", i, a[i], b[i])
		}
	}
}

// distort returns copies of 14×14 images, each changed by f.
func distort(x []float32, f func(image []float32, i int)) []float32 {
	y := slices.Clone(x)
	for i := range len(y) / 196 {
		f(y[i*196:(i+1)*196], i)
	}
	for i, v := range y {
		y[i] = min(max(v, -1), 1)
	}
	return y
}

// blur is the mean of 3×3 pixels, mixed with the image.
func blur(image []float32, share float32) {
	out := slices.Clone(image)
	for p := range image {
		var sum, n float32
		for tap := range 9 {
			if y, x := p/14+tap/3-1, p%14+tap%3-1; y >= 0 && y < 14 && x >= 0 && x < 14 {
				sum, n = sum+image[y*14+x], n+1
			}
		}
		out[p] += share * (sum/n - image[p])
	}
	copy(image, out)
}

// The score puts what the eye would put: real images near the floor, damaged
// ones above it in order of damage, noise far off. It sees contrast too, which
// samplers with few steps lose.
func TestFashionCNNOrder(t *testing.T) {
	e := fashionCNN(t, 0)
	set, all := images(t, 14, 4000)
	if testing.Short() {
		all = all[:2000*196]
	}
	half := len(all) / 2
	features := func(x []float32) []float64 {
		f, err := e.Features(t.Context(), x, len(x)/196, 14, 14, 1)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	reference, real := fid.NewStats(features(all[:half]), e.Dim()), all[half:]
	stream := philox.Key(1, "noise")
	noise := func(amount float32) []float32 {
		return distort(real, func(image []float32, i int) {
			z := make([]float32, 196)
			stream.Normals(z, 0, uint32(i))
			for p := range image {
				image[p] += amount * z[p]
			}
		})
	}
	scores := map[string]float64{}
	for _, tt := range []struct {
		name string
		x    []float32
		min  float64 // at least this many times the score of real images
	}{
		{"real", real, 1},
		{"contrast 0.9", distort(real, func(image []float32, _ int) {
			for p := range image {
				image[p] *= 0.9
			}
		}), 3},
		{"blur 0.5", distort(real, func(image []float32, _ int) { blur(image, 0.5) }), 10},
		{"blur", distort(real, func(image []float32, _ int) { blur(image, 1) }), 30},
		{"noise 0.1", noise(0.1), 5},
		{"noise 0.3", noise(0.3), 30},
		{"only noise", distort(real, func(image []float32, i int) { stream.Normals(image, 1, uint32(i)) }), 100},
	} {
		d, err := fid.Frechet(reference, fid.NewStats(features(tt.x), e.Dim()))
		if err != nil {
			t.Fatal(err)
		}
		scores[tt.name] = d
		if want := tt.min * scores["real"]; d < want {
			t.Errorf("%s: %s is %.3g, want at least %.3g; real images have %.3g", tt.name, fid.MetricName(e.Name()), d, want, scores["real"])
		}
	}
	if scores["blur"] < scores["blur 0.5"] || scores["noise 0.3"] < scores["noise 0.1"] || scores["only noise"] < scores["noise 0.3"] {
		t.Errorf("scores on %s are out of order: %v", set.Name(), scores)
	}
}

// BenchmarkFashionCNN reports how many images a second are scored.
func BenchmarkFashionCNN(b *testing.B) {
	e := fashionCNN(b, 0)
	_, x := images(b, 14, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Features(b.Context(), x, 1000, 14, 14, 1); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "images/s")
}

func ExampleFashionCNN() {
	e, err := fid.FashionCNN(0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	fmt.Println(fid.MetricName(e.Name()), "with", e.Dim(), "features;", e.Resize())
	// Output:
	// FD (fashion-cnn) with 64 features; 2×2 mean of 28×28 to 14×14
}
