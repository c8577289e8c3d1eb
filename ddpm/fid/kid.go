package fid

import (
	"context"
	"fmt"

	"gonum.org/v1/gonum/stat"

	"ddpmlab/ddpm/fid/dense"
	"ddpmlab/ddpm/philox"
)

// The kernel distance is the mean over so many random subsets of so many images each, as
// torch-fidelity's.
const (
	KernelSubsets    = 100
	KernelSubsetSize = 1000
)

// KernelDistance returns the unbiased estimate of the squared maximum mean discrepancy
// with the kernel (x·y/d + 1)³ (Bińkowski et al., 2018, "KID"), mean and deviation over
// random subsets of the same size of both sides. Unlike Fréchet distances it is not
// biased by the number of images. Subsets are drawn with the seed 0; where all images go
// into each there is only one.
func KernelDistance(ctx context.Context, a, b Rows, subsets, size int) (mean, sd float64, err error) {
	if a.Dim != b.Dim {
		return 0, 0, fmt.Errorf("kernel distance: features of %d and of %d numbers; use one extractor for both", a.Dim, b.Dim)
	}
	size = min(size, a.N, b.N)
	if size < 2 || subsets < 1 {
		return 0, 0, fmt.Errorf("kernel distance: %d subsets of %d images; want 1 or more of 2 or more", subsets, size)
	}
	if size == a.N && size == b.N {
		subsets = 1
	}
	values := make([]float64, subsets)
	for i := range values {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		values[i] = mmd(a.draw(size, philox.Key(0, "kid a"), i), b.draw(size, philox.Key(0, "kid b"), i))
	}
	if subsets == 1 {
		return values[0], 0, nil
	}
	mean, sd = stat.MeanStdDev(values, nil)
	return mean, sd, nil
}

// mmd is the estimate for two sets of the same size.
func mmd(a, b Rows) float64 {
	n, zero := a.N, make([]float64, a.Dim)
	x, y := a.points(0, n, zero), b.points(0, n, zero)
	sum := func(p, q points, same bool) float64 {
		dot := dense.New(n, n)
		dense.AddProduct(dot, 1, p.x, q.x.T())
		total := 0.0
		for i := range n {
			for j, v := range dot.Row(i) {
				if !same || i != j {
					k := v/float64(a.Dim) + 1
					total += k * k * k
				}
			}
		}
		return total
	}
	pairs := float64(n) * float64(n-1)
	return sum(x, x, true)/pairs + sum(y, y, true)/pairs - 2*sum(x, y, false)/float64(n*n)
}
