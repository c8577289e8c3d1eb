//go:build ddpmcuda

package cuda

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda/cudrv"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/philox"
)

// A batch of two micro-batches of three images of 3×5×2, out of seven.
const (
	testMicro, testParts, testImages, testSize = 3, 2, 7, 3 * 5 * 2
	testBatch                                  = testMicro * testParts
)

// newDrawing is a program that gives back what it reads. The loss is the square of its weights.
func newDrawing(t testing.TB) *engine.Program {
	t.Helper()
	g := engine.NewGraph()
	image := []int{testMicro, 3, 5, 2}
	in := []*op.Node{
		g.Input("x", image...), g.Input("eps", image...), g.Input("v", image...), g.Input("unit", image...),
		g.Input("weight", testMicro), g.Input("counters", testMicro, 4), g.Input("scale", testMicro), g.Input("t", testMicro),
	}
	w := g.Param("w", 300)
	loss := op.Add(op.SquareSum(w), op.Scale(op.Mean(in[0]), 0))
	grads, err := grad.Grad(loss, w)
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, engine.Spec{Inputs: in, Params: []*op.Node{w}, Outputs: append([]*op.Node{loss}, in...), Grads: grads})
}

var (
	testTable = []float32{5, 6, 7, 8, 9}
	testUnit  = func() []float32 { u := make([]float32, testSize); u[4] = 1; return u }()
	testKey   = func(name string) [2]uint32 { return philox.Key(3, name) }
)

func testFeed(levels []float32) engine.Feed {
	flip := testKey("flip")
	return engine.Feed{
		Sources: []engine.Source{
			{Kind: engine.Images},
			{Kind: engine.Normals, Key: testKey("eps")},
			{Kind: engine.Signs, Key: testKey("v")},
			{Kind: engine.Constant, Table: testUnit},
			{Kind: engine.Weight},
			{Kind: engine.Counters},
			{Kind: engine.LossScale},
			{Kind: engine.Lookup, Table: testTable},
		},
		Parts: testParts, Most: 4, Images: testImages, Levels: levels, Flip: &flip,
		Index: testKey("t"), Indices: len(testTable), Averages: [][]float32{narrow(sines(300, 0.2))},
	}
}

// testPixels are image i, of levels or of any numbers.
func testPixels(levels []float32, i int) []float32 {
	x := narrow(sines(testSize, 0.1+0.3*float64(i)))
	for j := range x {
		if levels != nil {
			x[j] = levels[(31*i+7*j)%len(levels)]
		}
	}
	return x
}

// drawsOf is what micro-batch part of iteration step draws, by input.
func drawsOf(levels []float32, step int64, part int, images []int32, scale float64) (all [][]float32) {
	all = make([][]float32, 8)
	at := uint64(step)
	for i := range testMicro {
		p := uint32(part*testMicro + i)
		x := testPixels(levels, int(images[p]))
		if philox.Stream(testKey("flip")).Uint32(at, p, 0)>>31 == 1 {
			for y := range 3 {
				for a, b := 0, 4; a < b; a, b = a+1, b-1 {
					for c := range 2 {
						row := x[10*y:]
						row[2*a+c], row[2*b+c] = row[2*b+c], row[2*a+c]
					}
				}
			}
		}
		eps, v := make([]float32, testSize), make([]float32, testSize)
		philox.Stream(testKey("eps")).Normals(eps, at, p)
		philox.Stream(testKey("v")).Signs(v, at, p)
		t := philox.Stream(testKey("t")).Below(len(testTable), at, p, 0)
		for k, part := range [][]float32{x, eps, v, testUnit, {1}, {float32(at & 0xffff), float32(at >> 16 & 0xffff), float32(p), 0}, {float32(scale)}, {testTable[t]}} {
			all[k] = append(all[k], part...)
		}
	}
	return all
}

// loadDrawing loads what newDrawing makes.
func loadDrawing(t *testing.T, d *device) (engine.Looper, engine.State) {
	t.Helper()
	p := newDrawing(t)
	s, err := d.NewState(p.ParamLen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	e, err := d.Load(p, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e.(engine.Looper), s
}

// newLoop makes a loop with its images, on weights of about 1.
func newLoop(t *testing.T, d *device, f engine.Feed, levels []float32) (engine.Loop, engine.State) {
	t.Helper()
	e, s := loadDrawing(t, d)
	l, err := e.Loop(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(l.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	})
	s.Set(engine.Weights, narrow(sines(s.Len(), 0.37)))
	for i := range f.Images {
		if err := l.Put(i, testPixels(levels, i)); err != nil {
			t.Fatal(err)
		}
	}
	return l, s
}

// testIterations are n iterations, the first of which is number first, from 0.
func testIterations(first, n int) (its []engine.Iteration) {
	for k := first; k < first+n; k++ {
		it := engine.Iteration{
			Update: engine.AdamW{LR: 0.01 / float64(k+1), Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, EMARate: 0.9, Step: int64(k + 1)},
			Rates:  []float64{0.7},
		}
		for i := range testBatch {
			it.Images = append(it.Images, int32((5*k+3*i)%testImages))
		}
		its = append(its, it)
	}
	return its
}

const testStep = 1<<32 + 70_000 // beyond one word

var testGuard = engine.Guard{Step: testStep, Scale: 1024, Growth: 1.5, Floor: 1, MostBad: 3}

// What a loop draws is what the processor draws, to the bit: images that are bytes and others,
// mirrored or not; and the numbers of the update are those of State.Update.
func TestLoopDraws(t *testing.T) {
	levels := make([]float32, 256)
	for b := range levels {
		levels[b] = float32(float64(b)/127.5 - 1)
	}
	for name, levels := range map[string][]float32{"bytes": levels, "floats": nil} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			d.separate = true // the fake driver sees what is read or written beside a buffer
			l, s := newLoop(t, d, testFeed(levels), levels)
			its := testIterations(0, 3)
			out, err := l.Run(t.Context(), its, testGuard)
			if err != nil || len(out) != 3 {
				t.Fatalf("%d outcomes, error %v", len(out), err)
			}
			scale := testGuard.Scale
			for k, o := range out {
				for part := range testParts {
					got := o.Outputs[part*len(o.Outputs)/testParts:][1:]
					for i, want := range drawsOf(levels, testStep+int64(k), part, its[k].Images, scale) {
						if !slices.Equal(got[:len(want)], want) {
							t.Errorf("iteration %d, micro-batch %d: input %d is %v, want %v", k, part, i, got[:len(want)], want)
						}
						got = got[len(want):]
					}
				}
				for i, v := range o.Index {
					if want := philox.Stream(testKey("t")).Below(len(testTable), uint64(testStep+k), uint32(i), 0); int(v) != want {
						t.Errorf("iteration %d: index %d is %v, want %d", k, i, v, want)
					}
				}
				scale *= testGuard.Growth
			}
			sameUpdates(t, d, l, s, out)
		})
	}
}

// Count counts what a loop launches.
func TestCountOfLoop(t *testing.T) {
	d := open(t)
	d.direct, d.profile = true, &Profile{}
	f := testFeed(nil)
	f.Parts = 1
	l, _ := newLoop(t, d, f, nil)
	it := testIterations(0, 1)
	it[0].Images = it[0].Images[:testMicro]
	if _, err := l.Run(t.Context(), it, testGuard); err != nil {
		t.Fatal(err)
	}
	launches := 0
	for _, k := range d.profile.Times() {
		launches += k.Launches
	}
	n, err := Count(newDrawing(t))
	if err != nil {
		t.Fatal(err)
	}
	// Weights come with the index, and a constant stays; a further average and a scale take one each.
	if want := n.Launches - 2 + 2; launches != want {
		t.Errorf("%d launches, want %d", launches, want)
	}
}

// Normal numbers are the processor's, to the bit, far into the tails too.
func TestNormals(t *testing.T) {
	d := open(t)
	const n = 1<<18 + 3
	got, want := make([]float32, n), make([]float32, n)
	philox.Stream(testKey("eps")).Normals(want, testStep, 5)
	err := d.do(func() error {
		m, err := d.allocate(alignUp(2*controls) + n)
		if err != nil {
			return err
		}
		control := [controls]float64{8: testStep}
		at := m.pointer(alignUp(2 * controls))
		blocks := ceilDiv(n, 4)
		return errors.Join(
			cudrv.Upload(m.at, control[:]),
			d.launch(each("draw_normals", blocks, m.at, at, int64(blocks), int64(n), int64(blocks), uint32(5), testKey("eps")[0], testKey("eps")[1])),
			d.wait(), cudrv.Download(got, at), m.free(),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("number %d is %v, want %v", i, got[i], want[i])
		}
	}
	if slices.Max(want) < 4.3 || slices.Min(want) > -4.3 {
		t.Errorf("numbers from %v to %v are not far enough", slices.Min(want), slices.Max(want))
	}
}

// sameUpdates compares the state after three iterations with that of updates by themselves.
func sameUpdates(t *testing.T, d *device, l engine.Loop, s engine.State, out []engine.Outcome) {
	t.Helper()
	alone, err := d.NewState(s.Len())
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	w, g := narrow(sines(s.Len(), 0.37)), make([]float32, s.Len())
	alone.Set(engine.Weights, w)
	average := testFeed(nil).Averages[0]
	scale := testGuard.Scale
	for k, it := range testIterations(0, 3) {
		alone.Get(engine.Weights, w)
		for i := range g {
			one := 2 * w[i] / (testParts * float32(scale)) // a micro-batch's gradient, which this loss does not scale
			g[i] = one + one
		}
		alone.Set(engine.Grads, g)
		if norm := alone.GradNorm(); norm != out[k].Norm {
			t.Errorf("iteration %d: norm %v, want %v", k, out[k].Norm, norm)
		}
		alone.Update(it.Update)
		alone.Get(engine.Weights, w)
		rate := it.Rates[0]
		for i := range average {
			average[i] += float32(1-rate) * (w[i] - average[i])
		}
		scale *= testGuard.Growth
	}
	for a := engine.Weights; a <= engine.EMA; a++ {
		got, want := make([]float32, s.Len()), make([]float32, s.Len())
		s.Get(a, got)
		alone.Get(a, want)
		if !slices.Equal(got, want) {
			t.Errorf("%v differ from those of State.Update by %.2g", a, distance(got, want))
		}
	}
	got := make([]float32, s.Len())
	l.Average(0, got)
	if e := distance(got, average); !(e < 1e-6) {
		t.Errorf("the further average differs by %.2g", e)
	}
}

// Iterations by graphs, by direct launches, in one Run or several, are the same to the bit.
func TestLoopGraphEqualsDirect(t *testing.T) {
	var first [][]float32
	for name, tt := range map[string]struct {
		options Options
		runs    []int
	}{
		"graph":               {Options{}, []int{4}},
		"graph, one by one":   {Options{}, []int{1, 1, 2}},
		"direct":              {Options{Direct: true}, []int{4}},
		"each its own memory": {Options{Separate: true}, []int{3, 1}},
	} {
		d := open(t)
		d.direct, d.separate = tt.options.Direct, tt.options.Separate
		l, s := newLoop(t, d, testFeed(nil), nil)
		g := testGuard
		var all [][]float32
		for _, n := range tt.runs {
			out, err := l.Run(t.Context(), testIterations(int(g.Step-testStep), n), g)
			if err != nil || len(out) != n {
				t.Fatalf("%s: %d outcomes, error %v", name, len(out), err)
			}
			for _, o := range out {
				all = append(all, slices.Clone(o.Outputs), slices.Clone(o.Index), []float32{float32(o.Norm)})
				g.Scale *= g.Growth
			}
			g.Step += int64(n)
		}
		for a := engine.Weights; a <= engine.EMA; a++ {
			x := make([]float32, s.Len())
			s.Get(a, x)
			all = append(all, x)
		}
		if first == nil {
			first = all
		}
		for i := range all {
			if !slices.Equal(all[i], first[i]) {
				t.Errorf("%s: part %d of what comes out differs by %.2g", name, i, distance(all[i], first[i]))
			}
		}
	}
}

// What is not finite changes nothing: a gradient halves the scale, down to its floor, others are
// bad, and after so many in a row none changes anything, until the next Run.
func TestLoopSkips(t *testing.T) {
	d := open(t)
	f := testFeed(nil)
	l, s := newLoop(t, d, f, nil)
	inf := slices.Repeat([]float32{float32(math.Inf(1))}, testSize)
	if err := l.Put(0, inf); err != nil {
		t.Fatal(err)
	}
	images := func(bad ...bool) []engine.Iteration {
		its := testIterations(0, len(bad))
		for k := range its {
			for i := range its[k].Images {
				its[k].Images[i] = int32(1 + i)
			}
			if bad[k] {
				its[k].Images[4] = 0 // in the second micro-batch
			}
		}
		return its
	}
	weights := func() []float32 {
		w := make([]float32, s.Len())
		s.Get(engine.Weights, w)
		return w
	}
	run := func(its []engine.Iteration, g engine.Guard) []engine.Outcome {
		t.Helper()
		out, err := l.Run(t.Context(), its, g)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	before := weights()
	g := testGuard
	g.MostBad = 2
	if out := run(images(true, true, false), g); !slices.Equal(weights(), before) || !math.IsNaN(float64(out[1].Outputs[len(out[1].Outputs)/2])) {
		t.Errorf("iterations after two bad ones in a row change the weights, or those are good: %v", out[1].Outputs[0])
	}
	g.Bad = 1
	if run(images(true, false), g); !slices.Equal(weights(), before) {
		t.Error("bad iterations of the Run before do not count")
	}
	g.Bad = 0
	run(images(true, false), g)
	after := weights()
	if slices.Equal(after, before) {
		t.Error("an iteration after a bad one changes nothing")
	}
	// It is the first update, whatever was skipped before it.
	reset := func() {
		s.Set(engine.Weights, before)
		for _, a := range []engine.Array{engine.Moment1, engine.Moment2, engine.EMA} {
			s.Set(a, make([]float32, s.Len()))
		}
	}
	reset()
	its := images(false)
	its[0].Update.LR = 0.01 / 2 // of the second of the two
	run(its, g)
	if !slices.Equal(weights(), after) {
		t.Errorf("the update after a skipped iteration differs by %.2g from a first one", distance(weights(), after))
	}
	// Bad ones that are not in a row are not counted together.
	reset()
	run(images(true, false, true), g)
	after = weights()
	reset()
	if run(images(true, false, true, false), g); slices.Equal(weights(), after) {
		t.Error("two bad iterations with a good one between them end the Run")
	}
	// Of a gradient that is not finite, with a loss that is.
	s.Set(engine.Weights, slices.Repeat([]float32{1e18}, s.Len()))
	g.Scale = 1e-30
	g.Floor = g.Scale / 4
	out := run(images(false, false, false, false), g)
	each := len(out[0].Outputs) / testParts
	for k, want := range []float64{g.Scale, g.Scale / 2, g.Floor, g.Floor} {
		if got := out[k].Outputs[each-2*testMicro]; got != float32(want) || !math.IsInf(out[k].Norm, 1) {
			t.Errorf("iteration %d: scale %v, norm %v; want %v and an infinite one", k, got, out[k].Norm, want)
		}
	}
}

// A Run that is cancelled returns what was made; its weights are those after that.
func TestLoopIsCancelled(t *testing.T) {
	d := open(t)
	l, _ := newLoop(t, d, testFeed(nil), nil)
	ctx := &countdown{t.Context(), 3} // asked once before the first
	out, err := l.Run(ctx, testIterations(0, 4), testGuard)
	if !errors.Is(err, context.Canceled) || len(out) != 2 {
		t.Errorf("%d outcomes of a Run that is cancelled after 2, error %v", len(out), err)
	}
	if out, err := l.Run(ctx, testIterations(0, 4), testGuard); !errors.Is(err, context.Canceled) || len(out) != 0 {
		t.Errorf("%d outcomes of a Run that is cancelled before, error %v", len(out), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Run(t.Context(), testIterations(0, 1), testGuard); !errors.Is(err, errClosed) {
		t.Errorf("error %v of a Run of what is closed", err)
	}
}

// countdown is a context that ends when it has been asked so many times.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// Images that do not fit are refused in one sentence, and so are pixels of no level.
func TestLoopErrors(t *testing.T) {
	e, _ := loadDrawing(t, open(t))
	f := testFeed(nil)
	f.Images = 1 << 30
	_, err := e.Loop(f)
	if !errors.Is(err, engine.ErrNoRoom) || !strings.HasPrefix(err.Error(), "1073741824 images of the data set take 128.8 GB of GPU memory, more than half of the ") {
		t.Errorf("error %v for images that do not fit", err)
	}
	f = testFeed([]float32{-1, 1})
	l, err := e.Loop(f)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Put(0, testPixels(nil, 0)); err == nil || !strings.HasSuffix(err.Error(), "is none of the levels of its data set") {
		t.Errorf("error %v for a pixel that is no level", err)
	}
	f.Sources = f.Sources[:3]
	if _, err := e.Loop(f); err == nil || !strings.Contains(err.Error(), "3 sources") {
		t.Errorf("error %v for sources of some inputs", err)
	}
}
