package unet_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/ref"
	"ddpmlab/ddpm/unet"
)

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func cifar10() unet.Config {
	return unet.Config{
		Size: 32, InChannels: 3, OutChannels: 6, Channels: 128, Mult: []int{1, 2, 2, 2}, ResBlocks: 3,
		Attention: []int{16, 8}, HeadChannels: 32, Groups: 32, Dropout: 0.3,
	}
}

// tiny is the network of testdata/unet_tiny.json.
func tiny() unet.Config {
	return unet.Config{
		Size: 8, InChannels: 3, OutChannels: 6, Channels: 32, Mult: []int{1, 2}, ResBlocks: 1,
		Attention: []int{8, 4}, HeadChannels: 16, Groups: 32,
	}
}

func TestKeysOfCIFAR10(t *testing.T) {
	var want map[string][]int
	readJSON(t, "cifar10_keys.json", &want)
	keys := cifar10().Keys()
	if len(keys) != len(want) || len(keys) != 494 {
		t.Errorf("%d tensors, want %d", len(keys), len(want))
	}
	for _, k := range keys {
		if !slices.Equal(k.Shape, want[k.Name]) {
			t.Errorf("%s: shape %v, want %v", k.Name, k.Shape, want[k.Name])
		}
	}
	// Order: the position of every key in the file.
	b, err := os.ReadFile("testdata/cifar10_keys.json")
	if err != nil {
		t.Fatal(err)
	}
	last := -1
	for _, k := range keys {
		at := strings.Index(string(b), `"`+k.Name+`"`)
		if at < last {
			t.Fatalf("%s is out of state-dict order", k.Name)
		}
		last = at
	}
}

// TestNumParams: the counts of the paper's networks (57M and 295M in Table 4).
func TestNumParams(t *testing.T) {
	lsun := unet.Config{
		Size: 64, InChannels: 3, OutChannels: 6, Channels: 192, Mult: []int{1, 2, 3, 4}, ResBlocks: 3,
		Attention: []int{32, 16, 8}, HeadChannels: 64, Groups: 32,
	}
	ffhq := lsun
	ffhq.Size, ffhq.Channels, ffhq.Mult = 128, 256, []int{1, 1, 2, 3, 4}
	for _, tt := range []struct {
		name string
		c    unet.Config
		want int
	}{{"cifar10", cifar10(), 57094662}, {"lsun64", lsun, 295136454}, {"ffhq128", ffhq, 542811398}, {"tiny", tiny(), 841222}} {
		if got := tt.c.NumParams(); got != tt.want {
			t.Errorf("%s: %d parameters, want %d", tt.name, got, tt.want)
		}
	}
}

// goldenWeights fills the tensors as testdata/unet_tiny.json was made, in the
// layout of the engine.
func goldenWeights(c unet.Config) []float64 {
	var flat []float32
	for n, k := range c.Keys() {
		for i := range k.Len() {
			s := math.Sin(0.7*float64(i) + 1.3*float64(n))
			switch {
			case len(k.Shape) == 1 && strings.HasSuffix(k.Name, ".weight"):
				s = 1 + 0.1*s
			case len(k.Shape) == 1:
				s *= 0.1
			default:
				s /= math.Sqrt(float64(k.Len() / k.Shape[0]))
			}
			flat = append(flat, float32(s))
		}
	}
	return widen(c.FromTorch(flat))
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// fromNCHW fills an NHWC image tensor from a function of the flat NCHW index.
func fromNCHW(n, h, w, c int, f func(i int) float64) []float64 {
	x := make([]float64, n*h*w*c)
	for i := range x {
		k, col, row, img := i%c, i/c%w, i/c/w%h, i/c/w/h
		x[i] = f(((img*c+k)*h+row)*w + col)
	}
	return x
}

func TestForward(t *testing.T) {
	var golden struct {
		Tiny struct {
			Mean, Std     float64
			First8, Last8 []float64
		}
	}
	readJSON(t, "unet_tiny.json", &golden)
	c := tiny()
	g := engine.NewGraph()
	x, ts := g.Input("x", 2, 8, 8, 3), g.Input("t", 2)
	net, err := unet.Build(g, c, x, ts, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Compile(engine.Spec{Inputs: []*op.Node{x, ts}, Params: net.Params, Outputs: []*op.Node{net.Out}})
	if err != nil {
		t.Fatal(err)
	}
	in := fromNCHW(2, 8, 8, 3, func(i int) float64 { return math.Sin(0.05 * float64(i)) })
	out, _, err := ref.Run(context.Background(), p, [][]float64{in, {10, 500}}, goldenWeights(c))
	if err != nil {
		t.Fatal(err)
	}
	nchw := make([]float64, len(out[0]))
	for i, at := range fromNCHW(2, 8, 8, 6, func(i int) float64 { return float64(i) }) {
		nchw[int(at)] = out[0][i]
	}
	for i, want := range golden.Tiny.First8 {
		if d := math.Abs(nchw[i] - want); d > 1e-9 {
			t.Errorf("output %d: got %.12g, want %.12g", i, nchw[i], want)
		}
	}
	for i, want := range golden.Tiny.Last8 {
		if got := nchw[len(nchw)-8+i]; math.Abs(got-want) > 1e-9 {
			t.Errorf("output %d from the end: got %.12g, want %.12g", 8-i, got, want)
		}
	}
	var mean, sq float64
	for _, v := range nchw {
		mean += v / float64(len(nchw))
		sq += v * v / float64(len(nchw))
	}
	if std := math.Sqrt(sq - mean*mean); math.Abs(mean-golden.Tiny.Mean) > 1e-9 || math.Abs(std-golden.Tiny.Std) > 1e-6 {
		t.Errorf("mean %.12g and deviation %.12g, want %.12g and %.12g", mean, std, golden.Tiny.Mean, golden.Tiny.Std)
	}
}

func TestLayoutRoundTrip(t *testing.T) {
	c := tiny()
	w := c.Init(3)
	if back := c.FromTorch(c.ToTorch(w)); !slices.Equal(w, back) {
		t.Error("FromTorch(ToTorch(w)) differs from w")
	}
}

func TestInit(t *testing.T) {
	c := tiny()
	w := c.ToTorch(c.Init(1))
	if slices.Equal(w, c.ToTorch(c.Init(2))) {
		t.Error("two seeds give the same weights")
	}
	off := 0
	for _, k := range c.Keys() {
		v := w[off : off+k.Len()]
		off += k.Len()
		lo, hi := slices.Min(v), slices.Max(v)
		switch {
		case strings.Contains(k.Name, "out_layers.3") || strings.Contains(k.Name, "proj_out") || strings.HasPrefix(k.Name, "out.2"):
			if lo != 0 || hi != 0 {
				t.Errorf("%s is not zero", k.Name)
			}
		case k.Name == "input_blocks.1.0.in_layers.2.weight": // fan in 32·9
			if b := float32(1 / math.Sqrt(288)); hi > b || hi < 0.99*b || lo < -b || lo > -0.99*b {
				t.Errorf("%s lies in [%g, %g], want ±%g", k.Name, lo, hi, b)
			}
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		field string
		set   func(*unet.Config)
	}{
		{"size is 9; want a multiple of 2, as 10", func(c *unet.Config) { c.Size = 9 }},
		{"mult is empty", func(c *unet.Config) { c.Mult = nil }},
		{"groups is 5; want a divisor of 32, the channels of input_blocks.1.0", func(c *unet.Config) { c.Groups = 5 }},
		{"head_channels is 20; want a divisor of ", func(c *unet.Config) { c.HeadChannels = 20 }},
		{"dropout is 1; want", func(c *unet.Config) { c.Dropout = 1 }},
		{"dropout is NaN; want", func(c *unet.Config) { c.Dropout = math.NaN() }},
		{"channels is 0; want 1 or more", func(c *unet.Config) { c.Channels = 0 }},
	} {
		c := tiny()
		tt.set(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.field) {
			t.Errorf("%s: got error %v", tt.field, err)
		}
	}
	if err := tiny().Validate(); err != nil {
		t.Error(err)
	}
}
