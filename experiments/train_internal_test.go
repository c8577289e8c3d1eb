package experiments

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/display"
)

// moments is a feature extractor that needs no network.
type moments struct{}

func (moments) Name() string   { return "moments" }
func (moments) SHA256() string { return "0" }
func (moments) Resize() string { return "none" }
func (moments) Dim() int       { return 2 }

func (moments) Features(_ context.Context, x []float32, n, h, w, c int) ([]float64, error) {
	size := h * w * c
	var out []float64
	for i := range n {
		var mean, square float64
		for _, v := range x[i*size : (i+1)*size] {
			mean += float64(v) / float64(size)
			square += float64(v) * float64(v) / float64(size)
		}
		out = append(out, mean, square)
	}
	return out, nil
}

// labStore is a store whose runs take a moment.
func labStore(t *testing.T) *Store {
	s := testStore(t)
	s.extractors = map[string]fid.Extractor{"fashion-mnist": moments{}}
	s.Threads = 1
	return s
}

// small is a configuration that trains in a moment.
func small() ddpm.Config {
	c := ddpm.Tour()
	c.Preset = "small"
	c.Model.Channels, c.Model.HeadChannels, c.Model.Mult, c.Model.Attention = 8, 8, []int{1}, nil
	c.T, c.Batch, c.Iterations, c.Warmup = 20, 4, 12, 2
	c.EvalFirst, c.EvalEvery, c.EvalSamples, c.SamplingSteps = 2, 5, 8, 3
	return c
}

// stopAt is a display that stops the training at a step.
type stopAt struct {
	display.Recording
	step int64
	stop context.CancelFunc
}

func (d *stopAt) Progress(p display.Progress) {
	d.Recording.Progress(p)
	if p.Unit == "it" && p.Done == d.step {
		d.stop()
	}
}

// stopAfter is a display that counts scores, and stops the training after some.
type stopAfter struct {
	display.Recording
	seen, scores int
	stop         context.CancelFunc
}

func (d *stopAfter) Progress(p display.Progress) {
	if strings.HasPrefix(p.ID, "score-") && p.State == display.Done {
		if d.seen++; d.seen == d.scores {
			d.stop()
		}
	}
}

// interrupted trains until the step and returns the run.
func interrupted(t *testing.T, s *Store, c ddpm.Config, v ddpm.Variant, step int64) *Run {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := s.Train(display.NewContext(ctx, &stopAt{step: step, stop: cancel}), c, v)
	if !errors.Is(err, ErrInterrupted) || !errors.Is(err, context.Canceled) || r == nil || r.Status != StatusInterrupted {
		t.Fatalf("got run %v, error %v, want an interrupted run", r, err)
	}
	if text := err.Error(); !strings.Contains(text, r.ID) || !strings.Contains(text, "Resume") || !strings.Contains(text, fmt.Sprintf("%d of %d", r.Step, c.Iterations)) {
		t.Errorf("got %q, want how to resume", text)
	}
	return r
}

// A training that is interrupted at any moment of its start says whether there is a run.
func TestInterruptedStart(t *testing.T) {
	s := labStore(t)
	c := small()
	kept, tried := 0, 0
	for delay := time.Duration(0); kept < 5; delay += 10 * time.Millisecond {
		tried++
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(delay, cancel)
		c.Iterations, c.Seed = 1_000_000, uint64(delay)
		r, err := s.Train(ctx, c, ddpm.ADM())
		if !errors.Is(err, ErrInterrupted) || !errors.Is(err, context.Canceled) {
			t.Fatalf("after %v: %v", delay, err)
		}
		want := "there is no run"
		if r != nil {
			kept++
			want = "of 1000000 steps are done and kept"
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "context canceled") {
			t.Errorf("after %v: %v, want it to say: %s", delay, err, want)
		}
	}
	runs, err := s.AllRuns(t.Context())
	if err != nil || len(runs) != kept {
		t.Errorf("%d runs, error %v, want the %d that were said to be kept", len(runs), err, kept)
	}
	if tried == kept {
		t.Error("every run had begun: the moments miss the start")
	}
}

// Training again what was interrupted begins anew, and says how to go on instead.
func TestTrainAgainAfterInterrupt(t *testing.T) {
	s := labStore(t)
	left := interrupted(t, s, small(), ddpm.ADM(), 3)
	var shown display.Recording
	ctx := display.NewContext(t.Context(), &shown)
	r, err := s.Train(ctx, small(), ddpm.ADM())
	if err != nil || r.ID == left.ID || r.Attempt != 2 {
		t.Fatalf("got %v, error %v, want a second attempt", r, err)
	}
	all := shown.AllShown()
	if len(all) == 0 || !strings.Contains(all[0].Bundle.String(), "train --resume "+left.ID) {
		t.Errorf("got %v, want how to resume %s", all, left.ID)
	}
}

// A run's shown loss is a mean: the last batch alone says little.
func TestShownLoss(t *testing.T) {
	s := testStore(t)
	losses := make([]float64, 150)
	for i := range losses {
		losses[i] = 1
		if i >= 50 {
			losses[i] = float64(2 + i%2*2) // the mean of the last 100 is 3
		}
	}
	r := testRun(t, s, testOrder(1), StatusFinished, losses...)
	for _, text := range []string{Runs{r}.String(), r.String()} {
		if !strings.Contains(text, "3.0000") || !strings.Contains(text, "mean of the last 100 steps") {
			t.Errorf("got %s, want the mean 3.0000", text)
		}
	}
	r = testRun(t, s, testOrder(2), StatusDiverged, 1, math.NaN())
	if text := (Runs{r}).String(); !strings.Contains(text, "NaN") {
		t.Errorf("got %s, want NaN, the last loss", text)
	}
}

// values are a series' steps and values.
func values(r *Run, key string) string {
	var b strings.Builder
	for _, p := range r.Series(key) {
		fmt.Fprintf(&b, "%d:%v ", p.Step, p.Value)
	}
	return b.String()
}

func TestTrain(t *testing.T) {
	s := labStore(t)
	var shown display.Recording
	ctx := display.NewContext(t.Context(), &shown)
	c, v := small(), ddpm.InputPerturbation(0.1)
	r, err := s.Train(ctx, c, v)
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != StatusFinished || r.Step != 12 || r.Name != "DDPM-IP" || r.Attempt != 1 || r.Finished.Before(r.Started) || r.Host == "" || !strings.HasPrefix(r.Device, "cpu") {
		t.Errorf("got %+v, want a finished run of 12 steps on the cpu", r)
	}
	if got, want := r.Keys(), []string{"ema_rate", "fd", "grad_norm", "images_per_s", "loss", "loss_q0", "loss_q1", "loss_q2", "loss_q3"}; !slices.Equal(got, want) {
		t.Errorf("got series %v, want %v", got, want)
	}
	var steps []int64
	for _, p := range r.Series(MetricFD) {
		steps = append(steps, p.Step)
	}
	if want := []int64{2, 5, 10, 12}; !slices.Equal(steps, want) {
		t.Errorf("got scores at steps %v, want %v", steps, want)
	}
	p, ok := r.Protocol(MetricFD)
	if !ok || p.Metric != "FD (moments)" || p.N != 8 || p.Steps != 3 || p.EMA != "0.999 warm" || p.Floor <= 0 || p.ID != p.Hash() {
		t.Errorf("got protocol %+v %v, want the one of the configuration, with a floor", p, ok)
	}
	last, ok := shown.Last()
	if !ok || last.State != display.Done {
		t.Errorf("got last progress %+v, want a training that is done", last)
	}
	var scored int
	for _, x := range shown.AllProgress() {
		if strings.HasPrefix(x.ID, "score-") && x.State == display.Done && len(x.Values) == 1 {
			scored++
		}
	}
	if scored != 4 {
		t.Errorf("got %d scores on the display, want 4", scored)
	}

	again, err := s.Train(context.Background(), c, v)
	if err != nil || again.ID != r.ID {
		t.Errorf("got run %v, error %v, want the finished one at once", again, err)
	}
	third, err := s.Rerun(t.Context(), c, v)
	if err != nil || third.ID == r.ID || third.Attempt != 2 || values(third, MetricLoss) != values(r, MetricLoss) || values(third, MetricFD) != values(r, MetricFD) {
		t.Errorf("got run %v, error %v, want a second attempt with the same numbers", third, err)
	}
	d, err := s.Show(t.Context(), r.ID)
	checkpoints := slices.DeleteFunc(slices.Clone(d.Artifacts), func(a Artifact) bool { return a.Name != nameCheckpoint })
	if err != nil || len(checkpoints) != 2 || !checkpoints[1].Here || checkpoints[1].Step != 12 {
		t.Errorf("got %+v, error %v, want two checkpoints, the last at 12", d.Artifacts, err)
	}
	if text, err := json.Marshal(d); err != nil || !strings.Contains(string(text), `"fd":`) {
		t.Errorf("got %s, error %v, want the run as JSON", text, err)
	}
}

// A run that was interrupted, and one whose process was lost, go on to the same numbers
// as one that was not, wherever it was stopped.
func TestResume(t *testing.T) {
	c, v := small(), ddpm.ADM()
	whole, err := labStore(t).Train(t.Context(), c, v)
	if err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, r *Run, err error) {
		t.Helper()
		if err != nil || r.Status != StatusFinished || r.Attempt != 1 {
			t.Fatalf("got run %v, error %v, want it finished", r, err)
		}
		for _, key := range []string{MetricLoss, MetricGradNorm, MetricFD} {
			if got, want := values(r, key), values(whole, key); got != want {
				t.Errorf("%s: got %s\nwant %s", key, got, want)
			}
		}
	}
	stops := []int64{1, 5, 7, 10} // 5 and 10 are evaluated
	if testing.Short() {
		stops = stops[1:2]
	}
	for _, at := range stops {
		t.Run(fmt.Sprintf("interrupted at %d", at), func(t *testing.T) {
			s := labStore(t)
			r := interrupted(t, s, c, v, at)
			r, err := s.Resume(t.Context(), r.ID[:20])
			check(t, r, err)
		})
	}
	t.Run("interrupted after a score", func(t *testing.T) {
		s := labStore(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := s.Train(display.NewContext(ctx, &stopAfter{scores: 2, stop: cancel}), c, v)
		if !errors.Is(err, ErrInterrupted) || r.Step != 5 {
			t.Fatalf("got %v, error %v, want a run interrupted at 5", r, err)
		}
		var shown stopAfter
		r, err = s.Resume(display.NewContext(t.Context(), &shown), r.ID)
		check(t, r, err)
		if shown.seen != 2 {
			t.Errorf("got %d scores measured after step 5, want 2: the one at 5 is known", shown.seen)
		}
	})
	t.Run("crashed", func(t *testing.T) {
		s := labStore(t)
		r := interrupted(t, s, c, v, 7)
		if err := s.crash(r.ID); err != nil {
			t.Fatal(err)
		}
		again, err := Open(s.Path())
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		again.extractors, again.Threads = s.extractors, 1
		if r, err := again.Run(t.Context(), r.ID); err != nil || r.Status != StatusCrashed {
			t.Fatalf("got run %v, error %v, want it crashed", r, err)
		}
		r, err = again.Resume(t.Context(), r.ID)
		check(t, r, err)
	})
	t.Run("newest checkpoint damaged", func(t *testing.T) {
		s := labStore(t)
		r := interrupted(t, s, c, v, 7)
		c, err := s.newest(t.Context(), r)
		if err != nil || c.step != 7 {
			t.Fatalf("got checkpoint %v, error %v, want one at 7", c, err)
		}
		text, err := os.ReadFile(s.file(c.sum))
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2]++
		if err := os.WriteFile(s.file(c.sum), text, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Samples(t.Context(), r, 1, 1); err == nil || !strings.Contains(err.Error(), "Rerun") {
			t.Errorf("sample from it: got %v, want an error with a cure", err)
		}
		r, err = s.Resume(t.Context(), r.ID)
		check(t, r, err)
	})
	t.Run("checkpoints absent", func(t *testing.T) {
		s := labStore(t)
		r := interrupted(t, s, c, v, 7)
		if err := os.RemoveAll(s.files); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Resume(t.Context(), r.ID); !errors.Is(err, ErrNoCheckpoint) || !strings.Contains(err.Error(), "Rerun") {
			t.Errorf("got %v, want ErrNoCheckpoint with a cure", err)
		}
	})
	t.Run("finished", func(t *testing.T) {
		if _, err := whole.store.Resume(t.Context(), whole.ID); !errors.Is(err, ErrNotResumable) {
			t.Errorf("got %v, want ErrNotResumable", err)
		}
	})
}

// crash makes a run look as if its process had been killed.
func (s *Store) crash(run string) error {
	return s.do(false, func(tx *sql.Tx) error {
		_, err1 := tx.Exec("UPDATE run SET status = 'running', finished = NULL WHERE id = ?", run)
		_, err2 := tx.Exec("UPDATE session SET born = born - 1 WHERE run = ?", run)
		return errors.Join(err1, err2)
	})
}

// What cannot be trained is refused before anything is written.
func TestTrainRefuses(t *testing.T) {
	s := labStore(t)
	change := func(f func(*ddpm.Config)) ddpm.Config { c := small(); f(&c); return c }
	for _, tt := range []struct {
		name string
		c    ddpm.Config
		v    ddpm.Variant
		want string
	}{
		{"iterations", change(func(c *ddpm.Config) { c.Iterations = 0 }), ddpm.ADM(), "iterations"},
		{"gamma", small(), ddpm.InputPerturbation(-1), "gamma"},
		{"data", change(func(c *ddpm.Config) { c.Data = "mnist" }), ddpm.ADM(), "unknown data set"},
		{"batch", change(func(c *ddpm.Config) { c.Batch = 10_001 }), ddpm.ADM(), "batch"},
		{"one sample", change(func(c *ddpm.Config) { c.EvalSamples = 1 }), ddpm.ADM(), "eval_samples"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := s.Train(t.Context(), tt.c, tt.v)
			if err == nil || r != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got run %v, error %v, want one about %s", r, err, tt.want)
			}
		})
	}
	if runs, err := s.AllRuns(t.Context()); err != nil || len(runs) != 0 {
		t.Errorf("got %d runs, error %v, want none", len(runs), err)
	}
}

// A run that diverges keeps what it had, and is not resumed.
func TestDiverged(t *testing.T) {
	s := labStore(t)
	c := small()
	c.LR, c.Warmup = 1e30, 0
	r, err := s.Train(t.Context(), c, ddpm.ADM())
	if !errors.Is(err, ddpm.ErrDiverged) || r == nil || r.Status != StatusDiverged || r.Error == "" {
		t.Fatalf("got run %+v, error %v, want a diverged one", r, err)
	}
	if _, err := s.Resume(t.Context(), r.ID); !errors.Is(err, ErrNotResumable) {
		t.Errorf("resume: got %v, want ErrNotResumable", err)
	}
}

func TestMeasure(t *testing.T) {
	s := labStore(t)
	c := small()
	var runs Runs
	for _, v := range []ddpm.Variant{ddpm.ADM(), ddpm.InputPerturbation(0.1)} {
		r, err := s.Train(t.Context(), c, v)
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
	}
	if got, err := s.Runs(t.Context(), c); err != nil || len(got) != 2 || got[0].ID != runs[0].ID || got[1].ID != runs[1].ID {
		t.Errorf("got runs %v, error %v, want both variants in order", got, err)
	}
	bias, err := s.Bias(t.Context(), runs, 4, 5, 10)
	if err != nil || len(bias.Rows) != 2 || bias.Rows[1].Bias[1].Steps != 10 || bias.Rows[1].Bias[1].N != 4 || bias.Rows[1].Bias[1].L1 <= 0 {
		t.Fatalf("got %v, error %v, want 2 rows of 5 and 10 steps", bias, err)
	}
	for _, row := range bias.Rows {
		if len(row.AsWritten) != 2 || len(row.Drift) != c.SamplingSteps || row.Drift[0].T != c.T-1 || row.Drift[2].N != 4 ||
			len(row.Errors) != c.T || row.Errors[c.T-1].T != c.T-1 || row.Errors[3].Nu <= 0 {
			t.Errorf("got %+v, want all measures", row)
		}
		if a, b := row.Bias[1], row.AsWritten[1]; a.L1 == b.L1 || a.OneStepL1 == b.OneStepL1 {
			t.Errorf("got L1 %v clipped and %v as written, want others", a, b)
		}
	}
	if one, err := s.Bias(t.Context(), runs[:1], 1, 5); err != nil || one.Rows[0].Drift != nil || one.Rows[0].Errors != nil || len(one.Rows[0].AsWritten) != 1 {
		t.Errorf("got %+v, error %v, want the chains of one image alone", one, err)
	}
	sweep, err := s.Sweep(t.Context(), runs, 0, 2, 3)
	if err != nil || len(sweep.Rows) != 2 || len(sweep.Rows[0].FD) != 2 || sweep.Protocol.Steps != 0 {
		t.Fatalf("got %v, error %v, want 2 rows of 2 scores", sweep, err)
	}
	if fd, _ := runs[0].Last(MetricFD); sweep.Rows[0].FD[1] != fd {
		t.Errorf("got score %v in 3 steps, want the run's own, %v", sweep.Rows[0].FD[1], fd)
	}
	samples, err := s.Samples(t.Context(), runs[0], 3, 4)
	if err != nil || samples.Images.N != 3 || samples.Steps != 4 {
		t.Fatalf("got %v, error %v, want 3 samples", samples, err)
	}

	// All of it is known now: without the checkpoints nothing can be computed.
	if err := os.RemoveAll(s.files); err != nil {
		t.Fatal(err)
	}
	bias2, err1 := s.Bias(t.Context(), runs, 4, 10, 5)
	sweep2, err2 := s.Sweep(t.Context(), runs, 0, 3, 2)
	samples2, err3 := s.Samples(t.Context(), runs[0], 3, 4)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if bias2.Rows[1].Bias[0] != bias.Rows[1].Bias[1] || bias2.Rows[1].AsWritten[0] != bias.Rows[1].AsWritten[1] ||
		!slices.Equal(bias2.Rows[1].Drift, bias.Rows[1].Drift) || !slices.Equal(bias2.Rows[1].Errors, bias.Rows[1].Errors) || sweep2.Rows[0].FD[1] != sweep.Rows[0].FD[0] || !slices.Equal(samples2.Images.Pix, samples.Images.Pix) {
		t.Error("what was measured once changed when it was looked up")
	}
	for name, err := range map[string]error{
		"bias":    second(s.Bias(t.Context(), runs, 4, 6)),
		"sweep":   second(s.Sweep(t.Context(), runs, 0, 7)),
		"samples": second(s.Samples(t.Context(), runs[0], 5, 4)),
	} {
		if !errors.Is(err, ErrNoCheckpoint) || !strings.Contains(err.Error(), "Rerun") {
			t.Errorf("%s without checkpoints: got %v, want ErrNoCheckpoint with a cure", name, err)
		}
	}
	for name, err := range map[string]error{
		"no runs":     second(s.Bias(t.Context(), nil, 4, 5)),
		"no steps":    second(s.Sweep(t.Context(), runs, 0)),
		"many steps":  second(s.Sweep(t.Context(), runs, 0, 21)),
		"many images": second(s.Bias(t.Context(), runs, 10_001, 5)),
		"no samples":  second(s.Samples(t.Context(), runs[0], 0, 4)),
	} {
		if err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	c.EvalSamples = 6
	other, err := s.Train(t.Context(), c, ddpm.ADM())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sweep(t.Context(), Runs{other, other, runs[0]}, 0, 3); err == nil || !strings.Contains(err.Error(), "N 6 against 8") {
		t.Errorf("sweep over different protocols: got %v, want what differs", err)
	}
}

func second[T any](_ T, err error) error { return err }

// What is shown of runs is complete, and the same numbers whoever shows it.
func TestShow(t *testing.T) {
	s := labStore(t)
	r, err := s.Train(t.Context(), small(), ddpm.ADM())
	if err != nil {
		t.Fatal(err)
	}
	lab := &Lab{store: s}
	fd, _ := r.Last(MetricFD)
	for name, text := range map[string]string{"run": r.String(), "runs": lab.AllRuns().String(), "detail": lab.Show(r.ID).String()} {
		for _, want := range []string{"ADM", StatusFinished, fmt.Sprintf("%.2f", fd), "FD (moments)", r.ID[:10]} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: got %s\nwant %q in it", name, text, want)
			}
		}
	}
	if text := lab.Show(r.ID).String(); !strings.Contains(text, "variant.gamma") || !strings.Contains(text, "model.channels") || !strings.Contains(text, r.Key) {
		t.Errorf("got %s\nwant every field of the configuration in it", text)
	}
	if b := r.Bundle(); len(b.Data) < 4 {
		t.Errorf("got a bundle of %d forms, want HTML, LaTeX, Markdown and text", len(b.Data))
	}
	if got := lab.String(); got != "1 runs in "+s.Path() {
		t.Errorf("got %q", got)
	}
	text, err := json.Marshal(lab.AllRuns().Summaries())
	if err != nil || !strings.HasPrefix(string(text), `[{"id":"`+r.ID+`","variant":"ADM","status":"finished","step":12,"seed":0,"preset":"small","metrics":{`) {
		t.Errorf("got %s, error %v", text, err)
	}
}

// A lab's methods panic with a CellError, which has a message for the cell.
func TestLabPanics(t *testing.T) {
	lab := &Lab{store: testStore(t)}
	for name, f := range map[string]func(){
		"no run":     func() { lab.Run("01ABC") },
		"no table":   func() { lab.Reference(8) },
		"no folder":  func() { MustOpen(filepath.Join(t.TempDir(), "x", "runs.db")) },
		"bad config": func() { lab.Train(t.Context(), ddpm.Config{}, ddpm.ADM()) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				e, ok := recover().(*CellError)
				if !ok || e.CellMessage() == "" || strings.Contains(e.CellMessage(), "\n") || errors.Unwrap(e) == nil {
					t.Errorf("got %v, want a CellError of one line", e)
				}
			}()
			f()
		})
	}
}

// Which run an abbreviated id means.
func TestFindRun(t *testing.T) {
	s := testStore(t)
	if _, err := s.Run(t.Context(), "01"); !errors.Is(err, ErrNoRun) || !strings.Contains(err.Error(), "no runs yet") {
		t.Errorf("empty: got %v", err)
	}
	a := testRun(t, s, testOrder(1), StatusFinished, math.NaN())
	b := testRun(t, s, testOrder(2), StatusCrashed)
	for _, id := range []string{a.ID, strings.ToLower(a.ID), a.ID[:25]} {
		if r, err := s.Run(t.Context(), id); err != nil || r.ID != a.ID {
			t.Errorf("%s: got run %v, error %v, want %s", id, r, err, a.ID)
		}
	}
	if _, err := s.Run(t.Context(), a.ID[:4]); !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), a.ID) || !strings.Contains(err.Error(), b.ID) {
		t.Errorf("got %v, want both runs", err)
	}
	for _, id := range []string{"", "%", "Z", a.ID + "0", "'; DROP TABLE run"} {
		if _, err := s.Run(t.Context(), id); !errors.Is(err, ErrNoRun) || !strings.Contains(err.Error(), b.ID) {
			t.Errorf("%q: got %v, want the runs there are", id, err)
		}
	}
	if text, err := json.Marshal(a.Summary()); err != nil || !strings.Contains(string(text), `"loss":null`) {
		t.Errorf("got %s, error %v, want NaN as null", text, err)
	}
}

// What was measured is returned also when the database cannot keep it, with a word on
// the display; training is refused.
func TestMeasureUnkept(t *testing.T) {
	s := labStore(t)
	c := small()
	c.EvalSamples = 0
	r, err := s.Train(t.Context(), c, ddpm.ADM())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write.close(); err != nil {
		t.Fatal(err)
	}
	s.write = newWriter(connect(s.path, readParams+"&_txlock=immediate", 1), s.path)
	for name, measure := range map[string]func(context.Context) error{
		"bias":    func(ctx context.Context) error { return second(s.Bias(ctx, Runs{r}, 2, 5)) },
		"sweep":   func(ctx context.Context) error { return second(s.Sweep(ctx, Runs{r}, 8, 3)) },
		"samples": func(ctx context.Context) error { return second(s.Samples(ctx, r, 2, 3)) },
	} {
		var seen display.Recording
		if err := measure(display.NewContext(t.Context(), &seen)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		shown := seen.AllShown()
		if len(shown) == 0 || !strings.Contains(shown[0].Bundle.String(), "not kept for the next time: "+s.path) {
			t.Errorf("%s: the display has %v, want that it was not kept", name, shown)
		}
	}
	if _, err := s.Rerun(t.Context(), small(), ddpm.ADM()); !errors.Is(err, ErrReadOnly) {
		t.Errorf("got %v, want ErrReadOnly", err)
	}
}
