// Package inception is the network of the Fréchet inception distance: Inception v3
// (Szegedy et al., 2016) as TensorFlow's archive of 2015-12-05 has it, an expression of
// package op, and the reading of its weights.
//
// The names of layers and weights are torchvision's, which pytorch-fid's file of the
// weights uses. It differs from torchvision's network in three places: average pools do
// not count padding, the pool of the last block, Mixed_7c, takes the maximum, and there
// are 1008 classes.
package inception

import (
	"fmt"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// What the network takes and gives.
const (
	Size    = 299  // height and width that images are resized to
	Pool    = 2048 // features behind the last pool, pool_3
	Spatial = spatialSide * spatialSide * spatialChannels
	Classes = 1008

	spatialSide, spatialChannels = 17, 7
)

// Net is the network as an expression.
type Net struct {
	Params  []*op.Node // in the order of Shapes
	Pool    *op.Node   // [n, 2048], the mean over the pixels of the last block
	Spatial *op.Node   // [n, 2023], 17·17 pixels of the first 7 channels of Mixed_6d's 1x1 branch, as sFID takes
	Logits  *op.Node   // [n, 1008], without the bias, as the Inception score takes
	Layers  []Layer    // what there is between, in order
}

// Layer is a result inside the network, [n, h, w, c].
type Layer struct {
	Name string
	Node *op.Node
}

// Build writes the network of images x [n, h, w, 3] into g, of numbers (v-128)/128 for
// bytes v. They are resized to 299×299 as TensorFlow 1 does it.
func Build(g *engine.Graph, x *op.Node) Net {
	b := &builder{g: g}
	s := x.Shape()
	if s[1] != Size || s[2] != Size {
		x = b.layer("resize", op.Resize(x, Size, Size))
	}
	x = b.conv(x, "Conv2d_1a_3x3", 32, 3, 3, stride(2), valid)
	x = b.conv(x, "Conv2d_2a_3x3", 32, 3, 3, valid)
	x = b.conv(x, "Conv2d_2b_3x3", 64, 3, 3)
	x = op.MaxPool(x, 3, 2, 0)
	x = b.conv(x, "Conv2d_3b_1x1", 80, 1, 1)
	x = b.conv(x, "Conv2d_4a_3x3", 192, 3, 3, valid)
	x = op.MaxPool(x, 3, 2, 0)
	x = b.blockA(x, "Mixed_5b", 32)
	x = b.blockA(x, "Mixed_5c", 64)
	x = b.blockA(x, "Mixed_5d", 64)
	x = b.blockB(x, "Mixed_6a")
	x = b.blockC(x, "Mixed_6b", 128)
	x = b.blockC(x, "Mixed_6c", 160)
	x = b.blockC(x, "Mixed_6d", 160)
	first := op.Slice(x, 0, spatialChannels) // the 1x1 branch comes first
	x = b.blockC(x, "Mixed_6e", 192)
	x = b.blockD(x, "Mixed_7a")
	x = b.blockE(x, "Mixed_7b", op.MeanPool(x, 3, 1, 1))
	x = b.blockE(x, "Mixed_7c", op.MaxPool(x, 3, 1, 1))

	n, c := s[0], x.Shape()[3]
	pool := op.Scale(op.Sum(x, op.PerSampleChannel, 0), 1/float64(x.Shape()[1]*x.Shape()[2]))
	logits := op.MatMul(op.Reshape(pool, 1, n, c), b.param("fc.weight", 1, c, Classes), false, false)
	return Net{
		Params: b.params, Layers: b.layers,
		Pool: pool, Spatial: op.Reshape(first, n, Spatial), Logits: op.Reshape(logits, n, Classes),
	}
}

type builder struct {
	g      *engine.Graph
	params []*op.Node
	layers []Layer
}

func (b *builder) param(name string, shape ...int) *op.Node {
	p := b.g.Param(name, shape...)
	b.params = append(b.params, p)
	return p
}

func (b *builder) layer(name string, x *op.Node) *op.Node {
	b.layers = append(b.layers, Layer{name, x})
	return x
}

// geometry of a convolution beyond its kernel: by default stride 1, padded to keep the size.
type geometry struct {
	stride int
	valid  bool // not padded
}

type option func(*geometry)

func stride(n int) option { return func(g *geometry) { g.stride = n } }
func valid(g *geometry)   { g.valid = true }

// conv is a convolution of k outputs with the normalisation folded into its weights, and ReLU.
func (b *builder) conv(x *op.Node, name string, k, kh, kw int, options ...option) *op.Node {
	g := geometry{stride: 1}
	for _, o := range options {
		o(&g)
	}
	padY, padX := (kh-1)/2, (kw-1)/2
	if g.valid {
		padY, padX = 0, 0
	}
	y := op.ConvPadded(x, b.param(name+".weight", kh, kw, x.Shape()[3], k), g.stride, padY, padX)
	y = op.Add(y, op.Broadcast(b.param(name+".bias", k), op.PerChannel, y.Shape(), 0))
	return b.layer(name, op.ReLU(y))
}

// join is a block's output.
func (b *builder) join(name string, branches ...*op.Node) *op.Node {
	x := branches[0]
	for _, y := range branches[1:] {
		x = op.Concat(x, y)
	}
	return b.layer(name, x)
}

// blockA works at 35×35 pixels.
func (b *builder) blockA(x *op.Node, name string, pooled int) *op.Node {
	one := b.conv(x, name+".branch1x1", 64, 1, 1)
	five := b.conv(x, name+".branch5x5_1", 48, 1, 1)
	five = b.conv(five, name+".branch5x5_2", 64, 5, 5)
	double := b.conv(x, name+".branch3x3dbl_1", 64, 1, 1)
	double = b.conv(double, name+".branch3x3dbl_2", 96, 3, 3)
	double = b.conv(double, name+".branch3x3dbl_3", 96, 3, 3)
	pool := b.conv(op.MeanPool(x, 3, 1, 1), name+".branch_pool", pooled, 1, 1)
	return b.join(name, one, five, double, pool)
}

// blockB goes from 35×35 to 17×17 pixels.
func (b *builder) blockB(x *op.Node, name string) *op.Node {
	three := b.conv(x, name+".branch3x3", 384, 3, 3, stride(2), valid)
	double := b.conv(x, name+".branch3x3dbl_1", 64, 1, 1)
	double = b.conv(double, name+".branch3x3dbl_2", 96, 3, 3)
	double = b.conv(double, name+".branch3x3dbl_3", 96, 3, 3, stride(2), valid)
	return b.join(name, three, double, op.MaxPool(x, 3, 2, 0))
}

// blockC works at 17×17 pixels, with c channels between factors of 7×7.
func (b *builder) blockC(x *op.Node, name string, c int) *op.Node {
	one := b.conv(x, name+".branch1x1", 192, 1, 1)
	seven := b.conv(x, name+".branch7x7_1", c, 1, 1)
	seven = b.conv(seven, name+".branch7x7_2", c, 1, 7)
	seven = b.conv(seven, name+".branch7x7_3", 192, 7, 1)
	double := b.conv(x, name+".branch7x7dbl_1", c, 1, 1)
	double = b.conv(double, name+".branch7x7dbl_2", c, 7, 1)
	double = b.conv(double, name+".branch7x7dbl_3", c, 1, 7)
	double = b.conv(double, name+".branch7x7dbl_4", c, 7, 1)
	double = b.conv(double, name+".branch7x7dbl_5", 192, 1, 7)
	pool := b.conv(op.MeanPool(x, 3, 1, 1), name+".branch_pool", 192, 1, 1)
	return b.join(name, one, seven, double, pool)
}

// blockD goes from 17×17 to 8×8 pixels.
func (b *builder) blockD(x *op.Node, name string) *op.Node {
	three := b.conv(x, name+".branch3x3_1", 192, 1, 1)
	three = b.conv(three, name+".branch3x3_2", 320, 3, 3, stride(2), valid)
	seven := b.conv(x, name+".branch7x7x3_1", 192, 1, 1)
	seven = b.conv(seven, name+".branch7x7x3_2", 192, 1, 7)
	seven = b.conv(seven, name+".branch7x7x3_3", 192, 7, 1)
	seven = b.conv(seven, name+".branch7x7x3_4", 192, 3, 3, stride(2), valid)
	return b.join(name, three, seven, op.MaxPool(x, 3, 2, 0))
}

// blockE works at 8×8 pixels, with a pool of x of its own.
func (b *builder) blockE(x *op.Node, name string, pool *op.Node) *op.Node {
	one := b.conv(x, name+".branch1x1", 320, 1, 1)
	three := b.conv(x, name+".branch3x3_1", 384, 1, 1)
	threeA := b.conv(three, name+".branch3x3_2a", 384, 1, 3)
	threeB := b.conv(three, name+".branch3x3_2b", 384, 3, 1)
	double := b.conv(x, name+".branch3x3dbl_1", 448, 1, 1)
	double = b.conv(double, name+".branch3x3dbl_2", 384, 3, 3)
	doubleA := b.conv(double, name+".branch3x3dbl_3a", 384, 1, 3)
	doubleB := b.conv(double, name+".branch3x3dbl_3b", 384, 3, 1)
	pool = b.conv(pool, name+".branch_pool", 192, 1, 1)
	return b.join(name, one, threeA, threeB, doubleA, doubleB, pool)
}

// Load puts the network for n images of h×w pixels, and c = 3 colours, on a device. Its
// only input is them; its outputs are Pool, Spatial and Logits.
func Load(dev engine.Device, s engine.State, n, h, w int) (engine.Exec, error) {
	g := engine.NewGraph()
	x := g.Input("images", n, h, w, 3)
	net := Build(g, x)
	p, err := engine.Compile(engine.Spec{Inputs: []*op.Node{x}, Params: net.Params, Outputs: []*op.Node{net.Pool, net.Spatial, net.Logits}})
	if err != nil {
		return nil, fmt.Errorf("inception: %w", err)
	}
	e, err := dev.Load(p, s)
	if err != nil {
		return nil, fmt.Errorf("inception: %w", err)
	}
	return e, nil
}
