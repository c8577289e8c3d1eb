package plots

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

func TestFormat(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tt := range []struct{ got, want string }{
		{formatScore(3.584), "3.58"}, // like the paper's
		{formatScore(402.7), "402.70"},
		{formatScore(0.52349), "0.523"},
		{formatScore(0.06344), "0.0634"},
		{formatScore(1e-9), "0.000000"},
		{formatScore(0), "0.00"},
		{formatScore(nan), "NaN"},
		{formatScore(inf), "∞"},
		{formatScore(-inf), "-∞"},
		{formatFixed(-0.00001, 4), "0.0000"},
		{formatFixed(0.0539, biasDecimals), "0.0539"},
		{formatCount(0), "0"},
		{formatCount(999), "999"},
		{formatCount(-1234567), "-1,234,567"},
		{formatValue(0), "0"},
		{formatValue(0.1), "0.1"},
		{formatValue(0.30000000000000004), "0.3"},
		{formatValue(1234), "1,234"},
		{formatValue(1234.5), "1,235"},
		{formatValue(123.456), "123.5"},
		{formatValue(0.00001234), "1.234e-05"},
		{formatValue(1e12), "1e+12"},
		{formatValue(nan), "NaN"},
		{plural(1, "seed", "seeds"), "1 seed"},
		{plural(1200, "image", "images"), "1,200 images"},
		{formatMean(nil, -1), "–"},
		{formatMean([]float64{1, 2, 3}, -1), "2.00 ± 2.48"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	for _, tt := range []struct {
		values []float64
		want   int
	}{
		{nil, 2},
		{[]float64{12, 3}, 2},
		{[]float64{12, 0.5}, 3},
		{[]float64{0, 0.0634, nan}, 4},
		{[]float64{1e-12}, 6},
	} {
		if got := decimalsFor(tt.values...); got != tt.want {
			t.Errorf("decimalsFor(%v) = %d, want %d", tt.values, got, tt.want)
		}
	}
}

// TestTicks holds for every range: marks within it, a sensible number of labels, each of
// them true and different from the others.
func TestTicks(t *testing.T) {
	check := func(name string, lo, hi float64, labels map[string]float64, least, most int) {
		t.Helper()
		if len(labels) < least || len(labels) > most {
			t.Errorf("%s [%g, %g]: %d labels %v, want %d to %d", name, lo, hi, len(labels), labels, least, most)
		}
		for label, v := range labels {
			if v < lo-(hi-lo)*1e-6 || v > hi+(hi-lo)*1e-6 {
				t.Errorf("%s [%g, %g]: mark at %g", name, lo, hi, v)
			}
			said, err := strconv.ParseFloat(strings.ReplaceAll(label, ",", ""), 64)
			if err != nil || math.Abs(said-v) > math.Abs(v)*1e-3+1e-12*(hi-lo) {
				t.Errorf("%s [%g, %g]: label %q at %g", name, lo, hi, label, v)
			}
		}
	}
	for e := -9; e <= 9; e++ {
		for _, m := range []float64{1, 1.3, 2.7, 4.9, 9.99} {
			span := m * math.Pow(10, float64(e))
			for _, lo := range []float64{0, -span / 2, span * 3.3} {
				labels := map[string]float64{}
				ticks := linearTicks{6}.Ticks(lo, lo+span)
				for _, tick := range ticks {
					labels[tick.Label] = tick.Value
				}
				if len(labels) != len(ticks) {
					t.Errorf("linear [%g, %g]: two marks have one label: %v", lo, lo+span, labels)
				}
				check("linear", lo, lo+span, labels, 3, 7)
			}
			for _, ratio := range []float64{1.3, 2, 5, 30, 1e3, 1e9, 1e40} {
				labels := map[string]float64{}
				for _, tick := range (logTicks{}).Ticks(span, span*ratio) {
					if tick.Label != "" {
						labels[tick.Label] = tick.Value
					}
				}
				check("log", span, span*ratio, labels, 0, 10)
			}
		}
	}
	if got := (linearTicks{6}).Ticks(math.Inf(-1), math.Inf(1)); got != nil {
		t.Errorf("marks of an infinite axis: %v", got)
	}
}
