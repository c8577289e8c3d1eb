package plots

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"testing"

	"ddpmlab/ddpm"
)

// methods is the paper's four variants.
var methods = []ddpm.Variant{ddpm.ADM(), ddpm.WeightDecay(0.03), ddpm.GradPenalty(1e-6), ddpm.InputPerturbation(0.1)}

// TestEveryVariantHasItsStyle goes through all compositions of the three methods.
func TestEveryVariantHasItsStyle(t *testing.T) {
	seen := map[string]string{}
	for i := range 8 {
		var v ddpm.Variant
		if i&1 != 0 {
			v.Gamma = 0.1
		}
		if i&2 != 0 {
			v.WeightDecay = 0.03
		}
		if i&4 != 0 {
			v.GradPenalty = 1e-6
		}
		s, ok := variantStyles[v.Name()]
		if !ok {
			t.Errorf("%s has no style in variantStyles", v.Name())
		}
		look := fmt.Sprint(s.color)
		if other, taken := seen[look]; taken {
			t.Errorf("%s and %s have one colour", other, v.Name())
		}
		seen[look] = v.Name()
	}
	if a, b := variantStyle("NEW"), variantStyle("NEW"); a.color != b.color {
		t.Error("an unknown variant's colour changes")
	}
}

// TestColoursAreToldApart simulates the three kinds of colour blindness (Viénot, Brettel
// and Mollon 1999; the matrix for tritanopia is Brettel 1997's, one half plane) and asks
// for a distance in CIE L*a*b* that is seen at a glance. Dash and marker differ besides.
func TestColoursAreToldApart(t *testing.T) {
	sights := map[string][9]float64{
		"normal":       {1, 0, 0, 0, 1, 0, 0, 0, 1},
		"protanopia":   {0.11238, 0.88762, 0, 0.11238, 0.88762, 0, 0.00401, -0.00401, 1},
		"deuteranopia": {0.29275, 0.70725, 0, 0.29275, 0.70725, 0, -0.02234, 0.02234, 1},
		"tritanopia":   {1.01277, 0.13548, -0.14826, -0.01243, 0.86812, 0.14431, 0.07589, 0.80500, 0.11911},
		"grey":         {0.2126, 0.7152, 0.0722, 0.2126, 0.7152, 0.0722, 0.2126, 0.7152, 0.0722},
	}
	for sight, m := range sights {
		least := 20.0
		if sight == "grey" {
			least = 1 // dashes and markers tell
		}
		for i, a := range methods {
			for _, b := range methods[:i] {
				sa, sb := variantStyle(a.Name()), variantStyle(b.Name())
				if d := labDistance(see(m, sa.color), see(m, sb.color)); d < least {
					t.Errorf("%s: %s and %s are %.1f apart, want %.0f", sight, a.Name(), b.Name(), d, least)
				}
				if slices.Equal(sa.dashes, sb.dashes) || sa.marker == sb.marker {
					t.Errorf("%s and %s share dash or marker", a.Name(), b.Name())
				}
			}
		}
	}
	for name, s := range variantStyles {
		if c := contrast(s.color); c < 2 {
			t.Errorf("%s has contrast %.1f on white, want 2", name, c)
		}
	}
}

// linear is the colour's linear light.
func linear(c color.NRGBA) [3]float64 {
	f := func(v uint8) float64 {
		x := float64(v) / 255
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	return [3]float64{f(c.R), f(c.G), f(c.B)}
}

func see(m [9]float64, c color.NRGBA) [3]float64 {
	l := linear(c)
	var out [3]float64
	for i := range out {
		out[i] = max(0, m[3*i]*l[0]+m[3*i+1]*l[1]+m[3*i+2]*l[2])
	}
	return out
}

func labDistance(a, b [3]float64) float64 {
	lab := func(c [3]float64) [3]float64 {
		f := func(t float64) float64 {
			if t > 216.0/24389 {
				return math.Cbrt(t)
			}
			return (24389.0/27*t + 16) / 116
		}
		x := f((0.4124*c[0] + 0.3576*c[1] + 0.1805*c[2]) / 0.9505)
		y := f(0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2])
		z := f((0.0193*c[0] + 0.1192*c[1] + 0.9505*c[2]) / 1.089)
		return [3]float64{116*y - 16, 500 * (x - y), 200 * (y - z)}
	}
	p, q := lab(a), lab(b)
	return math.Sqrt((p[0]-q[0])*(p[0]-q[0]) + (p[1]-q[1])*(p[1]-q[1]) + (p[2]-q[2])*(p[2]-q[2]))
}

// contrast is the WCAG contrast with white.
func contrast(c color.NRGBA) float64 {
	l := linear(c)
	return 1.05 / (0.2126*l[0] + 0.7152*l[1] + 0.0722*l[2] + 0.05)
}

func TestShade(t *testing.T) {
	for _, name := range []string{"ADM", "DDPM-IP"} {
		checkShades(t, variantStyle(name))
	}
}

func checkShades(t *testing.T, base style) {
	t.Helper()
	for _, label := range []string{"γ 0.05", "γ 0.2", "γ 0.3", "γ 0.4"} {
		s := base.shade(label)
		if s.color == base.color || s.color != base.shade(label).color {
			t.Errorf("%s: shade %v of %v is the same colour or not stable", label, s.color, base.color)
		}
		if s.color.A != 0xff {
			t.Errorf("%s: shade is transparent", label)
		}
	}
}
