//go:build ddpmcuda

package cuda

import (
	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine/cuda/cudnn"
)

// copyOf is a value in the form that the library wants it in.
type copyOf struct {
	value int // its root
	by    string
}

// byLibrary lowers a convolution of x with w to a plan of the library; it reports whether
// there is one that is faster than our own kernel.
func (l *lowering) byLibrary(t *task, d cudnn.Direction, x, w tensor.Shape) bool {
	o := t.op
	j := job{cudnn.Conv{
		N: x[0], H: x[1], W: x[2], C: x[3], K: w[3], R: w[0], S: w[1],
		Stride: o.Stride(), Pad: o.Padding(), PadX: o.PaddingX(), Type: cudnn.Float32,
	}, d}
	if min(j.C, j.K) < fewest {
		return false
	}
	if l.bfloat16(j.R*j.S, j.C, j.K) {
		j.Type = cudnn.BFloat16
	}
	p, err := l.plan(j)
	if err != nil {
		l.err = err
	}
	if p == nil {
		return false
	}
	n, taps := size(o.Out), j.R*j.S*j.C
	kernel := "cudnn_conv"
	direct := j.Type == cudnn.Float32 && t.bias == none && t.add == none && d != cudnn.Filters
	var a, b, y place // operands in the order of the task, and the output
	switch d {
	case cudnn.Forward:
		a, b = l.operand(t.in[0], j.Type), l.filters(t.in[1], taps, j.K, j.Type)
	case cudnn.Data:
		kernel = "cudnn_conv_dx"
		a, b = l.filters(t.in[0], taps, j.K, j.Type), l.operand(t.in[1], j.Type)
	case cudnn.Filters:
		kernel = "cudnn_conv_dw"
		a, b = l.operand(t.in[0], j.Type), l.operand(t.in[1], j.Type)
	}
	if direct {
		y = l.output(t.out[0])
	} else {
		y = l.temp(floats(n, j.Type))
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
		l.transpose(y, l.output(t.out[0]), j.K, taps, "transpose"+widened(j.Type))
	case !direct:
		out := l.output(t.out[0], t.addend())
		l.emit(each("finish"+widened(j.Type), n, y, out, l.value(t.bias), l.value(t.add), int64(n), int32(channels(o.Out))))
	}
	return true
}

func widened(t cudnn.Type) string { return fast(t == cudnn.BFloat16, "_widen", "") }

// floats is how many float32 take the room of n numbers of type t.
func floats(n int, t cudnn.Type) int {
	if t == cudnn.BFloat16 {
		return ceilDiv(n, 2)
	}
	return n
}

// operand is value v as numbers of type t.
func (l *lowering) operand(v int, t cudnn.Type) place {
	if t == cudnn.Float32 {
		return l.value(v)
	}
	n := l.prog.Values[v].Size()
	return l.copied(v, "narrow", floats(n, t), func(to place) { l.emit(each("narrow", n, l.value(v), to, int64(n))) })
}

// filters is value v, taps by outputs, as outputs by taps in numbers of type t.
func (l *lowering) filters(v, taps, outputs int, t cudnn.Type) place {
	by := fast(t == cudnn.BFloat16, "transpose_narrow", "transpose")
	return l.copied(v, by, floats(taps*outputs, t), func(to place) { l.transpose(l.value(v), to, taps, outputs, by) })
}

func (l *lowering) transpose(x, y place, rows, columns int, kernel string) {
	l.emit(call{kernel, [3]int{ceilDiv(rows, 32) * ceilDiv(columns, 32), 1, 1}, 256, []any{x, y, int32(rows), int32(columns)}})
}

// copied is value v in another form, which is made once for all that want it: backward
// the operands of a convolution are wanted again, and then the value itself need not be kept.
func (l *lowering) copied(v int, by string, floats int, emit func(to place)) place {
	key := copyOf{l.root[v], by}
	at, made := l.copies[key]
	if !made {
		at = l.temp(floats)
		l.copies[key] = at
		emit(at)
	}
	return at
}
