package cpu

import "ddpmlab/ddpm/engine/op"

// lowerings has one row a kind: how a task of it becomes steps. Reshape and Copy
// are names for their inputs, see fuse.
var lowerings = [op.NumKinds]func(*lowering, *task){
	op.KindConv:   lowerConv,
	op.KindConvDX: lowerConvDX,
	op.KindConvDW: lowerConvDW,
	op.KindMatMul: lowerMatMul,

	op.KindAdd:      elementwise(kAdd),
	op.KindMul:      elementwise(kMul),
	op.KindScale:    elementwise(kScale),
	op.KindAddConst: elementwise(kAddConst),
	op.KindPow:      elementwise(kPower),
	op.KindLog:      elementwise(kLogFloor),
	op.KindLog1:     elementwise(kLogSlope),
	op.KindFill:     elementwise(kFill),

	op.KindReLU:       elementwise(kReLU),
	op.KindReLU1:      elementwise(kReLUGrad),
	op.KindSigmoid:    elementwise(kSigmoid),
	op.KindSiLU:       elementwise(kSiLU),
	op.KindSiLU1:      elementwise(kSiLUGrad),
	op.KindSiLU2:      elementwise(kSiLUGrad2),
	op.KindSoftmax:    rowwise(kSoftmax),
	op.KindSoftmaxDX:  rowwise(kSoftmaxGrad),
	op.KindLogSoftmax: rowwise(kLogSoftmax),

	op.KindGroupNorm:  lowerNorm,
	op.KindGroupNorm1: lowerNormGrad,
	op.KindGroupNorm2: lowerNormGrad2,
	op.KindGNAct:      lowerNormAct,
	op.KindGNActDX:    lowerNormActGrad,
	op.KindGNActDA:    lowerNormActGrad,
	op.KindGNActDB:    lowerNormActGrad,
	op.KindGNActDXDX:  lowerNormActGrad2,
	op.KindGNActDXDA:  lowerNormActGrad2,
	op.KindGNActDXDB:  lowerNormActGrad2,
	op.KindGNActDXDG:  lowerNormActGrad2,

	op.KindAttention:    attentionForward.lower,
	op.KindAttentionDX:  attentionDX.lower,
	op.KindAttentionJVP: attentionJVP.lower,
	op.KindAttentionDX2: attentionDX2.lower,

	op.KindBroadcast:  lowerBroadcast,
	op.KindSum:        lowerSum,
	op.KindConcat:     lowerConcat,
	op.KindSlice:      lowerSlice,
	op.KindPad:        lowerPad,
	op.KindPoolSum:    lowerPool,
	op.KindUpsample:   lowerUpsample,
	op.KindMaxPool:    lowerWindows(kMaxPool),
	op.KindMeanPool:   lowerWindows(kMeanPool),
	op.KindResize:     lowerResize,
	op.KindSplitHeads: lowerSplitHeads,
	op.KindMergeHeads: lowerMergeHeads,

	op.KindTimeEmbedding: func(l *lowering, t *task) {
		l.emit(kTimeEmbedding, t.op.Out[0], []ref{l.value(t.in[0]), l.output(t.out[0])}, []int{t.op.Out[1]})
	},
	op.KindDropout: func(l *lowering, t *task) {
		n, x, y := t.op.Out[0], l.value(t.in[0]), l.output(t.out[0], t.in[0])
		l.emit(kDropout, n, []ref{x, l.value(t.in[1]), y},
			[]int{size(t.op.Out) / n, int(t.op.Key[0]), int(t.op.Key[1]), narrowMask(x, y)}, float32(t.op.F), float32(1/(1-t.op.F)))
	},
}

// part is about how many entries a part of a memory-bound step has: 64 KB an
// operand, long against the cost of taking a part, short against a step.
const part = 1 << 14

func elementwise(k kernel) func(*lowering, *task) {
	return func(l *lowering, t *task) {
		n := size(t.op.Out)
		refs := make([]ref, 4)
		for i, v := range t.in {
			refs[i] = l.value(v)
		}
		refs[3] = l.output(t.out[0], t.in...)
		l.emit(k, ceilDiv(n, part), refs, []int{n, part}, float32(t.op.F))
	}
}

// rowwise kernels treat each row (last axis) by itself.
func rowwise(k kernel) func(*lowering, *task) {
	return func(l *lowering, t *task) {
		columns := channels(t.op.Out)
		rows := size(t.op.Out) / columns
		each := max(1, part/4/columns)
		refs := append(l.values(t.in), l.output(t.out[0], t.in...))
		l.emit(k, ceilDiv(rows, each), refs, []int{rows, columns, each})
	}
}

// normDims are the sizes of a normalisation of x: pixels, channels, groups.
func normDims(o *op.Op) []int {
	x := o.In[0]
	return []int{size(x) / x[0] / channels(x), channels(x), o.Groups()}
}

// narrowMask has a bit for each of refs that is narrow, the lowest for the first.
func narrowMask(refs ...ref) int {
	mask := 0
	for i, r := range refs {
		mask |= btoi(r.narrow()) << i
	}
	return mask
}

func (t *task) statsKey() statsKey { return statsKey{t.in[0], t.op.Groups(), t.op.F} }

// newStats is where a step leaves the statistics of its input.
func (l *lowering) newStats(t *task) ref {
	r := l.temp(2 * t.op.Groups() * t.op.In[0][0])
	l.stats[t.statsKey()] = r
	return r
}

// statsOf returns the statistics of the input of t, computing them unless an
// earlier step has.
func (l *lowering) statsOf(t *task) ref {
	if r, ok := l.stats[t.statsKey()]; ok {
		return r
	}
	r := l.newStats(t)
	x := l.value(t.in[0])
	l.emit(kNormStats, t.op.In[0][0], []ref{x, r}, append(normDims(t.op), narrowMask(x)), float32(t.op.F))
	return r
}

func lowerNorm(l *lowering, t *task) {
	x, y := l.value(t.in[0]), l.output(t.out[0], t.in[0])
	refs := []ref{x, l.value(t.scale), l.value(t.bias), y, l.newStats(t)}
	l.emit(kNorm, t.op.Out[0], refs, append(normDims(t.op), narrowMask(x, y)), float32(t.op.F))
}

func lowerNormAct(l *lowering, t *task) {
	x, a, b := l.value(t.in[0]), l.value(t.in[1]), l.value(t.in[2])
	stats, known := l.stats[t.statsKey()]
	if !known {
		stats = l.newStats(t)
	}
	y := l.output(t.out[0], t.in[0])
	l.emit(kNormAct, t.op.Out[0], []ref{x, a, b, y, stats}, append(normDims(t.op), btoi(known), narrowMask(x, y)), float32(t.op.F))
}

func lowerNormGrad(l *lowering, t *task) {
	stats, x, g := l.statsOf(t), l.value(t.in[0]), l.value(t.in[1])
	l.emit(kNormGrad, t.op.Out[0], []ref{x, g, stats, l.output(t.out[0], t.in[1], t.in[0])}, normDims(t.op))
}

func lowerNormGrad2(l *lowering, t *task) {
	stats, x, g, h := l.statsOf(t), l.value(t.in[0]), l.value(t.in[1]), l.value(t.in[2])
	l.emit(kNormGrad2, t.op.Out[0], []ref{x, g, h, stats, l.output(t.out[0], t.in...)}, normDims(t.op))
}

// lowerNormActGrad computes up to three gradients in one pass. The first, for x,
// passes through twice: only g may be overwritten, and only if it is nothing else.
func lowerNormActGrad(l *lowering, t *task) {
	stats, dx := l.statsOf(t), l.output(t.out[0], t.once(3))
	in := l.values(t.in)
	refs := append(in, stats, dx, l.output(t.out[1]), l.output(t.out[2]))
	l.emit(kNormActGrad, t.op.In[0][0], refs, append(normDims(t.op), narrowMask(in[0], in[3], dx)))
}

// lowerNormActGrad2 does so for up to four gradients of GNActDX: those for g and x
// may take the places of g and h.
func lowerNormActGrad2(l *lowering, t *task) {
	stats := l.statsOf(t)
	dx, dg := l.output(t.out[0], t.once(4)), l.output(t.out[3], t.once(3))
	refs := append(l.values(t.in), stats, dx, l.output(t.out[1]), l.output(t.out[2]), dg)
	l.emit(kNormActGrad2, t.op.In[0][0], refs, normDims(t.op))
}
