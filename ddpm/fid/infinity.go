package fid

import (
	"context"
	"fmt"

	"gonum.org/v1/gonum/stat"

	"ddpmlab/ddpm/philox"
)

// Extrapolation is the Fréchet distance by the number of images, and what a line over
// 1/N says of infinitely many: the distance's bias falls about in proportion to 1/N, at a
// rate that depends on the model, so that two models' distances at one N need not stand
// in the order of the models (Chong and Forsyth, 2020, "FID∞").
type Extrapolation struct {
	N        []int
	FD       []float64
	Infinity float64 // the line at 1/N = 0; noise may take it below 0
}

// extrapolationPoints is how many numbers of images there are, as the paper's.
const extrapolationPoints = 15

// Extrapolate measures the distance of the reference to random subsets of the samples, at
// 15 sizes evenly from the smaller of 5,000 and a tenth of the samples up to all of them.
// Only the bias of the samples is taken out, not that of the reference. Subsets are drawn with the seed 0.
func Extrapolate(ctx context.Context, reference Stats, samples Rows) (Extrapolation, error) {
	var e Extrapolation
	least := min(5000, samples.N/10)
	if least < 2 {
		return e, fmt.Errorf("extrapolation of %d images; want 20 or more", samples.N)
	}
	for i := range extrapolationPoints {
		if err := ctx.Err(); err != nil {
			return e, err
		}
		n := least + (samples.N-least)*i/(extrapolationPoints-1)
		fd, err := Frechet(samples.draw(n, philox.Key(0, "fid infinity"), i).Stats(), reference)
		if err != nil {
			return e, err
		}
		e.N, e.FD = append(e.N, n), append(e.FD, fd)
	}
	e.Infinity = intercept(e.N, e.FD)
	return e, nil
}

// intercept is the line of least squares over 1/n at 0.
func intercept(n []int, fd []float64) float64 {
	x := make([]float64, len(n))
	for i, v := range n {
		x[i] = 1 / float64(v)
	}
	alpha, _ := stat.LinearRegression(x, fd, nil, false)
	return alpha
}
