package experiments

import (
	"bufio"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

// exact is a run with all that a checkpoint has to keep, of seconds: hybrid loss, importance
// sampling of t, micro-batches, annealing, several averages, dropout, flips, a schedule of γ
// and two draws of the gradient penalty.
func exact() (ddpm.Config, ddpm.Variant) {
	c := small()
	c.Loss, c.Model.OutChannels, c.TimeSampler, c.T = ddpm.Hybrid, 2, ddpm.LossSecondMoment, 4
	c.MicroBatch, c.Anneal, c.ExtraEMA, c.Flip, c.Model.Dropout = 2, true, []float64{0.9}, true, 0.2
	c.SamplingVariance, c.EvalFirst, c.EvalEvery, c.Iterations = ddpm.LearnedRange, 0, 40, 150
	return c, ddpm.Variant{Gamma: 0.1, GammaSchedule: ddpm.Rising, GradPenalty: 1e-4, GradPenaltyDraws: 2, WeightDecay: 0.03}
}

// steps is a display that prints a line for each step of a training.
type steps struct{}

func (steps) Progress(p display.Progress) {
	if p.Unit == "it" {
		fmt.Println(p.Done)
	}
}

func (steps) Curve(display.Curve)        {}
func (steps) Show(string, render.Bundle) {}

// childResume goes on with the run in the database, or begins it, saving its state every 7
// iterations, until it is killed or done.
func childResume(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	defer s.Close()
	s.extractors = map[string]fid.Extractor{"fashion-mnist": moments{}}
	s.Threads, s.CheckpointEvery = 1+os.Getpid()%3, 7 // no number depends on these
	ctx := display.NewContext(context.Background(), steps{})
	c, v := exact()
	runs, err := s.AllRuns(ctx)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if r.Status == StatusFinished {
			return nil
		}
		_, err := s.Resume(ctx, r.ID)
		if errors.Is(err, ErrNoCheckpoint) { // killed before its first checkpoint
			continue
		}
		return err
	}
	_, err = s.Rerun(ctx, c, v)
	return err
}

// A training that is killed at random moments, and resumed each time by another process on
// another number of threads, ends with the weights, averages and moments of one that was
// not, bit for bit, and with the same numbers recorded.
func TestKillAndResume(t *testing.T) {
	c, v := exact()
	s := labStore(t)
	whole, err := s.Train(t.Context(), c, v)
	if err != nil {
		t.Fatal(err)
	}
	want, err := s.Checkpoint(t.Context(), whole)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "killed.db")
	kills, resumed := 0, map[int64]bool{}
	for {
		cmd := child(t, "resume", path)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines, last := bufio.NewScanner(out), 1+rand.IntN(50)
		for n := 0; n < last && lines.Scan(); n++ {
		}
		time.Sleep(rand.N(10 * time.Millisecond))
		cmd.Process.Kill()
		for lines.Scan() { // until it is gone
		}
		err = cmd.Wait()
		if err == nil {
			break
		}
		if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.Exited() {
			t.Fatalf("the training failed: %v: %s", err, stderr.String())
		}
		if kills++; kills == 60 {
			t.Fatal("killed 60 times, and still not finished")
		}
	}
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	runs, err := again.AllRuns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := runs[len(runs)-1]
	d, err := again.Show(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, session := range d.Sessions[1:] {
		resumed[session.FromStep] = true
	}
	t.Logf("%d kills; resumed %d times, at steps %v", kills, len(d.Sessions)-1, resumed)
	if kills == 0 || len(resumed) == 0 {
		t.Errorf("killed %d times, resumed at %v; want both", kills, resumed)
	}
	got, err := again.Checkpoint(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	got.Run, got.Code = want.Run, want.Code
	if got.SHA256() != want.SHA256() || !slices.Equal(got.Weights, want.Weights) {
		t.Errorf("step %d of %v ends in another checkpoint than step %d of %v", got.Step, run, want.Step, whole)
	}
	for _, key := range []string{MetricLoss, MetricGradNorm, MetricFD, "vb", "jacobian", "loss_q2"} {
		if got, want := values(run, key), values(whole, key); got != want || len(got) == 0 {
			t.Errorf("%s: got %s\nwant %s", key, got, want)
		}
	}
}

// A run that left no checkpoint is not trained anew unasked: resuming it says so, and
// changes nothing.
func TestResumeWithoutCheckpoint(t *testing.T) {
	s := labStore(t)
	c := small()
	c.EvalSamples = 0
	r := interrupted(t, s, c, ddpm.ADM(), 3)
	if err := s.crash(r.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.do(true, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM run_artifact WHERE run = ?", r.ID)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Resume(t.Context(), r.ID)
	if !errors.Is(err, ErrNoCheckpoint) || !strings.Contains(err.Error(), fmt.Sprintf("run %s (ADM) crashed at step 3, before its first one", r.ID)) ||
		!strings.Contains(err.Error(), "--rerun") {
		t.Errorf("got %v, want that it has no checkpoint, and the cure", err)
	}
	if r, err := s.Run(t.Context(), r.ID); err != nil || r.Status != StatusCrashed || r.Step != 3 || len(r.Series(MetricLoss)) != 3 {
		t.Errorf("got run %+v, error %v, want it as it was", r, err)
	}
}

// The checkpoint of the lowest score is kept beside the newest two.
func TestBestCheckpoint(t *testing.T) {
	s := labStore(t)
	c := small()
	c.Iterations, c.EvalFirst, c.EvalEvery = 30, 1, 3
	scores := map[int64]float64{}
	for _, resume := range []bool{false, true} {
		var r *Run
		var err error
		if resume {
			c.Seed = 5
			r = interrupted(t, s, c, ddpm.ADM(), 14)
			r, err = s.Resume(t.Context(), r.ID)
		} else {
			r, err = s.Train(t.Context(), c, ddpm.ADM())
		}
		if err != nil {
			t.Fatal(err)
		}
		points := r.Series(MetricFD)
		best := slices.MinFunc(points, func(a, b Point) int { return cmp.Compare(a.Value, b.Value) })
		for _, p := range points {
			scores[p.Step] = p.Value
		}
		ck, err := s.BestCheckpoint(t.Context(), r)
		if err != nil || ck.Step != best.Step {
			t.Fatalf("got %v, error %v, want the checkpoint at step %d of %v", ck, err, best.Step, points)
		}
		newest, err := s.Checkpoint(t.Context(), r)
		if err != nil || newest.Step != 30 {
			t.Errorf("got newest %v, error %v, want that at 30", newest, err)
		}
		d, err := s.Show(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]int{}
		for _, a := range d.Artifacts {
			if a.Name == nameBest || a.Name == nameCheckpoint {
				names[a.Name]++
				if !a.Here {
					t.Errorf("%s at step %d is not in the folder", a.Name, a.Step)
				}
			}
		}
		if names[nameBest] != 1 || names[nameCheckpoint] != 2 {
			t.Errorf("got %v, want two checkpoints and the best", names)
		}
	}
	// Files of checkpoints that are neither are gone.
	files, err := filepath.Glob(filepath.Join(s.files, "*", "*"))
	if err != nil || len(files) > 6 {
		t.Errorf("%d files in the store, error %v, want at most three a run", len(files), err)
	}
	if len(scores) < 10 {
		t.Errorf("scores at %v", scores)
	}
	c.EvalSamples = 0
	r, err := s.Train(t.Context(), c, ddpm.ADM())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.BestCheckpoint(t.Context(), r); !errors.Is(err, ErrNoCheckpoint) || !strings.Contains(err.Error(), "has no score") {
		t.Errorf("best of a run without scores: %v", err)
	}
}

// Interrupted before its first step a training leaves no run, and says so.
func TestInterruptedBeforeItBegins(t *testing.T) {
	for name, at := range map[string]int64{"before": -1, "in the first step": 0} {
		t.Run(name, func(t *testing.T) {
			s := labStore(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if at < 0 {
				cancel()
			}
			s.Device = stopping{mustCPU(t), cancel}
			r, err := s.Train(display.NewContext(ctx, &display.Recording{}), small(), ddpm.ADM())
			if !errors.Is(err, ErrInterrupted) || !errors.Is(err, context.Canceled) || r != nil || !strings.Contains(err.Error(), "before its first step; there is no run") {
				t.Errorf("got run %v, error %v", r, err)
			}
			if runs, err := s.AllRuns(t.Context()); err != nil || len(runs) != 0 {
				t.Errorf("got %d runs, error %v, want none", len(runs), err)
			}
		})
	}
}

// A run that crashed lived until its last number at least.
func TestCrashedTook(t *testing.T) {
	s := labStore(t)
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	time.Sleep(300 * time.Millisecond)
	a.Record(1, MetricLoss, 1)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	close(a.beats)
	a.ended.Wait()
	if err := s.crash(a.run); err != nil {
		t.Fatal(err)
	}
	if err := s.reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := s.Run(t.Context(), a.run)
	if err != nil || r.Status != StatusCrashed || r.Finished.Sub(r.Started) < 300*time.Millisecond {
		t.Errorf("got %s after %v, error %v, want it crashed after 0.3 s", r.Status, r.Finished.Sub(r.Started), err)
	}
}

// stopping is a device that cancels the training when a program with gradients runs.
type stopping struct {
	engine.Device
	stop context.CancelFunc
}

type stoppingExec struct {
	engine.Exec
	stop context.CancelFunc
}

func (d stopping) Load(p *engine.Program, s engine.State) (engine.Exec, error) {
	e, err := d.Device.Load(p, s)
	if err != nil || p.Grads == nil {
		return e, err
	}
	return stoppingExec{e, d.stop}, nil
}

func (e stoppingExec) Run(ctx context.Context) error {
	e.stop()
	return e.Exec.Run(ctx)
}

func mustCPU(t *testing.T) engine.Device {
	t.Helper()
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
