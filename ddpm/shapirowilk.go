package ddpm

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Normality is the result of ShapiroWilk.
type Normality struct {
	W float64 // 1 for values that lie as those of a normal distribution should
	P float64 // probability of a W as small, of normal values
}

// errConstant is of values that have no distribution to speak of.
var errConstant = errors.New("test for normality: all values are the same")

// ShapiroWilk tests whether the values of x, 3 to 5000, may come from a normal distribution
// (Shapiro and Wilk 1965, by Royston's approximation, algorithm AS R94, 1995).
func ShapiroWilk(x []float64) (Normality, error) {
	n := len(x)
	if n < 3 || n > 5000 {
		return Normality{}, fmt.Errorf("test for normality of %d values; want 3 to 5000", n)
	}
	x = slices.Clone(x)
	slices.Sort(x)
	if !finite(x[0]) || !finite(x[n-1]) {
		return Normality{}, errors.New("test for normality: a value is not finite")
	}
	if x[n-1]-x[0] <= 1e-15*max(math.Abs(x[0]), math.Abs(x[n-1])) {
		return Normality{}, errConstant
	}
	a := shapiroWeights(n)
	mean := 0.0
	for _, v := range x {
		mean += v / float64(n)
	}
	between, within := 0.0, 0.0
	for i, w := range a {
		between += w * (x[n-1-i] - x[i])
	}
	for _, v := range x {
		within += (v - mean) * (v - mean)
	}
	w := min(1, between*between/within)
	return Normality{w, shapiroP(w, n)}, nil
}

// shapiroWeights are the weights of the differences x_(n) - x_(1), x_(n-1) - x_(2), ...
func shapiroWeights(n int) []float64 {
	a := make([]float64, n/2)
	if n == 3 {
		a[0] = math.Sqrt2 / 2
		return a
	}
	m := make([]float64, n/2) // -expected order statistics
	sum := 0.0
	for i := range m {
		m[i] = -distuv.UnitNormal.Quantile((float64(i+1) - 0.375) / (float64(n) + 0.25))
		sum += 2 * m[i] * m[i]
	}
	u := 1 / math.Sqrt(float64(n))
	a[0] = m[0]/math.Sqrt(sum) + polynomial(u, 0, 0.221157, -0.147981, -2.071190, 4.434685, -2.706056)
	rest, taken, from := sum-2*m[0]*m[0], 1-2*a[0]*a[0], 1
	if n > 5 {
		a[1] = m[1]/math.Sqrt(sum) + polynomial(u, 0, 0.042981, -0.293762, -1.752461, 5.682633, -3.582633)
		rest, taken, from = rest-2*m[1]*m[1], taken-2*a[1]*a[1], 2
	}
	for i := from; i < len(a); i++ {
		a[i] = m[i] / math.Sqrt(rest/taken)
	}
	return a
}

// shapiroP is the probability of a W as small as w, of n normal values.
func shapiroP(w float64, n int) float64 {
	if n == 3 { // exact
		return max(0, 6/math.Pi*(math.Asin(math.Sqrt(w))-math.Asin(math.Sqrt(0.75))))
	}
	size, y := float64(n), math.Log(1-w)
	var mean, sd float64
	if n <= 11 {
		gamma := polynomial(size, -2.273, 0.459)
		if y >= gamma {
			return 0
		}
		y = -math.Log(gamma - y)
		mean = polynomial(size, 0.5440, -0.39978, 0.025054, -0.0006714)
		sd = math.Exp(polynomial(size, 1.3822, -0.77857, 0.062767, -0.0020322))
	} else {
		l := math.Log(size)
		mean = polynomial(l, -1.5861, -0.31082, -0.083751, 0.0038915)
		sd = math.Exp(polynomial(l, -0.4803, -0.082676, 0.0030302))
	}
	return distuv.UnitNormal.Survival((y - mean) / sd)
}

// polynomial is c[0] + c[1]·x + c[2]·x² + ...
func polynomial(x float64, c ...float64) float64 {
	y := 0.0
	for _, k := range slices.Backward(c) {
		y = y*x + k
	}
	return y
}
