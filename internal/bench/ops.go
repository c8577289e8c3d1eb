package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/philox"
)

// An operation is a small program whose rate is compared with the machine's peak: of
// arithmetic where flops is set, else of the memory.
type operation struct {
	name    string
	flops   float64 // multiplications and additions, done directly
	inputs  []*op.Node
	outputs []*op.Node
}

// operations are the kernels' main shapes in the networks, which stay below 4 MB or not
// as they do there. Convolutions count the arithmetic of a direct one, as is usual for
// Winograd's, so they may pass the peak.
func operations() ([]operation, error) {
	var all []operation
	var errs []error
	add := func(name string, flops float64, outputs []*op.Node, inputs ...*op.Node) {
		all = append(all, operation{"op/" + name, flops, inputs, outputs})
	}
	for _, s := range []struct{ n, size, in, out, taps int }{
		{64, 28, 32, 32, 3}, {64, 14, 64, 64, 3}, {64, 7, 64, 64, 3}, // ch32-28x28x1
		{64, 32, 32, 32, 3}, {64, 16, 64, 64, 3}, {64, 4, 64, 64, 3}, // ch32-32x32x3
		{32, 32, 64, 64, 3}, {32, 16, 128, 128, 3}, {32, 8, 256, 128, 3}, // ch64-32x32x3
		{4, 32, 128, 128, 3}, {4, 16, 256, 256, 3}, {4, 8, 512, 256, 3}, {4, 4, 256, 256, 3}, // cifar10
		{64, 28, 1, 32, 3}, {64, 28, 32, 1, 3}, // first and last layer
		{64, 28, 96, 32, 1}, {32, 16, 256, 128, 1}, // skip connections
	} {
		g := engine.NewGraph()
		x, w := g.Input("x", s.n, s.size, s.size, s.in), g.Input("w", s.taps, s.taps, s.in, s.out)
		gy := g.Input("gy", s.n, s.size, s.size, s.out)
		y := op.Conv(x, w, 1, s.taps/2)
		d, err := op.VJP(y, gy, []*op.Node{x, w})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		flops := 2 * float64(s.taps*s.taps*s.n*s.size*s.size*s.in*s.out)
		name := fmt.Sprintf("conv%dx%d-%d-%d-at-%d-b%d", s.taps, s.taps, s.in, s.out, s.size, s.n)
		add(name+"/forward", flops, []*op.Node{y}, x, w)
		add(name+"/dx", flops, d[:1], gy, w)
		add(name+"/dw", flops, d[1:], x, gy)
	}
	for _, s := range []struct {
		name    string
		b, m, n int
		k       int
	}{{"matmul-qkv", 1, 8192, 768, 256}, {"matmul-attention-16x16", 128, 256, 256, 32}, {"matmul-attention-7x7", 128, 49, 49, 32}} {
		g := engine.NewGraph()
		x, y := g.Input("x", s.b, s.m, s.k), g.Input("y", s.b, s.k, s.n)
		name := fmt.Sprintf("%s-%dx%dx%dx%d", s.name, s.b, s.m, s.n, s.k)
		add(name, 2*float64(s.b*s.m*s.n*s.k), []*op.Node{op.MatMul(x, y, false, false)}, x, y)
	}
	for _, s := range []struct{ n, size, c, groups int }{{64, 28, 32, 8}, {32, 32, 64, 32}, {4, 32, 128, 32}} {
		g := engine.NewGraph()
		x, gy := g.Input("x", s.n, s.size, s.size, s.c), g.Input("gy", s.n, s.size, s.size, s.c)
		a, b := g.Input("a", s.n, s.c), g.Input("b", s.n, s.c)
		y := op.GNAct(x, a, b, s.groups)
		d, err := op.VJP(y, gy, []*op.Node{x, a, b})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		name := fmt.Sprintf("norm-silu-%d-at-%d-b%d", s.c, s.size, s.n)
		add(name+"/forward", 0, []*op.Node{y}, x, a, b)
		add(name+"/backward", 0, d, x, a, b, gy)
		if s.groups == 8 {
			add(fmt.Sprintf("add-%d-at-%d-b%d", s.c, s.size, s.n), 0, []*op.Node{op.Add(x, gy)}, x, gy)
		}
	}
	x := engine.NewGraph().Input("x", 128, 256, 256)
	add("softmax-128x256x256", 0, []*op.Node{op.Softmax(x)}, x)
	return all, errors.Join(errs...)
}

// rate is the operation's 10⁹ multiplications and additions, or bytes of its operands
// and results, a second.
func (o operation) rate(ctx context.Context, device engine.Device) (rate float64, err error) {
	p, err := engine.Compile(engine.Spec{Inputs: o.inputs, Outputs: o.outputs})
	if err != nil {
		return 0, err
	}
	state, err := device.NewState(p.ParamLen)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	e, err := device.Load(p, state)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	amount := o.flops
	for i, v := range p.Inputs {
		x := make([]float32, p.Values[v].Size())
		philox.Key(1, "bench op").Normals(x, 0, uint32(i))
		e.Set(i, x)
	}
	if amount == 0 {
		for _, n := range append(o.inputs, o.outputs...) {
			amount += 4 * float64(op.Size(n.Shape()))
		}
	}
	const enough = 200 * time.Millisecond
	var seconds []float64
	for begin := time.Now(); len(seconds) < 5 || time.Since(begin) < enough; {
		start := time.Now()
		if err := e.Run(ctx); err != nil {
			return 0, err
		}
		seconds = append(seconds, time.Since(start).Seconds())
	}
	return amount / median(seconds) / 1e9, nil
}

// roofline measures the peaks and the share of them that each operation reaches.
func (b *bench) roofline(ctx context.Context) (err error) {
	all, err := operations()
	if err != nil {
		return err
	}
	var wanted []operation
	for _, o := range all {
		if b.wants(o.name) {
			wanted = append(wanted, o)
		}
	}
	if len(wanted) == 0 && !b.wants("peak") {
		return nil
	}
	release, err := guard(ctx, b.o.Guard)
	if err != nil {
		return err
	}
	defer release()
	b.o.Log("peak of the machine")
	counts := []int{1, b.o.Threads}
	for _, threads := range slices.Compact(counts) {
		b.report.Peaks = append(b.report.Peaks, measurePeak(threads))
	}
	peak := b.report.Peaks[len(b.report.Peaks)-1]
	device, err := cpu.New(b.o.Threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	b.report.Device = device.Name()
	for _, o := range wanted {
		rate, err := o.rate(ctx, device)
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		r := Result{Name: o.name, Ours: rate, Unit: "GF/s"}.against(peak.GFlops, "peak")
		if o.flops == 0 {
			r = Result{Name: o.name, Ours: rate, Unit: "GB/s"}.against(peak.GBytes, "peak")
		}
		b.report.Ops = append(b.report.Ops, r)
	}
	return nil
}
