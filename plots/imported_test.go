package plots_test

import (
	"strings"
	"testing"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/plots"
)

// A run that another program trained goes by its own name: it is neither taken for ADM nor
// joined with another import.
func TestImportedRuns(t *testing.T) {
	imported := func(id, name string) *experiments.Run {
		return experiments.Detached(experiments.Run{
			ID: id, Name: name, Status: experiments.StatusFinished, Config: ddpm.Config{Preset: "imported"}, Started: time.Unix(1, 0),
		}, map[string][]experiments.Point{experiments.MetricLoss: {at(1, 2), at(2, 1)}}, nil)
	}
	f, err := plots.LossCurve(experiments.Runs{run(ddpm.ADM(), 1, 1), imported("A", "their run"), imported("B", "another")})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ADM ", "their run (imported)", "another (imported)"} {
		if !strings.Contains(f.String(), want) {
			t.Errorf("%q is not in:\n%s", want, f)
		}
	}
	if n := strings.Count(f.String(), "\nADM "); n != 1 {
		t.Errorf("%d lines are ADM's, want 1:\n%s", n, f)
	}
	f, err = plots.LossCurve(experiments.Runs{imported("A", "their run"), imported("B", "another")})
	if err != nil || strings.Contains(f.String(), "Eq.") {
		t.Errorf("the loss of an imported run is named, error %v:\n%s", err, f)
	}
}
