package plots

import (
	"fmt"
	"maps"
	"slices"

	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

// BiasTable shows the exposure bias of runs by the length of the reverse chain (Alg. 3,
// Table 1 of the paper): with predictions of x_0 clipped, as the authors' code has it and
// Table 1 was measured, and as Alg. 3 is written. Below the chains stands their control, the error of predicting
// x_0 in one step from the same x_t. That prediction is a posterior mean, blurry where
// x_t is mostly noise, and no lower bound: a chain may end nearer to x_0. Only what a
// chain has more than it can be accumulated error. The paper's own row comes last, and
// does not compare: it is of another data set and network.
func BiasTable(b *experiments.BiasResult) (*render.Table, error) {
	if b == nil || len(b.Rows) == 0 {
		return nil, fmt.Errorf("bias table: %w", errNoRuns)
	}
	columns := stepColumns(b.Steps, paperTable1)
	t := &render.Table{
		Caption: "Exposure bias: L1 distance per pixel between x_0 and what the reverse chain makes of it (Alg. 3), by chain length",
		Columns: render.Left("model", "x_0 from"),
	}
	addStepColumns(t, columns)
	seen := map[string]bool{}
	labels := runLabels(rowRuns(b))
	for i, row := range b.Rows {
		if row.Run == nil || len(row.Bias) != len(b.Steps) {
			return nil, fmt.Errorf("bias table: row %d has %d values for %d chain lengths; measure it again", i+1, len(row.Bias), len(b.Steps))
		}
		if row.AsWritten != nil && len(row.AsWritten) != len(b.Steps) {
			return nil, fmt.Errorf("bias table: row %d has %d values as written for %d chain lengths; measure it again with lab.Bias", i+1, len(row.AsWritten), len(b.Steps))
		}
		chain, written, once := []string{labels[i], "chain"}, []string{"", "chain, as written"}, []string{"", "one step"}
		for _, steps := range columns {
			at := slices.Index(b.Steps, steps)
			if at < 0 {
				chain, written, once = append(chain, ""), append(written, ""), append(once, "")
				continue
			}
			v := row.Bias[at]
			chain = append(chain, withError(v.L1, v.StdErr))
			once = append(once, withError(v.OneStepL1, v.OneStepStdErr))
			if row.AsWritten != nil {
				w := row.AsWritten[at]
				written = append(written, withError(w.L1, w.StdErr))
			}
		}
		t.Add(chain...)
		if row.AsWritten != nil {
			t.Add(written...)
		}
		t.Add(once...)
		seen[labels[i]] = true
	}
	t.AddClass(render.ClassHead, "Ning et al. 2023, Table 1 (ImageNet 32×32): another data set and network, not comparable")
	cells := []string{"ADM", "chain"}
	for _, steps := range columns {
		cell := ""
		for _, p := range paperTable1 {
			if p.steps == steps {
				cell = formatFixed(p.value, biasDecimals)
			}
		}
		cells = append(cells, cell)
	}
	t.AddClass(render.ClassPaper, cells...)
	t.Notes = append(t.Notes, biasNote(b))
	t.Notes = append(t.Notes, oneStepNotes...)
	return t, nil
}

// biasNote says what was measured, in the protocol's words where there is one.
func biasNote(b *experiments.BiasResult) string {
	switch {
	case b.Protocol != "":
		return b.Protocol
	case b.N == 1:
		return "Of one image, which has no standard error."
	}
	return fmt.Sprintf("Mean over %s, ± its standard error over images.", plural(b.N, "image", "images"))
}

// oneStepNotes says how to read the control.
var oneStepNotes = []string{
	"One step: the mean over all x_0 that x_t could come from, blurry at large t and no lower bound; a chain may end below it.",
	"Where both rows are nearly equal, the error is information that x_t no longer holds; only what a chain has more than one step can be accumulated error.",
}

// withError is v ± its standard error, without the error where there is none.
func withError(v, err float64) string {
	s := formatFixed(v, biasDecimals)
	if err > 0 {
		s += " ± " + formatFixed(err, biasDecimals)
	}
	return s
}

// stepColumns is our numbers of steps and the paper's, ascending.
func stepColumns(ours []int, paper []paperRow) []int {
	all := map[int]bool{}
	for _, s := range ours {
		all[s] = true
	}
	for _, p := range paper {
		all[p.steps] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// addStepColumns heads a column for each number of steps.
func addStepColumns(t *render.Table, steps []int) {
	for _, s := range steps {
		t.Columns = append(t.Columns, render.Column{Name: formatCount(int64(s)), Right: true})
	}
}

// rowRuns is the runs of the rows.
func rowRuns(b *experiments.BiasResult) []*experiments.Run {
	var runs []*experiments.Run
	for _, row := range b.Rows {
		runs = append(runs, row.Run)
	}
	return runs
}

// runLabels names single runs: by group, and by seed where a group has several.
func runLabels(runs []*experiments.Run) []string {
	groups, _ := groupRuns(runs)
	labels := make([]string, len(runs))
	for i, r := range runs {
		if r == nil {
			continue
		}
		for _, g := range groups {
			if groupKey(r) != groupKey(g.runs[0]) {
				continue
			}
			labels[i] = g.label
			if len(g.runs) > 1 {
				labels[i] += fmt.Sprintf(", seed %d", r.Seed)
			}
		}
	}
	return labels
}
