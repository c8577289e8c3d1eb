package fid

import (
	"context"
	"fmt"

	"gonum.org/v1/gonum/stat"

	"ddpmlab/ddpm/philox"
)

// Noise is what real images score against real ones: the level below which no
// difference of scores means anything.
type Noise struct {
	Name  string // of the metric
	N, M  int    // images against so many others of the same set
	Mean  float64
	SD    float64 // between draws
	Draws int
}

// NoiseMetrics are what NoiseLevels measures.
func NoiseMetrics() []string {
	return []string{MetricFD, MetricSpatialFD, MetricPixelFD, MetricPrecision, MetricRecall}
}

// NoiseLevels draws n images of a set at random and measures them against all the others,
// so many times, for each n; n of half of the set are its two disjoint halves. m was
// collected with KeepAll, and with Spatial and Pixel for their distances. Draws are fixed
// by the seed 0.
func NoiseLevels(ctx context.Context, m *Measured, draws int, ns ...int) ([]Noise, error) {
	var out []Noise
	for _, n := range ns {
		if n < Neighbours+1 || m.N-n < Neighbours+1 {
			return nil, fmt.Errorf("noise level of %d images of %s; want %d to %d", n, m.Name, Neighbours+1, m.N-Neighbours-1)
		}
		values := map[string][]float64{}
		for draw := range draws {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			order := philox.Key(0, "fid noise").Perm(m.N, uint64(draw))
			for _, part := range []struct {
				key string
				all Rows
			}{{MetricFD, m.Rows}, {MetricSpatialFD, m.SpatialRows}, {MetricPixelFD, m.PixelRows}} {
				if part.all.N == 0 {
					continue
				}
				fd, err := Frechet(part.all.pick(order[:n]).Stats(), part.all.pick(order[n:]).Stats())
				if err != nil {
					return nil, err
				}
				values[part.key] = append(values[part.key], fd)
			}
			p, r, err := PrecisionRecall(ctx, m.Rows.pick(order[n:]), m.Rows.pick(order[:n]), Neighbours)
			if err != nil {
				return nil, err
			}
			values[MetricPrecision], values[MetricRecall] = append(values[MetricPrecision], p), append(values[MetricRecall], r)
		}
		for _, key := range NoiseMetrics() {
			if len(values[key]) == 0 {
				continue
			}
			name := metricOf(key).name(m.Extractor)
			if key == MetricPixelFD {
				name = metricOf(key).name(m.pixel.Name())
			}
			level := Noise{Name: name, N: n, M: m.N - n, Draws: draws, Mean: stat.Mean(values[key], nil)}
			if draws > 1 {
				level.SD = stat.StdDev(values[key], nil)
			}
			out = append(out, level)
		}
	}
	return out, nil
}
