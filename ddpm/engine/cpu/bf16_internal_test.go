package cpu

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
	oracle "ddpmlab/ddpm/engine/ref"
	"ddpmlab/ddpm/philox"
)

// TestBFloat16 computes convolutions, products and their gradients in both precisions, on
// numbers that are bfloat16 already, so that nothing is rounded but the sums.
func TestBFloat16(t *testing.T) {
	for _, isa := range []string{"amx", "avx512", "avx2", "baseline"} {
		t.Run(isa, func(t *testing.T) {
			t.Setenv("DDPMLAB_CPU", isa)
			if _, err := New(1); err != nil {
				t.Skip(err)
			}
			for _, s := range []struct{ n, h, w, c, k, taps int }{
				{2, 7, 7, 32, 64, 3},
				{1, 1, 1, 16, 16, 3},
				{3, 5, 9, 40, 72, 3},
				{1, 33, 20, 32, 32, 3},
				{2, 4, 4, 160, 352, 3},
				{2, 7, 7, 32, 64, 1},
				{3, 5, 9, 40, 72, 1},
				{7, 1, 1, 128, 256, 1},
				{70, 8, 8, 16, 48, 1},
			} {
				g := engine.NewGraph()
				x, w := g.Input("x", s.n, s.h, s.w, s.c), g.Input("w", s.taps, s.taps, s.c, s.k)
				gy, b := g.Input("gy", s.n, s.h, s.w, s.k), g.Input("b", s.k)
				y := op.Conv(x, w, 1, s.taps/2)
				d, err := op.VJP(y, gy, []*op.Node{x, w})
				if err != nil {
					t.Fatal(err)
				}
				biased := op.Add(op.Add(y, op.Broadcast(b, op.PerChannel, y.Shape(), 0)), gy)
				spec := engine.Spec{Inputs: []*op.Node{x, w, gy, b}, Outputs: []*op.Node{biased, d[0], d[1]}}
				want := evaluate(t, spec, engine.Float32, 1)
				for threads := 1; threads <= 3; threads++ {
					got := evaluate(t, spec, engine.BFloat16, threads)
					for i, name := range []string{"forward", "dx", "dw"} {
						if e := distance(got[i], want[i]); !(e < 1e-5) {
							t.Errorf("%v %s on %d threads: relative distance %g", s, name, threads, e)
						}
					}
				}
			}
		})
	}
}

func evaluate(t *testing.T, spec engine.Spec, precision engine.Precision, threads int) [][]float32 {
	t.Helper()
	dev, err := New(threads)
	if err != nil {
		t.Fatal(err)
	}
	dev.(*device).imitate = true
	spec.Precision = precision
	return evaluateOn(t, dev, spec)
}

func evaluateOn(t *testing.T, dev engine.Device, spec engine.Spec) [][]float32 {
	t.Helper()
	p, err := engine.Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.NewState(p.ParamLen)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, err := dev.Load(p, s)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if plan := e.Explain(); strings.Contains(plan, "bf16") != (spec.Precision != engine.Float32) {
		t.Fatalf("precision %v:\n%s", spec.Precision, plan)
	}
	for i, v := range p.Inputs {
		in := make([]float32, p.Values[v].Size())
		philox.Key(1, fmt.Sprint(i)).Normals(in, 0, 0)
		for j, x := range in {
			in[j] = math.Float32frombits(math.Float32bits(x) &^ 0xffff)
		}
		e.Set(i, in)
	}
	if err := e.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	var all [][]float32
	for i, v := range p.Outputs {
		out := make([]float32, p.Values[v].Size())
		e.Get(i, out)
		all = append(all, out)
	}
	return all
}

func distance(got, want []float32) float64 {
	var d, n float64
	for i, w := range want {
		e := float64(got[i]) - float64(w)
		d += e * e
		n += float64(w) * float64(w)
	}
	return math.Sqrt(d / n)
}

// TestNarrow keeps a normalisation's values in half the memory when convolutions alone read
// them, which leaves them as rough sigmoids make them, and a convolution's values between it and
// a normalisation, which rounds them once more.
func TestNarrow(t *testing.T) {
	for _, isa := range []string{"amx", "avx512", "avx2", "baseline"} {
		for _, s := range []struct{ c, k int }{{32, 64}, {24, 40}, {17, 33}} {
			t.Setenv("DDPMLAB_CPU", isa)
			if _, err := New(1); err != nil {
				continue
			}
			g := engine.NewGraph()
			x, gy := g.Input("x", 2, 6, 6, s.c), g.Input("gy", 2, 12, 12, s.k)
			a, b, a2, b2 := g.Input("a", 2, s.c), g.Input("b", 2, s.c), g.Input("a2", 2, s.k), g.Input("b2", 2, s.k)
			w, w2 := g.Input("w", 3, 3, s.c, s.k), g.Input("w2", 3, 3, s.k, s.k)
			h := op.GNAct(x, a, b, 1)
			y := op.Conv(op.Upsample(h), w, 1, 1)
			d, err := op.VJP(y, gy, []*op.Node{w})
			if err != nil {
				t.Fatal(err)
			}
			spec := engine.Spec{Inputs: []*op.Node{x, gy, a, b, w}, Outputs: []*op.Node{y, d[0]}}
			half := evaluate(t, spec, engine.BFloat16, 2)
			spec.Outputs = append(spec.Outputs, h)
			full := evaluate(t, spec, engine.BFloat16, 2)
			for i, name := range []string{"y", "dw"} {
				if e := distance(half[i], full[i]); !(e < 1e-3) {
					t.Errorf("%s %v: %s is %g away from that of values kept in float32", isa, s, name, e)
				}
			}

			z := op.Conv(op.GNAct(y, a2, b2, 1), w2, 1, 1)
			d, err = op.VJP(z, gy, []*op.Node{x, w, w2, a, a2, b2})
			if err != nil {
				t.Fatal(err)
			}
			spec = engine.Spec{Inputs: []*op.Node{x, gy, a, b, w, a2, b2, w2}, Outputs: append([]*op.Node{z}, d...)}
			want, got := evaluate(t, spec, engine.Float32, 2), evaluate(t, spec, engine.BFloat16, 2)
			for i, name := range []string{"z", "dx", "dw", "dw2", "da", "da2", "db2"} {
				if e := distance(got[i], want[i]); !(e < 2e-2) {
					t.Errorf("%s %v: %s is %g away from float32's", isa, s, name, e)
				}
			}
			spec.Precision = engine.BFloat16
			p, err := engine.Compile(spec)
			if err != nil {
				t.Fatal(err)
			}
			if n := countNarrow(p); n != 7 {
				t.Errorf("%v: %d narrow values, want 7", s, n)
			}
		}
	}
}

func countNarrow(p *engine.Program) (n int) {
	tasks, root := fuse(p)
	for _, is := range narrowValues(p, tasks, root) {
		n += btoi(is)
	}
	return n
}

// TestNarrowStream samples, and differentiates, a network with all that a residual stream goes
// through: normalisation, attention, sums, a pool and a skip connection.
func TestNarrowStream(t *testing.T) {
	for _, isa := range []string{"amx", "avx512", "avx2", "baseline"} {
		for _, c := range []int{32, 20, 17} {
			t.Setenv("DDPMLAB_CPU", isa)
			if _, err := New(1); err != nil {
				continue
			}
			g := engine.NewGraph()
			const n, size = 2, 6
			x, gy := g.Input("x", n, size, size, c), g.Input("gy", n, size, size, c)
			scale, shift, a, b := g.Input("scale", c), g.Input("shift", c), g.Input("a", n, 2*c), g.Input("b", n, 2*c)
			wqkv, wproj := g.Input("wqkv", 1, c, 3*c), g.Input("wproj", 1, c, c)
			w1, w2 := g.Input("w1", 3, 3, c, c), g.Input("w2", 3, 3, 2*c, c)

			stream := op.Add(x, op.Conv(x, op.Scale(w1, 0.1), 1, 1))
			h := op.GroupNorm(stream, 1)
			h = op.Mul(h, op.Broadcast(scale, op.PerChannel, h.Shape(), 0))
			h = op.Add(h, op.Broadcast(shift, op.PerChannel, h.Shape(), 0))
			qkv := op.Reshape(op.MatMul(op.Reshape(h, 1, n*size*size, c), op.Scale(wqkv, 0.1), false, false), n, size*size, 3*c)
			h = op.MatMul(op.Reshape(op.Attention(qkv, 1), 1, n*size*size, c), wproj, false, false)
			stream = op.Add(stream, op.Reshape(h, n, size, size, c))
			small := op.Scale(op.PoolSum(stream), 0.25)
			small = op.Add(small, op.Conv(small, w1, 1, 1))
			both := op.Concat(op.Upsample(small), stream)
			y := op.Conv(op.GNAct(both, a, b, 1), w2, 1, 1)

			inputs := []*op.Node{x, scale, shift, a, b, wqkv, wproj, w1, w2}
			sample := engine.Spec{Inputs: inputs, Outputs: []*op.Node{y}}
			exact := evaluateOn(t, oracle.New(), sample)[0]
			for precision, most := range map[engine.Precision]float64{engine.Float32: 1e-5, engine.Mixed: 2e-2, engine.BFloat16: 2e-2} {
				if e := distance(evaluate(t, sample, precision, 2)[0], exact); !(e < most) {
					t.Errorf("%s %d channels, %v: y is %g away", isa, c, precision, e)
				}
			}
			d, err := op.VJP(y, gy, inputs)
			if err != nil {
				t.Fatal(err)
			}
			spec := engine.Spec{Inputs: append(inputs, gy), Outputs: d}
			want, got := evaluateOn(t, oracle.New(), spec), evaluate(t, spec, engine.BFloat16, 2)
			for i, v := range inputs {
				if e := distance(got[i], want[i]); !(e < 3e-2) {
					t.Errorf("%s %d channels: the gradient for %s is %g away", isa, c, v.Name(), e)
				}
			}

			// All but the output, the pool's, and what is added up after it.
			sample.Precision = engine.BFloat16
			p, err := engine.Compile(sample)
			if err != nil {
				t.Fatal(err)
			}
			if n, want := countNarrow(p), 9-c%2; n != want {
				t.Errorf("%d channels: %d narrow values, want %d", c, n, want)
			}
		}
	}
}
