package ddpm

import (
	"context"
	"fmt"
	"math"

	"ddpmlab/internal/display"
)

// PredictionError describes the error e = x̂_0 - x_0 of one-step predictions at one time,
// of which the paper assumes that it is normal, N(0, ν_t²·I): that is what input
// perturbation imitates (Sec. 5; the authors' branch gaussian_error).
type PredictionError struct {
	T int `json:"t"` // index into the full schedule, from 0
	N int `json:"n"` // images

	Nu   float64 `json:"nu"`   // ν_t: the standard deviation of e over the images, mean over pixels
	Mean float64 `json:"mean"` // of e, over images and pixels

	// Rejected is the share of the pixels at which the test of Shapiro and Wilk (1965) at
	// level 0.05 rejects that e is normal, on Tested images: 0.05 where it is. Pixels whose
	// error is the same in all images, Constant of them, are not counted.
	Rejected float64 `json:"rejected"`
	Pixels   int     `json:"pixels"` // tested
	Constant int     `json:"constant"`
	Tested   int     `json:"tested"`
}

// maxTested is how many images the test for normality takes, as the authors': with more,
// it rejects deviations that do not matter.
const maxTested = 100

// rejectBelow is the level of the test.
const rejectBelow = 0.05

// String is the error in one line.
func (e PredictionError) String() string {
	return fmt.Sprintf("t = %d: ν_t %.4f, mean %+.4f, not normal at %.1f %% of %d pixels (Shapiro-Wilk, p < %g, n = %d)",
		e.T, e.Nu, e.Mean, 100*e.Rejected, e.Pixels, rejectBelow, e.Tested)
}

// PredictionErrors measures the error of predicting each of the images of x0, three or
// more, in one step from its x_t, at each of the times, from 0 to T-1. With o.Clip the
// prediction is clipped to [-1, 1], as the authors' is.
func PredictionErrors(ctx context.Context, d Denoiser, s *Schedule, x0 Images, times []int, o BiasOptions) ([]PredictionError, error) {
	if x0.N < 3 {
		return nil, fmt.Errorf("prediction errors of %d images; want 3 or more", x0.N)
	}
	for _, t := range times {
		if t < 0 || t >= s.T() {
			return nil, fmt.Errorf("prediction errors at t = %d; want 0 to %d", t, s.T()-1)
		}
	}
	work := int64(len(times)) * int64(x0.N)
	report := newProgress(ctx, "errors", "errors of one-step predictions", work, "predictions")
	size := x0.Size()
	errors := make([]float64, x0.N*size) // by pixel, then image
	var out []PredictionError
	for k, t := range times {
		for from := 0; from < x0.N; from += chunk {
			part := x0.Part(from, min(from+chunk, x0.N))
			x := forward(s, part, from, t, o.Seed)
			c := newChain(d, s, s, Sampling{}, from)
			if err := c.evaluate(ctx, t, x); err != nil {
				state := stateOf(err)
				report(int64(k*x0.N+from), state)
				if state == display.Interrupted {
					return nil, fmt.Errorf("prediction errors stopped after %d of %d times: %w", k, len(times), cause(err))
				}
				return nil, fmt.Errorf("prediction errors: %w", err)
			}
			for i, v := range x.Pix {
				at := (i%size)*x0.N + from + i/size
				errors[at] = denoised(s, t, v, c.eps[i], o.Clip) - float64(part.Pix[i])
			}
		}
		out = append(out, describeErrors(t, x0.N, errors))
		report(int64((k+1)*x0.N), display.Running)
	}
	report(work, display.Done)
	return out, nil
}

// describeErrors describes the errors of n images at t, by pixel.
func describeErrors(t, n int, errors []float64) PredictionError {
	e := PredictionError{T: t, N: n, Tested: min(n, maxTested)}
	pixels := len(errors) / n
	rejected := 0
	for p := range pixels {
		x := errors[p*n : (p+1)*n]
		mean, squares := 0.0, 0.0
		for _, v := range x {
			mean += v / float64(n)
		}
		for _, v := range x {
			squares += (v - mean) * (v - mean)
		}
		e.Mean += mean / float64(pixels)
		e.Nu += math.Sqrt(squares/float64(n-1)) / c4(float64(n)) / float64(pixels)
		test, err := ShapiroWilk(x[:e.Tested])
		if err != nil { // all the same
			e.Constant++
			continue
		}
		e.Pixels++
		if test.P < rejectBelow {
			rejected++
		}
	}
	if e.Pixels > 0 {
		e.Rejected = float64(rejected) / float64(e.Pixels)
	}
	return e
}
