package ref

import (
	"math"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine/op"
)

// group is one sample's group of channels: the entries it consists of, and the
// normalisation of x over them.
type group struct {
	idx  []int
	x    []float64
	mu   float64 // mean
	rstd float64 // 1/sqrt(var + eps)
}

// eachGroup visits the groups of the tensor x of shape s.
func eachGroup(o *op.Op, s tensor.Shape, x []float64, f func(group)) {
	c := channels(s)
	pixels, width := op.Size(s)/s[0]/c, c/o.Groups()
	for n := range s[0] {
		for k := range o.Groups() {
			g := group{x: x}
			for p := range pixels {
				for i := range width {
					g.idx = append(g.idx, (n*pixels+p)*c+k*width+i)
				}
			}
			g.mu = g.mean(func(i int) float64 { return x[i] })
			variance := g.mean(func(i int) float64 { return (x[i] - g.mu) * (x[i] - g.mu) })
			g.rstd = 1 / math.Sqrt(variance+o.F)
			f(g)
		}
	}
}

func (g group) mean(f func(i int) float64) float64 {
	var s float64
	for _, i := range g.idx {
		s += f(i)
	}
	return s / float64(len(g.idx))
}

func (g group) xhat(i int) float64 { return (g.x[i] - g.mu) * g.rstd }

func groupNorm(o *op.Op, x [][]float64, y []float64) {
	eachGroup(o, o.In[0], x[0], func(g group) {
		for _, i := range g.idx {
			y[i] = g.xhat(i)
		}
	})
}

// groupNorm1 is J(x)·v, with J·v = rstd·(v - mean(v) - xhat·mean(v·xhat)).
func groupNorm1(o *op.Op, x [][]float64, y []float64) {
	v := x[1]
	eachGroup(o, o.In[0], x[0], func(g group) {
		v1 := g.mean(func(i int) float64 { return v[i] })
		vx := g.mean(func(i int) float64 { return v[i] * g.xhat(i) })
		for _, i := range g.idx {
			y[i] = g.rstd * (v[i] - v1 - g.xhat(i)*vx)
		}
	})
}

// groupNorm2 is d/dx <h, J(x)·v>:
// -(mean(hv) - mean(h)·mean(v) - hx·vx)·rstd²·xhat - rstd·(hx·J·v + vx·J·h),
// with hx = mean(h·xhat) and vx = mean(v·xhat).
func groupNorm2(o *op.Op, x [][]float64, y []float64) {
	v, h := x[1], x[2]
	eachGroup(o, o.In[0], x[0], func(g group) {
		v1 := g.mean(func(i int) float64 { return v[i] })
		h1 := g.mean(func(i int) float64 { return h[i] })
		vx := g.mean(func(i int) float64 { return v[i] * g.xhat(i) })
		hx := g.mean(func(i int) float64 { return h[i] * g.xhat(i) })
		e := g.mean(func(i int) float64 { return h[i] * v[i] }) - h1*v1 - hx*vx
		for _, i := range g.idx {
			jv := g.rstd * (v[i] - v1 - g.xhat(i)*vx)
			jh := g.rstd * (h[i] - h1 - g.xhat(i)*hx)
			y[i] = -e*g.rstd*g.rstd*g.xhat(i) - g.rstd*(vx*jh+hx*jv)
		}
	})
}

// eachGNAct visits the entries of a GNAct or one of its derivatives: entry i of
// x, entry k of A and B, the normalised x, and u = xhat·A + B.
func eachGNAct(o *op.Op, x [][]float64, f func(i, k int, xhat, u float64)) {
	eachGroup(o, o.In[0], x[0], func(g group) {
		for _, i := range g.idx {
			k := op.PerSampleChannel.Index(o.In[0], 0, i)
			f(i, k, g.xhat(i), g.xhat(i)*x[1][k]+x[2][k])
		}
	})
}

func gnAct(o *op.Op, x [][]float64, y []float64) {
	eachGNAct(o, x, func(i, _ int, _, u float64) { y[i] = silu(u) })
}

func gnActDA(o *op.Op, x [][]float64, y []float64) {
	eachGNAct(o, x, func(i, k int, xhat, u float64) { y[k] += x[3][i] * silu1(u) * xhat })
}

func gnActDB(o *op.Op, x [][]float64, y []float64) {
	eachGNAct(o, x, func(i, k int, _, u float64) { y[k] += x[3][i] * silu1(u) })
}

func gnActDX(o *op.Op, x [][]float64, y []float64) {
	gu := make([]float64, len(x[0]))
	eachGNAct(o, x, func(i, k int, _, u float64) { gu[i] = x[3][i] * silu1(u) * x[1][k] })
	groupNorm1(o, [][]float64{x[0], gu}, y)
}

// The derivatives of dx = J(x)·w, w = g·silu'(u)·A, given its cotangent h. With
// q = J(x)·h, the gradient of <h, dx> for u is g·silu''(u)·A·q.

// eachSecond visits the entries as eachGNAct does, with q and the gradient for u.
func eachSecond(o *op.Op, x [][]float64, f func(i, k int, xhat, u, q, du float64)) {
	a, g, h := x[1], x[3], x[4]
	q := make([]float64, len(h))
	groupNorm1(o, [][]float64{x[0], h}, q)
	eachGNAct(o, x, func(i, k int, xhat, u float64) { f(i, k, xhat, u, q[i], g[i]*silu2(u)*a[k]*q[i]) })
}

func gnActDXDG(o *op.Op, x [][]float64, y []float64) {
	eachSecond(o, x, func(i, k int, _, u, q, _ float64) { y[i] = silu1(u) * x[1][k] * q })
}

func gnActDXDB(o *op.Op, x [][]float64, y []float64) {
	eachSecond(o, x, func(_, k int, _, _, _, du float64) { y[k] += du })
}

func gnActDXDA(o *op.Op, x [][]float64, y []float64) {
	eachSecond(o, x, func(i, k int, xhat, u, q, du float64) { y[k] += x[3][i]*silu1(u)*q + du*xhat })
}

// gnActDXDX is J(x)·(A·du) + d/dx <h, J(x)·w>.
func gnActDXDX(o *op.Op, x [][]float64, y []float64) {
	w, du, direct := make([]float64, len(y)), make([]float64, len(y)), make([]float64, len(y))
	eachSecond(o, x, func(i, k int, _, u, _, d float64) {
		w[i] = x[3][i] * silu1(u) * x[1][k]
		du[i] = x[1][k] * d
	})
	groupNorm1(o, [][]float64{x[0], du}, direct)
	groupNorm2(o, [][]float64{x[0], w, x[4]}, y)
	for i := range y {
		y[i] += direct[i]
	}
}
