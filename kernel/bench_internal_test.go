package kernel

import (
	"testing"
	"time"
)

// BenchmarkCell is a cell's way through checker, lowering and interpreter.
func BenchmarkCell(b *testing.B) {
	for _, bb := range []struct{ name, src string }{
		{"1+1", "1+1"},
		{"types", "type P struct{ X, Y float64 }\nfunc (p P) Norm() float64 { return math.Hypot(p.X, p.Y) }\nps := []P{{3, 4}, {6, 8}}\nt := 0.0\nfor _, p := range ps { t += p.Norm() }\nfmt.Sprint(ps, t)"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			g, err := newGomacro()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				if _, f := g.Eval(b.Context(), source{Number: n, Source: bb.src}); f != nil {
					b.Fatal(f)
				}
			}
		})
	}
}

// BenchmarkStart is the interpreter's start and its first cell.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		begun := time.Now()
		g, err := newGomacro()
		if err != nil {
			b.Fatal(err)
		}
		if _, f := g.Eval(b.Context(), source{Number: 1, Source: "fmt.Sprint(1)"}); f != nil {
			b.Fatal(f)
		}
		b.ReportMetric(float64(time.Since(begun).Microseconds())/1000, "ms/last")
	}
}
