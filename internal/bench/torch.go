package bench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"strings"
)

//go:embed peer.py
var peer string

// Memory layouts of PyTorch's images.
var layouts = []string{"channels_last", "contiguous_format"}

// tolerance is how far PyTorch's output may be from ours, relative to its size, in
// float32; in bfloat16 it may be bf16Tolerance.
const (
	tolerance     = 1e-4
	bf16Tolerance = 5e-2
)

// startTheirs starts PyTorch in every mode that can run the work.
func (b *bench) startTheirs(ctx context.Context, w work, j job, ours *side) ([]*side, error) {
	if b.o.Python == "" {
		return nil, nil
	}
	var all []*side
	layout := map[string][]string{} // by precision, what eager mode found faster
	layouts, modes := layouts, modes
	if b.o.Device == cuda {
		layouts, modes = layouts[:1], gpuModes
	}
	for _, m := range modes {
		if b.o.Quick && m.compile && w.net != nets[0].name {
			continue
		}
		j.Precision, j.Compile, j.Layouts = m.precision, m.compile, layouts
		if m.compile {
			j.X, j.T = nil, nil // one compilation less
			j.Layouts = layouts[:1]
			if found := layout[m.precision]; found != nil {
				j.Layouts = found
			}
		}
		b.o.Log("%s: PyTorch %v", w.name(), m)
		s, err := start(ctx, m.String(), []string{b.o.Python, b.peer}, j, b.o.Limit)
		switch {
		case ctx.Err() != nil:
			return all, ctx.Err()
		case err != nil && !m.compile && !errors.Is(err, errLimit):
			return all, fmt.Errorf("PyTorch %v: %w", m, err)
		case err != nil:
			b.leave(w, m, err)
			continue
		}
		all = append(all, s)
		b.report.Torch = s.hello.Version
		if s.hello.Layout != "" {
			layout[m.precision] = []string{s.hello.Layout}
			s.mode += ", " + strings.TrimSuffix(s.hello.Layout, "_format")
		}
		if err := sameNetwork(ours.hello, s.hello, m.precision); err != nil {
			return all, err
		}
	}
	return all, nil
}

func (b *bench) leave(w work, m mode, why error) {
	text := fmt.Sprintf("%s, PyTorch %v: %v", w.name(), m, why)
	b.report.LeftOut = append(b.report.LeftOut, text)
	b.o.Log("left out: %s", text)
}

// sameNetwork compares the outputs of both sides, theirs in the given precision.
func sameNetwork(ours, theirs hello, precision string) error {
	if ours.Params != theirs.Params {
		return fmt.Errorf("the networks differ: %d weights, and %d", ours.Params, theirs.Params)
	}
	if len(theirs.Out) == 0 {
		return nil
	}
	want := tolerance
	if precision == bf16 {
		want = bf16Tolerance
	}
	if d := distance(ours.Out, theirs.Out); !(d <= want) {
		return fmt.Errorf("the networks differ: equal weights, outputs %.2g apart relative to their size; want at most %g (%s)", d, want, precision)
	}
	return nil
}

// distance is |x-y|/|y|.
func distance(x, y []float32) float64 {
	if len(x) != len(y) {
		return math.Inf(1)
	}
	var d, n float64
	for i := range x {
		e := float64(x[i]) - float64(y[i])
		d, n = d+e*e, n+float64(y[i])*float64(y[i])
	}
	return math.Sqrt(d / n)
}
