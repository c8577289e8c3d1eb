package ref

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/philox"
)

// Eval computes the operation o of the tensors x into y, which holds zeros.
func Eval(o *op.Op, x [][]float64, y []float64) {
	f := kernels[o.Kind]
	if f == nil {
		panic(fmt.Sprintf("ref: no kernel for %v", o.Kind))
	}
	f(o, x, y)
}

type kernel func(o *op.Op, x [][]float64, y []float64)

// kernels has one row a kind; the longer ones follow below or in conv.go, pool.go,
// norm.go and attention.go.
var kernels = [op.NumKinds]kernel{
	op.KindConv:   conv,
	op.KindConvDX: convDX,
	op.KindConvDW: convDW,
	op.KindMatMul: matMul,

	op.KindAdd:      func(_ *op.Op, x [][]float64, y []float64) { each(y, func(i int) float64 { return x[0][i] + x[1][i] }) },
	op.KindMul:      func(_ *op.Op, x [][]float64, y []float64) { each(y, func(i int) float64 { return x[0][i] * x[1][i] }) },
	op.KindScale:    func(o *op.Op, x [][]float64, y []float64) { each(y, func(i int) float64 { return x[0][i] * o.F }) },
	op.KindAddConst: func(o *op.Op, x [][]float64, y []float64) { each(y, func(i int) float64 { return x[0][i] + o.F }) },
	op.KindPow: func(o *op.Op, x [][]float64, y []float64) {
		each(y, func(i int) float64 { return math.Pow(x[0][i], o.F) })
	},
	op.KindLog: func(o *op.Op, x [][]float64, y []float64) {
		each(y, func(i int) float64 { return math.Log(max(x[0][i], o.F)) })
	},
	op.KindLog1: func(o *op.Op, x [][]float64, y []float64) {
		for i, v := range x[0] {
			if v > o.F {
				y[i] = x[1][i] / v
			}
		}
	},
	op.KindFill: func(o *op.Op, _ [][]float64, y []float64) { each(y, func(int) float64 { return o.F }) },
	op.KindCopy: reshape,

	op.KindReLU: func(_ *op.Op, x [][]float64, y []float64) { each(y, func(i int) float64 { return max(x[0][i], 0) }) },
	op.KindReLU1: func(_ *op.Op, x [][]float64, y []float64) {
		for i, v := range x[0] {
			if v > 0 {
				y[i] = x[1][i]
			}
		}
	},
	op.KindSigmoid: func(_ *op.Op, x [][]float64, y []float64) { each(y, func(i int) float64 { return sigmoid(x[0][i]) }) },
	op.KindSiLU:    func(_ *op.Op, x [][]float64, y []float64) { each(y, func(i int) float64 { return silu(x[0][i]) }) },
	op.KindSiLU1: func(_ *op.Op, x [][]float64, y []float64) {
		each(y, func(i int) float64 { return x[1][i] * silu1(x[0][i]) })
	},
	op.KindSiLU2: func(_ *op.Op, x [][]float64, y []float64) {
		each(y, func(i int) float64 { return x[1][i] * x[2][i] * silu2(x[0][i]) })
	},
	op.KindSoftmax:    softmax,
	op.KindSoftmaxDX:  softmaxDX,
	op.KindLogSoftmax: logSoftmax,

	op.KindGroupNorm:  groupNorm,
	op.KindGroupNorm1: groupNorm1,
	op.KindGroupNorm2: groupNorm2,
	op.KindGNAct:      gnAct,
	op.KindGNActDX:    gnActDX,
	op.KindGNActDA:    gnActDA,
	op.KindGNActDB:    gnActDB,
	op.KindGNActDXDX:  gnActDXDX,
	op.KindGNActDXDA:  gnActDXDA,
	op.KindGNActDXDB:  gnActDXDB,
	op.KindGNActDXDG:  gnActDXDG,

	op.KindAttention:    attention,
	op.KindAttentionDX:  attentionDX,
	op.KindAttentionJVP: attentionJVP,
	op.KindAttentionDX2: attentionDX2,

	op.KindBroadcast: func(o *op.Op, x [][]float64, y []float64) {
		each(y, func(i int) float64 { return x[0][o.Axes().Index(o.Out, o.Groups(), i)] })
	},
	op.KindSum: func(o *op.Op, x [][]float64, y []float64) {
		for i, v := range x[0] {
			y[o.Axes().Index(o.In[0], o.Groups(), i)] += v
		}
	},
	op.KindReshape: reshape,
	op.KindConcat: func(o *op.Op, x [][]float64, y []float64) {
		a, b := channels(o.In[0]), channels(o.In[1])
		place(y, x[0], a+b, 0, a)
		place(y, x[1], a+b, a, b)
	},
	op.KindSlice: func(o *op.Op, x [][]float64, y []float64) {
		c, n := channels(o.In[0]), channels(o.Out)
		for r := range len(y) / n {
			copy(y[r*n:(r+1)*n], x[0][r*c+o.Offset():])
		}
	},
	op.KindPad: func(o *op.Op, x [][]float64, y []float64) {
		place(y, x[0], channels(o.Out), o.Offset(), channels(o.In[0]))
	},
	op.KindPoolSum: func(o *op.Op, x [][]float64, y []float64) {
		pixels(o.In[0], o.Out, func(large, small int) { y[small] += x[0][large] })
	},
	op.KindUpsample: func(o *op.Op, x [][]float64, y []float64) {
		pixels(o.Out, o.In[0], func(large, small int) { y[large] = x[0][small] })
	},
	op.KindMaxPool:  maxPool,
	op.KindMeanPool: meanPool,
	op.KindResize:   resize,
	op.KindSplitHeads: func(o *op.Op, x [][]float64, y []float64) {
		headRows(o.In[0], o.Heads(), func(merged, split, d int) { copy(y[split:split+d], x[0][merged:]) })
	},
	op.KindMergeHeads: func(o *op.Op, x [][]float64, y []float64) {
		headRows(o.Out, o.Heads(), func(merged, split, d int) { copy(y[merged:merged+d], x[0][split:]) })
	},

	op.KindTimeEmbedding: timeEmbedding,
	op.KindDropout:       dropout,
}

func each(y []float64, f func(i int) float64) {
	for i := range y {
		y[i] = f(i)
	}
}

func channels(s tensor.Shape) int { return s[s.Dims()-1] }

func reshape(_ *op.Op, x [][]float64, y []float64) { copy(y, x[0]) }

// place copies rows of n numbers to channel off of rows of c.
func place(y, x []float64, c, off, n int) {
	for r := range len(x) / n {
		copy(y[r*c+off:], x[r*n:(r+1)*n])
	}
}

// pixels pairs every entry of an image with the one of the half-size image.
func pixels(large, small tensor.Shape, f func(large, small int)) {
	h, w, c := large[1], large[2], large[3]
	for i := range op.Size(large) {
		k, x, y, n := i%c, i/c%w, i/c/w%h, i/c/w/h
		f(i, ((n*small[1]+y/2)*small[2]+x/2)*c+k)
	}
}

// headRows pairs the rows of d numbers of [N,P,h·d] and [N·h,P,d].
func headRows(merged tensor.Shape, h int, f func(merged, split, d int)) {
	p, d := merged[1], merged[2]/h
	for n := range merged[0] {
		for q := range p {
			for k := range h {
				f((n*p+q)*h*d+k*d, ((n*h+k)*p+q)*d, d)
			}
		}
	}
}

func matMul(o *op.Op, x [][]float64, y []float64) {
	a, b := x[0], x[1]
	m, n, k := o.Out[1], o.Out[2], o.In[0][2]
	ai, ak, bk, bj := k, 1, n, 1 // strides
	if o.TransA() {
		k = o.In[0][1]
		ai, ak = 1, m
	}
	if o.TransB() {
		bk, bj = 1, k
	}
	for s := range o.Out[0] {
		a, b, y := a[s*m*k:], b[s*k*n:], y[s*m*n:]
		for i := range m {
			for l := range k {
				v := a[i*ai+l*ak]
				for j := range n {
					y[i*n+j] += v * b[l*bk+j*bj]
				}
			}
		}
	}
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
func silu(x float64) float64    { return x * sigmoid(x) }

func silu1(x float64) float64 {
	s := sigmoid(x)
	return s + x*s*(1-s)
}

func silu2(x float64) float64 {
	s := sigmoid(x)
	d := s * (1 - s)
	return 2*d + x*d*(1-2*s)
}

// rows calls f for each row (last axis) of the tensors.
func rows(o *op.Op, x [][]float64, y []float64, f func(x [][]float64, y []float64)) {
	c := channels(o.Out)
	row := make([][]float64, len(x))
	for r := range len(y) / c {
		for i := range x {
			row[i] = x[i][r*c : (r+1)*c]
		}
		f(row, y[r*c:(r+1)*c])
	}
}

func logSumExp(x []float64) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, v)
	}
	var sum float64
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}

func softmax(o *op.Op, x [][]float64, y []float64) {
	rows(o, x, y, func(x [][]float64, y []float64) {
		l := logSumExp(x[0])
		each(y, func(i int) float64 { return math.Exp(x[0][i] - l) })
	})
}

func logSoftmax(o *op.Op, x [][]float64, y []float64) {
	rows(o, x, y, func(x [][]float64, y []float64) {
		l := logSumExp(x[0])
		each(y, func(i int) float64 { return x[0][i] - l })
	})
}

func softmaxDX(o *op.Op, x [][]float64, out []float64) {
	rows(o, x, out, func(x [][]float64, out []float64) {
		y, g := x[0], x[1]
		var dot float64
		for i := range y {
			dot += y[i] * g[i]
		}
		each(out, func(i int) float64 { return y[i] * (g[i] - dot) })
	})
}

func timeEmbedding(o *op.Op, x [][]float64, y []float64) {
	dim := channels(o.Out)
	half := dim / 2
	for n, t := range x[0] {
		for j := range half {
			angle := t * math.Exp(-math.Log(10000)*float64(j)/float64(half))
			y[n*dim+j], y[n*dim+half+j] = math.Cos(angle), math.Sin(angle)
		}
	}
}

func dropout(o *op.Op, x [][]float64, y []float64) {
	per := len(y) / o.Out[0]
	u := make([]float32, per)
	for n := range o.Out[0] {
		c := x[1][4*n : 4*n+4]
		step, image := uint64(c[0])|uint64(c[1])<<16, uint32(c[2])|uint32(c[3])<<16
		philox.Stream(o.Key).Uniforms(u, step, image)
		for i, v := range x[0][n*per : (n+1)*per] {
			if u[i] >= float32(o.F) {
				y[n*per+i] = v / (1 - o.F)
			}
		}
	}
}
