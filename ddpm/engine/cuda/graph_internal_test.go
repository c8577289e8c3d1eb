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
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/ref"
)

// smallNet is a loss of a network with every kind of layer of the U-Net, and its gradients.
func smallNet(t testing.TB) *engine.Program { return netOf(t, 8, engine.Float32) }

// netOf is smallNet of so many channels.
func netOf(t testing.TB, c int, precision engine.Precision) *engine.Program {
	t.Helper()
	g := engine.NewGraph()
	x, counters := g.Input("x", 2, 4, 4, c), g.Input("counters", 2, 4)
	ab := []*op.Node{g.Param("a", 2, c), g.Param("b", 2, c)}
	w1, bias, qkv, w2 := g.Param("w1", 3, 3, c, c), g.Param("bias", c), g.Param("qkv", 1, 1, c, 3*c), g.Param("w2", 3, 3, 2*c, c)
	h := op.GNAct(x, ab[0], ab[1], 4)
	h = op.Conv(h, w1, 1, 1)
	h = op.Add(op.Add(h, op.Broadcast(bias, op.PerChannel, h.Shape(), 0)), x)
	a := op.Attention(op.Reshape(op.Conv(h, qkv, 1, 0), 2, 16, 3*c), 2)
	h = op.Concat(h, op.Dropout(op.Reshape(a, 2, 4, 4, c), counters, 0.3, [2]uint32{3, 4}))
	h = op.Upsample(op.AvgPool(h))
	cost := op.SquareSum(op.SiLU(op.Conv(h, w2, 1, 1)))
	params := append(ab, w1, bias, qkv, w2)
	grads, err := grad.Grad(cost, params...)
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, engine.Spec{Inputs: []*op.Node{x, counters}, Params: params, Outputs: []*op.Node{cost}, Grads: grads, Precision: precision})
}

func sines(n int, f float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = math.Sin(f * float64(i+1))
	}
	return x
}

// trainSmall makes three steps, and returns losses, norms and all arrays.
func trainSmall(t testing.TB, d engine.Device) (losses []float32, all [][]float32) {
	t.Helper()
	return trainNet(t, d, smallNet(t))
}

func trainNet(t testing.TB, d engine.Device, p *engine.Program) (losses []float32, all [][]float32) {
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
	s.Set(engine.Weights, narrow(sines(p.ParamLen, 0.37)))
	s.Set(engine.EMA, narrow(sines(p.ParamLen, 0.37)))
	for step := range 3 {
		e.Set(0, narrow(sines(p.Values[p.Inputs[0]].Size(), 0.11+float64(step))))
		e.Set(1, []float32{float32(step), 0, 7, 0, float32(step), 0, 8, 0})
		u := engine.AdamW{LR: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, EMARate: 0.9, Step: int64(step + 1)}
		if err := e.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		norm := s.GradNorm()
		s.Update(u)
		var loss struct { // as callers have it: numbers beside a pointer
			value [1]float32
			of    *engine.Program
		}
		loss.of = p
		e.Get(0, loss.value[:])
		losses = append(losses, loss.value[0], float32(norm))
	}
	for a := engine.Weights; a <= engine.EMA; a++ {
		x := make([]float32, s.Len())
		s.Get(a, x)
		all = append(all, x)
	}
	return losses, all
}

// Steps from the recorded graph are the same to the bit as direct launches, in the
// arena and with buffers of their own, and those of the reference.
func TestGraphEqualsDirectLaunches(t *testing.T) {
	d := open(t)
	losses, arrays := trainSmall(t, d)
	d.direct = true
	direct, directArrays := trainSmall(t, d)
	d.separate = true
	alone, aloneArrays := trainSmall(t, d)
	if !slices.Equal(losses, direct) || !slices.Equal(losses, alone) {
		t.Errorf("losses and gradient norms of the graph %v, of direct launches %v, without an arena %v", losses, direct, alone)
	}
	want, wantArrays := trainSmall(t, ref.New())
	if e := distance(losses, want); !(e < 1e-5) {
		t.Errorf("losses and gradient norms %v, want %v (relative distance %.2g)", losses, want, e)
	}
	for a := range arrays {
		if !slices.Equal(arrays[a], directArrays[a]) || !slices.Equal(arrays[a], aloneArrays[a]) {
			t.Errorf("%v differ between graph and direct launches", engine.Array(a))
		}
		if e := distance(arrays[a], wantArrays[a]); !(e < 1e-4) {
			t.Errorf("%v: relative distance %.2g from ref, want below 1e-4", engine.Array(a), e)
		}
	}
}

// What is one kernel where it can be: biases and addends, siblings, reshapes.
func TestExplain(t *testing.T) {
	d := open(t)
	s, err := d.NewState(smallNet(t).ParamLen)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, err := d.Load(smallNet(t), s)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	text := e.Explain()
	for _, want := range []string{"+ bias + addend", "and its siblings", "GFLOP"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if n := strings.Count(text, " norm_act_grad "); n != 1 {
		t.Errorf("%d launches for the gradients of one normalisation, want 1:\n%s", n, text)
	}
}

// What Count counts of a plan that nobody loads is what the loaded one launches and a profile
// measures.
func TestCount(t *testing.T) {
	p := smallNet(t)
	n, err := Count(p)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t)
	d.direct, d.profile = true, &Profile{}
	trainSmall(t, d)
	if err := errors.Join(d.do(d.stream.Synchronize), d.do(d.collect)); err != nil {
		t.Fatal(err)
	}
	launches, flops, bytes := 0, 0.0, 0.0
	for _, k := range d.profile.Times() {
		launches, flops, bytes = launches+k.Launches, flops+k.Flops, bytes+k.Bytes
		if !(k.Seconds > 0) {
			t.Errorf("%s took %g s", k.Name, k.Seconds)
		}
	}
	loops := len(p.Inputs) + 1 + len(p.Outputs) + 1 // the plan counts what only a loop launches
	if launches != 3*(n.Launches-loops) || flops != 3*n.Flops || n.Flops < 1e4 {
		t.Errorf("three steps launched %d kernels of %g FLOP; the plan counts %d of %g for one", launches, flops, n.Launches, n.Flops)
	}
	if update := 4 * 10 * float64(p.ParamLen); bytes != 3*(n.Bytes-update) {
		t.Errorf("%g bytes in three steps without updates; the plan counts %g with the update's %g", bytes, n.Bytes, update)
	}
}

func TestErrors(t *testing.T) {
	d := open(t)
	p := smallNet(t)
	s, err := d.NewState(p.ParamLen)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := ref.New().NewState(p.ParamLen)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load(p, foreign); err == nil || !strings.Contains(err.Error(), "not of device") {
		t.Errorf("got error %v for another device's state", err)
	}
	short, err := d.NewState(3)
	if err != nil {
		t.Fatal(err)
	}
	defer short.Close()
	if _, err := d.Load(p, short); err == nil || !strings.Contains(err.Error(), "3 parameters") {
		t.Errorf("got error %v for a state of another size", err)
	}
	e, err := d.Load(p, s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v of a cancelled run", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if err := e.Run(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("got error %v of a run on a closed state", err)
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
}

// A program that does not fit says what was asked, what is free, and which batch would.
func TestOutOfMemory(t *testing.T) {
	d := open(t)
	g := engine.NewGraph()
	x := g.Input("x", 64, 1024, 1024, 16) // 4.3 GB
	p := compile(t, engine.Spec{Inputs: []*op.Node{x}, Outputs: []*op.Node{op.SiLU(x)}})
	s, err := d.NewState(0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, err := d.Load(p, s)
	if err == nil {
		e.Close()
		t.Skip("a GPU with this much memory")
	}
	for _, want := range []string{"GB of GPU memory are needed and", "are free; a batch of ", " instead of 64 would fit"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got error %q, want one with %q", err, want)
		}
	}
}

// fits compares what is packed with what the compiler laid out.
func TestFits(t *testing.T) {
	d := open(t)
	p := place{buf: &buffer{size: 64}}
	m, err := func() (m *memory, err error) {
		err = d.do(func() error { m, err = d.allocate(64); return err })
		return m, err
	}()
	if err != nil {
		t.Fatal(err)
	}
	p.buf.mem = m
	for name, tt := range map[string]struct {
		args []any
		want string
	}{
		"right":             {[]any{p, int64(64), float32(1)}, ""},
		"too few":           {[]any{p, int64(64)}, "2 arguments, want 3"},
		"a narrow argument": {[]any{p, int32(64), float32(1)}, "argument 1 at bytes [8,12), want [8,16)"},
		"an unknown type":   {[]any{p, 64, float32(1)}, "an argument of type int"},
	} {
		err := d.do(func() error { return d.launch(call{"fill", [3]int{1, 1, 1}, 64, tt.args}) })
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got error %v, want %q", name, err, tt.want)
		}
	}
	if err := d.do(func() error { return errors.Join(d.stream.Synchronize(), m.free()) }); err != nil {
		t.Error(err)
	}
}
