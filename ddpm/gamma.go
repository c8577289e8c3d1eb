package ddpm

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// gammaPoint is a corner of the broken line of Variant.GammaSchedule.
type gammaPoint struct {
	t int
	f float64
}

// gammaPoints reads a GammaSchedule for T steps; the empty one is constant.
func gammaPoints(schedule string, T int) ([]gammaPoint, error) {
	switch schedule {
	case "", Constant:
		return []gammaPoint{{0, 1}}, nil
	case Rising:
		return []gammaPoint{{0, 0}, {T - 1, 1}}, nil
	case Falling:
		return []gammaPoint{{0, 1}, {T - 1, 0}}, nil
	}
	bad := fieldError("variant", "gamma_schedule", schedule,
		fmt.Sprintf("%q, %q, %q or points as \"0:0,500:1,999:0.5\", t rising, factors 0 or more", Constant, Rising, Falling))
	var points []gammaPoint
	for part := range strings.SplitSeq(schedule, ",") {
		at, factor, ok := strings.Cut(part, ":")
		t, err1 := strconv.Atoi(strings.TrimSpace(at))
		f, err2 := strconv.ParseFloat(strings.TrimSpace(factor), 64)
		if !ok || err1 != nil || err2 != nil || t < 0 || !(f >= 0) || math.IsInf(f, 1) ||
			len(points) > 0 && t <= points[len(points)-1].t {
			return nil, bad
		}
		points = append(points, gammaPoint{t, f})
	}
	return points, nil
}

// gammas is the table γ_t for t = 0..T-1; nil where γ is constant.
func (v Variant) gammas(T int) ([]float64, error) {
	if v.Gamma == 0 || v.GammaSchedule == "" || v.GammaSchedule == Constant {
		return nil, nil
	}
	points, err := gammaPoints(v.GammaSchedule, T)
	if err != nil {
		return nil, err
	}
	table := make([]float64, T)
	k := 0 // the corner before or at t
	for t := range table {
		for k+1 < len(points) && points[k+1].t <= t {
			k++
		}
		p := points[k]
		f := p.f
		if k+1 < len(points) && t > p.t {
			q := points[k+1]
			f += (q.f - p.f) * float64(t-p.t) / float64(q.t-p.t)
		}
		table[t] = v.Gamma * f
	}
	return table, nil
}
