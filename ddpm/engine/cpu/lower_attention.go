package cpu

import (
	"math"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// An attentionKernel computes one of attention's kinds.
type attentionKernel struct {
	kernel, bf16 kernel // the latter 0 where there is none
	byRows       bool   // every row of the result stands for itself
}

var (
	attentionForward = attentionKernel{kAttention, kBF16Attention, true}
	attentionDX      = attentionKernel{kAttentionDX, kBF16AttentionDX, false}
	attentionJVP     = attentionKernel{kAttentionJVP, 0, true}
	attentionDX2     = attentionKernel{kAttentionDX2, 0, false}
)

// lower makes steps of an attention kind: a part is an image and head. Where rows stand
// for themselves and there are few heads, as when one image is sampled, a head is cut by
// rows: each part packs keys and values again, which pays from a few panels of rows on.
func (a attentionKernel) lower(l *lowering, t *task) {
	const enough, fewest = 16, 56 // parts; rows of a part
	s := t.op.In[0]
	tokens, heads, c := s[1], t.op.Heads(), s[2]/3
	kernel, rows := a.kernel, l.isa.rows
	if a.bfloat16(l.prog, t.op) {
		kernel, rows = a.bf16, width
	}
	panels, parts := ceilDiv(tokens, rows), s[0]*heads
	each := panels
	if a.byRows && parts < enough {
		each = max(min(fewest/rows, panels), ceilDiv(panels, ceilDiv(enough, parts)))
	}
	blocks := ceilDiv(panels, each)
	refs := append(l.values(t.in), l.output(t.out[0]))
	l.emit(kernel, parts*blocks, refs, []int{tokens, c, heads, each, blocks, narrowMask(refs...)}, float32(1/math.Sqrt(float64(c/heads))))
}

// bfloat16 tells whether o is to be computed in bfloat16.
func (a attentionKernel) bfloat16(p *engine.Program, o *op.Op) bool {
	const narrowest = 16 // numbers of a head below which blocks of tiles would be mostly padding
	return a.bf16 != 0 && p.Precision != engine.Float32 && o.In[0][2]/3/o.Heads() >= narrowest
}
