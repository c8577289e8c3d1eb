package cpu

import "math"

// attention lowers an attention kind: a part is an image and head. Where every row of the
// result stands for itself, and there are few heads, as when one image is
// sampled, a head is cut by rows: each part packs keys and values again, which
// pays from a few panels of rows on.
func attention(k kernel, byRows bool) func(*lowering, *task) {
	return func(l *lowering, t *task) {
		const enough, fewest = 16, 4 // parts; panels of a part
		s := t.op.In[0]
		tokens, heads := s[1], t.op.Heads()
		panels, parts := ceilDiv(tokens, l.isa.rows), s[0]*heads
		each := panels
		if byRows && parts < enough {
			each = max(min(fewest, panels), ceilDiv(panels, ceilDiv(enough, parts)))
		}
		blocks := ceilDiv(panels, each)
		refs := append(l.values(t.in), l.output(t.out[0]))
		c := s[2] / 3
		l.emit(k, parts*blocks, refs, []int{tokens, c, heads, each, blocks}, float32(1/math.Sqrt(float64(c/heads))))
	}
}
