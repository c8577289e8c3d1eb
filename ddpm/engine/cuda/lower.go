//go:build ddpmcuda

package cuda

import (
	"ddpmlab/ddpm/engine/op"
)

// lowerings has one row a kind: how a task of it becomes launches. Reshape and Copy are
// names for their inputs, see fuse.
var lowerings = [op.NumKinds]func(*lowering, *task){
	op.KindConv:   lowerConv,
	op.KindConvDX: lowerConv,
	op.KindConvDW: lowerConv,
	op.KindMatMul: lowerMatMul,

	op.KindAdd:      elementwise("add"),
	op.KindMul:      lowerMul,
	op.KindScale:    elementwise("scale"),
	op.KindAddConst: elementwise("add_const"),
	op.KindPow:      elementwise("power"),
	op.KindLog:      elementwise("log_floor"),
	op.KindLog1:     elementwise("log_slope"),
	op.KindFill:     lowerFill,

	op.KindSigmoid:    elementwise("sigmoid_forward"),
	op.KindSiLU:       elementwise("silu_forward"),
	op.KindReLU:       elementwise("relu"),
	op.KindReLU1:      elementwise("relu_grad"),
	op.KindSiLU1:      elementwise("silu_grad"),
	op.KindSiLU2:      elementwise("silu_grad2"),
	op.KindSoftmax:    rowwise("softmax"),
	op.KindSoftmaxDX:  rowwise("softmax_grad"),
	op.KindLogSoftmax: rowwise("log_softmax"),

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

	op.KindAttention:    lowerAttention,
	op.KindAttentionDX:  lowerAttentionDX,
	op.KindAttentionJVP: lowerAttentionJVP,
	op.KindAttentionDX2: lowerAttentionDX2,

	op.KindBroadcast:  lowerBroadcast,
	op.KindSum:        lowerSum,
	op.KindConcat:     lowerConcat,
	op.KindSlice:      lowerSlice,
	op.KindPad:        lowerPad,
	op.KindPoolSum:    lowerPool,
	op.KindUpsample:   lowerUpsample,
	op.KindMaxPool:    windows("max_pool"),
	op.KindMeanPool:   windows("mean_pool"),
	op.KindResize:     lowerResize,
	op.KindSplitHeads: lowerSplitHeads,
	op.KindMergeHeads: lowerMergeHeads,

	op.KindTimeEmbedding: func(l *lowering, t *task) {
		n := size(t.op.Out)
		l.emit(each("time_embedding", n, l.value(t.in[0]), l.output(t.out[0]), int64(n), int32(channels(t.op.Out))))
	},
	op.KindDropout: func(l *lowering, t *task) {
		samples := t.op.Out[0]
		m := size(t.op.Out) / samples
		blocks := ceilDiv(m, 4)
		l.emit(each("dropout", samples*blocks, typed(l.value(t.in[0]), l.value(t.in[1]), l.output(t.out[0], t.in[0]), int64(samples*blocks),
			int64(m), int64(blocks), t.op.Key[0], t.op.Key[1], float32(t.op.F), float32(1/(1-t.op.F)))...))
	},
}

func elementwise(kernel string) func(*lowering, *task) {
	return func(l *lowering, t *task) {
		n := size(t.op.Out)
		args := append(l.values(t.in), l.output(t.out[0], t.in...), int64(n), float32(t.op.F))
		l.emit(each(kernel, n, typed(args...)...))
	}
}

func lowerMul(l *lowering, t *task) {
	if t.factor == none {
		elementwise("mul")(l, t)
		return
	}
	n := size(t.op.Out)
	l.emit(each("affine", n, typed(l.value(t.in[0]), l.output(t.out[0], t.in[0]), l.value(t.factor), l.value(t.bias), int64(n), int32(channels(t.op.Out)))...))
}

func lowerFill(l *lowering, t *task) {
	n := size(t.op.Out)
	l.emit(each("fill", n, l.output(t.out[0]), int64(n), float32(t.op.F)))
}

// rowwise kernels have a warp for each row (last axis).
func rowwise(kernel string) func(*lowering, *task) {
	return func(l *lowering, t *task) {
		columns := channels(t.op.Out)
		l.rows(kernel, size(t.op.Out)/columns, columns, append(l.values(t.in), l.output(t.out[0], t.in...))...)
	}
}

func (l *lowering) rows(kernel string, rows, columns int, args ...any) {
	l.emit(call{kernel, [3]int{ceilDiv(rows, 4), 1, 1}, 128, append(args, int64(rows), int32(columns))})
}

// normDims are pixels, channels and groups of a normalisation, and the number of its
// groups over all images.
func normDims(o *op.Op) (dims []any, groups int) {
	x := o.In[0]
	return []any{int32(size(x) / x[0] / channels(x)), int32(channels(x)), int32(o.Groups())}, x[0] * o.Groups()
}

// statsOf returns mean and reciprocal deviation of the input of t's groups, computing
// them unless an earlier task has.
func (l *lowering) statsOf(t *task) place {
	key := statsKey{t.in[0], t.op.Groups(), t.op.F}
	if r, ok := l.stats[key]; ok {
		return r
	}
	dims, groups := normDims(t.op)
	r := l.temp(2 * groups)
	l.stats[key] = r
	l.emit(call{"norm_stats", [3]int{groups, 1, 1}, 256, typed(append([]any{l.value(t.in[0]), r}, append(dims, float32(t.op.F))...)...)})
	return r
}

func lowerNorm(l *lowering, t *task) {
	n := size(t.op.Out)
	dims, _ := normDims(t.op)
	stats := l.statsOf(t)
	l.emit(each("normalise", n, typed(append([]any{l.value(t.in[0]), stats, l.output(t.out[0], t.in[0]), int64(n)}, dims...)...)...))
}

func lowerNormAct(l *lowering, t *task) {
	n := size(t.op.Out)
	dims, _ := normDims(t.op)
	stats := l.statsOf(t)
	args := []any{l.value(t.in[0]), stats, l.value(t.in[1]), l.value(t.in[2]), l.output(t.out[0], t.in[0]), int64(n)}
	l.emit(each("norm_act", n, typed(append(args, dims...)...)...))
}

// groupwise emits a kernel with a block for each group of each image.
func (l *lowering) groupwise(kernel string, t *task, args ...any) {
	dims, groups := normDims(t.op)
	l.emit(call{kernel, [3]int{groups, 1, 1}, 256, typed(append(args, dims...)...)})
}

func lowerNormGrad(l *lowering, t *task) {
	stats := l.statsOf(t)
	l.groupwise("norm_grad", t, l.value(t.in[0]), l.value(t.in[1]), stats, l.output(t.out[0], append(t.in, t.addend())...), l.value(t.add))
}

func lowerNormGrad2(l *lowering, t *task) {
	stats := l.statsOf(t)
	l.groupwise("norm_grad2", t, append(l.values(t.in), stats, l.output(t.out[0], t.in...))...)
}

func lowerNormActGrad(l *lowering, t *task) {
	stats := l.statsOf(t)
	l.groupwise("norm_act_grad", t, append(l.values(t.in), stats, l.output(t.out[0], t.addend()), l.output(t.out[1]), l.output(t.out[2]), l.value(t.add))...)
}

func lowerNormActGrad2(l *lowering, t *task) {
	stats := l.statsOf(t)
	l.groupwise("norm_act_grad2", t, append(l.values(t.in), stats, l.output(t.out[0]), l.output(t.out[1]), l.output(t.out[2]), l.output(t.out[3]))...)
}
