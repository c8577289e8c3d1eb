package inception_test

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/inception"
	"ddpmlab/ddpm/tensorfile"
)

// noise is n numbers in [-1, 1), those of testdata/goldens.py.
func noise(n int, seed uint32) []float32 {
	v := make([]float32, n)
	for i := range v {
		x := uint32(i) + seed*0x9E3779B9
		x = (x ^ x>>16) * 0x7FEB352D
		x = (x ^ x>>15) * 0x846CA68B
		x ^= x >> 16
		v[i] = float32(x>>8)/(1<<23) - 1
	}
	return v
}

// torchWeights is the state dict of testdata/goldens.py.
func torchWeights() []tensorfile.Tensor {
	var all []tensorfile.Tensor
	add := func(name string, shape ...int) {
		all = append(all, tensorfile.New(name, shape, make([]float32, product(shape))))
	}
	for _, p := range inception.Shapes() {
		name, ok := strings.CutSuffix(p.Name, ".weight")
		switch s := p.Shape; {
		case name == "fc":
			add("fc.weight", inception.Classes, inception.Pool)
			add("fc.bias", inception.Classes)
		case ok:
			add(name+".conv.weight", s[3], s[2], s[0], s[1])
			for _, part := range []string{"weight", "bias", "running_mean", "running_var"} {
				add(name+".bn."+part, s[3])
			}
		}
	}
	slices.SortFunc(all, func(a, b tensorfile.Tensor) int { return cmp.Compare(a.Name, b.Name) })
	for i, t := range all {
		v := noise(t.Len(), uint32(i))
		for j := range v {
			switch {
			case strings.HasSuffix(t.Name, "conv.weight") || t.Name == "fc.weight":
				v[j] *= float32(math.Sqrt(6 / float64(t.Len()/t.Shape[0])))
			case strings.HasSuffix(t.Name, "bn.weight") || strings.HasSuffix(t.Name, "running_var"):
				v[j] = 1 + v[j]/2
			default:
				v[j] /= 4
			}
		}
		all[i] = tensorfile.New(t.Name, t.Shape, v)
	}
	return all
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// golden is what PyTorch has of one tensor.
type golden struct {
	Shape   []int
	RMS     float64
	Mean    float64
	Entries []float64
}

// check compares x with g, to 1e-4 of its root mean square.
func (g golden) check(t *testing.T, name string, shape []int, x []float32) {
	t.Helper()
	const tolerance = 1e-4
	if !slices.Equal(shape, g.Shape) {
		t.Errorf("%s: shape %v, want %v", name, shape, g.Shape)
		return
	}
	var sum, squares float64
	for _, v := range x {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	if rms := math.Sqrt(squares / float64(len(x))); !(math.Abs(rms-g.RMS) <= tolerance*g.RMS) {
		t.Errorf("%s: root mean square %.7g, want %.7g", name, rms, g.RMS)
	}
	if mean := sum / float64(len(x)); !(math.Abs(mean-g.Mean) <= tolerance*g.RMS) {
		t.Errorf("%s: mean %.7g, want %.7g", name, mean, g.Mean)
	}
	for i, want := range g.Entries {
		at := i * (len(x) - 1) / (len(g.Entries) - 1)
		if got := float64(x[at]); !(math.Abs(got-want) <= tolerance*g.RMS) {
			t.Errorf("%s: entry %d is %.7g, want %.7g (root mean square %.3g)", name, at, got, want, g.RMS)
		}
	}
}

func readGoldens(t *testing.T) (layers map[string]golden, outputs [3]golden) {
	t.Helper()
	text, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Layers                map[string]golden
		Pool, Spatial, Logits golden
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Layers, [3]golden{file.Pool, file.Spatial, file.Logits}
}

// goldenImages are the two images of testdata/goldens.py, 24×32, as the network takes them.
func goldenImages() []float32 {
	x := noise(2*24*32*3, 1000)
	for i, v := range x {
		x[i] = float32(math.Floor(float64(v+1)*128)-128) / 128
	}
	return x
}

// TestLayersAgainstPyTorch compares all layers with those of pytorch-fid's network with the
// same random weights.
func TestLayersAgainstPyTorch(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 24 million weights")
	}
	layers, outputs := readGoldens(t)
	weights, err := inception.FromTorch(torchWeights())
	if err != nil {
		t.Fatal(err)
	}
	for _, isa := range []string{"avx512", "avx2", "baseline"} {
		t.Run(isa, func(t *testing.T) {
			t.Setenv("DDPMLAB_CPU", isa)
			dev, err := cpu.New(0)
			if err != nil {
				t.Skip(err)
			}
			defer dev.Close()
			s, err := dev.NewState(len(weights))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Set(engine.Weights, weights)

			g := engine.NewGraph()
			x := g.Input("images", 2, 24, 32, 3)
			net := inception.Build(g, x)
			var nodes []*op.Node
			for _, l := range net.Layers {
				nodes = append(nodes, l.Node)
			}
			p, err := engine.Compile(engine.Spec{Inputs: []*op.Node{x}, Params: net.Params, Outputs: nodes})
			if err != nil {
				t.Fatal(err)
			}
			e, err := dev.Load(p, s)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			e.Set(0, goldenImages())
			if err := e.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			for i, l := range net.Layers {
				v := make([]float32, op.Size(l.Node.Shape()))
				e.Get(i, v)
				want, ok := layers[l.Name]
				if !ok {
					t.Errorf("PyTorch has no layer %s", l.Name)
					continue
				}
				want.check(t, l.Name, l.Node.Shape(), v)
			}
			if len(net.Layers) != len(layers) {
				t.Errorf("%d layers, PyTorch has %d", len(net.Layers), len(layers))
			}

			// As it is used, when nothing between is asked for and blocks are written in place.
			used, err := inception.Load(dev, s, 2, 24, 32)
			if err != nil {
				t.Fatal(err)
			}
			defer used.Close()
			used.Set(0, goldenImages())
			if err := used.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			for i, name := range []string{"pool", "spatial", "logits"} {
				v := make([]float32, product(outputs[i].Shape))
				used.Get(i, v)
				outputs[i].check(t, name, outputs[i].Shape, v)
			}
			if text := used.Explain(); strings.Contains(text, " copy ") && strings.Contains(text, "concat") {
				t.Errorf("a concatenation is copied:\n%s", text)
			}
		})
	}
}

func TestFromTorchRefuses(t *testing.T) {
	good := []tensorfile.Tensor{tensorfile.New("Conv2d_1a_3x3.conv.weight", []int{32, 3, 3, 3}, make([]float32, 864))}
	for _, part := range []string{"weight", "bias", "running_mean", "running_var"} {
		good = append(good, tensorfile.New("Conv2d_1a_3x3.bn."+part, []int{32}, make([]float32, 32)))
	}
	nan := slices.Clone(good)
	nan[2] = tensorfile.New(nan[2].Name, []int{32}, slices.Repeat([]float32{float32(math.NaN())}, 32))
	for _, tt := range []struct {
		name, want string
		tensors    []tensorfile.Tensor
	}{
		{"nothing", "there is no Conv2d_1a_3x3.conv.weight", nil},
		{"a shape", "has shape [32 3 9], want [32 3 3 3]", []tensorfile.Tensor{tensorfile.New("Conv2d_1a_3x3.conv.weight", []int{32, 3, 9}, make([]float32, 864))}},
		{"no number", "Conv2d_1a_3x3: its weights and normalisation give NaN", nan},
		{"one layer", "there is no Conv2d_2a_3x3.conv.weight", good},
	} {
		if _, err := inception.FromTorch(tt.tensors); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}
