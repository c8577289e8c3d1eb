package cpu_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/op"
)

// BenchmarkConv measures the 3x3 convolutions of the Tour and Fashion networks,
// on one thread, transforms of the weights included. GF/s counts the
// multiplications of a direct convolution, as is usual for Winograd.
func BenchmarkConv(b *testing.B) {
	for _, c := range []struct{ n, size, c, k int }{
		{64, 14, 16, 16}, {64, 7, 32, 32}, {64, 14, 48, 16}, // Tour
		{64, 28, 32, 32}, {64, 14, 64, 64}, // Fashion
		{16, 32, 128, 128}, {64, 28, 1, 32}, {64, 28, 32, 1},
	} {
		g := engine.NewGraph()
		x, w := g.Input("x", c.n, c.size, c.size, c.c), g.Input("w", 3, 3, c.c, c.k)
		gy := g.Input("gy", c.n, c.size, c.size, c.k)
		y := op.Conv(x, w, 1, 1)
		d, err := op.VJP(y, gy, []*op.Node{x, w})
		if err != nil {
			b.Fatal(err)
		}
		for i, out := range []*op.Node{y, d[0], d[1]} {
			b.Run(fmt.Sprintf("%s/N%d_%d_%d_at_%d", []string{"forward", "dx", "dw"}[i], c.n, c.c, c.k, c.size), func(b *testing.B) {
				flops := 18 * float64(c.n*c.size*c.size*c.c*c.k)
				bench(b, 1, flops, engine.Spec{Inputs: []*op.Node{x, w, gy}, Outputs: []*op.Node{out}})
			})
		}
	}
}

// BenchmarkMatMul measures products as 1x1 convolutions and attention need them.
func BenchmarkMatMul(b *testing.B) {
	for _, c := range []struct {
		b, m, n, k int
		ta, tb     bool
	}{
		{1, 50176, 32, 32, false, false},
		{1, 50176, 32, 64, false, true},
		{1, 32, 32, 50176, true, false},
		{1, 8192, 256, 256, false, false},
		{64, 49, 49, 32, false, true},
		{64, 49, 32, 49, false, false},
	} {
		g := engine.NewGraph()
		as, bs := [3]int{c.b, c.m, c.k}, [3]int{c.b, c.k, c.n}
		if c.ta {
			as[1], as[2] = as[2], as[1]
		}
		if c.tb {
			bs[1], bs[2] = bs[2], bs[1]
		}
		x, y := g.Input("x", as[:]...), g.Input("y", bs[:]...)
		b.Run(fmt.Sprintf("%dx%dx%dx%d_%v_%v", c.b, c.m, c.n, c.k, c.ta, c.tb), func(b *testing.B) {
			flops := 2 * float64(c.b*c.m*c.n*c.k)
			bench(b, 1, flops, engine.Spec{Inputs: []*op.Node{x, y}, Outputs: []*op.Node{op.MatMul(x, y, c.ta, c.tb)}})
		})
	}
}

// BenchmarkMemoryBound measures what is limited by the memory: GB/s counts each
// operand once.
func BenchmarkMemoryBound(b *testing.B) {
	g := engine.NewGraph()
	x, y := g.Input("x", 64, 28, 28, 32), g.Input("y", 64, 28, 28, 32)
	scale, shift, ctr := g.Input("A", 64, 32), g.Input("B", 64, 32), g.Input("ctr", 64, 4)
	in := []*op.Node{x, y, scale, shift, ctr}
	d, err := op.VJP(op.GNAct(x, scale, shift, 8), y, []*op.Node{x, scale, shift})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		out  []*op.Node
	}{
		{"add", []*op.Node{op.Add(x, y)}},
		{"silu", []*op.Node{op.SiLU(x)}},
		{"gnact", []*op.Node{op.GNAct(x, scale, shift, 8)}},
		{"gnact_grad", d},
		{"sum_per_channel", []*op.Node{op.Sum(x, op.PerChannel, 0)}},
		{"dropout", []*op.Node{op.Dropout(x, ctr, 0.1, [2]uint32{1, 2})}},
		{"concat", []*op.Node{op.Concat(x, y)}},
	} {
		b.Run(c.name, func(b *testing.B) { bench(b, 1, 0, engine.Spec{Inputs: in, Outputs: c.out}) })
	}
}

func bench(b *testing.B, threads int, flops float64, s engine.Spec) {
	p, err := engine.Compile(s)
	if err != nil {
		b.Fatal(err)
	}
	d, err := cpu.New(threads)
	if err != nil {
		b.Fatal(err)
	}
	st, err := d.NewState(p.ParamLen)
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	e, err := d.Load(p, st)
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	for i, v := range p.Inputs {
		x := make([]float32, p.Values[v].Size())
		for j := range x {
			x[j] = float32(j*7%13) / 13
		}
		e.Set(i, x)
	}
	b.ReportAllocs()
	start := cpuSeconds(b)
	for b.Loop() {
		if err := e.Run(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	seconds := (cpuSeconds(b) - start) / float64(b.N)
	if flops > 0 {
		b.ReportMetric(flops/seconds/1e9, "GF/s")
	}
	b.ReportMetric(float64(size(p))*4/seconds/1e9, "GB/s")
	b.ReportMetric(seconds*1e3, "cpu-ms/op")
}

// cpuSeconds is the processor time that this process has used. Rates are of that
// time: what else the machine is doing hardly matters.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// size is the number of entries that a program of one operation reads and writes.
func size(p *engine.Program) int {
	seen, n := map[int]bool{}, 0
	for _, s := range p.Steps {
		for _, v := range append(s.In, s.Out) {
			if !seen[v] {
				seen[v] = true
				n += p.Values[v].Size()
			}
		}
	}
	return n
}
