package unet

import (
	"context"
	"math"
	"slices"
	"strings"

	"ddpmlab/ddpm/philox"
)

// Key is one tensor of the state dict, with PyTorch's name and shape.
type Key struct {
	Name  string
	Shape []int // convolutions OIHW or OI1, linear layers OI
}

// Len is the number of entries of the tensor.
func (k Key) Len() int {
	n := 1
	for _, d := range k.Shape {
		n *= d
	}
	return n
}

// Keys lists the parameters in state-dict order, which is also their order in
// the flat arrays of the engine.
func (c Config) Keys() []Key {
	var ks []Key
	layer := func(name string, out int, fan ...int) { // weight of fan inputs, and bias
		ks = append(ks, Key{name + ".weight", append([]int{out}, fan...)}, Key{name + ".bias", []int{out}})
	}
	embed := 4 * c.Channels
	layer("time_embed.0", embed, c.Channels)
	layer("time_embed.2", embed, embed)
	for _, b := range c.blocks() {
		switch b.kind {
		case convBlock:
			layer(b.prefix, b.out, b.in, 3, 3)
		case resBlock:
			layer(b.prefix+".in_layers.0", b.in)
			layer(b.prefix+".in_layers.2", b.out, b.in, 3, 3)
			layer(b.prefix+".emb_layers.1", 2*b.out, embed)
			layer(b.prefix+".out_layers.0", b.out)
			layer(b.prefix+".out_layers.3", b.out, b.out, 3, 3)
			if b.in != b.out {
				layer(b.prefix+".skip_connection", b.out, b.in, 1, 1)
			}
		case attention:
			layer(b.prefix+".norm", b.in)
			layer(b.prefix+".qkv", 3*b.in, b.in, 1)
			layer(b.prefix+".proj_out", b.in, b.in, 1)
		}
	}
	width := c.Channels * c.Mult[0]
	layer("out.0", width)
	layer("out.2", c.OutChannels, width, 3, 3)
	return ks
}

// NumParams is the number of trained numbers.
func (c Config) NumParams() int {
	n := 0
	for _, k := range c.Keys() {
		n += k.Len()
	}
	return n
}

// engineShape is the shape of the tensor in the engine: HWIO for convolutions,
// [1, in, out] for linear layers and PyTorch's one-dimensional convolutions.
func (k Key) engineShape() []int {
	switch s := k.Shape; len(s) {
	case 4:
		return []int{s[2], s[3], s[1], s[0]}
	case 2, 3:
		return []int{1, s[1], s[0]}
	default:
		return s
	}
}

// transpose copies a tensor between PyTorch's layout [out, in, taps] and the
// engine's [taps, in, out].
func transpose(k Key, torch, engine []float32, toTorch bool) {
	if len(k.Shape) == 1 {
		if toTorch {
			copy(torch, engine)
		} else {
			copy(engine, torch)
		}
		return
	}
	out, in := k.Shape[0], k.Shape[1]
	taps := k.Len() / out / in
	for o := range out {
		for i := range in {
			for t := range taps {
				a, b := (o*in+i)*taps+t, (t*in+i)*out+o
				if toTorch {
					torch[a] = engine[b]
				} else {
					engine[b] = torch[a]
				}
			}
		}
	}
}

// ToTorch converts a flat array of the engine to the layout of the state dict:
// the tensors of Keys one after another.
func (c Config) ToTorch(flat []float32) []float32 { return c.convert(flat, true) }

// FromTorch converts the tensors of Keys, one after another, to a flat array of
// the engine.
func (c Config) FromTorch(flat []float32) []float32 { return c.convert(flat, false) }

func (c Config) convert(src []float32, toTorch bool) []float32 {
	dst := make([]float32, len(src))
	off := 0
	for _, k := range c.Keys() {
		a, b := src[off:off+k.Len()], dst[off:off+k.Len()]
		if toTorch {
			transpose(k, b, a, true)
		} else {
			transpose(k, a, b, false)
		}
		off += k.Len()
	}
	return dst
}

// Init returns initial weights as PyTorch and ADM choose them: weights and biases
// uniform in ±1/sqrt(fan in) (Kaiming uniform with a = sqrt 5), group norms 1 and
// 0, and zero where ADM zeroes a layer: the last convolution of every residual
// block, of the network, and the projection of every attention. The numbers
// depend on seed and the name of the tensor only.
func (c Config) Init(seed uint64) []float32 {
	flat, err := c.InitContext(context.Background(), seed)
	if err != nil {
		panic(err) // there is no other error than the context's
	}
	return flat
}

// InitContext is Init that ends with ctx, whose error it returns: the 57 million weights of
// the paper's networks take seconds.
func (c Config) InitContext(ctx context.Context, seed uint64) ([]float32, error) {
	flat := make([]float32, c.NumParams())
	rest := flat
	var bound float64 // of the layer; its weight comes before its bias
	for _, k := range c.Keys() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		v := make([]float32, k.Len())
		module := k.Name[:strings.LastIndexByte(k.Name, '.')]
		isWeight := strings.HasSuffix(k.Name, ".weight")
		switch {
		case isNorm(module):
			if isWeight {
				fill(v, 1)
			}
		case isZeroed(module):
		default:
			if isWeight {
				bound = 1 / math.Sqrt(float64(k.Len()/k.Shape[0]))
			}
			philox.Key(seed, "init "+k.Name).Uniforms(v, 0, 0)
			for i, u := range v {
				v[i] = float32(bound) * (2*u - 1)
			}
		}
		transpose(k, v, rest[:k.Len()], false)
		rest = rest[k.Len():]
	}
	return flat, nil
}

func isNorm(module string) bool {
	return module == "out.0" || hasAnySuffix(module, ".in_layers.0", ".out_layers.0", ".norm")
}

func isZeroed(module string) bool {
	return module == "out.2" || hasAnySuffix(module, ".out_layers.3", ".proj_out")
}

func hasAnySuffix(s string, suffixes ...string) bool {
	return slices.ContainsFunc(suffixes, func(x string) bool { return strings.HasSuffix(s, x) })
}

func fill(v []float32, x float32) {
	for i := range v {
		v[i] = x
	}
}
