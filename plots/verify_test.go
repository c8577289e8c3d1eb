package plots_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/plots"
)

// A figure that was shown or saved can be drawn again from its runs; where a number has
// changed since, or a run is gone, verifying says so.
func TestVerify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.db")
	lab := experiments.MustOpen(path)
	defer lab.Close()
	c := ddpm.Toy()
	c.Iterations, c.Batch, c.EvalSamples = 4, 2, 0
	run := lab.Train(t.Context(), c, ddpm.ADM())
	f, err := plots.LossCurve(experiments.Runs{run})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := plots.Verify(t.Context(), lab, ""); err != nil || len(all) != 0 {
		t.Errorf("got %v, error %v, want none before it is shown", all, err)
	}
	f.Bundle()
	svg := filepath.Join(t.TempDir(), "loss.svg")
	if err := f.Save(svg); err != nil {
		t.Fatal(err)
	}
	verify := func() plots.Verification {
		t.Helper()
		all, err := plots.Verify(t.Context(), lab, "")
		if err != nil || len(all) != 1 {
			t.Fatalf("got %v, error %v, want the figure once", all, err)
		}
		return all[0]
	}
	v := verify()
	if !v.OK() || v.Figure.Kind != "LossCurve" || len(v.Figure.Runs) != 1 || v.Figure.Runs[0] != run.ID {
		t.Errorf("got %+v, want it verified", v)
	}
	if one, err := plots.Verify(t.Context(), lab, v.Figure.Picture); err != nil || len(one) != 1 {
		t.Errorf("by the picture's sum: got %v, error %v", one, err)
	}
	if _, err := plots.Verify(t.Context(), lab, "abc!"); err == nil || !strings.Contains(err.Error(), "no figure") {
		t.Errorf("got %v, want that there is no such figure", err)
	}
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE point_row SET value = value + 1 WHERE step = 2"); err != nil {
		t.Fatal(err)
	}
	if v := verify(); v.OK() || v.Points || v.Picture {
		t.Errorf("got %+v after a loss was changed, want both changed", v)
	}
	lab.Delete(run.ID)
	if v := verify(); v.OK() || !strings.Contains(v.Problem, "was deleted") {
		t.Errorf("got %+v after its run was deleted, want that said", v)
	}
}

// Figures of samples and of exposure bias are drawn again from the checkpoints, from what is
// kept of the measurement.
func TestVerifyMeasured(t *testing.T) {
	lab := experiments.MustOpen(filepath.Join(t.TempDir(), "runs.db"))
	defer lab.Close()
	c := ddpm.Toy()
	c.Iterations, c.Batch, c.EvalSamples = 4, 2, 0
	a, b := lab.Train(t.Context(), c, ddpm.ADM()), lab.Train(t.Context(), c, ddpm.InputPerturbation(0.1))
	bias := must(lab.Store().Bias(t.Context(), experiments.Runs{a, b}, 3, 5, 10))
	for _, f := range []*plots.Figure{
		must(plots.SampleGrid(lab.Samples(t.Context(), a, 4, 3), lab.Samples(t.Context(), b, 2, 2))),
		must(plots.DriftCurve(bias)), must(plots.NormCurve(bias)), must(plots.ErrorCurve(bias)),
	} {
		f.Bundle()
	}
	all, err := plots.Verify(t.Context(), lab, "")
	if err != nil || len(all) != 4 {
		t.Fatalf("got %v, error %v, want four figures", all, err)
	}
	for _, v := range all {
		if !v.OK() || len(v.Figure.Runs) != 2 || v.Figure.Runs[0] != a.ID {
			t.Errorf("got %+v, want it verified, of both runs", v)
		}
	}
	// Trained on, a network draws other images.
	c.Iterations = 5
	other := lab.Train(t.Context(), c, ddpm.ADM())
	db, err := sql.Open("sqlite3", lab.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE figure_run SET run = ? WHERE run = ?", other.ID, a.ID); err != nil {
		t.Fatal(err)
	}
	if all, err = plots.Verify(t.Context(), lab, ""); err != nil || len(all) != 4 {
		t.Fatalf("got %v, error %v", all, err)
	}
	for _, v := range all {
		if v.OK() || v.Points || v.Picture {
			t.Errorf("got %+v of another run's checkpoint, want numbers and picture changed", v)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
