//go:build ddpmcuda

package cuda

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/optest"
)

// nearest is the bfloat16 nearest to x, of two the even one.
func nearest(x float64) float64 {
	b := math.Float32bits(float32(x))
	return float64(math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff))
}

// ofAttention is how far attention in bfloat16 may be from ref: up to four roundings follow each other.
const ofAttention = 4.0 / 512

// TestBFloat16AgainstRef runs every product with tensor cores. Convolutions and products of
// matrices are those of the rounded operands, with the tolerance of sums in float32.
// Attention rounds what came of rounded numbers as well.
func TestBFloat16AgainstRef(t *testing.T) {
	d := open(t)
	left := map[string]bool{}
	for name := range d.layouts {
		if strings.Contains(name, "_bf16_") {
			left[name] = true
		}
	}
	kernels := regexp.MustCompile(`\w+_bf16_\d+`)
	for _, c := range slices.Concat(optest.Cases(), moreCases(), moreProducts()) {
		_, in, y := c.Build()
		p := compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}, Precision: engine.BFloat16})
		used := kernels.FindAllString(explain(t, d, p), -1)
		if used == nil {
			continue
		}
		for _, name := range used {
			delete(left, name)
		}
		t.Run(c.Name, func(t *testing.T) {
			vals := c.Values(0.1)
			rounded, tol := vals, ofAttention
			if slices.Contains([]op.Kind{op.KindConv, op.KindConvDX, op.KindConvDW, op.KindMatMul}, c.Kind) {
				rounded, tol = c.Values(0.1), tolerance(c.Kind)
				for _, x := range rounded {
					for i := range x {
						x[i] = nearest(x[i])
					}
				}
			}
			if e := distanceFromRef(t, d, p, vals, rounded); !(e <= tol) {
				t.Errorf("relative distance from ref %.2g, want at most %g", e, tol)
			}
		})
	}
	for name := range left {
		t.Errorf("no case for kernel %s", name)
	}
}

func explain(t *testing.T, d *device, p *engine.Program) string {
	t.Helper()
	s, err := d.NewState(p.ParamLen)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, err := d.Load(p, s)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.Explain()
}

// moreProducts are shapes with enough entries for the large tiles, and all transpositions.
func moreProducts() []optest.Case {
	var cases []optest.Case
	conv := func(x, w tensor.Shape) {
		y := tensor.Shape{x[0], x[1], x[2], w[3]}
		name := fmt.Sprintf(" of many %vx%v", x, w)
		f := func(in []*op.Node) *op.Node { return op.Conv(in[0], in[1], 1, w[0]/2) }
		cases = append(cases,
			optest.Case{Name: "conv" + name, Kind: op.KindConv, In: []tensor.Shape{x, w}, Apply: f},
			optest.Case{Name: "convDX" + name, Kind: op.KindConvDX, In: []tensor.Shape{x, w, y}, Apply: gradOf(0, f)},
			optest.Case{Name: "convDW" + name, Kind: op.KindConvDW, In: []tensor.Shape{x, w, y}, Apply: gradOf(1, f)})
	}
	conv(tensor.Shape{3, 55, 55, 16}, tensor.Shape{3, 3, 16, 136})
	conv(tensor.Shape{3, 55, 55, 130}, tensor.Shape{1, 1, 130, 18})
	for _, c := range [][4]int{{66, 132, 72, 20}, {2, 33, 50, 18}} { // matrices, rows, columns, depth
		for i := range 4 {
			ta, tb := i&1 != 0, i&2 != 0
			a, b := tensor.Shape{c[0], c[1], c[3]}, tensor.Shape{c[0], c[3], c[2]}
			if ta {
				a[1], a[2] = a[2], a[1]
			}
			if tb {
				b[1], b[2] = b[2], b[1]
			}
			cases = append(cases, optest.Case{
				Name: fmt.Sprintf("matmul %v, transposed %v %v", c, ta, tb), Kind: op.KindMatMul, In: []tensor.Shape{a, b},
				Apply: func(in []*op.Node) *op.Node { return op.MatMul(in[0], in[1], ta, tb) },
			})
		}
	}
	return cases
}

// TestPrecisions: what is computed in bfloat16 at all.
func TestPrecisions(t *testing.T) {
	d := open(t)
	conv := func(in []*op.Node) *op.Node { return op.Conv(in[0], in[1], 1, in[1].Shape()[0]/2) }
	linear := func(in []*op.Node) *op.Node { return op.MatMul(in[0], in[1], false, false) }
	for _, tt := range []struct {
		optest.Case
		want [3]bool // in float32, mixed, bf16
	}{
		{optest.Case{Name: "3x3", In: []tensor.Shape{{1, 4, 4, 16}, {3, 3, 16, 16}}, Apply: conv}, [3]bool{false, false, true}},
		{optest.Case{Name: "1x1", In: []tensor.Shape{{1, 4, 4, 16}, {1, 1, 16, 16}}, Apply: conv}, [3]bool{false, true, true}},
		{optest.Case{Name: "of few channels", In: []tensor.Shape{{1, 4, 4, 15}, {3, 3, 15, 64}}, Apply: conv}, [3]bool{}},
		{optest.Case{Name: "to few channels", In: []tensor.Shape{{1, 4, 4, 64}, {3, 3, 64, 3}}, Apply: conv}, [3]bool{}},
		{optest.Case{Name: "linear", In: []tensor.Shape{{1, 2, 16}, {1, 16, 16}}, Apply: linear}, [3]bool{false, true, true}},
		{optest.Case{Name: "attention", In: []tensor.Shape{{1, 4, 48}}, Apply: optest.Attention(1)}, [3]bool{false, true, true}},
		{optest.Case{Name: "heads of few channels", In: []tensor.Shape{{1, 4, 48}}, Apply: optest.Attention(2)}, [3]bool{}},
	} {
		for i, precision := range []engine.Precision{engine.Float32, engine.Mixed, engine.BFloat16} {
			_, in, y := tt.Build()
			plan := explain(t, d, compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}, Precision: precision}))
			if got := strings.Contains(plan, "_bf16_"); got != tt.want[i] {
				t.Errorf("%s in precision %d: bfloat16 %v, want %v:\n%s", tt.Name, precision, got, tt.want[i], plan)
			}
		}
	}
}
