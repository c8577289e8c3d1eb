package op

import (
	"math"

	"gorgonia.org/tensor"
)

// Attention is multi-head self-attention over P tokens (Vaswani et al., 2017):
// softmax(Q·Kᵀ/√d)·V for each head. qkv [N,P,3C] holds Q, K and V side by side,
// each of h heads of d = C/h channels; the result [N,P,C] has the heads side by
// side.
func Attention(qkv *Node, h int) *Node {
	s := qkv.Shape()
	check(s.Dims() == 3 && h > 0 && s[2]%(3*h) == 0, "attend over %v with %d heads", s, h)
	return apply(Op{Kind: KindAttention, Out: withLast(s, s[2]/3), I: [4]int{heads: h}}, qkv)
}

// attention is a derivative of the attention o, with o's heads.
func (o *Op) attention(k Kind, in ...*Node) *Node {
	out := in[0].Shape().Clone()
	if k == KindAttentionJVP {
		out = withLast(out, channels(out)/3)
	}
	return apply(Op{Kind: k, Out: out, I: o.I}, in...)
}

// splitQKV returns the three parts of x [N,P,3C], each [N·h,P,d].
func splitQKV(x *Node, h int) (q, k, v *Node) {
	c := channels(x.Shape()) / 3
	head := func(i int) *Node { return SplitHeads(Slice(x, i*c, c), h) }
	return head(0), head(1), head(2)
}

// attentionScale is 1/√d for qkv of shape s.
func attentionScale(s tensor.Shape, h int) float64 {
	return 1 / math.Sqrt(float64(channels(s)/3/h))
}

func expandAttention(o *Op, in []*Node) *Node {
	q, k, v := splitQKV(in[0], o.Heads())
	w := Softmax(Scale(MatMul(q, k, false, true), attentionScale(o.In[0], o.Heads())))
	return MergeHeads(MatMul(w, v, false, false), o.Heads())
}

// expandAttentionJVP is forward-mode differentiation along in[1].
func expandAttentionJVP(o *Op, in []*Node) *Node {
	q, k, v := splitQKV(in[0], o.Heads())
	dq, dk, dv := splitQKV(in[1], o.Heads())
	scale := attentionScale(o.In[0], o.Heads())
	w := Softmax(Scale(MatMul(q, k, false, true), scale))
	ds := Scale(Add(MatMul(dq, k, false, true), MatMul(q, dk, false, true)), scale)
	dw := derived(KindSoftmaxDX, w, ds) // softmax's Jacobian is symmetric
	return MergeHeads(Add(MatMul(dw, v, false, false), MatMul(w, dv, false, false)), o.Heads())
}
