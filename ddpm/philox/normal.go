package philox

import "math"

// Float maps a word to [0, 1), a multiple of 2^-24: exact in float32.
func Float(u uint32) float32 { return float32(u>>8) * (1.0 / (1 << 24)) }

// Normal maps a uniform word to a standard normal number by the inverse of the
// normal distribution function: the top bit is the sign, the other 31 bits k give
// the tail probability p = (k+1/2)/2^32, so that numbers lie in ±6.34 and both
// tails are equally fine. The approximation is PPND7 of AS 241 (Wichura 1988);
// with float32 arithmetic its error is below 1e-6 of the larger of 1 and |z|.
//
// Each product is converted to float32 before it is added: the language forbids
// fusing the two then, and the same bits come out on every machine, in C with
// contraction off, and on a GPU with the _rn intrinsics.
func Normal(u uint32) float32 {
	k := u & (1<<31 - 1)
	p := float32(float32(k)+0.5) * (1.0 / (1 << 32)) // (0, 1/2]
	z := tail(p)
	if u>>31 == 1 {
		return -z
	}
	return z
}

// tail returns z ≥ 0 with P(Z > z) = p, for p in (0, 1/2].
func tail(p float32) float32 {
	if q := 0.5 - p; q <= 0.425 {
		r := 0.180625 - float32(q*q)
		num := poly(r, 3.3871327179e+00, 5.0434271938e+01, 1.5929113202e+02, 5.9109374720e+01)
		den := poly(r, 1, 1.7895169469e+01, 7.8757757664e+01, 6.7187563600e+01)
		return float32(q*num) / den
	}
	r := sqrt(-log(p))
	if r <= 5 {
		r -= 1.6
		num := poly(r, 1.4234372777e+00, 2.7568153900e+00, 1.3067284816e+00, 1.7023821103e-01)
		den := poly(r, 1, 7.3700164250e-01, 1.2021132975e-01, 0)
		return num / den
	}
	r -= 5
	num := poly(r, 6.6579051150e+00, 3.0812263860e+00, 4.2868294337e-01, 1.7337203997e-02)
	den := poly(r, 1, 2.4197894225e-01, 1.2258202635e-02, 0)
	return num / den
}

// poly is ((c3 r + c2) r + c1) r + c0, rounded after each operation.
func poly(r, c0, c1, c2, c3 float32) float32 {
	y := float32(c3*r) + c2
	y = float32(y*r) + c1
	return float32(y*r) + c0
}

// sqrt is the correctly rounded float32 root: the float64 root has more than
// twice the digits, so rounding it once more changes nothing.
func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// log is the natural logarithm of a positive, normal float32, with the polynomial
// of Cephes' logf (Moshier 1992). math.Log is not used, because its bits differ
// between architectures.
func log(x float32) float32 {
	b := math.Float32bits(x)
	e := float32(int32(b>>23) - 126)
	m := math.Float32frombits(b&(1<<23-1) | 126<<23) // [1/2, 1)
	if m < 0.70710678 {
		m += m
		e--
	}
	m-- // [√½-1, √2-1)
	y := float32(7.0376836292e-2)
	for _, c := range [...]float32{
		-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
	} {
		y = float32(y*m) + c
	}
	z := float32(m * m)
	y = float32(float32(y*m) * z)
	y += float32(e * -2.12194440e-4) // ln 2 in two parts: 0.693359375 is exact
	y -= float32(0.5 * z)
	return float32(m+y) + float32(e*0.693359375)
}
