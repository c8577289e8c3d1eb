package fid

import (
	"context"
	"fmt"
	"slices"
)

// Neighbours is the k of precision and recall in the authors' evaluation.
const Neighbours = 3

// PrecisionRecall returns the share of samples that lie in the manifold of the real
// images, and the share of real images in that of the samples (Kynkäänniemi et al.,
// 2019): in one of the balls about each image that reach to its k-th nearest other one.
//
// Distances are computed in blocks, as |x|²+|y|²-2xy in float64, and directly where that
// is too near a radius to decide; so the result is exact.
func PrecisionRecall(ctx context.Context, real, samples Rows, k int) (precision, recall float64, err error) {
	if real.Dim != samples.Dim {
		return 0, 0, fmt.Errorf("precision and recall: features of %d and of %d numbers; use one extractor for both", real.Dim, samples.Dim)
	}
	if least := min(real.N, samples.N); k < 1 || least <= k {
		return 0, 0, fmt.Errorf("precision and recall: %d images; want more than the %d neighbours", least, k)
	}
	centre := real.mean()
	if precision, err = covered(ctx, samples, real, centre, k); err != nil {
		return 0, 0, err
	}
	recall, err = covered(ctx, real, samples, centre, k)
	return precision, recall, err
}

// covered is the share of rows of a in one of the balls about the rows of b.
func covered(ctx context.Context, a, b Rows, centre []float64, k int) (float64, error) {
	radius, err := radii(ctx, b, centre, k)
	if err != nil {
		return 0, err
	}
	in := make([]bool, a.N)
	err = blocks(ctx, a, b, centre, func(i int, norm float64, first int, norms, dot []float64) {
		for j, d := range dot {
			if in[i] {
				return
			}
			d, slack := norm+norms[j]-2*d, 1e-12*(norm+norms[j])
			if d <= radius[first+j]+slack {
				in[i] = d < radius[first+j]-slack || distance(a.Row(i), b.Row(first+j)) <= radius[first+j]
			}
		}
	})
	n := 0
	for _, v := range in {
		if v {
			n++
		}
	}
	return float64(n) / float64(a.N), err
}

// radii are the squared distances of each row to its k-th nearest other one.
func radii(ctx context.Context, r Rows, centre []float64, k int) ([]float64, error) {
	type near struct {
		d float64
		i int
	}
	nearest := make([][]near, r.N) // the k nearest so far, the nearest first
	err := blocks(ctx, r, r, centre, func(i int, norm float64, first int, norms, dot []float64) {
		list := nearest[i]
		for j, d := range dot {
			if d = norm + norms[j] - 2*d; first+j == i || len(list) == k && d >= list[k-1].d {
				continue
			}
			if len(list) < k {
				list = append(list, near{})
			}
			at := len(list) - 1
			for at > 0 && list[at-1].d > d {
				list[at] = list[at-1]
				at--
			}
			list[at] = near{d, first + j}
		}
		nearest[i] = list
	})
	radius := make([]float64, r.N)
	for i, list := range nearest {
		exact := make([]float64, 0, k)
		for _, n := range list {
			exact = append(exact, distance(r.Row(i), r.Row(n.i)))
		}
		if err == nil {
			radius[i] = slices.Max(exact)
		}
	}
	return radius, err
}
