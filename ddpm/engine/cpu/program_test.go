package cpu_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/ref"
)

// net is a little network with all that the real one has: residual blocks with
// a scale and shift by time, dropout, attention, pooling, a skip connection.
func net(t testing.TB, n, size, c int) *engine.Program {
	g := engine.NewGraph()
	x, tt, eps := g.Input("x", n, size, size, 1), g.Input("t", n), g.Input("eps", n, size, size, 1)
	ctr := g.Input("ctr", n, 4)
	var params []*op.Node
	param := func(name string, shape ...int) *op.Node {
		p := g.Param(name, shape...)
		params = append(params, p)
		return p
	}
	conv := func(name string, x *op.Node, size, k int) *op.Node {
		s := x.Shape()
		y := op.Conv(x, param(name+".w", size, size, s[3], k), 1, size/2)
		return op.Add(y, op.Broadcast(param(name+".b", k), op.PerChannel, y.Shape(), 0))
	}
	emb := op.TimeEmbedding(tt, c)
	linear := func(name string, k int) *op.Node {
		y := op.MatMul(op.Reshape(emb, 1, n, c), param(name+".w", 1, c, k), false, false)
		return op.Reshape(op.Add(y, op.Broadcast(param(name+".b", k), op.PerChannel, y.Shape(), 0)), n, k)
	}
	block := func(name string, x *op.Node, k int) *op.Node {
		ss := linear(name+".emb", 2*k)
		h := conv(name+".1", x, 3, k)
		h = op.GNAct(h, op.AddConst(op.Slice(ss, 0, k), 1), op.Slice(ss, k, k), 2)
		h = conv(name+".2", op.Dropout(h, ctr, 0.2, [2]uint32{1, 2}), 3, k)
		if x.Shape()[3] != k {
			x = conv(name+".skip", x, 1, k)
		}
		return op.Add(x, h)
	}
	attend := func(name string, x *op.Node) *op.Node {
		s := x.Shape()
		h := op.Reshape(op.GroupNorm(x, 2), n, s[1]*s[2], s[3])
		q, k, v := op.SplitHeads(h, 2), op.SplitHeads(op.Scale(h, 0.3), 2), op.SplitHeads(op.SiLU(h), 2)
		a := op.MatMul(op.Softmax(op.MatMul(q, k, false, true)), v, false, false)
		return op.Add(x, conv(name, op.Reshape(op.MergeHeads(a, 2), s...), 1, s[3]))
	}
	h1 := block("a", conv("in", x, 3, c), c)
	h2 := attend("att", block("b", op.AvgPool(h1), 2*c))
	h3 := block("c", op.Concat(op.Upsample(h2), h1), c)
	out := conv("out", h3, 3, 1)
	d := op.Sub(out, eps)
	loss := op.Mean(op.Mul(d, d))
	grads, err := grad.Grad(loss, params...)
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, engine.Spec{Inputs: []*op.Node{x, tt, eps, ctr}, Params: params, Outputs: []*op.Node{loss, out}, Grads: grads})
}

// fillFor returns inputs and weights for p; inputs called t or ctr are integers.
func fillFor(p *engine.Program) (inputs [][]float64, weights []float64) {
	wave := func(n int, seed float64) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(float32(math.Sin(float64(i)*1.3+seed) + 0.5*math.Cos(float64(i)*float64(i)*0.01+seed)))
		}
		return x
	}
	for i, v := range p.Inputs {
		x := wave(p.Values[v].Size(), float64(i))
		for j := range x {
			switch p.Values[v].Name {
			case "t":
				x[j] = float64(37 * (j + 1) % 1000)
			case "ctr":
				x[j] = []float64{5, 0, float64(j / 4), 0}[j%4]
			}
		}
		inputs = append(inputs, x)
	}
	weights = wave(p.ParamLen, 9)
	for i := range weights {
		weights[i] = float64(float32(0.2 * weights[i]))
	}
	return inputs, weights
}

func TestNetworkAgainstRef(t *testing.T) {
	for _, c := range []int{16, 12} {
		p := net(t, 3, 8, c)
		inputs, weights := fillFor(p)
		want, wantGrads, err := ref.Run(context.Background(), p, inputs, weights)
		if err != nil {
			t.Fatal(err)
		}
		eachISA(t, func(t *testing.T) {
			got, grads := run(t, 2, p, inputs, weights)
			for i := range want {
				if d := distance(got[i], want[i]); !(d <= forward) {
					t.Errorf("%d channels: output %d is %.2g from ref, want at most %g", c, i, d, forward)
				}
			}
			if d := distance(grads, wantGrads); !(d <= gradient) {
				t.Errorf("%d channels: gradients are %.2g from ref, want at most %g", c, d, gradient)
			}
		})
	}
}

// TestThreadsDoNotMatter wants bit-equal results.
func TestThreadsDoNotMatter(t *testing.T) {
	p := net(t, 9, 16, 16)
	inputs, weights := fillFor(p)
	eachISA(t, func(t *testing.T) {
		want, wantGrads := run(t, 1, p, inputs, weights)
		for threads := 2; threads <= 5; threads++ {
			got, grads := run(t, threads, p, inputs, weights)
			for i := range want {
				if !slices.Equal(got[i], want[i]) {
					t.Errorf("output %d differs between 1 and %d threads", i, threads)
				}
			}
			if !slices.Equal(grads, wantGrads) {
				t.Errorf("gradients differ between 1 and %d threads", threads)
			}
		}
	})
}

// TestFusion compares programs in which fusing or overwriting the wrong value
// would show.
func TestFusion(t *testing.T) {
	type builder func(g *engine.Graph) (in, out []*op.Node)
	conv := func(x, w *op.Node) *op.Node { return op.Conv(x, w, 1, 1) }
	bias := func(b, like *op.Node) *op.Node { return op.Broadcast(b, op.PerChannel, like.Shape(), 0) }
	for _, tt := range []struct {
		name  string
		build builder
		fused string // what Explain must show; "" for nothing
	}{
		{"bias and residual", func(g *engine.Graph) (in, out []*op.Node) {
			x, w, b, r := g.Input("x", 2, 6, 6, 16), g.Input("w", 3, 3, 16, 16), g.Input("b", 16), g.Input("r", 2, 6, 6, 16)
			y := conv(x, w)
			return []*op.Node{x, w, b, r}, []*op.Node{op.Add(r, op.Add(y, bias(b, y)))}
		}, "+ bias + addend"},
		{"residual of the input itself", func(g *engine.Graph) (in, out []*op.Node) {
			x, w := g.Input("x", 2, 9, 6, 16), g.Input("w", 3, 3, 16, 16)
			h := op.SiLU(x) // dies in the convolution, which must not overwrite it
			return []*op.Node{x, w}, []*op.Node{op.SiLU(op.Add(conv(h, w), h))}
		}, "+ addend"},
		{"two convolutions", func(g *engine.Graph) (in, out []*op.Node) {
			x, w, v, b := g.Input("x", 2, 5, 6, 16), g.Input("w", 3, 3, 16, 16), g.Input("v", 1, 1, 16, 16), g.Input("b", 16)
			y, z := conv(x, w), op.Conv(x, v, 1, 0)
			return []*op.Node{x, w, v, b}, []*op.Node{op.Add(op.Add(y, bias(b, y)), op.Add(z, bias(b, z)))}
		}, "+ bias + addend"},
		{"an output is not fused away", func(g *engine.Graph) (in, out []*op.Node) {
			x, w, b := g.Input("x", 2, 5, 6, 16), g.Input("w", 3, 3, 16, 16), g.Input("b", 16)
			y := conv(x, w)
			return []*op.Node{x, w, b}, []*op.Node{y, op.Add(y, bias(b, y))}
		}, ""},
		{"the sum with itself", func(g *engine.Graph) (in, out []*op.Node) {
			x, w := g.Input("x", 2, 5, 6, 16), g.Input("w", 3, 3, 16, 16)
			y := conv(x, w)
			return []*op.Node{x, w}, []*op.Node{op.Add(y, y)}
		}, ""},
		{"bias through a reshape", func(g *engine.Graph) (in, out []*op.Node) {
			x, w, b := g.Input("x", 1, 7, 5), g.Input("w", 1, 5, 6), g.Input("b", 6)
			y := op.Reshape(op.MatMul(x, w, false, false), 7, 6)
			return []*op.Node{x, w, b}, []*op.Node{op.Add(y, bias(b, y))}
		}, "+ bias"},
		{"a long inner dimension", func(g *engine.Graph) (in, out []*op.Node) {
			x, w, b := g.Input("x", 1, 7, 5000), g.Input("w", 1, 5000, 6), g.Input("b", 6)
			y := op.MatMul(x, w, false, false)
			return []*op.Node{x, w, b}, []*op.Node{op.Add(y, bias(b, y))}
		}, "+ bias"},
		{"a reshape to other channels is no bias", func(g *engine.Graph) (in, out []*op.Node) {
			x, w, b := g.Input("x", 1, 8, 5), g.Input("w", 1, 5, 6), g.Input("b", 12)
			y := op.Reshape(op.MatMul(x, w, false, false), 4, 12)
			return []*op.Node{x, w, b}, []*op.Node{op.Add(y, bias(b, y))}
		}, "+ addend"},
		{"few outputs with everything", func(g *engine.Graph) (in, out []*op.Node) {
			x, w, b, r := g.Input("x", 3, 6, 6, 16), g.Input("w", 3, 3, 16, 3), g.Input("b", 3), g.Input("r", 3, 6, 6, 3)
			y := conv(x, w)
			return []*op.Node{x, w, b, r}, []*op.Node{op.Add(op.Add(y, bias(b, y)), op.SiLU(r))}
		}, "+ bias + addend"},
		{"the gradient of slices", func(g *engine.Graph) (in, out []*op.Node) {
			x := g.Input("x", 3, 5, 12)
			q, k, v := op.Slice(x, 0, 4), op.Slice(x, 4, 4), op.Slice(x, 8, 4)
			y := op.Add(op.Mul(q, op.SiLU(k)), v)
			d, err := op.VJP(y, op.Sigmoid(y), []*op.Node{x})
			if err != nil {
				panic(err)
			}
			return []*op.Node{x}, []*op.Node{d[0]}
		}, "of 3"},
		{"pads that overlap", func(g *engine.Graph) (in, out []*op.Node) {
			x, y, z := g.Input("x", 3, 4), g.Input("y", 3, 4), g.Input("z", 3, 2)
			over := op.Add(op.Pad(x, 0, 12), op.Pad(y, 3, 12))
			return []*op.Node{x, y, z}, []*op.Node{op.Add(over, op.Pad(z, 7, 12))}
		}, ""},
		{"pads with a gap", func(g *engine.Graph) (in, out []*op.Node) {
			x, z := g.Input("x", 3, 4), g.Input("z", 3, 2)
			return []*op.Node{x, z}, []*op.Node{op.SiLU(op.Add(op.Pad(x, 1, 12), op.Pad(z, 7, 12)))}
		}, "of 2"},
		{"an output that is an input", func(g *engine.Graph) (in, out []*op.Node) {
			x := g.Input("x", 3, 5)
			return []*op.Node{x}, []*op.Node{x, op.Reshape(x, 5, 3), op.Scale(x, 2)}
		}, ""},
		{"a chain in place", func(g *engine.Graph) (in, out []*op.Node) {
			x := g.Input("x", 3, 5)
			a := op.Scale(x, 2)
			b := op.AddConst(a, 1)
			c := op.Mul(b, a)
			return []*op.Node{x}, []*op.Node{op.Add(op.SiLU(c), op.Sigmoid(b)), b}
		}, ""},
		{"statistics outlive their input", func(g *engine.Graph) (in, out []*op.Node) {
			x, a := g.Input("x", 2, 3, 3, 16), g.Input("a", 2, 16)
			h := op.Scale(x, 3)
			y := op.GNAct(h, a, a, 4)
			d, err := op.VJP(y, op.SiLU(y), []*op.Node{h, a})
			if err != nil {
				panic(err)
			}
			return []*op.Node{x, a}, []*op.Node{d[0], d[1], y}
		}, "siblings"},
		{"second order, in place", func(g *engine.Graph) (in, out []*op.Node) {
			x, a, b := g.Input("x", 2, 3, 3, 16), g.Input("a", 2, 16), g.Input("b", 2, 16)
			gy, h := op.SiLU(g.Input("gy", 2, 3, 3, 16)), op.SiLU(g.Input("h", 2, 3, 3, 16))
			return []*op.Node{x, a, b, op.Children(gy)[0], op.Children(h)[0]}, secondOrder(x, a, b, gy, h)
		}, "siblings"},
		{"second order, one gradient twice", func(g *engine.Graph) (in, out []*op.Node) {
			x, a := g.Input("x", 2, 3, 3, 16), g.Input("a", 2, 16)
			h := op.SiLU(x)
			return []*op.Node{x, a}, secondOrder(x, a, a, h, h)
		}, "siblings"},
		{"second order of the gradient for x alone", func(g *engine.Graph) (in, out []*op.Node) {
			x, a := g.Input("x", 2, 3, 3, 16), g.Input("a", 2, 16)
			h := op.SiLU(x)
			return []*op.Node{x, a}, secondOrder(h, a, a, h, op.Scale(x, 2))[:1]
		}, "siblings"},
		{"the gradient is the input", func(g *engine.Graph) (in, out []*op.Node) {
			x, a := g.Input("x", 2, 3, 3, 16), g.Input("a", 2, 16)
			h := op.SiLU(x)
			y := op.GNAct(h, a, a, 4)
			d, err := op.VJP(y, h, []*op.Node{h})
			if err != nil {
				panic(err)
			}
			return []*op.Node{x, a}, []*op.Node{d[0]}
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, out := tt.build(engine.NewGraph())
			p := compile(t, engine.Spec{Inputs: in, Outputs: out})
			inputs, _ := fillFor(p)
			want, _, err := ref.Run(context.Background(), p, inputs, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := run(t, 2, p, inputs, nil)
			for i := range want {
				if d := distance(got[i], want[i]); !(d <= forward) {
					t.Errorf("output %d is %.2g from ref\n got %.5v\nwant %.5v", i, d, head(got[i]), head(want[i]))
				}
			}
			plan := explain(t, p)
			if !strings.Contains(plan, tt.fused) || tt.fused == "" && strings.Contains(plan, "addend") {
				t.Errorf("want %q in the plan:\n%s", tt.fused, plan)
			}
		})
	}
}

// secondOrder returns the gradients of <h, dx> for x, a, b and gy, dx being the
// gradient of a GNAct for x.
func secondOrder(x, a, b, gy, h *op.Node) []*op.Node {
	d, err := op.VJP(op.GNAct(x, a, b, 4), gy, []*op.Node{x})
	if err != nil {
		panic(err)
	}
	second, err := d[0].Op().(*op.Op).SymDiff(op.Children(d[0]), d[0], h)
	if err != nil {
		panic(err)
	}
	return second
}

func explain(t testing.TB, p *engine.Program) string {
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
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

// TestOddGradients: gradients that are a leaf, the same value twice, or a
// reshape still land in the flat array.
func TestOddGradients(t *testing.T) {
	g := engine.NewGraph()
	x := g.Input("x", 4, 5)
	a, b, c := g.Param("a", 4, 5), g.Param("b", 4, 5), g.Param("c", 20)
	y := op.Add(op.Add(op.Mul(a, x), op.Mul(b, x)), op.SiLU(op.Reshape(c, 4, 5)))
	cost := op.Sum(y, op.Scalar, 0)
	params := []*op.Node{a, b, c}
	grads := []*op.Node{x, x}
	dc, err := grad.Grad(cost, c)
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, engine.Spec{Inputs: []*op.Node{x}, Params: params, Outputs: []*op.Node{cost}, Grads: append(grads, dc...)})
	inputs, weights := fillFor(p)
	want, wantGrads, err := ref.Run(context.Background(), p, inputs, weights)
	if err != nil {
		t.Fatal(err)
	}
	got, gotGrads := run(t, 2, p, inputs, weights)
	if d := distance(got[0], want[0]); d > forward {
		t.Errorf("cost %v, want %v", got[0], want[0])
	}
	if d := distance(gotGrads, wantGrads); d > gradient {
		t.Errorf("gradients %.4v, want %.4v", gotGrads, wantGrads)
	}
}

// TestNotFinite: what is not a number stays that, through every kind of kernel.
func TestNotFinite(t *testing.T) {
	p := net(t, 2, 8, 16)
	inputs, weights := fillFor(p)
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		inputs[0][17] = bad
		eachISA(t, func(t *testing.T) {
			got, grads := run(t, 1, p, inputs, weights)
			if v := float64(got[0][0]); !math.IsNaN(v) && !math.IsInf(v, 0) {
				t.Errorf("the loss of an input with %g is %g", bad, v)
			}
			if !slices.ContainsFunc(grads, func(v float32) bool { return v != v || math.IsInf(float64(v), 0) }) {
				t.Errorf("all gradients of an input with %g are finite", bad)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	g := engine.NewGraph()
	x, w := g.Input("x", 8, 32, 32, 64), g.Input("w", 3, 3, 64, 64)
	y := x
	for range 200 {
		y = op.SiLU(op.Conv(y, w, 1, 1))
	}
	p := compile(t, engine.Spec{Inputs: []*op.Node{x, w}, Outputs: []*op.Node{y}})
	for _, threads := range []int{1, 3} {
		d, err := cpu.New(threads)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := d.NewState(0)
		e, err := d.Load(p, s)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		start := time.Now()
		if err := e.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("%d threads: run returned %v after %v, want %v", threads, err, time.Since(start), context.Canceled)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("%d threads: cancelled after 20 ms, returned after %v", threads, d)
		}
		if err := e.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%d threads: run with a cancelled context returned %v", threads, err)
		}
		e.Close()
		if err := e.Run(t.Context()); err == nil {
			t.Error("a closed program ran")
		}
		s.Close()
	}
}

// TestRunAgain: a cancelled program runs again and gives what it gave before.
func TestRunAgain(t *testing.T) {
	p := net(t, 3, 8, 16)
	inputs, weights := fillFor(p)
	want, _ := run(t, 2, p, inputs, weights)
	d, _ := cpu.New(2)
	s, _ := d.NewState(p.ParamLen)
	defer s.Close()
	e, err := d.Load(p, s)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s.Set(engine.Weights, narrow(weights))
	for i, x := range inputs {
		e.Set(i, narrow(x))
	}
	out := make([]float32, len(want[1]))
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
		_ = e.Run(ctx)
		cancel()
		if err := e.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e.Get(1, out); !slices.Equal(out, want[1]) {
			t.Fatalf("run %d gave another result", i)
		}
	}
}

// TestTwoPrograms: programs may share a state.
func TestTwoPrograms(t *testing.T) {
	g := engine.NewGraph()
	w, x, x2 := g.Param("w", 3), g.Input("x", 3), g.Input("x2", 3)
	train := compile(t, engine.Spec{Inputs: []*op.Node{x}, Params: []*op.Node{w}, Outputs: []*op.Node{op.Mul(w, x)}, Grads: []*op.Node{op.Mul(x, x)}})
	infer := compile(t, engine.Spec{Inputs: []*op.Node{x2}, Params: []*op.Node{w}, Outputs: []*op.Node{op.Add(w, x2)}})
	d, _ := cpu.New(1)
	s, _ := d.NewState(3)
	defer s.Close()
	s.Set(engine.Weights, []float32{1, 2, 3})
	for _, tt := range []struct {
		p    *engine.Program
		want []float32
	}{{train, []float32{2, 4, 6}}, {infer, []float32{3, 4, 5}}} {
		e, err := d.Load(tt.p, s)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		e.Set(0, []float32{2, 2, 2})
		if err := e.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 3)
		if e.Get(0, got); !slices.Equal(got, tt.want) {
			t.Errorf("got %v, want %v", got, tt.want)
		}
	}
	grads := make([]float32, 3)
	if s.Get(engine.Grads, grads); !slices.Equal(grads, []float32{4, 4, 4}) {
		t.Errorf("gradients %v after a program without any, want those of before", grads)
	}
}
