package ref

import (
	"math"

	"ddpmlab/ddpm/engine/op"
)

func maxPool(o *op.Op, x [][]float64, y []float64) {
	each(y, func(int) float64 { return math.Inf(-1) })
	windows(o, func(xi, yi, c int) {
		for k := range c {
			y[yi+k] = max(y[yi+k], x[0][xi+k])
		}
	})
}

func meanPool(o *op.Op, x [][]float64, y []float64) {
	count := make([]float64, len(y))
	windows(o, func(xi, yi, c int) {
		for k := range c {
			y[yi+k] += x[0][xi+k]
			count[yi+k]++
		}
	})
	for i := range y {
		y[i] /= count[i]
	}
}

// windows visits every pixel of the pool's output with every pixel of the input in its
// window, as the starts of their rows of c numbers.
func windows(o *op.Op, f func(xi, yi, c int)) {
	x, y := o.In[0], o.Out
	for n := range y[0] {
		for i := range y[1] {
			for j := range y[2] {
				for p := range o.Window() {
					for q := range o.Window() {
						r, s := i*o.Stride()+p-o.Padding(), j*o.Stride()+q-o.Padding()
						if r >= 0 && r < x[1] && s >= 0 && s < x[2] {
							f(((n*x[1]+r)*x[2]+s)*x[3], ((n*y[1]+i)*y[2]+j)*y[3], x[3])
						}
					}
				}
			}
		}
	}
}

// resize interpolates columns, then rows.
func resize(o *op.Op, x [][]float64, y []float64) {
	in, out := o.In[0], o.Out
	h, w, c := in[1], in[2], in[3]
	for n := range out[0] {
		for i := range out[1] {
			top, bottom, fy := between(i, h, out[1])
			for j := range out[2] {
				left, right, fx := between(j, w, out[2])
				for k := range c {
					at := func(r, s int) float64 { return x[0][((n*h+r)*w+s)*c+k] }
					a := at(top, left) + fx*(at(top, right)-at(top, left))
					b := at(bottom, left) + fx*(at(bottom, right)-at(bottom, left))
					y[((n*out[1]+i)*out[2]+j)*c+k] = a + fy*(b-a)
				}
			}
		}
	}
}

// between is where pixel i of so many falls among from pixels: between lo and hi, the
// share f of the way. The scale and the place are rounded to float32 as in TensorFlow.
func between(i, from, to int) (lo, hi int, f float64) {
	at := float32(i) * (float32(from) / float32(to))
	lo = min(int(at), from-1)
	return lo, min(lo+1, from-1), float64(at - float32(lo))
}
