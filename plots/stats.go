package plots

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// meanCI is the mean of values over seeds and the half-width of its 95% confidence
// interval (Student's t). One value has no interval: the half-width is NaN.
func meanCI(values []float64) (mean, half float64) {
	mean, sd := stat.MeanStdDev(values, nil)
	n := float64(len(values))
	if n < 2 {
		return mean, math.NaN()
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975)
	return mean, t * sd / math.Sqrt(n)
}

// overSeeds is the mean over several series at the x they have in common, and the half
// width of its confidence interval.
func overSeeds(xs, ys [][]float64) (x, mean, half []float64) {
	at := map[float64][]float64{}
	for i := range xs {
		for j, v := range xs[i] {
			if finite(ys[i][j]) {
				at[v] = append(at[v], ys[i][j])
			}
		}
	}
	for v, values := range at {
		if len(values) == len(xs) {
			x = append(x, v)
		}
	}
	sort.Float64s(x)
	for _, v := range x {
		m, h := meanCI(at[v])
		mean, half = append(mean, m), append(half, h)
	}
	return x, mean, half
}

// smooth is the mean of y over a window of about the given number of points around each:
// narrower and centred where y begins, since a loss falls steeply there, and cut off at
// the end, where a centred window would end in the noise of single points. Values that are not finite are
// left out of the mean; where there is nothing else the result is NaN.
func smooth(y []float64, window int) []float64 {
	sums, counts := make([]float64, len(y)+1), make([]int, len(y)+1)
	for i, v := range y {
		sums[i+1], counts[i+1] = sums[i], counts[i]
		if finite(v) {
			sums[i+1], counts[i+1] = sums[i]+v, counts[i]+1
		}
	}
	out := make([]float64, len(y))
	for i := range y {
		r := min(window/2, i)
		lo, hi := i-r, min(i+r+1, len(y))
		out[i] = (sums[hi] - sums[lo]) / float64(counts[hi]-counts[lo])
	}
	return out
}

// thinOut keeps of a line what can be seen on a figure so many buckets wide: the
// smallest and the largest value of each bucket, and whether it has gaps.
func thinOut(x, y []float64, buckets int) (tx, ty []float64) {
	if len(x) <= 2*buckets {
		return x, y
	}
	for b := range buckets {
		from, to := b*len(x)/buckets, (b+1)*len(x)/buckets
		lo, hi := -1, -1
		for i := from; i < to; i++ {
			if !finite(y[i]) {
				continue
			}
			if lo < 0 || y[i] < y[lo] {
				lo = i
			}
			if hi < 0 || y[i] > y[hi] {
				hi = i
			}
		}
		switch {
		case lo < 0:
			tx, ty = append(tx, x[from]), append(ty, math.NaN())
		case lo == hi:
			tx, ty = append(tx, x[lo]), append(ty, y[lo])
		default:
			first, second := min(lo, hi), max(lo, hi)
			tx, ty = append(tx, x[first], x[second]), append(ty, y[first], y[second])
		}
	}
	return tx, ty
}
