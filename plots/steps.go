package plots

import (
	"fmt"
	"slices"

	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

// StepsTable shows the score of runs by the number of sampling steps (Table 2 of the
// paper), with the paper's FIDs below. Those do not compare: another metric, data set
// and network.
func StepsTable(s *experiments.SweepResult) (*render.Table, error) {
	if s == nil || len(s.Rows) == 0 {
		return nil, fmt.Errorf("steps table: %w", errNoRuns)
	}
	var runs []*experiments.Run
	var values []float64
	for i, row := range s.Rows {
		if row.Run == nil || len(row.FD) != len(s.Steps) {
			return nil, fmt.Errorf("steps table: row %d has %d scores for %d numbers of steps; measure it again", i+1, len(row.FD), len(s.Steps))
		}
		runs = append(runs, row.Run)
		for _, v := range row.FD {
			if finite(v) {
				values = append(values, v)
			}
		}
	}
	columns := stepColumns(s.Steps, paperTable2)
	t := &render.Table{
		Caption: s.Protocol.Metric + " by the number of sampling steps, lower is better",
		Columns: render.Left("model"),
	}
	addStepColumns(t, columns)
	decimals := decimalsFor(values...)
	for i, label := range runLabels(runs) {
		cells := []string{label}
		for _, steps := range columns {
			cell := ""
			if at := slices.Index(s.Steps, steps); at >= 0 {
				cell = formatFixed(s.Rows[i].FD[at], decimals)
			}
			cells = append(cells, cell)
		}
		t.Add(cells...)
	}
	t.AddClass(render.ClassHead, "Ning et al. 2023, Table 2, FID: another metric, data set and network, not comparable")
	for from := 0; from < len(paperTable2); {
		first := paperTable2[from]
		cells := []string{first.model + ", " + dataNames[first.data]}
		to := from
		for to < len(paperTable2) && paperTable2[to].model == first.model && paperTable2[to].data == first.data {
			to++
		}
		for _, steps := range columns {
			cell := ""
			for _, p := range paperTable2[from:to] {
				if p.steps == steps {
					cell = formatFixed(p.value, scoreDecimals)
				}
			}
			cells = append(cells, cell)
		}
		t.AddClass(render.ClassPaper, cells...)
		from = to
	}
	t.Notes = append(t.Notes, fmt.Sprintf("N = %s samples a score, from one training seed a row.", formatCount(int64(s.Protocol.N))))
	t.Notes = append(t.Notes, protocolNotes(s.Protocol)...)
	return t, nil
}

// protocolNotes is the protocol for below a table.
func protocolNotes(p experiments.Protocol) []string {
	notes := []string{floorSentence(p)}
	if c := p.Caution(); c != "" {
		notes = append(notes, c)
	}
	if p.Steps > 0 {
		notes = append(notes, protocolLine(p)+".")
	} else {
		line := fmt.Sprintf("%s against %s images of %s; %s sampling", p.Metric, formatCount(int64(p.ReferenceN)), p.Reference, p.Sampler)
		if p.Variance != "" {
			line += ", " + p.Variance + " variance"
		}
		notes = append(notes, line+", EMA "+emaWords(p.EMA)+".")
	}
	if p.ID != "" {
		notes = append(notes, "Protocol "+short(p.ID)+".")
	}
	return notes
}
