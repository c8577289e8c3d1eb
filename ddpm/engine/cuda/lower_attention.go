//go:build ddpmcuda

package cuda

import (
	"fmt"
	"math"
)

// heads are what an attention kind works on.
type heads struct {
	l             *lowering
	images, heads int
	tokens, width int // width: channels of a head
	bfloat16      bool
}

func headsOf(l *lowering, t *task) heads {
	s, h := t.op.In[0], t.op.Heads()
	d := s[2] / 3 / h
	return heads{l, s[0], h, s[1], d, l.bfloat16(1, d, d)}
}

// rows is how many tokens all heads have.
func (h heads) rows() int { return h.images * h.heads * h.tokens }

// emit emits a kernel of attention.cu, in its variant for up to so many channels of a head at a time, that makes so many
// matrices of tokens by tokens, and multiplies so many with others.
func (h heads) emit(kernel string, widest, pairs, mixes int, args ...any) {
	wide, warps := min(widest, 32*ceilDiv(h.width, 32)), 2 // warps of a block, each with 16 rows
	if h.bfloat16 {
		kernel, warps = kernel+"_bf16", 4
	}
	warps = min(warps, ceilDiv(h.tokens, 16))
	blocks, chunks := h.images*h.heads*ceilDiv(h.tokens, 16*warps), ceilDiv(h.width, wide)
	args = append(args, int32(h.tokens), int32(h.heads), int32(h.width), float32(1/math.Sqrt(float64(h.width))))
	h.l.emit(call{fmt.Sprintf("%s_%d", kernel, wide), [3]int{blocks, chunks, 1}, 32 * warps, typed(args...)})
	one := 2 * float64(h.rows()) * float64(h.tokens) * float64(h.width)
	h.l.steps[len(h.l.steps)-1].flops = one * float64(pairs*chunks+mixes)
}

// attended is the attention of a value, and what its weights are computed from again.
type attended struct{ out, level place }

type attendedKey struct{ qkv, heads int }

// forward emits the attention of qkv.
func (h heads) forward(qkv int, out place) attended {
	a := attended{out, h.l.temp(h.rows())}
	h.emit("attention", 64, 1, 1, h.l.value(qkv), a.out, a.level)
	h.l.attended[attendedKey{qkv, h.heads}] = a
	return a
}

// attended is the attention of what t is a derivative at. An earlier task has computed it, or it is computed now.
func (h heads) attended(t *task) attended {
	if a, ok := h.l.attended[attendedKey{t.in[0], h.heads}]; ok {
		return a
	}
	return h.forward(t.in[0], h.l.temp(h.rows()*h.width))
}

func lowerAttention(l *lowering, t *task) {
	headsOf(l, t).forward(t.in[0], l.output(t.out[0]))
}

func lowerAttentionDX(l *lowering, t *task) {
	h, qkv, g := headsOf(l, t), l.value(t.in[0]), l.value(t.in[1])
	a, sums, dx := h.attended(t), l.temp(h.rows()), l.output(t.out[0])
	h.emit("attention_dq", 64, 2, 1, qkv, g, a.out, a.level, sums, dx)
	h.emit("attention_dkv", 64, 2, 2, qkv, g, a.level, sums, dx)
}

func lowerAttentionJVP(l *lowering, t *task) {
	h := headsOf(l, t)
	h.emit("attention_jvp", 32, 6, 2, l.value(t.in[0]), l.value(t.in[1]), h.attended(t).level, l.output(t.out[0]))
}

func lowerAttentionDX2(l *lowering, t *task) {
	h, qkv, g, dir := headsOf(l, t), l.value(t.in[0]), l.value(t.in[1]), l.value(t.in[2])
	level, seconds, dx := h.attended(t).level, l.temp(4*h.rows()), l.output(t.out[0])
	h.emit("attention_dx2_q", 32, 10, 2, qkv, g, dir, level, seconds, dx)
	h.emit("attention_dx2_kv", 32, 5, 3, qkv, g, dir, seconds, dx)
}
