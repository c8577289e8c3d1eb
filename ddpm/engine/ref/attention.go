package ref

import (
	"math"

	"ddpmlab/ddpm/engine/op"
)

// head is one image and head of an attention kind. Its matrices are lists of
// rows, one a token, that alias the tensors.
type head struct {
	tokens, width, c int
	image, first     int // first: channel
	scale            float64
}

func eachHead(o *op.Op, f func(h head)) {
	s := o.In[0]
	c := s[2] / 3
	d := c / o.Heads()
	for n := range s[0] {
		for j := range o.Heads() {
			f(head{s[1], d, c, n, j * d, 1 / math.Sqrt(float64(d))})
		}
	}
}

// rows is the matrix [tokens][width] at channel off of x [N,P,stride].
func (h head) rows(x []float64, stride, off int) [][]float64 {
	m := make([][]float64, h.tokens)
	for i := range m {
		at := (h.image*h.tokens+i)*stride + off + h.first
		m[i] = x[at : at+h.width]
	}
	return m
}

func (h head) qkv(x []float64) (q, k, v [][]float64) {
	return h.rows(x, 3*h.c, 0), h.rows(x, 3*h.c, h.c), h.rows(x, 3*h.c, 2*h.c)
}

func (h head) merged(x []float64) [][]float64 { return h.rows(x, h.c, 0) }

// weights is softmax(Q·Kᵀ·scale).
func (h head) weights(q, k [][]float64) [][]float64 {
	w := square(h.tokens, func(i, j int) float64 { return dot(q[i], k[j]) * h.scale })
	for _, r := range w {
		l := logSumExp(r)
		each(r, func(j int) float64 { return math.Exp(r[j] - l) })
	}
	return w
}

// softmaxJ is the Jacobian of softmax at w's row, which is symmetric, times m's row.
func softmaxJ(w, m [][]float64) [][]float64 {
	return square(len(w), func(i, j int) float64 { return w[i][j] * (m[i][j] - dot(w[i], m[i])) })
}

func square(n int, f func(i, j int) float64) [][]float64 {
	m := make([][]float64, n)
	for i := range m {
		m[i] = make([]float64, n)
		each(m[i], func(j int) float64 { return f(i, j) })
	}
	return m
}

func dot(a, b []float64) float64 {
	var s float64
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// addProduct is out += factor·m·b, or factor·mᵀ·b.
func addProduct(out [][]float64, factor float64, m [][]float64, transposed bool, b [][]float64) {
	for i := range m {
		for j := range m {
			to, from := i, j
			if transposed {
				to, from = j, i
			}
			for l, v := range b[from] {
				out[to][l] += factor * m[i][j] * v
			}
		}
	}
}

func attention(o *op.Op, x [][]float64, y []float64) {
	eachHead(o, func(h head) {
		q, k, v := h.qkv(x[0])
		addProduct(h.merged(y), 1, h.weights(q, k), false, v)
	})
}

func attentionDX(o *op.Op, x [][]float64, y []float64) {
	eachHead(o, func(h head) {
		q, k, v := h.qkv(x[0])
		g := h.merged(x[1])
		w := h.weights(q, k)
		ds := softmaxJ(w, square(h.tokens, func(i, j int) float64 { return dot(g[i], v[j]) }))
		gq, gk, gv := h.qkv(y)
		addProduct(gq, h.scale, ds, false, k)
		addProduct(gk, h.scale, ds, true, q)
		addProduct(gv, 1, w, true, g)
	})
}

func attentionJVP(o *op.Op, x [][]float64, y []float64) {
	eachHead(o, func(h head) {
		q, k, v := h.qkv(x[0])
		hq, hk, hv := h.qkv(x[1])
		w := h.weights(q, k)
		addProduct(h.merged(y), 1, softmaxJ(w, h.scoresAlong(q, k, hq, hk)), false, v)
		addProduct(h.merged(y), 1, w, false, hv)
	})
}

// scoresAlong is the derivative of Q·Kᵀ·scale along (hq, hk).
func (h head) scoresAlong(q, k, hq, hk [][]float64) [][]float64 {
	return square(h.tokens, func(i, j int) float64 { return h.scale * (dot(hq[i], k[j]) + dot(q[i], hk[j])) })
}

// attentionDX2 is the gradient of <J(qkv)·h, g>, which is, with the weights W, the
// derivative A of the scores along h, B = G·Vᵀ and B' = G·Vhᵀ, the sum of
// W·(A - rowsum(W·A))·B + W·B'.
func attentionDX2(o *op.Op, x [][]float64, y []float64) {
	eachHead(o, func(h head) {
		q, k, v := h.qkv(x[0])
		g := h.merged(x[1])
		hq, hk, hv := h.qkv(x[2])
		w, a := h.weights(q, k), h.scoresAlong(q, k, hq, hk)
		b := square(h.tokens, func(i, j int) float64 { return dot(g[i], v[j]) })
		forW := square(h.tokens, func(i, j int) float64 {
			return a[i][j]*(b[i][j]-dot(w[i], b[i])) - dot(w[i], a[i])*b[i][j] + dot(g[i], hv[j])
		})
		forScores, forA, forB := softmaxJ(w, forW), softmaxJ(w, b), softmaxJ(w, a)
		gq, gk, gv := h.qkv(y)
		addProduct(gq, h.scale, forScores, false, k)
		addProduct(gq, h.scale, forA, false, hk)
		addProduct(gk, h.scale, forScores, true, q)
		addProduct(gk, h.scale, forA, true, hq)
		addProduct(gv, 1, forB, true, g)
	})
}
