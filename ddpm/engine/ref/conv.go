package ref

import (
	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine/op"
)

func conv(o *op.Op, x [][]float64, y []float64) {
	taps(o, o.In[0], o.In[1], o.Out, func(xi, wi, yi, c, k int) {
		for i := range c {
			for j := range k {
				y[yi+j] += x[0][xi+i] * x[1][wi+i*k+j]
			}
		}
	})
}

func convDX(o *op.Op, x [][]float64, gx []float64) {
	taps(o, o.Out, o.In[0], o.In[1], func(xi, wi, yi, c, k int) {
		for i := range c {
			for j := range k {
				gx[xi+i] += x[0][wi+i*k+j] * x[1][yi+j]
			}
		}
	})
}

func convDW(o *op.Op, x [][]float64, gw []float64) {
	taps(o, o.In[0], o.Out, o.In[1], func(xi, wi, yi, c, k int) {
		for i := range c {
			for j := range k {
				gw[wi+i*k+j] += x[0][xi+i] * x[1][yi+j]
			}
		}
	})
}

// taps visits every pixel of the output y with every pixel of the input x that
// a tap of the kernel w joins it to, as the starts of their rows of C, C·K and K
// numbers.
func taps(o *op.Op, x, w, y tensor.Shape, f func(xi, wi, yi, c, k int)) {
	c, k := w[2], w[3]
	for n := range y[0] {
		for i := range y[1] {
			for j := range y[2] {
				for p := range w[0] {
					for q := range w[1] {
						r, s := i*o.Stride()+p-o.Padding(), j*o.Stride()+q-o.PaddingX()
						if r < 0 || r >= x[1] || s < 0 || s >= x[2] {
							continue
						}
						f(((n*x[1]+r)*x[2]+s)*c, (p*w[1]+q)*c*k, ((n*y[1]+i)*y[2]+j)*k, c, k)
					}
				}
			}
		}
	}
}
