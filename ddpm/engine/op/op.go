// Package op is the vocabulary of the engine: a small set of Gorgonia
// operations that is closed under differentiation, so that an expression can
// be differentiated any number of times (the gradient penalty of Eq. 9 needs
// twice).
//
// Tensors are NHWC, convolution weights HWIO ([kh, kw, Cin, Cout]), linear
// weights [1, Cin, Cout]. A node only describes a value; nothing here computes.
// Devices (packages ref, cpu, cuda) do.
//
// An operation is a [Kind] with shapes and a few attributes. What the engine
// knows about a kind stands in one row of the table in rules.go: its name, its
// number of inputs, its derivative, and, for a fused kind, an expansion into
// simpler ones. The derivative of a fused kind that has no rule of its own is
// the derivative of its expansion, so every kind has derivatives of any order,
// but for MaxPool, MeanPool and Resize, which refuse.
package op

import (
	"fmt"
	"hash"
	"hash/fnv"
	"slices"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Node is a value of an expression.
type Node = gorgonia.Node

// Op is one operation of an expression: a kind, the shapes that go in and come
// out, and attributes whose meaning depends on the kind (see the constructor of
// the kind). It implements [gorgonia.SDOp].
type Op struct {
	Kind Kind
	In   []tensor.Shape
	Out  tensor.Shape
	I    [4]int    // stride, padding, axes, groups, offsets, ...
	F    float64   // factor, exponent, probability, ...
	Key  [2]uint32 // key of a random stream

	salt int // makes the hash of a node differ from one it collides with
}

// Attribute slots in I, by kind.
const (
	stride, padding = 0, 1 // convolutions, pools
	paddingX        = 2    // convolutions
	window          = 3    // pools
	transA, transB  = 0, 1 // MatMul
	axesOf, groupOf = 0, 1 // Broadcast, Sum; groupOf also for normalisations
	offset          = 0    // Slice, Pad
	heads           = 0    // SplitHeads, MergeHeads, attention kinds
	copyNo, stopped = 0, 1 // Copy
)

// Stride and Padding are the geometry of a convolution or pool, in pixels: Padding
// is above and below.
func (o *Op) Stride() int  { return o.I[stride] }
func (o *Op) Padding() int { return o.I[padding] }

// PaddingX is the padding of a convolution on the left and the right.
func (o *Op) PaddingX() int { return o.I[paddingX] }

// Window is the height and width of a pool's window.
func (o *Op) Window() int { return o.I[window] }

// TransA and TransB tell whether a MatMul reads its operands transposed.
func (o *Op) TransA() bool { return o.I[transA] != 0 }
func (o *Op) TransB() bool { return o.I[transB] != 0 }

// Axes is how a Broadcast or Sum maps small to large.
func (o *Op) Axes() Axes { return Axes(o.I[axesOf]) }

// Groups is the number of channel groups of a normalisation, or of a
// PerGroup Broadcast or Sum.
func (o *Op) Groups() int { return o.I[groupOf] }

// Offset is the first channel of a Slice or Pad.
func (o *Op) Offset() int { return o.I[offset] }

// Heads is the number of heads of an attention kind, SplitHeads or MergeHeads.
func (o *Op) Heads() int { return o.I[heads] }

// apply makes the node of an operation. Gorgonia merges nodes that it believes
// to be equal, and tells by a 32-bit hash: with thousands of nodes two unequal
// ones do meet. So the node's children are compared with the ones passed, and a
// collision is resolved by hashing again with a salt.
func apply(o Op, in ...*Node) *Node {
	o.In = make([]tensor.Shape, len(in))
	for i, x := range in {
		o.In[i] = x.Shape().Clone()
	}
	for ; ; o.salt++ {
		candidate := o
		n, err := gorgonia.ApplyOp(&candidate, in...)
		if err != nil {
			panic(fmt.Sprintf("op: %v: %v", &o, err))
		}
		if slices.Equal(Children(n), in) {
			return n
		}
	}
}

// Children returns the inputs of n, in order; nil for a leaf.
func Children(n *Node) []*Node {
	it := n.Graph().From(n.ID())
	if it == nil {
		return nil
	}
	var kids []*Node
	for it.Next() {
		kids = append(kids, it.Node().(*Node))
	}
	return kids
}

// Of returns the operation of n, nil for a leaf or a foreign operation.
func Of(n *Node) *Op {
	o, _ := n.Op().(*Op)
	return o
}

// Arity, Type, InferShape and the rest of this file are gorgonia.SDOp.
func (o *Op) Arity() int { return len(o.In) }

// Type is a concrete function type: shapes are decided by the constructors, so
// Gorgonia has nothing left to infer.
func (o *Op) Type() hm.Type {
	ts := make([]hm.Type, 0, len(o.In)+1)
	for _, s := range append(slices.Clone(o.In), o.Out) {
		if s.Dims() == 0 {
			ts = append(ts, dtype)
		} else {
			ts = append(ts, gorgonia.TensorType{Dims: s.Dims(), Of: dtype})
		}
	}
	return hm.NewFnType(ts...)
}

// dtype labels every node. Devices decide what they compute in: ref in float64,
// cpu in float32.
var dtype = tensor.Float32

// InferShape returns the shape that the constructor decided.
func (o *Op) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) { return o.Out.Clone(), nil }

// Do refuses: expressions are compiled by package engine, not interpreted by Gorgonia.
func (o *Op) Do(...gorgonia.Value) (gorgonia.Value, error) {
	return nil, fmt.Errorf("op: %v is run by a device of package engine, not by a Gorgonia machine", o)
}

// ReturnsPtr, CallsExtern and OverwritesInput tell Gorgonia's own machines
// nothing of interest.
func (o *Op) ReturnsPtr() bool { return true }

// CallsExtern reports false; see ReturnsPtr.
func (o *Op) CallsExtern() bool { return false }

// OverwritesInput reports -1: no input; see ReturnsPtr.
func (o *Op) OverwritesInput() int { return -1 }

// WriteHash writes all that makes the operation what it is, so that equal
// expressions become one node.
func (o *Op) WriteHash(h hash.Hash) { fmt.Fprintf(h, "%v|%d", o, o.salt) }

// Hashcode is the hash of WriteHash.
func (o *Op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

// String names the operation with shapes and attributes.
func (o *Op) String() string {
	return fmt.Sprintf("%v%v->%v%v{%g,%x}", o.Kind, o.In, o.Out, o.I, o.F, o.Key)
}

// Equal reports whether o and p compute the same function of their inputs.
func (o *Op) Equal(p *Op) bool {
	return o.Kind == p.Kind && o.I == p.I && o.F == p.F && o.Key == p.Key && slices.Equal(o.Out, p.Out) &&
		slices.EqualFunc(o.In, p.In, func(a, b tensor.Shape) bool { return slices.Equal(a, b) })
}

// DiffWRT reports for each input whether a derivative with respect to it exists.
func (o *Op) DiffWRT(n int) []bool {
	d := make([]bool, n)
	for i := range d {
		d[i] = i < rules[o.Kind].smooth
	}
	return d
}

// SymDiff returns the gradient with respect to each input, given the gradient g
// of the output y; nil where there is none.
func (o *Op) SymDiff(in gorgonia.Nodes, y, g *Node) (gorgonia.Nodes, error) {
	r := rules[o.Kind]
	switch {
	case r.diff != nil:
		grads := r.diff(o, in, y, g)
		return append(grads, make([]*Node, len(in)-len(grads))...), nil
	case r.expand != nil:
		return o.diffExpansion(in, g)
	}
	return nil, fmt.Errorf("op: %v has no derivative", o.Kind)
}

// diffExpansion differentiates the expansion of o.
func (o *Op) diffExpansion(in gorgonia.Nodes, g *Node) (gorgonia.Nodes, error) {
	own := distinct(in)
	smooth := own[:rules[o.Kind].smooth]
	grads, err := VJP(rules[o.Kind].expand(o, own), g, smooth)
	if err != nil {
		return nil, fmt.Errorf("op: %v: %w", o.Kind, err)
	}
	return append(grads, make([]*Node, len(in)-len(grads))...), nil
}

// distinct copies an input that is passed twice: its two roles have separate
// gradients.
func distinct(in []*Node) []*Node {
	own := slices.Clone(in)
	for i, x := range in {
		if slices.Contains(own[:i], x) {
			own[i] = apply(Op{Kind: KindCopy, Out: x.Shape().Clone(), I: [4]int{copyNo: i}}, x)
		}
	}
	return own
}

// Expand returns an equivalent of o, applied to in, in simpler operations; nil
// for a primitive kind.
func (o *Op) Expand(in ...*Node) *Node {
	if f := rules[o.Kind].expand; f != nil {
		return f(o, distinct(in))
	}
	return nil
}
