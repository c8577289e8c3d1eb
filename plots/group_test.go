package plots_test

import (
	"encoding/csv"
	"os"
	"strconv"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/internal/render"
	"ddpmlab/plots"
)

// variants is the rows of a variants table, each as its cells joined by "|".
func variants(t *testing.T, runs ...*experiments.Run) (rows []string, notes string) {
	t.Helper()
	table, err := plots.VariantsTable(runs)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range table.Rows {
		if r.Class == "" {
			rows = append(rows, strings.Join(r.Cells, "|"))
		}
	}
	return rows, strings.Join(table.Notes, "\n")
}

func at(step int64, v float64) experiments.Point { return experiments.Point{Step: step, Value: v} }

func TestSeedsAreAveraged(t *testing.T) {
	p := protocol()
	rows, notes := variants(t,
		withScores(run(ddpm.ADM(), 3, 1), p, at(10, 9), at(1500, 3)),
		withScores(run(ddpm.ADM(), 1, 1), p, at(10, 9), at(1500, 1)),
		withScores(run(ddpm.ADM(), 2, 1), p, at(10, 9), at(1500, 2)),
		withScores(run(ddpm.InputPerturbation(0.1), 1, 1), p, at(10, 9)))
	want := []string{
		"ADM|2.0000 ± 2.4841|3|500|50|1,500",
		"DDPM-IP|9.0000 †|1|500|50|10",
		"real images|0.0634|–|500|–|–",
	}
	if strings.Join(rows, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(notes, "† Of one seed") {
		t.Errorf("single seeds are not explained: %s", notes)
	}
}

func TestAttemptsOfASeedCountOnce(t *testing.T) {
	p := protocol()
	early, late := run(ddpm.ADM(), 1, 1), run(ddpm.ADM(), 1, 1)
	late.Started = early.Started.Add(1)
	stopped := run(ddpm.ADM(), 1, 1)
	stopped.Started, stopped.Step, stopped.Status = early.Started.Add(2), 700, experiments.StatusInterrupted
	rows, notes := variants(t,
		withScores(stopped, p, at(500, 7)), withScores(late, p, at(1500, 2)), withScores(early, p, at(1500, 1)))
	if rows[0] != "ADM|2.0000 †|1|500|50|1,500" {
		t.Errorf("got %s, want the last finished attempt's 2.0000 of one seed", rows[0])
	}
	if !strings.Contains(notes, "ADM: 2 other attempts") {
		t.Errorf("notes do not tell of the attempts left out: %s", notes)
	}
}

func TestUnfinishedRunsAreNamed(t *testing.T) {
	r := run(ddpm.ADM(), 1, 1)
	r.Status, r.Step = experiments.StatusInterrupted, 700
	_, notes := variants(t, withScores(r, protocol(), at(500, 7)))
	if want := "ADM, seed 1: interrupted at step 700 of 1,500."; !strings.Contains(notes, want) {
		t.Errorf("notes lack %q: %s", want, notes)
	}
	f, err := plots.FDCurve(experiments.Runs{withScores(r, protocol(), at(500, 7))})
	if err != nil || !strings.Contains(f.Caption, "interrupted") {
		t.Errorf("figure does not say so: %v %v", f, err)
	}
}

func TestLabelsTellRunsApart(t *testing.T) {
	p := protocol()
	longer, wider := run(ddpm.ADM(), 1, 1), run(ddpm.ADM(), 1, 1)
	longer.Config.Iterations = 3000
	wider.Config.Model.Channels = 32
	rows, _ := variants(t,
		withScores(run(ddpm.ADM(), 1, 1), p, at(10, 1)),
		withScores(longer, p, at(10, 2)),
		withScores(wider, p, at(10, 3)),
		withScores(run(ddpm.InputPerturbation(0.1), 1, 1), p, at(10, 4)),
		withScores(run(ddpm.InputPerturbation(0.2), 1, 1), p, at(10, 5)),
		withScores(run(ddpm.WeightDecay(0.03), 1, 1), p, at(10, 6)),
		withScores(run(ddpm.GradPenalty(1e-5), 1, 1), p, at(10, 7)),
	)
	for i, want := range []string{
		"ADM, channels 16, iterations 1500", "ADM, channels 16, iterations 3000", "ADM, channels 32, iterations 1500",
		"DDPM-IP (γ 0.1)", "DDPM-IP (γ 0.2)", "ADM-WD", "ADM-GP (λ_gp 1e-05)",
	} {
		if got, _, _ := strings.Cut(rows[i], "|"); got != want {
			t.Errorf("row %d is %q, want %q", i+1, got, want)
		}
	}
	b, err := plots.BiasTable(bias(run(ddpm.ADM(), 1, 1), run(ddpm.ADM(), 2, 1)))
	if err != nil || b.Rows[0].Cells[0] != "ADM, seed 1" || b.Rows[3].Cells[0] != "ADM, seed 2" {
		t.Errorf("bias table does not tell seeds apart: %v %v", b, err)
	}
}

// TestPaperRows holds the paper's values shown in tables equal to those of the database.
func TestPaperRows(t *testing.T) {
	shown := map[string]*render.Table{}
	var err error
	if shown["1"], err = plots.BiasTable(bias(tour()[0])); err != nil {
		t.Fatal(err)
	}
	if shown["2"], err = plots.StepsTable(sweep(tour()[0])); err != nil {
		t.Fatal(err)
	}
	if shown["3"], err = plots.VariantsTable(tour()[:1]); err != nil {
		t.Fatal(err)
	}
	for number, table := range shown {
		text, err := os.Open("../experiments/reference/table" + number + ".csv")
		if err != nil {
			t.Fatal(err)
		}
		defer text.Close()
		r := csv.NewReader(text)
		r.Comment = '#'
		records, err := r.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var cells []string
		for _, row := range table.Rows {
			if row.Class == render.ClassPaper {
				cells = append(cells, row.Cells[1:]...)
			}
		}
		for _, record := range records[1:] { // model, dataset, steps, fid or l1
			want, err := strconv.ParseFloat(record[3], 64)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for i, cell := range cells {
				if v, err := strconv.ParseFloat(cell, 64); err == nil && v == want {
					cells[i], found = "", true
					break
				}
			}
			if !found {
				t.Errorf("table %s lacks the paper's %v", number, record)
			}
		}
	}
}

func TestTablesHaveAllForms(t *testing.T) {
	bt, err1 := plots.BiasTable(bias(tour()...))
	st, err2 := plots.StepsTable(sweep(tour()...))
	vt, err3 := plots.VariantsTable(tour())
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	for _, table := range []*render.Table{bt, st, vt} {
		b := table.Bundle()
		for _, mime := range []string{render.HTML, render.LaTeX, render.Markdown, render.Plain} {
			if !strings.Contains(string(b.Data[mime]), "DDPM-IP") {
				t.Errorf("%s of %q lacks DDPM-IP", mime, table.Caption)
			}
			if mime != render.LaTeX && !strings.Contains(string(b.Data[mime]), "not comparable") {
				t.Errorf("%s of %q does not set the paper's rows apart", mime, table.Caption)
			}
		}
	}
}
