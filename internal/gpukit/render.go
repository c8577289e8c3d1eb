package gpukit

import (
	"fmt"

	"ddpmlab/internal/render"
)

// Unmeasured is what is said where no report of a GPU is.
const Unmeasured = "unmeasured: no GPU has run it yet"

// Note says what the report's numbers are worth.
func (r *Report) Note() string {
	switch {
	case r.Fake:
		return "This report is of the test double of the driver, which computes on the processor: it shows that the kit and the kernels work. " +
			"The speed on a GPU is " + Unmeasured + "; times here say nothing about it."
	case r.Small:
		return "Sizes were those of the test double of the driver; times are of no use."
	}
	return ""
}

// Rendered is the report to be read: the phases, then their tables.
func (r *Report) Rendered() []*render.Table {
	phases := &render.Table{
		Caption: fmt.Sprintf("%s; driver %s; ddpmlab %s", r.GPU, r.Driver, r.Program),
		Columns: append(append(render.Left("command", "phase", "verdict"), render.Right("s")...), render.Left("found")...),
	}
	if note := r.Note(); note != "" {
		phases.Notes = append(phases.Notes, note)
	}
	all := []*render.Table{phases}
	for _, x := range r.Results {
		phases.Add(x.Command, x.Phase, x.Verdict, fmt.Sprintf("%.1f", x.Seconds), x.Summary)
		for _, t := range x.Tables {
			if len(t.Rows) > 0 {
				all = append(all, t.rendered())
			}
		}
	}
	return all
}

func (t *Table) rendered() *render.Table {
	out := &render.Table{Caption: t.Caption, Columns: append(render.Left(t.Columns[0]), render.Right(t.Columns[1:]...)...)}
	for _, row := range t.Rows {
		out.Add(row...)
	}
	return out
}
