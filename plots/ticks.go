package plots

import (
	"math"

	"gonum.org/v1/plot"
)

// linearTicks marks a linear axis at multiples of 1, 2 or 5 times a power of ten, about
// as many as wanted.
type linearTicks struct{ wanted int }

// Ticks are the marks in [lo, hi].
func (t linearTicks) Ticks(lo, hi float64) []plot.Tick {
	step := niceStep((hi - lo) / float64(max(1, t.wanted)))
	if !finite(step) || step <= 0 {
		return nil
	}
	var ticks []plot.Tick
	for i := math.Ceil(lo/step - 1e-9); i*step <= hi+step*1e-9 && len(ticks) < 100; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: formatValue(cleanTick(i*step, step))})
	}
	return ticks
}

// niceStep is the smallest of 1, 2, 5, 10, ... times a power of ten that is at least x.
func niceStep(x float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if x <= m*power*(1+1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// cleanTick rounds a tick to the precision of the step: 0.30000000000000004 is 0.3.
func cleanTick(v, step float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(step)))
	return math.Round(v/unit) * unit
}

// logTicks marks a logarithmic axis at powers of ten, with 2 and 5 between them on a
// short axis, and unlabelled marks at the other multiples.
type logTicks struct{}

// Ticks are the marks in [lo, hi], both above 0.
func (logTicks) Ticks(lo, hi float64) []plot.Tick {
	first, last := int(math.Floor(math.Log10(lo))), int(math.Ceil(math.Log10(hi)))
	decades := math.Log10(hi) - math.Log10(lo)
	labelled := func(m int) bool {
		switch {
		case decades < 0.5:
			return true
		case decades < 2.2:
			return m == 1 || m == 2 || m == 5
		}
		return m == 1
	}
	every := 1 + int(decades)/8 // so that 20 decades do not get 20 labels
	var ticks []plot.Tick
	for e := first; e <= last && e < first+400; e++ {
		for m := 1; m < 10; m++ {
			v := float64(m) * math.Pow(10, float64(e))
			if v < lo*(1-1e-9) || v > hi*(1+1e-9) {
				continue
			}
			tick := plot.Tick{Value: v}
			if labelled(m) && (e-first)%every == 0 {
				tick.Label = formatValue(v)
			}
			if every == 1 || m == 1 {
				ticks = append(ticks, tick)
			}
		}
	}
	return ticks
}
