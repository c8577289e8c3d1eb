package fid

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine/ref"
)

// tinyWeights has biases too, unlike a network before its training.
func tinyWeights() *Weights {
	w := &Weights{net: tiny, flat: tiny.init(1), scale: []float32{1, 2, 3, 4}}
	for i := range w.flat {
		w.flat[i] += 0.01 * float32(i%10)
	}
	return w
}

func tinyCNN(t *testing.T) *CNN {
	t.Helper()
	e, err := newCNN(tinyWeights(), ref.New(), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// The features of an image are the same in any batch, and of its 28×28
// original as of its 14×14 mean.
func TestFeaturesByImage(t *testing.T) {
	e := tinyCNN(t)
	x, err := data.ReadRange(fakeSet{7, 28, 1}, 0, 7)
	if err != nil {
		t.Fatal(err)
	}
	all, err := e.Features(t.Context(), x, 7, 28, 28, 1)
	if err != nil || len(all) != 7*e.Dim() {
		t.Fatalf("%d features, %v", len(all), err)
	}
	small := make([]float32, 14*14)
	for i := range 7 {
		image := x[i*784 : (i+1)*784]
		one, err := e.Features(t.Context(), image, 1, 28, 28, 1)
		if err != nil {
			t.Fatal(err)
		}
		halve(small, image)
		half, err := e.Features(t.Context(), small, 1, 14, 14, 1)
		if err != nil {
			t.Fatal(err)
		}
		if want := all[i*e.Dim() : (i+1)*e.Dim()]; !slices.Equal(one, want) || !slices.Equal(half, want) {
			t.Errorf("image %d: alone %v, halved %v, in a batch %v", i, one, half, want)
		}
	}
	if none, err := e.Features(t.Context(), nil, 0, 14, 14, 1); err != nil || len(none) != 0 {
		t.Errorf("no images: %v, %v", none, err)
	}
}

// The network by plain loops, for one image.
func TestNetAgainstLoops(t *testing.T) {
	e := tinyCNN(t)
	x, err := data.ReadRange(fakeSet{1, 14, 5}, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	h := make([]float64, len(x))
	for i, v := range x {
		h[i] = float64(v)
	}
	w := e.weights.flat
	take := func(n int) []float32 {
		p := w[:n]
		w = w[n:]
		return p
	}
	size := 14
	conv := func(in, out int) {
		k, y := take(9*in*out), make([]float64, size*size*out)
		for p := range size * size {
			for tap := range 9 {
				r, c := p/size+tap/3-1, p%size+tap%3-1
				for i := range in {
					for o := range out {
						if r >= 0 && r < size && c >= 0 && c < size {
							y[p*out+o] += h[(r*size+c)*in+i] * float64(k[(tap*in+i)*out+o])
						}
					}
				}
			}
		}
		for i, b := range slices.Repeat(take(out), size*size) {
			y[i] += float64(b)
		}
		h = y
	}
	silu := func() {
		for i, v := range h {
			h[i] = v / (1 + math.Exp(-v))
		}
	}
	means := func(c int) []float64 {
		m := make([]float64, c)
		for i, v := range h {
			m[i%c] += v / float64(size*size)
		}
		return m
	}
	conv(1, 2)
	silu()
	conv(2, 2)
	silu()
	pooled := make([]float64, 7*7*2)
	for i := range pooled {
		y, x, c := i/14, i/2%7, i%2
		at := func(dy, dx int) float64 { return h[((2*y+dy)*14+2*x+dx)*2+c] }
		pooled[i] = (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4
	}
	h, size = pooled, 7
	conv(2, 4)
	silu()
	conv(4, 4)
	silu()
	features := means(4)
	linear, bias := take(7*7*4*10), take(10)
	logits := make([]float64, 10)
	for k := range logits {
		logits[k] = float64(bias[k])
		for i, v := range h {
			logits[k] += v * float64(linear[i*10+k])
		}
	}
	for output, want := range [][]float64{features, logits} {
		got, err := e.run(t.Context(), x, 1, 14, 14, 1, output, len(want))
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-6 { // outputs are rounded to float32
				t.Errorf("output %d number %d: got %g, want %g", output, i, got[i], want[i])
			}
		}
	}
	scaled, err := e.Features(t.Context(), x, 1, 14, 14, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range features {
		if want := f * float64(i+1); math.Abs(scaled[i]-want) > 1e-6 {
			t.Errorf("feature %d: got %g, want %g", i, scaled[i], want)
		}
	}
	best, err := e.Classify(t.Context(), x, 1, 14, 14, 1)
	if err != nil || logits[best[0]] != slices.Max(logits) {
		t.Errorf("class %v, %v, logits %v", best, err, logits)
	}
}

func TestFeaturesRefusals(t *testing.T) {
	e := tinyCNN(t)
	for _, tt := range []struct {
		name       string
		x          []float32
		n, h, w, c int
		want       string
	}{
		{"length", make([]float32, 195), 1, 14, 14, 1, "195 numbers, want 196"},
		{"size", make([]float32, 32*32), 1, 32, 32, 1, "want 14×14×1 or 28×28×1"},
		{"channels", make([]float32, 14*14*3), 1, 14, 14, 3, "14×14×3"},
		{"negative", nil, -1, 14, 14, 1, "-1 images"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := e.Features(t.Context(), tt.x, tt.n, tt.h, tt.w, tt.c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Features(ctx, make([]float32, 196), 1, 14, 14, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want cancelled", err)
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Errorf("close twice: %v", err)
	}
	if _, err := e.Features(t.Context(), make([]float32, 196), 1, 14, 14, 1); err == nil || !strings.Contains(err.Error(), "after Close") {
		t.Errorf("error %v, want one about Close", err)
	}
}

func TestWeightsFile(t *testing.T) {
	w := tinyWeights()
	w.Training = Training{TrainedOn: "x", Seed: 3, Accuracy: 0.9}
	file := w.Bytes()
	got, err := readWeights(bytes.NewReader(file), tiny)
	if err != nil {
		t.Fatal(err)
	}
	if got.Training != w.Training || !slices.Equal(got.flat, w.flat) || !slices.Equal(got.scale, w.scale) || got.SHA256() != w.SHA256() || !bytes.Equal(got.Bytes(), file) {
		t.Errorf("read back %+v", got.Training)
	}
	nan := bytes.Clone(file)
	copy(nan[len(nan)-4:], []byte{0, 0, 0xc0, 0x7f})
	for _, tt := range []struct {
		name string
		file []byte
		net  net
		want string
	}{
		{"empty", nil, tiny, "not a weights file"},
		{"other", []byte("PK\x03\x04"), tiny, "not a weights file"},
		{"header", file[:len(magic)+20], tiny, "header is truncated"},
		{"json", []byte(magic + "{]\n"), tiny, "header"},
		{"field", []byte(magic + `{"colour":1}` + "\n"), tiny, "colour"},
		{"net", file, fashionNet, "tensors"},
		{"truncated", file[:len(file)-1], tiny, "truncated"},
		{"trailing", append(bytes.Clone(file), 0), tiny, "bytes after"},
		{"nan", nan, tiny, "is NaN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := readWeights(bytes.NewReader(tt.file), tt.net); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzWeights: whatever the bytes, readWeights returns an error or weights that
// can be written and read again.
func FuzzWeights(f *testing.F) {
	file := tinyWeights().Bytes()
	f.Add(file)
	f.Add(file[:len(file)-3])
	f.Add([]byte(magic + "{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := readWeights(bytes.NewReader(b), tiny)
		if err != nil {
			return
		}
		again, err := readWeights(bytes.NewReader(w.Bytes()), tiny)
		if err != nil || again.SHA256() != w.SHA256() {
			t.Errorf("written weights read back: %v", err)
		}
	})
}

// fashionNet is the size that its comment and the weights file promise.
func TestNetSize(t *testing.T) {
	if n := fashionNet.numParams(); n != 96362 || len(fashionNet.init(1)) != n {
		t.Errorf("%d parameters, want 96362", n)
	}
}
