package bench

import (
	"fmt"
	"slices"

	"ddpmlab/internal/render"
)

// Tables are the results to be read: steps, and rates of operations.
func (r *Report) Tables() []*render.Table {
	var all []*render.Table
	if len(r.Results) > 0 {
		all = append(all, r.steps())
	}
	if len(r.Peaks) > 0 {
		all = append(all, r.rates())
	}
	return all
}

func (r *Report) steps() *render.Table {
	caption := r.Machine + "; " + r.Device
	if r.Torch != "" {
		caption += "; PyTorch " + r.Torch
	}
	t := &render.Table{
		Caption: fmt.Sprintf("%s; medians of %d rounds", caption, r.Rounds),
		Columns: slices.Concat(render.Left("work"), render.Right("ddpmlab"), render.Left("in"), render.Right("base"), render.Left("base is"), render.Right("ratio")),
	}
	for _, x := range r.Results {
		base, ratio := "", ""
		if x.Base != 0 {
			base, ratio = amount(x.Base, x.Unit), fmt.Sprintf("%.2f", x.Ratio)
		}
		t.Add(x.Name, amount(x.Ours, x.Unit), x.OursMode, base, x.BaseMode, ratio)
	}
	for _, l := range r.LeftOut {
		t.Notes = append(t.Notes, "left out: "+l)
	}
	return t
}

func (r *Report) rates() *render.Table {
	t := &render.Table{
		Caption: r.Machine + "; " + r.Device + "; rates of operations",
		Columns: append(render.Left("operation"), render.Right("rate", "of the peak")...),
	}
	for _, x := range r.Ops {
		t.Add(x.Name, amount(x.Ours, x.Unit), fmt.Sprintf("%.2f", x.Ratio))
	}
	for _, p := range r.Peaks {
		t.Notes = append(t.Notes, fmt.Sprintf("peak of %d threads: %.0f GF/s of fused multiply-adds, %.1f GB/s to and from memory", p.Threads, p.GFlops, p.GBytes))
	}
	t.Notes = append(t.Notes, "A 3x3 convolution counts the arithmetic of a direct one and may pass the peak; operands that fit the caches may pass the memory's.")
	return t
}

// amount has three digits or all of the whole ones.
func amount(x float64, unit string) string {
	digits := 0
	for y := x; y < 100 && digits < 2; y *= 10 {
		digits++
	}
	return fmt.Sprintf("%.*f %s", digits, x, unit)
}
