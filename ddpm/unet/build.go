package unet

import (
	"fmt"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/philox"
)

// Net is a network as an expression.
type Net struct {
	Out    *op.Node   // [N, Size, Size, OutChannels]
	Params []*op.Node // in the order of Config.Keys
}

// Build adds the network to g: x [N, Size, Size, InChannels] at the time steps t [N]
// (the original indices 0..T-1, also after respacing). counters [N,4] feeds the
// dropout (see op.Dropout), whose masks also depend on seed; nil leaves dropout
// out, for evaluation.
func Build(g *engine.Graph, c Config, x, t, counters *op.Node, seed uint64) (*Net, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("unet: %w", err)
	}
	if s, n := x.Shape(), t.Shape(); s.Dims() != 4 || n.Dims() != 1 || s[0] != n[0] ||
		s[1] != c.Size || s[2] != c.Size || s[3] != c.InChannels {
		return nil, fmt.Errorf("unet: images %v at time steps %v, want [N, %d, %d, %d] at [N]", s, n, c.Size, c.Size, c.InChannels)
	}
	b := &builder{c: c, n: x.Shape()[0], params: map[string]*op.Node{}, counters: counters, seed: seed}
	net := &Net{}
	for _, k := range c.Keys() {
		p := g.Param(k.Name, k.engineShape()...)
		b.params[k.Name] = p
		net.Params = append(net.Params, p)
	}

	emb := b.linear("time_embed.0", op.Reshape(op.TimeEmbedding(t, c.Channels), 1, b.n, c.Channels))
	emb = b.linear("time_embed.2", op.SiLU(emb))
	b.emb = op.SiLU(emb) // every residual block starts with this SiLU

	h := x
	var skips []*op.Node
	for _, m := range c.blocks() {
		if m.pops {
			h = op.Concat(h, skips[len(skips)-1])
			skips = skips[:len(skips)-1]
		}
		switch m.kind {
		case convBlock:
			h = b.conv(m.prefix, h)
		case resBlock:
			h = b.residual(m, h)
		case attention:
			h = b.attend(m.prefix, h)
		}
		if m.pushes {
			skips = append(skips, h)
		}
	}
	net.Out = b.conv("out.2", b.normSiLU("out.0", h))
	return net, nil
}

type builder struct {
	c        Config
	n        int // images
	params   map[string]*op.Node
	emb      *op.Node // [1, N, 4·Channels]
	counters *op.Node
	seed     uint64
}

func (b *builder) weight(module string) *op.Node { return b.params[module+".weight"] }
func (b *builder) bias(module string) *op.Node   { return b.params[module+".bias"] }

// conv keeps the size of the image: 3x3 with padding 1, or 1x1.
func (b *builder) conv(module string, x *op.Node) *op.Node {
	w := b.weight(module)
	y := op.Conv(x, w, 1, w.Shape()[0]/2)
	return op.Add(y, op.Broadcast(b.bias(module), op.PerChannel, y.Shape(), 0))
}

// linear maps the last axis of x [1, M, in].
func (b *builder) linear(module string, x *op.Node) *op.Node {
	y := op.MatMul(x, b.weight(module), false, false)
	return op.Add(y, op.Broadcast(b.bias(module), op.PerChannel, y.Shape(), 0))
}

// perSample repeats a channel vector [C] for every image: [N, C].
func (b *builder) perSample(v *op.Node) *op.Node {
	return op.Broadcast(v, op.PerChannel, tensor.Shape{b.n, v.Shape()[0]}, 0)
}

func (b *builder) normSiLU(module string, x *op.Node) *op.Node {
	return op.GNAct(x, b.perSample(b.weight(module)), b.perSample(b.bias(module)), b.c.Groups)
}

// residual is ADM's residual block with adaptive group normalisation:
// h = GN(h)·(1 + scale) + shift, scale and shift from the time embedding.
func (b *builder) residual(m block, x *op.Node) *op.Node {
	h := b.normSiLU(m.prefix+".in_layers.0", x)
	switch m.resample { // between activation and convolution, and on the skip path
	case down:
		h, x = op.AvgPool(h), op.AvgPool(x)
	case up:
		h, x = op.Upsample(h), op.Upsample(x)
	}
	h = b.conv(m.prefix+".in_layers.2", h)

	e := b.linear(m.prefix+".emb_layers.1", b.emb) // [1, N, 2·out]
	scale := op.Reshape(op.Slice(e, 0, m.out), b.n, m.out)
	shift := op.Reshape(op.Slice(e, m.out, m.out), b.n, m.out)
	scale = op.AddConst(scale, 1)
	norm := m.prefix + ".out_layers.0"
	h = op.GNAct(h,
		op.Mul(b.perSample(b.weight(norm)), scale),
		op.Add(op.Mul(b.perSample(b.bias(norm)), scale), shift), b.c.Groups)
	if b.counters != nil && b.c.Dropout > 0 {
		h = op.Dropout(h, b.counters, b.c.Dropout, philox.Key(b.seed, "dropout "+m.prefix))
	}
	h = b.conv(m.prefix+".out_layers.3", h)
	if m.in != m.out {
		x = b.conv(m.prefix+".skip_connection", x)
	}
	return op.Add(x, h)
}

// attend is multi-head self-attention over the pixels, with a residual. Q, K
// and V are split first, then the heads ("new attention order").
func (b *builder) attend(prefix string, x *op.Node) *op.Node {
	s := x.Shape()
	n, p, c := s[0], s[1]*s[2], s[3]

	h := op.GroupNorm(x, b.c.Groups)
	h = op.Mul(h, op.Broadcast(b.weight(prefix+".norm"), op.PerChannel, s, 0))
	h = op.Add(h, op.Broadcast(b.bias(prefix+".norm"), op.PerChannel, s, 0))
	qkv := op.Reshape(b.linear(prefix+".qkv", op.Reshape(h, 1, n*p, c)), n, p, 3*c)
	// The reference scales q and k by d^(-1/4) each, for 16 bits; the product is the same.
	a := op.Attention(qkv, c/b.c.HeadChannels)
	a = b.linear(prefix+".proj_out", op.Reshape(a, 1, n*p, c))
	return op.Add(x, op.Reshape(a, s...))
}
