package fid

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"gonum.org/v1/gonum/stat"

	"ddpmlab/ddpm/philox"
)

// Difference is how much nearer the reference one set of samples is than another that
// was drawn from the same noise, image for image.
type Difference struct {
	A, B  float64 // distances of all images
	Diff  float64 // A - B
	SD    float64 // of Diff, over bootstrap draws of pairs of images
	Low   float64 // 2.5 % of the draws lie below
	High  float64 // 2.5 % lie above
	N     int     // pairs
	Draws int

	Protocol Protocol // of both distances
	ID       string   // its hash
}

// Z is the difference in its standard deviations.
func (d Difference) Z() float64 { return d.Diff / d.SD }

// String is a line, and one of the protocol where it is known.
func (d Difference) String() string {
	z := "none"
	if d.SD > 0 {
		z = fmt.Sprintf("%.1f", d.Z())
	}
	s := fmt.Sprintf("%.4g - %.4g = %.4g ± %.2g (95 %%: %.4g to %.4g; z %s; %d pairs, %d draws)", d.A, d.B, d.Diff, d.SD, d.Low, d.High, z, d.N, d.Draws)
	if d.ID != "" {
		s += fmt.Sprintf("\n%v (protocol %.12s)", d.Protocol, d.ID)
	}
	return s
}

// Compare scores two sets of samples, of which image i of both comes from the same noise,
// against one reference, and tells by PairedBootstrap how sure their difference is. Of
// Request Floats and Progress count. It closes all three.
func Compare(ctx context.Context, e Network, a, b *Source, against Against, r Request, draws int) (Difference, error) {
	r.Metrics, r.Keep = []string{MetricFD}, true
	x, err := Evaluate(ctx, e, a, against, r)
	if err != nil {
		return Difference{}, errors.Join(err, b.shut())
	}
	y, err := Evaluate(ctx, e, b, x.Against, r)
	if err != nil {
		return Difference{}, err
	}
	p := x.Values[0].Protocol
	if err := Same(p, y.Values[0].Protocol); err != nil {
		return Difference{}, err
	}
	d, err := PairedBootstrap(ctx, y.Against.measured.Pool, x.SampleRows, y.SampleRows, draws)
	d.Protocol, d.ID = p, p.Hash()
	return d, err
}

// PairedBootstrap draws pairs of images with replacement, the same ones of a and b, and
// takes the difference of their distances from the reference. Where image i of both
// comes from the same noise, what the noise does to both falls out: that cut the
// deviation of the difference by two to four times. It tells how sure the difference of
// these two networks is, not of two ways to train: for that there are seeds.
func PairedBootstrap(ctx context.Context, reference Stats, a, b Rows, draws int) (Difference, error) {
	d := Difference{N: a.N, Draws: draws}
	if a.N != b.N || a.N < 2 {
		return d, fmt.Errorf("paired bootstrap of %d and %d images; want as many of both, drawn from the same noise", a.N, b.N)
	}
	if draws < 2 {
		return d, fmt.Errorf("paired bootstrap of %d draws; want 2 or more", draws)
	}
	distances := func(index []int) (x, y float64, err error) {
		if x, err = Frechet(a.pick(index).Stats(), reference); err != nil {
			return 0, 0, err
		}
		y, err = Frechet(b.pick(index).Stats(), reference)
		return x, y, err
	}
	all := make([]int, a.N)
	for i := range all {
		all[i] = i
	}
	var err error
	if d.A, d.B, err = distances(all); err != nil {
		return d, err
	}
	d.Diff = d.A - d.B
	diffs, errs := make([]float64, draws), make([]error, draws)
	stream := philox.Key(0, "bootstrap")
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			index := make([]int, a.N)
			for k := int(next.Add(1)) - 1; k < draws; k = int(next.Add(1)) - 1 {
				if errs[k] = ctx.Err(); errs[k] != nil {
					return
				}
				for i := range index {
					index[i] = stream.Below(a.N, uint64(k), uint32(i), 0)
				}
				x, y, err := distances(index)
				diffs[k], errs[k] = x-y, err
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return d, err
		}
	}
	_, variance := stat.MeanVariance(diffs, nil)
	d.SD = math.Sqrt(variance)
	slices.Sort(diffs)
	d.Low, d.High = stat.Quantile(0.025, stat.Empirical, diffs, nil), stat.Quantile(0.975, stat.Empirical, diffs, nil)
	return d, nil
}
