package op

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"
)

// The constructors of this file check shapes and panic when they do not fit: a
// wrong shape is a mistake in the program that builds the expression, not in
// its data.

func check(ok bool, format string, args ...any) {
	if !ok {
		panic("op: " + fmt.Sprintf(format, args...))
	}
}

// Conv is the convolution of x [N,H,W,C] with w [kh,kw,C,K], zero padding pad
// on every side: [N,H',W',K] with H' = (H+2·pad-kh)/stride+1.
func Conv(x, w *Node, strideBy, pad int) *Node { return ConvPadded(x, w, strideBy, pad, pad) }

// ConvPadded is Conv with padding of its own for rows, padY above and below, and
// columns, padX left and right.
func ConvPadded(x, w *Node, strideBy, padY, padX int) *Node {
	s, k := x.Shape(), w.Shape()
	check(s.Dims() == 4 && k.Dims() == 4 && s[3] == k[2], "convolve %v with %v", s, k)
	out := tensor.Shape{s[0], (s[1]+2*padY-k[0])/strideBy + 1, (s[2]+2*padX-k[1])/strideBy + 1, k[3]}
	return apply(Op{Kind: KindConv, Out: out, I: [4]int{stride: strideBy, padding: padY, paddingX: padX}}, x, w)
}

// MatMul is the product of a [B,M,K] and b [B,K,N], for each of the B
// matrices: [B,M,N]. With ta (tb) the operand is stored [B,K,M] ([B,N,K]).
func MatMul(a, b *Node, ta, tb bool) *Node {
	as, bs := a.Shape(), b.Shape()
	check(as.Dims() == 3 && bs.Dims() == 3 && as[0] == bs[0], "multiply %v by %v", as, bs)
	m, k, k2, n := as[1], as[2], bs[1], bs[2]
	var attr [4]int
	if ta {
		m, k, attr[transA] = k, m, 1
	}
	if tb {
		k2, n, attr[transB] = n, k2, 1
	}
	check(k == k2, "multiply %v by %v (transposed: %v, %v)", as, bs, ta, tb)
	return apply(Op{Kind: KindMatMul, Out: tensor.Shape{as[0], m, n}, I: attr}, a, b)
}

func binary(k Kind, a, b *Node) *Node {
	check(slices.Equal(a.Shape(), b.Shape()), "%v of %v and %v", k, a.Shape(), b.Shape())
	return apply(Op{Kind: k, Out: a.Shape().Clone()}, a, b)
}

func unary(k Kind, f float64, a *Node) *Node {
	return apply(Op{Kind: k, Out: a.Shape().Clone(), F: f}, a)
}

// Add is a + b, of equal shapes.
func Add(a, b *Node) *Node { return binary(KindAdd, a, b) }

// Sub is a - b, of equal shapes.
func Sub(a, b *Node) *Node { return Add(a, Scale(b, -1)) }

// Mul is a·b, entry by entry, of equal shapes.
func Mul(a, b *Node) *Node { return binary(KindMul, a, b) }

// Scale is f·a.
func Scale(a *Node, f float64) *Node { return unary(KindScale, f, a) }

// AddConst is a + f.
func AddConst(a *Node, f float64) *Node { return unary(KindAddConst, f, a) }

// Pow is a^p, entry by entry.
func Pow(a *Node, p float64) *Node { return unary(KindPow, p, a) }

// Log is log(max(a, floor)), entry by entry, floor above 0; it is constant below floor.
func Log(a *Node, floor float64) *Node {
	check(floor > 0, "logarithm with the floor %g", floor)
	return unary(KindLog, floor, a)
}

// Exp is e^a: sigmoid(a)/sigmoid(-a), which keeps its relative accuracy on both sides of 0.
func Exp(a *Node) *Node { return Mul(Sigmoid(a), Pow(Sigmoid(Scale(a, -1)), -1)) }

// Stop is a, taken for a constant by differentiation ("stop-gradient"); it costs nothing.
func Stop(a *Node) *Node {
	return apply(Op{Kind: KindCopy, Out: a.Shape().Clone(), I: [4]int{stopped: 1}}, a)
}

// Fill is f everywhere, in the shape of like.
func Fill(like *Node, f float64) *Node { return unary(KindFill, f, like) }

// ReLU is max(x, 0); its derivative at 0 is 0.
func ReLU(x *Node) *Node { return unary(KindReLU, 0, x) }

// Sigmoid is 1/(1+exp(-x)).
func Sigmoid(x *Node) *Node { return unary(KindSigmoid, 0, x) }

// SiLU is x·sigmoid(x) (Elfwing et al., 2018).
func SiLU(x *Node) *Node { return unary(KindSiLU, 0, x) }

// Softmax is the softmax over the last axis.
func Softmax(x *Node) *Node { return unary(KindSoftmax, 0, x) }

// LogSoftmax is the logarithm of the softmax over the last axis.
func LogSoftmax(x *Node) *Node { return unary(KindLogSoftmax, 0, x) }

// normEps is added to the variance in every group norm, as in ADM.
const normEps = 1e-5

// GroupNorm normalises x [N,...,C] to mean 0 and variance 1 over each sample's
// groups of C/groups channels (Wu and He, 2018), without an affine map.
func GroupNorm(x *Node, groups int) *Node {
	s := x.Shape()
	check(groups > 0 && s[s.Dims()-1]%groups == 0, "%d groups do not divide %d channels", groups, s[s.Dims()-1])
	return apply(Op{Kind: KindGroupNorm, Out: s.Clone(), I: [4]int{groupOf: groups}, F: normEps}, x)
}

// GNAct is silu(GroupNorm(x)·a + b), fused; x [N,...,C], a and b [N,C]. It is ADM's
// normalisation, affine map, scale-shift and activation in one pass.
func GNAct(x, a, b *Node, groups int) *Node {
	s := x.Shape()
	check(groups > 0 && s[s.Dims()-1]%groups == 0, "%d groups do not divide %d channels", groups, s[s.Dims()-1])
	want := PerSampleChannel.small(s, 0)
	check(slices.Equal(a.Shape(), want) && slices.Equal(b.Shape(), want), "scale %v and shift %v of %v", a.Shape(), b.Shape(), s)
	return apply(Op{Kind: KindGNAct, Out: s.Clone(), I: [4]int{groupOf: groups}, F: normEps}, x, a, b)
}

// Broadcast repeats x to shape, by axes; groups is read for PerGroup only.
func Broadcast(x *Node, axes Axes, shape tensor.Shape, groups int) *Node {
	check(slices.Equal(x.Shape(), axes.small(shape, groups)), "broadcast %v %v to %v", x.Shape(), axes, shape)
	return apply(Op{Kind: KindBroadcast, Out: shape.Clone(), I: [4]int{axesOf: int(axes), groupOf: groups}}, x)
}

// Sum adds up x by axes; groups is read for PerGroup only.
func Sum(x *Node, axes Axes, groups int) *Node {
	return apply(Op{Kind: KindSum, Out: axes.small(x.Shape(), groups), I: [4]int{axesOf: int(axes), groupOf: groups}}, x)
}

// Mean is the mean of all entries of x, a scalar.
func Mean(x *Node) *Node {
	return Scale(Sum(x, Scalar, 0), 1/float64(Size(x.Shape())))
}

// SquareSum is the sum of the squares of all entries of x, a scalar.
func SquareSum(x *Node) *Node { return Sum(Mul(x, x), Scalar, 0) }

// Reshape gives x another shape with as many entries.
func Reshape(x *Node, shape ...int) *Node {
	s := tensor.Shape(shape)
	check(Size(s) == Size(x.Shape()), "reshape %v to %v", x.Shape(), s)
	return apply(Op{Kind: KindReshape, Out: s.Clone()}, x)
}

// Concat joins a and b along the last axis, a first.
func Concat(a, b *Node) *Node {
	s, t := a.Shape().Clone(), b.Shape()
	last := s.Dims() - 1
	check(s.Dims() == t.Dims() && slices.Equal(s[:last], t[:last]), "concatenate %v and %v", s, t)
	s[last] += t[last]
	return apply(Op{Kind: KindConcat, Out: s}, a, b)
}

func withLast(s tensor.Shape, n int) tensor.Shape {
	s = s.Clone()
	s[s.Dims()-1] = n
	return s
}

// Slice is channels [off, off+n) of x.
func Slice(x *Node, off, n int) *Node {
	s := x.Shape()
	check(off >= 0 && n > 0 && off+n <= s[s.Dims()-1], "slice [%d,%d) of %v", off, off+n, s)
	return apply(Op{Kind: KindSlice, Out: withLast(s, n), I: [4]int{offset: off}}, x)
}

// Pad places x at channel off of a tensor of n channels, zero elsewhere.
func Pad(x *Node, off, n int) *Node {
	s := x.Shape()
	check(off >= 0 && off+s[s.Dims()-1] <= n, "pad %v at %d of %d", s, off, n)
	return apply(Op{Kind: KindPad, Out: withLast(s, n), I: [4]int{offset: off}}, x)
}

// PoolSum adds up each 2x2 pixels of x [N,H,W,C], H and W even.
func PoolSum(x *Node) *Node {
	s := x.Shape()
	check(s.Dims() == 4 && s[1]%2 == 0 && s[2]%2 == 0, "pool %v", s)
	return apply(Op{Kind: KindPoolSum, Out: tensor.Shape{s[0], s[1] / 2, s[2] / 2, s[3]}}, x)
}

// AvgPool is the mean of each 2x2 pixels of x [N,H,W,C], H and W even.
func AvgPool(x *Node) *Node { return Scale(PoolSum(x), 0.25) }

// Upsample repeats each pixel of x [N,H,W,C] 2x2 times (nearest neighbour).
func Upsample(x *Node) *Node {
	s := x.Shape()
	check(s.Dims() == 4, "upsample %v", s)
	return apply(Op{Kind: KindUpsample, Out: tensor.Shape{s[0], s[1] * 2, s[2] * 2, s[3]}}, x)
}

// MaxPool is the largest entry of each channel in windows of size×size pixels of x
// [N,H,W,C], strideBy apart; padding, which must be smaller than the window, never
// wins. It has no derivative.
func MaxPool(x *Node, size, strideBy, pad int) *Node {
	return pool(KindMaxPool, x, size, strideBy, pad)
}

// MeanPool is the mean of each channel in such windows; padding is not counted, as
// in TensorFlow. It has no derivative.
func MeanPool(x *Node, size, strideBy, pad int) *Node {
	return pool(KindMeanPool, x, size, strideBy, pad)
}

func pool(k Kind, x *Node, size, strideBy, pad int) *Node {
	s := x.Shape()
	check(s.Dims() == 4 && 0 <= pad && pad < size && strideBy > 0 && s[1]+2*pad >= size && s[2]+2*pad >= size,
		"%v of %v with windows of %d, stride %d, padding %d", k, s, size, strideBy, pad)
	out := tensor.Shape{s[0], (s[1]+2*pad-size)/strideBy + 1, (s[2]+2*pad-size)/strideBy + 1, s[3]}
	return apply(Op{Kind: k, Out: out, I: [4]int{stride: strideBy, padding: pad, window: size}}, x)
}

// Resize is x [N,H,W,C] at h×w pixels, bilinear as in TensorFlow 1: pixel i is at
// i·H/h of x, without the half pixel that others put there, and what lies beyond the
// last pixel is the last pixel. It has no derivative.
func Resize(x *Node, h, w int) *Node {
	s := x.Shape()
	check(s.Dims() == 4 && h > 0 && w > 0, "resize %v to %d×%d", s, h, w)
	return apply(Op{Kind: KindResize, Out: tensor.Shape{s[0], h, w, s[3]}}, x)
}

// SplitHeads turns x [N,P,h·d] into [N·h,P,d], head j of sample n at n·h+j.
func SplitHeads(x *Node, h int) *Node {
	s := x.Shape()
	check(s.Dims() == 3 && s[2]%h == 0, "split %v into %d heads", s, h)
	return apply(Op{Kind: KindSplitHeads, Out: tensor.Shape{s[0] * h, s[1], s[2] / h}, I: [4]int{heads: h}}, x)
}

// MergeHeads is the inverse of SplitHeads.
func MergeHeads(x *Node, h int) *Node {
	s := x.Shape()
	check(s.Dims() == 3 && s[0]%h == 0, "merge %d heads of %v", h, s)
	return apply(Op{Kind: KindMergeHeads, Out: tensor.Shape{s[0] / h, s[1], s[2] * h}, I: [4]int{heads: h}}, x)
}

// TimeEmbedding is the sinusoidal embedding of the time steps t [N], [N,dim]:
// cos(t·f_j) first, then sin(t·f_j), f_j = exp(-ln(10000)·j/(dim/2)), dim even.
func TimeEmbedding(t *Node, dim int) *Node {
	s := t.Shape()
	check(s.Dims() == 1 && dim%2 == 0, "embed %v in %d dimensions", s, dim)
	return apply(Op{Kind: KindTimeEmbedding, Out: tensor.Shape{s[0], dim}}, t)
}

// Dropout sets entries of x [N,...] to zero with probability p and scales the
// others by 1/(1-p). Which ones is a function of key and of counters [N,4], each
// row (step low 16 bits, step high 16 bits, image low, image high): entry i of
// a sample is dropped when the i-th number of that stream is below p. So masks
// are recomputed where they are needed, and never stored.
func Dropout(x, counters *Node, p float64, key [2]uint32) *Node {
	check(p >= 0 && p < 1, "drop out with probability %g", p)
	check(slices.Equal(counters.Shape(), tensor.Shape{x.Shape()[0], 4}), "counters %v of %v", counters.Shape(), x.Shape())
	return apply(Op{Kind: KindDropout, Out: x.Shape().Clone(), F: p, Key: key}, x, counters)
}
