package experiments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/internal/display"
)

func init() { // processes that work on the sweep "many" of a database
	children["sweep"] = childSweep
	children["sweepkilled"] = childSweepKilled
}

func childSweep(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	s.Threads = 1
	_, err = s.RunSweep(context.Background(), "many", SweepLimits{})
	return errors.Join(err, s.Close())
}

// childSweepKilled dies without a word in the middle of its first trial.
func childSweepKilled(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	s.Threads = 1
	ctx := display.NewContext(context.Background(), &killer{})
	_, err = s.RunSweep(ctx, "many", SweepLimits{})
	return err
}

type killer struct{ display.Recording }

func (*killer) Progress(p display.Progress) {
	if p.Unit == "it" && p.Done >= 5 {
		self, _ := os.FindProcess(os.Getpid())
		self.Kill()
		select {}
	}
}

func (*killer) Curve(display.Curve) {}

// unscored is a configuration that trains in a moment, without scores.
func unscored() ddpm.Config {
	c := small()
	c.EvalSamples, c.EvalFirst, c.EvalEvery = 0, 0, 0
	return c
}

func TestSetField(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"lr", "3e-4", ""},
		{"iterations", "1e4", ""},
		{"anneal", "true", ""},
		{"schedule", "linear", ""},
		{"schedule", `"linear"`, ""},
		{"seed", "18446744073709551615", ""},
		{"model.channels", "32", ""},
		{"model.mult", "[1,2,2]", ""},
		{"extra_ema", "[0.9, 0.99]", ""},
		{"gamma", "0.1", ""},
		{"variant.gamma", "0.1", ""},
		{"gamma_schedule", "rising", ""},
		{"gama", "0.1", "unknown field gama: did you mean gamma?"},
		{"variant.gama", "0.1", "unknown field variant.gama: did you mean gamma?"},
		{"model", "1", "unknown field model: there are anneal"},
		{"qqqqqqqq", "1", "unknown field qqqqqqqq: there are anneal, batch,"},
		{"gamma", "x", `gamma is "x"; want a number, as 0.1 or 1e-6`},
		{"iterations", "1.5", `iterations is "1.5"; want a whole number`},
		{"seed", "-1", `seed is "-1"; want a whole number, 0 or more`},
		{"anneal", "maybe", `anneal is "maybe"; want true or false`},
		{"model.mult", "1,2", `model.mult is "1,2"; want a list of numbers, as [1, 2, 4]`},
	} {
		c, v := ddpm.Tour(), ddpm.Variant{}
		err := SetField(&c, &v, tt.name, tt.value)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("got error %v, want %q, for %s=%s", err, tt.want, tt.name, tt.value)
		}
	}
	c, v := ddpm.Tour(), ddpm.Variant{}
	for _, a := range []assignment{{"lr", "0.5"}, {"model.mult", "[3]"}, {"grad_penalty_draws", "4"}, {"seed", "9"}} {
		if err := SetField(&c, &v, a.field, a.value); err != nil {
			t.Fatal(err)
		}
	}
	if c.LR != 0.5 || !slices.Equal(c.Model.Mult, []int{3}) || v.GradPenaltyDraws != 4 || c.Seed != 9 {
		t.Errorf("got lr %v, mult %v, draws %v, seed %v", c.LR, c.Model.Mult, v.GradPenaltyDraws, c.Seed)
	}
	if tour := ddpm.Tour(); slices.Equal(tour.Model.Mult, c.Model.Mult) {
		t.Error("setting a list changed the preset")
	}
	for _, name := range FieldNames() {
		if f := fieldOf(&c, &v, name); !f.IsValid() || !f.CanSet() {
			t.Errorf("field %s cannot be set", name)
		}
	}
}

func TestExpand(t *testing.T) {
	parse := func(a Axis, err error) Axis {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	names, all, err := expand([]Axis{
		Seeds(1, 2), parse(ParseGrid("gamma=0, 0.1")), parse(ParseGrid("model.mult=[1,2],[1,2,2]")),
	})
	if err != nil || len(all) != 8 || fmt.Sprint(names) != "[gamma model.mult seed]" {
		t.Fatalf("got %d settings of %v, error %v, want 8 of gamma, model.mult, seed", len(all), names, err)
	}
	var text []string
	for _, s := range all {
		text = append(text, describe(s))
	}
	if text[1] != "seed=1 gamma=0 model.mult=[1,2,2]" || text[4] != "seed=2 gamma=0 model.mult=[1,2]" {
		t.Errorf("got %q, want the seed to vary slowest", text)
	}

	draws := func(n int, seed uint64) []setting {
		t.Helper()
		_, all, err := expand([]Axis{parse(ParseRange("lr=1e-5..1e-3:log")), Range("warmup", 0, 3), Draws(n, seed)})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	few, many := draws(5, 1), draws(400, 1)
	if fmt.Sprint(few) != fmt.Sprint(many[:5]) {
		t.Errorf("5 draws are %v, the first 5 of 400 are %v", few, many[:5])
	}
	if fmt.Sprint(few) == fmt.Sprint(draws(5, 2)) {
		t.Error("another seed draws the same")
	}
	below, warmups := 0, map[string]int{}
	for _, s := range many {
		var c ddpm.Config
		for _, a := range s {
			if err := SetField(&c, new(ddpm.Variant), a.field, a.value); err != nil {
				t.Fatal(err)
			}
		}
		if c.LR < 1e-5 || c.LR > 1e-3 {
			t.Fatalf("drew lr %g", c.LR)
		}
		if c.LR < 1e-4 {
			below++
		}
		warmups[s[1].value]++
	}
	// Of 400 with p = 1/2 the standard deviation is 10; of the four warmups with 1/4, 8.7.
	if below < 150 || below > 250 {
		t.Errorf("%d of 400 rates are below the middle decade, want about 200", below)
	}
	for _, w := range []string{"0", "1", "2", "3"} {
		if warmups[w] < 70 || warmups[w] > 130 || len(warmups) != 4 {
			t.Errorf("drew warmups %v of 400, want about 100 of each from 0 to 3", warmups)
		}
	}

	for _, tt := range []struct {
		axes []Axis
		want string
	}{
		{[]Axis{Grid("gamma")}, "the grid of gamma is empty"},
		{[]Axis{GridText("seed", "1")}, "seed is not for the grid"},
		{[]Axis{Range("gamma", 0, 1)}, "gamma has a range; say how many to draw"},
		{[]Axis{Draws(3, 1)}, "nothing to draw from"},
		{[]Axis{Range("gamma", 1, 0), Draws(3, 1)}, "the range of gamma goes from 1 to 0; want FROM below TO"},
		{[]Axis{LogRange("lr", 0, 1), Draws(3, 1)}, "the range of lr goes from 0 to 1; want 0 < FROM"},
		{[]Axis{Range("lr", 0, 1), Draws(0, 1)}, "0 draws; want 1 or more"},
		{[]Axis{Points("gamma")}, `point "gamma": "gamma" is no NAME=VALUE`},
		{[]Axis{Points(" ")}, "a point of the list is empty"},
		{[]Axis{Seeds()}, "no seeds"},
	} {
		if _, _, err := expand(tt.axes); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("got error %v, want %q", err, tt.want)
		}
	}
	for _, text := range []string{"", "1-", "3-1", "a", "1,,2", "1-99999999"} {
		if a, err := ParseSeeds(text); err == nil {
			t.Errorf("seeds %q are %v, want an error", text, a.seeds)
		}
	}
	if a, err := ParseSeeds("5, 1-3"); err != nil || !slices.Equal(a.seeds, []uint64{5, 1, 2, 3}) {
		t.Errorf("got %v, error %v, for 5, 1-3", a.seeds, err)
	}
}

// A sweep is planned, broken off, gone on with, and added to; nothing is trained twice.
func TestSweep(t *testing.T) {
	s := labStore(t)
	c := small()
	if _, err := s.RunSweep(t.Context(), "study", SweepLimits{}); !errors.Is(err, ErrNoSweep) {
		t.Fatalf("got %v, want ErrNoSweep", err)
	}
	w, err := s.Plan(t.Context(), "study", c, ddpm.ADM(), Grid("gamma", 0, 0.1), Seeds(1, 2))
	if err != nil || len(w.Trials) != 4 || w.Count(TrialOpen) != 4 {
		t.Fatalf("got %v, error %v", w, err)
	}
	if again, err := s.Plan(t.Context(), "study", c, ddpm.ADM(), Grid("gamma", 0, 0.1), Seeds(1, 2)); err != nil || len(again.Trials) != 4 {
		t.Errorf("planned again: got %v, error %v", again, err)
	}
	if _, err := s.Plan(t.Context(), "study", c, ddpm.ADM(), Grid("lr", -1)); err == nil || !strings.Contains(err.Error(), "lr=-1: config: lr is -1; want") {
		t.Errorf("got %v of a rate below 0", err)
	}

	// Stopped in the middle of the second trial.
	ctx, cancel := context.WithCancel(t.Context())
	w, err = s.RunSweep(display.NewContext(ctx, &stopSecond{stop: cancel}), "study", SweepLimits{})
	if !errors.Is(err, ErrInterrupted) || w.Count(StatusFinished) != 1 || w.Count(StatusInterrupted) != 1 || w.Count(TrialOpen) != 2 {
		t.Fatalf("got %v, error %v", w, err)
	}
	broken := w.Trials[1].Run.ID
	w, err = s.RunSweep(t.Context(), "study", SweepLimits{})
	if err != nil || w.Count(StatusFinished) != 4 {
		t.Fatalf("got %v, error %v", w, err)
	}
	if w.Trials[1].Run.ID != broken {
		t.Errorf("the second trial's run is %s, want %s, gone on with", w.Trials[1].Run.ID, broken)
	}
	if runs, err := s.AllRuns(t.Context()); err != nil || len(runs) != 4 {
		t.Fatalf("%d runs, error %v, want 4", len(runs), err)
	}
	if got, err := s.SQL(t.Context(), "SELECT count(*) FROM run WHERE sweep = 'study'"); err != nil || got.Cells[0][0] != "4" {
		t.Errorf("got %v, error %v, want 4 runs of the sweep", got, err)
	}

	// One more value: one seed was trained before, outside of the sweep.
	c.Seed = 1
	alone, err := s.Train(t.Context(), c, ddpm.InputPerturbation(0.3))
	if err != nil {
		t.Fatal(err)
	}
	w, err = s.Plan(t.Context(), "study", c, ddpm.ADM(), Grid("gamma", 0.1, 0.3), Seeds(1, 2))
	if err != nil || len(w.Trials) != 6 || w.Count(StatusFinished) != 5 {
		t.Fatalf("got %v, error %v", w, err)
	}
	w, err = s.RunSweep(t.Context(), "study", SweepLimits{})
	if err != nil || w.Count(StatusFinished) != 6 || w.Trials[4].Run.ID != alone.ID {
		t.Fatalf("got %v, error %v", w, err)
	}
	for _, want := range []string{"sweep study: 6 trials, 6 finished", "gamma", "seed", "0.3"} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("%q is not in:\n%v", want, w)
		}
	}
	other := labStore(t) // a merge takes the plan along
	if _, err := other.Merge(t.Context(), s.Path()); err != nil {
		t.Fatal(err)
	}
	if got, err := other.Sweeping(t.Context(), "study"); err != nil || got.String() != w.String() {
		t.Errorf("merged: got %v, error %v, want %v", got, err, w)
	}
	if err := s.Delete(t.Context(), alone.ID); err != nil {
		t.Fatal(err)
	}
	if w, err = s.Sweeping(t.Context(), "study"); err != nil || w.Trials[4].Status != TrialOpen {
		t.Errorf("a deleted run's trial is %v, error %v, want open", w.Trials[4].Status, err)
	}
}

// stopSecond is a display that stops the second training in its middle.
type stopSecond struct {
	display.Recording
	titles map[string]bool
	stop   context.CancelFunc
}

func (d *stopSecond) Progress(p display.Progress) {
	if p.Unit != "it" {
		return
	}
	if d.titles == nil {
		d.titles = map[string]bool{}
	}
	if d.titles[p.Title] = true; len(d.titles) == 2 && p.Done == 6 {
		d.stop()
	}
}

// What cannot be trained does not end a sweep, and is tried again when asked for.
func TestSweepFailure(t *testing.T) {
	s := labStore(t)
	c := unscored()
	if _, err := s.Plan(t.Context(), "study", c, ddpm.ADM(), GridText("data", "nowhere", "fashion-mnist")); err != nil {
		t.Fatal(err)
	}
	w, err := s.RunSweep(t.Context(), "study", SweepLimits{})
	if err == nil || !strings.Contains(err.Error(), "1 trials failed") || w.Count(StatusFinished) != 1 || w.Count(StatusFailed) != 1 {
		t.Fatalf("got %v, error %v", w, err)
	}
	if w.Trials[0].Error == "" || !strings.Contains(w.String(), "nowhere") {
		t.Errorf("the reason is not told: %v", w)
	}
	if _, err := s.RunSweep(t.Context(), "study", SweepLimits{}); err != nil {
		t.Errorf("a failed trial was tried again: %v", err)
	}
	if _, err := s.RunSweep(t.Context(), "study", SweepLimits{Retry: true}); err == nil {
		t.Error("a failed trial was not tried again with retry")
	}
}

// Several processes share a sweep: each trial is trained once, by one of them. One that
// is killed loses its trial to the others.
func TestSweepProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const trials, workers = 12, 3
	gammas := make([]float64, trials)
	for i := range gammas {
		gammas[i] = float64(i) / 100
	}
	if _, err := s.Plan(t.Context(), "many", unscored(), ddpm.ADM(), Grid("gamma", gammas...)); err != nil {
		t.Fatal(err)
	}
	killed := child(t, "sweepkilled", path)
	if err := killed.Run(); err == nil {
		t.Fatal("the process was not killed")
	}
	w, err := s.Sweeping(t.Context(), "many")
	if err != nil || w.Trials[0].Status != StatusCrashed {
		t.Fatalf("the killed process's trial is %s, error %v, want crashed", w.Trials[0].Status, err)
	}
	// A process on another machine holds the second trial; its heart beats no more.
	if err := s.do(true, claimElsewhere(s, time.Now().Add(-2*heartbeatGrace), 2)); err != nil {
		t.Fatal(err)
	}
	// And one holds the third, which lives.
	if err := s.do(true, claimElsewhere(s, time.Now(), 3)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, workers)
	for range workers {
		cmd := child(t, "sweep", path)
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			done <- err
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	w, err = s.Sweeping(t.Context(), "many")
	if err != nil || w.Count(StatusFinished) != trials-1 || w.Trials[2].Status != TrialClaimed {
		t.Fatalf("got %v, error %v, want all finished but the third, which is claimed", w, err)
	}
	runs, err := s.AllRuns(t.Context())
	if err != nil || len(runs) != trials {
		t.Errorf("%d runs, error %v, want %d: one a trial, and the killed process's, which had no checkpoint yet", len(runs), err, trials)
	}
	got, err := s.SQL(t.Context(), "SELECT count(DISTINCT pid) FROM session")
	if err != nil || got.Cells[0][0] < "3" {
		t.Errorf("%v processes trained, error %v, want the killed one and several others", got, err)
	}
	sessions, err := s.SQL(t.Context(), "SELECT count(*) FROM session")
	if err != nil || sessions.Cells[0][0] != fmt.Sprint(trials) {
		t.Errorf("%v sessions, error %v, want %d: the killed one's run has two", sessions, err, trials)
	}
}

// claimElsewhere claims a trial of "many" as a process of another machine.
func claimElsewhere(s *Store, beat time.Time, number int) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.Exec(updateClaim, 4711, 1, "another boot", "elsewhere", beat.UnixMicro(), "many", number)
		return err
	}
}
