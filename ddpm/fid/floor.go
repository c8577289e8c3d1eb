package fid

import (
	"context"
	"fmt"
	"strings"

	"gonum.org/v1/gonum/stat"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/philox"
)

// Floors is how far real images are from real images: what a score would be if
// the samples were perfect. It is above zero, about in proportion to 1/N + 1/M for
// N images against M, because both sides estimate a covariance from few images.
type Floors struct {
	Metric    string
	Real      string // data set that stands for the samples
	Reference string // data set that scores are taken against
	Halves    float64
	HalfN     int // images in each of the two disjoint halves of the reference set
	At        []FloorAt
}

// FloorAt is the distance of N real images from M others.
type FloorAt struct {
	N, M  int
	Mean  float64
	SD    float64 // between draws
	Draws int
}

// floorDraws is how often the N images are drawn.
const floorDraws = 10

// Floor measures the floor of the scores against reference, for scores of ns
// images each, at most half of the set: N random images of the set against all
// the rest of it, which at N of 10,000 images is a little more than the floor
// against all of them. Draws are fixed by the seed 0.
func Floor(ctx context.Context, e Extractor, reference data.Set, ns ...int) (Floors, error) {
	return floor(ctx, e, nil, reference, ns)
}

// FloorAgainst measures the same with the N images from another set of real
// images, which leaves the reference set whole.
func FloorAgainst(ctx context.Context, e Extractor, real, reference data.Set, ns ...int) (Floors, error) {
	if real.SHA256() == reference.SHA256() {
		return Floors{}, fmt.Errorf("floor: %s against itself; use Floor, which keeps the images apart", real.Name())
	}
	return floor(ctx, e, real, reference, ns)
}

// floor takes real images from the reference set itself if real is nil.
func floor(ctx context.Context, e Extractor, real, reference data.Set, ns []int) (Floors, error) {
	f := Floors{Metric: MetricName(e.Name()), Real: reference.Name(), Reference: reference.Name(), HalfN: reference.Len() / 2}
	most := f.HalfN
	if real != nil {
		f.Real, most = real.Name(), real.Len()
	}
	for _, n := range ns {
		if n < 2 || n > most {
			return f, fmt.Errorf("floor: %d images of data set %s, want 2 to %d", n, f.Real, most)
		}
	}
	refFeat, err := SetFeatures(ctx, e, reference)
	if err != nil {
		return f, err
	}
	pool := refFeat
	if real != nil {
		if pool, err = SetFeatures(ctx, e, real); err != nil {
			return f, err
		}
	}
	dim := e.Dim()
	half := shuffled(refFeat, dim, 0)
	if f.Halves, err = Frechet(NewStats(half[:f.HalfN*dim], dim), NewStats(half[f.HalfN*dim:2*f.HalfN*dim], dim)); err != nil {
		return f, err
	}
	all := NewStats(refFeat, dim)
	for _, n := range ns {
		at := FloorAt{N: n, M: all.N, Draws: floorDraws}
		ds := make([]float64, floorDraws)
		for draw := range floorDraws {
			if err := ctx.Err(); err != nil {
				return f, err
			}
			drawn := shuffled(pool, dim, uint64(draw))
			against := all
			if real == nil {
				against = NewStats(drawn[n*dim:], dim)
				at.M = against.N
			}
			if ds[draw], err = Frechet(NewStats(drawn[:n*dim], dim), against); err != nil {
				return f, err
			}
		}
		at.Mean, at.SD = stat.MeanStdDev(ds, nil)
		f.At = append(f.At, at)
	}
	return f, nil
}

// shuffled returns the features in the order of one draw.
func shuffled(feat []float64, dim int, draw uint64) []float64 {
	out := make([]float64, 0, len(feat))
	for _, i := range philox.Key(0, "fid floor").Perm(len(feat)/dim, draw) {
		out = append(out, feat[i*dim:(i+1)*dim]...)
	}
	return out
}

// String is one line for captions.
func (f Floors) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of real images (%s) against real images (%s): halves of %d %.3g", f.Metric, f.Real, f.Reference, f.HalfN, f.Halves)
	for _, a := range f.At {
		fmt.Fprintf(&b, "; %d against %d %.3g ± %.2g", a.N, a.M, a.Mean, a.SD)
	}
	return b.String()
}
