package plots

import (
	"math"
	"strconv"
	"strings"
)

// Numbers are printed like the paper's: scores with two decimals, exposure bias with
// four. A Fréchet distance on a small network's features can be far below 1, where two
// decimals say nothing: then so many are printed that the smallest value of its column
// has three significant digits.
const (
	scoreDecimals = 2
	biasDecimals  = 4
	maxDecimals   = 6
	missing       = "–"
)

// decimalsFor is how many decimals a column of these scores gets.
func decimalsFor(values ...float64) int {
	smallest := math.Inf(1)
	for _, v := range values {
		if a := math.Abs(v); a > 0 && a < smallest {
			smallest = a
		}
	}
	if math.IsInf(smallest, 1) || smallest >= 1 {
		return scoreDecimals
	}
	return min(maxDecimals, 2-int(math.Floor(math.Log10(smallest))))
}

// formatFixed is v with that many decimals; NaN and infinities in words.
func formatFixed(v float64, decimals int) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "-∞"
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Trim(s, "-0.") == "" {
		s = strings.TrimPrefix(s, "-")
	}
	return s
}

// formatScore is v with the decimals it would have in a column of its own.
func formatScore(v float64) string { return formatFixed(v, decimalsFor(v)) }

// formatCount is n with commas between thousands.
func formatCount(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// formatValue is v as an axis or a summary shows it: up to four significant digits, with
// commas between thousands and powers of ten only far from 1.
func formatValue(v float64) string {
	a := math.Abs(v)
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return formatFixed(v, 0)
	case a == 0:
		return "0"
	case a >= 1e9 || a < 1e-4:
		return strconv.FormatFloat(v, 'g', 4, 64)
	case a >= 1000 && v == math.Trunc(v):
		return formatCount(int64(v))
	case a >= 1000:
		return formatCount(int64(math.Round(v)))
	}
	s := strconv.FormatFloat(v, 'f', 3-int(math.Floor(math.Log10(a))), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// plural is "1 seed" or "3 seeds".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return formatCount(int64(n)) + " " + many
}

// finite reports whether v is a number.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
