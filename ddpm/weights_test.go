package ddpm_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/tensorfile"
)

// smallConfig is what testdata/small.pt is of, as its script says.
func smallConfig() ddpm.Config {
	c := ddpm.CIFAR10()
	c.Model.Size, c.Model.Channels, c.Model.Mult, c.Model.ResBlocks = 8, 8, []int{1, 2}, 1
	c.Model.Attention, c.Model.HeadChannels, c.Model.Groups = []int{4}, 8, 8
	return c
}

// A checkpoint that PyTorch wrote predicts what PyTorch predicts with it.
func TestReadWeights(t *testing.T) {
	ck, err := ddpm.ReadWeights("testdata/small.pt", smallConfig())
	if err != nil {
		t.Fatal(err)
	}
	if len(ck.EMA) != 53_494 {
		t.Errorf("%d weights, want 53494", len(ck.EMA))
	}
	text, err := os.ReadFile("testdata/small_weights.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Eps, V []float64 }
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	net, err := ddpm.NewNetwork(ck, ddpm.WithDevice(newCPU(t, 2)))
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	x := make([]float32, 2*8*8*3)
	for i := range x {
		x[i] = float32(math.Sin(0.05 * float64(i)))
	}
	eps, v := make([]float32, len(x)), make([]float32, len(x))
	if err := net.PredictVariance(t.Context(), x, []int{10, 500}, eps, v); err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string]struct {
		got  []float32
		want []float64
	}{"eps": {eps, want.Eps}, "v": {v, want.V}} {
		var d, n float64
		for i, w := range pair.want {
			e := float64(pair.got[i]) - w
			d, n = d+e*e, n+w*w
		}
		if r := math.Sqrt(d / n); !(r < 1e-5) { // float32 forward, as the engine's goldens
			t.Errorf("%s differs from PyTorch's by %g of its size", name, r)
		}
	}
}

// What is written is what was read, in both formats, also by way of a checkpoint.
func TestWriteWeights(t *testing.T) {
	ck, err := ddpm.ReadWeights("testdata/small.pt", smallConfig())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"a.pt", "a.safetensors"} {
		path := filepath.Join(dir, name)
		if err := ck.WriteWeights(path); err != nil {
			t.Fatal(err)
		}
		again, err := ddpm.ReadWeights(path, smallConfig())
		if err != nil || !slices.Equal(again.EMA, ck.EMA) {
			t.Errorf("%s: %v, or other weights", name, err)
		}
	}
	f, err := tensorfile.Open(filepath.Join(dir, "a.pt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Tensors[0].Name != "time_embed.0.weight" || !slices.Equal(f.Tensors[0].Shape, []int{32, 8}) {
		t.Errorf("the first tensor is %s of %v", f.Tensors[0].Name, f.Tensors[0].Shape)
	}
	own := filepath.Join(dir, "own")
	out, err := os.Create(own)
	if err != nil {
		t.Fatal(err)
	}
	ck.Moment1, ck.Moment2 = make([]float32, len(ck.EMA)), make([]float32, len(ck.EMA))
	if err := ck.Write(out); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := ddpm.ReadWeights(own, ddpm.Config{})
	if err != nil || !slices.Equal(again.EMA, ck.EMA) || again.Config.Model.Channels != 8 {
		t.Errorf("own checkpoint: %v", err)
	}
	if ck.WriteWeights(filepath.Join(dir, "a.bin")) == nil {
		t.Error("no error for an unknown ending")
	}
}

// A file of another network is refused by the first tensor that does not fit.
func TestReadWeightsRefuses(t *testing.T) {
	with := func(f func(c *ddpm.Config)) ddpm.Config {
		c := smallConfig()
		f(&c)
		return c
	}
	for _, tt := range []struct {
		name, path string
		c          ddpm.Config
		want       string
	}{
		{"channels", "testdata/small.pt", with(func(c *ddpm.Config) { c.Model.Channels = 16 }), "small.pt: time_embed.0.weight is of shape [32 8]; the network's is [64 16]"},
		{"fewer", "testdata/small.pt", with(func(c *ddpm.Config) { c.Model.Attention = nil }), "It has 144 tensors, the network 126"},
		{"more", "testdata/small.pt", with(func(c *ddpm.Config) { c.Model.ResBlocks = 2 }), "input_blocks.3.0.in_layers.2.weight is of shape"},
		{"out", "testdata/small.pt", with(func(c *ddpm.Config) { c.Loss, c.Model.OutChannels = ddpm.Simple, 3 }), "out.2.weight is of shape [6 8 3 3]; the network's is [3 8 3 3]"},
		{"text", "testdata/losses.golden", smallConfig(), "neither a PyTorch file (.pt) nor safetensors"},
		{"missing", "testdata/none.pt", smallConfig(), "no such file"},
		{"config", "testdata/small.pt", ddpm.Config{}, "config: data is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ddpm.ReadWeights(tt.path, tt.c)
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// Images that are handed over part by part are those of one batch, and the memory they
// come in is used again.
func TestSampleTo(t *testing.T) {
	s, err := ddpm.NewSchedule("cosine", 50)
	if err != nil {
		t.Fatal(err)
	}
	d := ddpm.Gaussian{Mean: 0.1, Var: 0.2, Schedule: s}
	p, err := ddpm.Sampling{Variance: ddpm.FixedSmall, Seed: 3}.In("3,2", 50)
	if err != nil || p.Steps != 5 || p.Respacing != "3,2" {
		t.Fatalf("%+v, %v", p, err)
	}
	want, err := ddpm.Sample(t.Context(), d, s, p, 0, 150, 2, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	var got []float32
	var sizes []int
	if err := ddpm.SampleTo(t.Context(), d, s, p, 0, 150, 2, 2, 1, func(m ddpm.Images) error {
		got, sizes = append(got, m.Pix...), append(sizes, m.N)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want.Pix) || !slices.Equal(sizes, []int{64, 64, 22}) {
		t.Errorf("parts of %v images, or other images", sizes)
	}
	for _, bad := range []string{"0", "51", "x", "30,1", "ddim7x"} {
		if _, err := p.In(bad, 50); err == nil {
			t.Errorf("no error for %q steps", bad)
		}
	}
	if p, err := p.In("20", 50); err != nil || p.Steps != 20 || p.Respacing != "" {
		t.Errorf("%+v, %v", p, err)
	}
}
