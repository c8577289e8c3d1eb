package fid

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"

	"ddpmlab/ddpm/fid/dense"
	"ddpmlab/ddpm/philox"
)

// Rows are the features of N images, Dim numbers each, one image after another.
type Rows struct {
	N, Dim int
	X      []float32
}

// NewRows are the features of len(x)/dim images.
func NewRows(x []float32, dim int) Rows { return Rows{len(x) / max(dim, 1), dim, x} }

// Row is the features of image i.
func (r Rows) Row(i int) []float32 { return r.X[i*r.Dim : (i+1)*r.Dim] }

// Stats is their mean and covariance.
func (r Rows) Stats() Stats {
	a := NewAccumulator(r.Dim)
	a.AddRows(r)
	return a.Stats()
}

// AddRows takes the features of some images.
func (a *Accumulator) AddRows(r Rows) {
	x := make([]float64, 0, min(r.N, blockImages)*r.Dim)
	for first := 0; first < r.N; first += blockImages {
		x = x[:0]
		for _, v := range r.X[first*r.Dim : min(first+blockImages, r.N)*r.Dim] {
			x = append(x, float64(v))
		}
		a.Add(x)
	}
}

// pick are the rows of the given numbers.
func (r Rows) pick(index []int) Rows {
	out := Rows{len(index), r.Dim, make([]float32, 0, len(index)*r.Dim)}
	for _, i := range index {
		out.X = append(out.X, r.Row(i)...)
	}
	return out
}

// draw are n different rows at random.
func (r Rows) draw(n int, stream philox.Stream, number int) Rows {
	return r.pick(stream.Perm(r.N, uint64(number))[:n])
}

// check tells the first number that is none, of rows that begin with image first.
func (r Rows) check(what string, first int) error {
	for i, v := range r.X {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%s %d of image %d is %g; the image or the extractor's weights are damaged", what, i%r.Dim+1, first+i/r.Dim+1, f)
		}
	}
	return nil
}

// points are some rows in float64 about a centre, near which differences lose no
// digits, and their squared lengths.
type points struct {
	x     dense.Matrix
	norms []float64
}

func (r Rows) points(first, n int, centre []float64) points {
	p := points{dense.New(n, r.Dim), make([]float64, n)}
	for i := range n {
		row := p.x.Row(i)
		for j, v := range r.Row(first + i) {
			row[j] = float64(v) - centre[j]
			p.norms[i] += row[j] * row[j]
		}
	}
	return p
}

// mean is the mean row.
func (r Rows) mean() []float64 {
	m := make([]float64, r.Dim)
	for i := range r.N {
		for j, v := range r.Row(i) {
			m[j] += float64(v) / float64(r.N)
		}
	}
	return m
}

// distance is the squared distance of two rows.
func distance(x, y []float32) float64 {
	d := 0.0
	for i, v := range x {
		e := float64(v) - float64(y[i])
		d += e * e
	}
	return d
}

// Sides of the blocks of distances that are in memory at a time.
const (
	blockRows = 504
	blockCols = 2048
)

// blocks calls f for each row i of a with its products with rows first, first+1, ... of b
// about the centre, several goroutines at once but never for the same row.
func blocks(ctx context.Context, a, b Rows, centre []float64, f func(i int, norm float64, first int, norms, dot []float64)) error {
	for i := 0; i < a.N; i += blockRows {
		p := a.points(i, min(blockRows, a.N-i), centre)
		for j := 0; j < b.N; j += blockCols {
			if err := ctx.Err(); err != nil {
				return err
			}
			q := b.points(j, min(blockCols, b.N-j), centre)
			dot := dense.New(len(p.norms), len(q.norms))
			dense.AddProduct(dot, 1, p.x, q.x.T())
			each := len(p.norms)/runtime.GOMAXPROCS(0) + 1
			var wg sync.WaitGroup
			for from := 0; from < len(p.norms); from += each {
				wg.Go(func() {
					for k := from; k < min(from+each, len(p.norms)); k++ {
						f(i+k, p.norms[k], j, q.norms, dot.Row(k))
					}
				})
			}
			wg.Wait()
		}
	}
	return nil
}
