package op

// Kind names a family of operations.
type Kind uint8

// The kinds. Shapes are those of the constructors of the same name; a name that
// ends in 1 or 2 is a derivative of that order, DX, DW, DA, DB, DG a derivative with
// respect to that input.
const (
	KindConv   Kind = iota // x, w -> y
	KindConvDX             // w, gy -> gx
	KindConvDW             // x, gy -> gw
	KindMatMul             // a, b -> a·b

	KindAdd      // a, b -> a + b
	KindMul      // a, b -> a * b
	KindScale    // a -> F·a
	KindAddConst // a -> a + F
	KindPow      // a -> a^F
	KindLog      // a -> log(max(a, F))
	KindLog1     // a, g -> g/a where a > F, else 0
	KindFill     // a -> F everywhere, in the shape of a (which is not read)
	KindCopy     // a -> a, a node of its own

	KindReLU       // x -> max(x, 0)
	KindReLU1      // x, g -> g where x > 0, else 0
	KindSigmoid    // x -> 1/(1+exp(-x))
	KindSiLU       // x -> x·sigmoid(x)
	KindSiLU1      // x, g -> g·silu'(x)
	KindSiLU2      // x, g, h -> g·h·silu''(x)
	KindSoftmax    // x -> softmax over the last axis
	KindSoftmaxDX  // y, g -> y·(g - sum(g·y))
	KindLogSoftmax // x -> log softmax over the last axis

	KindGroupNorm  // x -> (x - mean)/sqrt(var + F), over each sample's channel groups
	KindGroupNorm1 // x, g -> J(x)·g, J the (symmetric) Jacobian of GroupNorm
	KindGroupNorm2 // x, g, h -> d/dx <h, J(x)·g>
	KindGNAct      // x, A, B -> silu(GroupNorm(x)·A + B)
	KindGNActDX    // x, A, B, g -> gradient for x
	KindGNActDA    // x, A, B, g -> gradient for A
	KindGNActDB    // x, A, B, g -> gradient for B
	KindGNActDXDX  // x, A, B, g, h -> gradient of <h, GNActDX> for x
	KindGNActDXDA  // x, A, B, g, h -> gradient of <h, GNActDX> for A
	KindGNActDXDB  // x, A, B, g, h -> gradient of <h, GNActDX> for B
	KindGNActDXDG  // x, A, B, g, h -> gradient of <h, GNActDX> for g

	KindAttention    // qkv -> softmax(Q·Kᵀ/√d)·V, for each head
	KindAttentionDX  // qkv, g -> gradient for qkv, J(qkv)ᵀ·g
	KindAttentionJVP // qkv, h -> J(qkv)·h, the derivative along h
	KindAttentionDX2 // qkv, g, h -> d/dqkv <h, J(qkv)ᵀ·g>

	KindBroadcast  // small -> large, see Axes
	KindSum        // large -> small, see Axes
	KindReshape    // same entries, other shape
	KindConcat     // a, b -> joined along the last axis
	KindSlice      // x -> x[..., off:off+n]
	KindPad        // x -> zeros with x at [..., off:off+n]
	KindPoolSum    // x -> sums of 2x2 pixels
	KindUpsample   // x -> every pixel 2x2 times
	KindMaxPool    // x -> the largest in each window
	KindMeanPool   // x -> the mean of what of each window lies in the image
	KindResize     // x -> another size, bilinear
	KindSplitHeads // [N, P, h·d] -> [N·h, P, d]
	KindMergeHeads // the inverse

	KindTimeEmbedding // t -> [cos(t·f), sin(t·f)]
	KindDropout       // x, counters -> x masked and scaled

	NumKinds // how many there are
)

// String names the kind.
func (k Kind) String() string { return rules[k].name }
