package bench

import (
	"fmt"

	"ddpmlab/internal/render"
)

// Table is the results to be read.
func (r *Report) Table() *render.Table {
	caption := r.Device
	if r.Torch != "" {
		caption += "; PyTorch " + r.Torch
	}
	t := &render.Table{
		Caption: fmt.Sprintf("%s; medians of %d rounds", caption, r.Rounds),
		Columns: append(append(render.Left("work"), render.Right("ddpmlab", "base")...), append(render.Left("base is"), render.Right("ratio")...)...),
	}
	for _, x := range r.Results {
		base, ratio := "", ""
		if x.Base != 0 {
			base, ratio = amount(x.Base, x.Unit), fmt.Sprintf("%.2f", x.Ratio)
		}
		t.Add(x.Name, amount(x.Ours, x.Unit), base, x.BaseMode, ratio)
	}
	for _, l := range r.LeftOut {
		t.Notes = append(t.Notes, "left out: "+l)
	}
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
