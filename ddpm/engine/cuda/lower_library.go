//go:build ddpmcuda

package cuda

import (
	"ddpmlab/ddpm/engine/cuda/cudnn"
	"ddpmlab/ddpm/engine/op"
)

// copyOf is a value in the form that a product wants it in.
type copyOf struct {
	value int // its root
	by    string
}

var directions = map[op.Kind]cudnn.Direction{op.KindConv: cudnn.Forward, op.KindConvDX: cudnn.Data, op.KindConvDW: cudnn.Filters}

// byLibrary lowers convolution c to a plan of the library; it reports whether there is one
// that is faster than our own kernel.
func (l *lowering) byLibrary(t *task, c conv) bool {
	x, w, d, bf16 := c.x, c.w, directions[c.kind], c.bfloat16(l.prog.Precision)
	j := job{cudnn.Conv{
		N: x[0], H: x[1], W: x[2], C: x[3], K: w[3], R: w[0], S: w[1],
		Stride: c.stride, Pad: c.pad, PadX: c.padX, Type: cudnn.Float32,
	}, d}
	if min(j.C, j.K) < fewest {
		return false
	}
	if bf16 {
		j.Type = cudnn.BFloat16
	}
	p, err := l.plan(j)
	if err != nil {
		l.err = err
	}
	if p == nil {
		return false
	}
	n, taps, out := size(t.op.Out), j.R*j.S*j.C, t.out[0]
	kernel := "cudnn_conv"
	direct := bf16 == l.narrow[l.root[out]] && t.bias == none && t.add == none && d != cudnn.Filters
	var a, b, y place // operands in the order of the task, and the output
	switch d {
	case cudnn.Forward:
		a, b = l.operand(t.in[0], bf16), l.filters(t.in[1], taps, j.K, bf16)
	case cudnn.Data:
		kernel = "cudnn_conv_dx"
		a, b = l.filters(t.in[0], taps, j.K, bf16), l.operand(t.in[1], bf16)
	case cudnn.Filters:
		kernel = "cudnn_conv_dw"
		a, b = l.operand(t.in[0], bf16), l.operand(t.in[1], bf16)
	}
	if direct {
		y = l.output(out)
	} else {
		y = l.array(n, bf16)
	}
	workspace := place{}
	if p.Workspace > 0 {
		workspace = l.temp(ceilDiv(int(p.Workspace), 4))
	}
	args := map[cudnn.Direction][]any{cudnn.Forward: {p, a, b, y, workspace}, cudnn.Data: {p, y, a, b, workspace}, cudnn.Filters: {p, a, y, b, workspace}}[d]
	l.emit(call{kernel: kernel, args: args})
	l.steps[len(l.steps)-1].flops = 2 * float64(size(w)) * float64(j.pixels())
	switch {
	case d == cudnn.Filters:
		l.transpose(y, l.output(out), j.K, taps)
	case !direct:
		to := l.output(out, t.addend())
		l.emit(each("finish", n, typed(y, to, l.value(t.bias), l.value(t.add), int64(n), int32(channels(t.op.Out)))...))
	}
	return true
}

// filters is value v, taps by outputs, as outputs by taps.
func (l *lowering) filters(v, taps, outputs int, bfloat16 bool) place {
	return l.copied(v, "transpose", bfloat16, taps*outputs, func(to place) { l.transpose(l.value(v), to, taps, outputs) })
}

func (l *lowering) transpose(x, y place, rows, columns int) {
	l.emit(call{"transpose", [3]int{ceilDiv(rows, 32) * ceilDiv(columns, 32), 1, 1}, 256, typed(x, y, int32(rows), int32(columns))})
}

// copied is value v in another form, which is made once for all that want it: backward
// the operands of a convolution are wanted again, and then the value itself need not be kept.
func (l *lowering) copied(v int, by string, bfloat16 bool, n int, emit func(to place)) place {
	key := copyOf{l.root[v], by}
	at, made := l.copies[key]
	if !made {
		at = l.array(n, bfloat16)
		l.copies[key] = at
		emit(at)
	}
	return at
}
