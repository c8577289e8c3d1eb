package philox_test

import (
	"math"
	"slices"
	"testing"

	"ddpmlab/ddpm/philox"
)

// The known answers of the authors' Random123 library (kat_vectors, philox4x32-10).
func TestBlockKnownAnswers(t *testing.T) {
	tests := []struct {
		name string
		key  [2]uint32
		ctr  [4]uint32
		want [4]uint32
	}{
		{
			"zeros",
			[2]uint32{},
			[4]uint32{},
			[4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
		},
		{
			"ones",
			[2]uint32{0xffffffff, 0xffffffff},
			[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		},
		{
			"digits of pi",
			[2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := philox.Block(tt.key, tt.ctr); got != tt.want {
				t.Errorf("Block = %08x, want %08x (key %x, counter %x)", got, tt.want, tt.key, tt.ctr)
			}
		})
	}
}

// Golden bits: a change here changes every seeded result of the project, and
// needs a new ddpm.NumericsVersion.
func TestGoldenBits(t *testing.T) {
	k := philox.Key(1, "eps")
	if want := (philox.Stream{0xf4c4de30, 0xba70cf60}); k != want {
		t.Errorf("Key(1, \"eps\") = %#x, want %#x", k, want)
	}
	z := make([]float32, 6)
	k.Normals(z, 3, 7)
	got := make([]uint32, len(z))
	for i, v := range z {
		got[i] = math.Float32bits(v)
	}
	want := []uint32{0xbe95b42b, 0xbf5d7a83, 0xbe2cd317, 0xbf636ded, 0xbff9dcb9, 0x3f1457c4}
	if !slices.Equal(got, want) {
		t.Errorf("bits of Normals(step 3, image 7) = %#x, want %#x", got, want)
	}
	// One number of each branch of the inverse: centre, shoulder, far tail.
	for _, tt := range []struct{ u, want uint32 }{
		{0x7fffffff, 0},
		{0x40000000, 0x3f2cab5c},
		{0x01000000, 0x402a3e8a},
		{0x81000000, 0xc02a3e8a},
		{0, 0x40cad08e},
		{0x80000000, 0xc0cad08e},
	} {
		if got := math.Float32bits(philox.Normal(tt.u)); got != tt.want {
			t.Errorf("bits of Normal(%#x) = %#x (%g), want %#x", tt.u, got, philox.Normal(tt.u), tt.want)
		}
	}
}

// Normal against the float64 inverse of the normal distribution function.
func TestNormalIsInverse(t *testing.T) {
	worst, at := 0.0, uint32(0)
	for i := range uint32(1 << 18) {
		for _, u := range []uint32{i << 14, i, i<<14 | 1<<31 | 77} {
			p := (float64(u&(1<<31-1)) + 0.5) / (1 << 32)
			z := math.Sqrt2 * math.Erfcinv(2*p)
			if u>>31 == 1 {
				z = -z
			}
			if d := math.Abs(float64(philox.Normal(u))-z) / max(1, math.Abs(z)); d > worst {
				worst, at = d, u
			}
		}
	}
	if worst > 1e-6 { // PPND7 is made for about 1e-7; float32 rounding adds a few 2^-24
		t.Errorf("Normal(%#x) = %v is off by %.3g of max(1, |z|), want below 1e-6", at, philox.Normal(at), worst)
	}
	t.Logf("largest error %.3g at %#x", worst, at)
}

// Mean, variance, kurtosis and the Kolmogorov-Smirnov distance of a million
// normals; the limits are four standard errors (KS: the 1e-6 quantile).
func TestNormalsDistribution(t *testing.T) {
	const images, size = 64, 1 << 14
	k := philox.Key(42, "xi")
	z := make([]float32, 0, images*size)
	buf := make([]float32, size)
	var m1, m2, m4 float64
	for image := range uint32(images) {
		k.Normals(buf, 5, image)
		for _, v := range buf {
			x := float64(v)
			m1, m2, m4 = m1+x, m2+x*x, m4+x*x*x*x
		}
		z = append(z, buf...)
	}
	n := float64(len(z))
	m1, m2, m4 = m1/n, m2/n, m4/n
	for _, tt := range []struct {
		name           string
		got, want, std float64
	}{
		{"mean", m1, 0, math.Sqrt(1 / n)},
		{"second moment", m2, 1, math.Sqrt(2 / n)},
		{"fourth moment", m4, 3, math.Sqrt(96 / n)},
	} {
		if math.Abs(tt.got-tt.want) > 4*tt.std {
			t.Errorf("%s = %.6f, want %.0f ± %.6f (n = %.0f)", tt.name, tt.got, tt.want, 4*tt.std, n)
		}
	}
	slices.Sort(z)
	ks := 0.0
	for i, v := range z {
		cdf := math.Erfc(-float64(v)/math.Sqrt2) / 2
		ks = max(ks, math.Abs(cdf-float64(i)/n), math.Abs(cdf-float64(i+1)/n))
	}
	if limit := 2.7 / math.Sqrt(n); ks > limit {
		t.Errorf("Kolmogorov-Smirnov distance = %.3g, want below %.3g (n = %.0f)", ks, limit, n)
	}
}

// Every way to draw gives the same numbers, whatever the slice's length, and
// other seeds, names, steps and images give others.
func TestDrawsAreFunctionsOfTheCounter(t *testing.T) {
	k := philox.Key(7, "eps")
	long := make([]float32, 23)
	k.Normals(long, 1<<40+3, 9)
	for i, got := range long {
		if want := philox.Normal(k.Uint32(1<<40+3, 9, uint64(i))); got != want {
			t.Errorf("Normals[%d] = %v, want %v", i, got, want)
		}
	}
	short := make([]float32, 6)
	k.Normals(short, 1<<40+3, 9)
	if !slices.Equal(short, long[:6]) {
		t.Errorf("six normals = %v, want the first of 23: %v", short, long[:6])
	}
	base := k.Uint32(3, 9, 0)
	for name, got := range map[string]uint32{
		"seed":      philox.Key(8, "eps").Uint32(3, 9, 0),
		"stream":    philox.Key(7, "xi").Uint32(3, 9, 0),
		"step":      k.Uint32(4, 9, 0),
		"high step": k.Uint32(3+1<<32, 9, 0),
		"image":     k.Uint32(3, 10, 0),
		"index":     k.Uint32(3, 9, 1),
	} {
		if got == base {
			t.Errorf("another %s gives the same number %#x", name, got)
		}
	}
}

func TestUniformsSignsBelow(t *testing.T) {
	const n = 1 << 16
	k := philox.Key(3, "init")
	u, s := make([]float32, n), make([]float32, n)
	k.Uniforms(u, 0, 0)
	k.Signs(s, 0, 0)
	var mean, sum float64
	var count [10]int
	for i := range n {
		if u[i] < 0 || u[i] >= 1 {
			t.Fatalf("Uniforms[%d] = %v, want [0, 1)", i, u[i])
		}
		if s[i] != 1 && s[i] != -1 {
			t.Fatalf("Signs[%d] = %v, want ±1", i, s[i])
		}
		mean, sum = mean+float64(u[i])/n, sum+float64(s[i])
		count[k.Below(10, 1, 0, uint64(i))]++
	}
	if d := 4 / math.Sqrt(12*n); math.Abs(mean-0.5) > d {
		t.Errorf("mean of Uniforms = %v, want 0.5 ± %.4f", mean, d)
	}
	if d := 4 * math.Sqrt(n); math.Abs(sum) > d {
		t.Errorf("sum of Signs = %v, want 0 ± %.0f", sum, d)
	}
	chi := 0.0
	for _, c := range count {
		chi += (float64(c) - n/10.) * (float64(c) - n/10.) / (n / 10.)
	}
	if chi > 33.7 { // the 1e-4 quantile with 9 degrees of freedom
		t.Errorf("chi² of Below(10) = %.1f, want below 33.7 (counts %v)", chi, count)
	}
}

func TestPerm(t *testing.T) {
	k := philox.Key(3, "order")
	p := k.Perm(1000, 4)
	if !slices.Equal(p, k.Perm(1000, 4)) {
		t.Error("Perm of the same step differs from call to call")
	}
	if slices.Equal(p, k.Perm(1000, 5)) {
		t.Error("Perm of another step is the same")
	}
	slices.Sort(p)
	for i, v := range p {
		if v != i {
			t.Fatalf("sorted Perm[%d] = %d, want %d", i, v, i)
		}
	}
	// Each of the 24 orders of four comes up equally often.
	orders := map[[4]int]int{}
	for step := range uint64(24_000) {
		orders[[4]int(k.Perm(4, step))]++
	}
	if len(orders) != 24 {
		t.Fatalf("%d orders of four, want 24", len(orders))
	}
	for o, c := range orders {
		if math.Abs(float64(c)-1000) > 5*math.Sqrt(1000) {
			t.Errorf("order %v came %d times of 24000, want 1000 ± 158", o, c)
		}
	}
}

func BenchmarkNormals(b *testing.B) {
	b.ReportAllocs()
	k := philox.Key(1, "eps")
	dst := make([]float32, 28*28)
	for b.Loop() {
		k.Normals(dst, 1, 2)
	}
	b.ReportMetric(float64(b.N)*28*28/b.Elapsed().Seconds(), "normals/s")
}
