package experiments

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

// Train trains the variant with the configuration, and records it. A finished run of the
// same configuration, variant and data is returned at once instead; Rerun trains it
// again. Progress goes to the display of ctx.
//
// A training that was stopped returns its run together with the error, which wraps
// ErrInterrupted and ctx's error after a cancellation; Resume continues it.
func (s *Store) Train(ctx context.Context, c ddpm.Config, v ddpm.Variant) (*Run, error) {
	return s.train(ctx, c, v, false)
}

// Rerun is Train, but trains in any case: as another attempt.
func (s *Store) Rerun(ctx context.Context, c ddpm.Config, v ddpm.Variant) (*Run, error) {
	return s.train(ctx, c, v, true)
}

// training is what a session needs to do its work.
type training struct {
	config  ddpm.Config
	variant ddpm.Variant
	set     data.Set
	key     string
	device  engine.Device
	scorer  *scorer // nil without evaluations
}

func (s *Store) train(ctx context.Context, c ddpm.Config, v ddpm.Variant, again bool) (r *Run, err error) {
	defer func() {
		if r == nil {
			err = notBegun(err)
		}
	}()
	t, err := s.newTraining(c, v)
	if err != nil {
		return nil, err
	}
	if !again {
		if r, err := s.finished(ctx, t.key); r != nil || err != nil {
			return r, err
		}
	}
	// Before the long preparations: what cannot be kept is not begun.
	if err := s.do(false, func(*sql.Tx) error { return nil }); err != nil {
		return nil, err
	}
	end, err := s.equip(ctx, t)
	if err != nil {
		return nil, err
	}
	defer end() // of nothing that matters any more
	a, done, err := s.begin(ctx, order{
		config: c, variant: t.variant, key: t.key, data256: t.set.SHA256(), again: again,
		env: observe(ctx, t.device.Name()),
	})
	switch {
	case err != nil:
		return nil, err
	case done != "": // another process was faster
		return s.Run(ctx, done)
	}
	if left := a.left; left.run != "" && !again {
		display.FromContext(ctx).Show("", render.Text(fmt.Sprintf(
			"run %s of the same was %s at step %d of %d, and this begins anew; to go on with that one instead, stop this and use `ddpmlab train --resume %[1]s`, in a notebook lab.Resume(ctx, %[1]q)",
			left.run, left.status, left.step, c.Iterations, left.run)))
	}
	return s.work(ctx, a, t, nil)
}

// Resume continues the interrupted, crashed or failed run whose id begins with prefix,
// from its last checkpoint, as if it had not stopped. A run without a checkpoint is left
// as it is: the error wraps ErrNoCheckpoint.
func (s *Store) Resume(ctx context.Context, prefix string) (_ *Run, err error) {
	if err := s.reap(ctx); err != nil {
		return nil, err
	}
	r, err := s.Run(ctx, prefix)
	if err != nil {
		return nil, err
	}
	defer func() {
		if _, ok := errors.AsType[*StoppedError](err); !ok && isInterrupt(err) { // before it went on
			err = &StoppedError{r.ID, StatusInterrupted, r.Step, int64(r.Config.Iterations), err}
		}
	}()
	if r.Imported() {
		return nil, fmt.Errorf("%w: %s was imported, and trained by another program", ErrNotResumable, r.ID)
	}
	if err := resumable(r.ID, r.Status); err != nil {
		return nil, err
	}
	t, err := s.newTraining(r.Config, r.Variant)
	if err != nil {
		return nil, err
	}
	if t.key != r.Key {
		return nil, fmt.Errorf("%w: %s was begun on other data or with other numerics; train it anew by `ddpmlab train --rerun`", ErrNotResumable, r.ID)
	}
	from, err := s.latest(ctx, r)
	if err != nil {
		return nil, err
	}
	if from == nil {
		return nil, noCheckpoint(r)
	}
	end, err := s.equip(ctx, t)
	if err != nil {
		return nil, err
	}
	defer end() // of nothing that matters any more
	a, err := s.reopen(ctx, r.ID, from.Step, observe(ctx, t.device.Name()))
	if err != nil {
		return nil, err
	}
	return s.work(ctx, a, t, from)
}

// newTraining checks what was asked for, and opens the data.
func (s *Store) newTraining(c ddpm.Config, v ddpm.Variant) (*training, error) {
	if err := errors.Join(c.Validate(), v.Validate()); err != nil {
		return nil, err
	}
	set, err := s.openData(c)
	if err != nil {
		return nil, err
	}
	if err := c.CheckData(set); err != nil { // before the scores' reference is measured
		return nil, err
	}
	return &training{config: c, variant: v.Normal(), set: set, key: ddpm.Key(c, v, set.SHA256())}, nil
}

const selectFinished = `run.id = (SELECT id FROM run WHERE key = ? AND status = 'finished' AND deleted IS NULL ORDER BY attempt DESC LIMIT 1)`

// finished is the newest finished run with that key, or nil.
func (s *Store) finished(ctx context.Context, key string) (*Run, error) {
	found, err := s.runs(ctx, selectFinished, key)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// equip opens the device, and what scores are measured with. end closes the device.
func (s *Store) equip(ctx context.Context, t *training) (end func() error, err error) {
	if t.device, end, err = s.openDevice(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	if t.config.EvalSamples > 0 {
		if t.scorer, err = s.newScorer(ctx, t.config, t.set, t.config.EvalSamples, t.config.SamplingSteps); err != nil {
			return end, err
		}
		if err = s.do(false, func(tx *sql.Tx) error { return t.scorer.method().save(ctx, tx) }); err != nil {
			return end, err
		}
	}
	return end, nil
}

// work trains, and ends the session with the status that fits.
func (s *Store) work(ctx context.Context, a *session, t *training, from *ddpm.Checkpoint) (r *Run, err error) {
	opts := []ddpm.Option{
		ddpm.WithDevice(t.device), ddpm.WithData(t.set), ddpm.WithRecorder(a),
		ddpm.WithCheckpoints(cmp.Or(s.CheckpointEvery, checkpointEvery), a.saveOn), ddpm.WithCheckpointsAfter(checkpointAfter),
	}
	if t.scorer != nil {
		opts = append(opts, ddpm.WithEval(a.evaluate(t)))
	}
	if from != nil {
		opts = append(opts, ddpm.WithResume(from))
	}
	inner := a.start(ctx)
	ended := false
	defer func() {
		if !ended { // a panic passes through: the run must not look alive
			a.finish(StatusFailed, a.step.Load(), "the program panicked")
		}
	}()
	last, err := ddpm.Train(inner, t.config, t.variant, opts...)
	ended = true

	ctx = context.WithoutCancel(ctx) // what follows is short, and has to be done
	if from == nil && (last == nil || last.Step == 0 && isInterrupt(err)) {
		return nil, errors.Join(err, a.discard(ctx)) // it did not start: there is no run
	}
	if last == nil {
		return nil, errors.Join(err, a.finish(StatusInterrupted, from.Step, ""))
	}
	if e := a.err(); e != nil { // it was ended because nothing could be saved
		err = e
	}
	saveErr := a.save(ctx, last)
	if err == nil {
		err = saveErr
	}
	status, reason := outcome(err)
	if e := a.finish(status, last.Step, reason); err == nil {
		err = e
	}
	if t.scorer != nil && saveErr == nil && !errors.Is(err, ErrSpilled) {
		if e := a.keepBest(ctx, t.scorer.protocol.ID); err == nil {
			err = e
		}
	}
	if status == StatusFinished && err == nil && t.scorer != nil {
		err = a.keepScore(ctx, t)
	}
	r, readErr := s.Run(ctx, a.run)
	if err == nil {
		return r, readErr
	}
	return r, &StoppedError{a.run, status, last.Step, int64(t.config.Iterations), err}
}

// outcome is the status of a training that ended with err, and the reason to store.
func outcome(err error) (status, reason string) {
	switch {
	case err == nil:
		return StatusFinished, ""
	case errors.Is(err, ddpm.ErrDiverged):
		return StatusDiverged, err.Error()
	case isInterrupt(err):
		return StatusInterrupted, ""
	default:
		return StatusFailed, err.Error()
	}
}

func isInterrupt(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// notBegun is the error of a training that was interrupted before its first step.
func notBegun(err error) error {
	if !isInterrupt(err) {
		return err
	}
	return &notBegunError{err}
}

type notBegunError struct{ cause error }

func (*notBegunError) Error() string {
	return "training interrupted before its first step; there is no run to continue, train again"
}

func (e *notBegunError) Unwrap() []error { return []error{ErrInterrupted, e.cause} }

// StoppedError is the error of a training that ended early and whose run is kept. It
// wraps ErrInterrupted, ddpm.ErrDiverged or what made it fail.
type StoppedError struct {
	Run      string // id
	Status   string // StatusInterrupted, StatusDiverged or StatusFailed
	Step, Of int64  // iterations done and asked for
	Err      error  // why
}

// Error says where the training stopped and how to go on.
func (e *StoppedError) Error() string {
	if errors.Is(e.Err, ErrSpilled) {
		return e.Err.Error()
	}
	switch e.Status {
	case StatusInterrupted:
		return fmt.Sprintf("run %s: %v; %d of %d steps are done and kept; `ddpmlab train --resume %s` goes on with it", e.Run, ErrInterrupted, e.Step, e.Of, e.Run)
	case StatusDiverged:
		return fmt.Sprintf("run %s: %v; its state at step %d is kept", e.Run, e.Err, e.Step)
	}
	return fmt.Sprintf("run %s stopped after %d of %d steps: %v; once that is solved, `ddpmlab train --resume %s` goes on with it", e.Run, e.Step, e.Of, e.Err, e.Run)
}

// Unwrap is why.
func (e *StoppedError) Unwrap() []error {
	if e.Status == StatusInterrupted {
		return []error{ErrInterrupted, e.Err}
	}
	return []error{e.Err}
}

// discard removes the run, which never began.
func (a *session) discard(ctx context.Context) error {
	if err := a.finish(StatusFailed, 0, ""); err != nil {
		return err
	}
	return a.store.do(true, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM run WHERE id = ?", a.run)
		return err
	})
}

const selectScored = `SELECT count(*) FROM point_row JOIN series ON series.id = series
	WHERE run = ? AND context = '' AND key = ? AND protocol = ? AND step = ?`

// evaluate returns what ddpm.Train is to do at the evaluation steps: record a score.
func (a *session) evaluate(t *training) func(context.Context, int64, ddpm.Denoiser) error {
	return func(ctx context.Context, step int64, d ddpm.Denoiser) error {
		db, err := a.store.reader()
		if err != nil {
			return err
		}
		var known int // the step that a run is resumed at may be scored already
		if err := db.QueryRowContext(ctx, selectScored, a.run, MetricFD, t.scorer.protocol.ID, step).Scan(&known); err != nil {
			return explain(a.store.path, err)
		}
		if known > 0 {
			return a.keepBest(ctx, t.scorer.protocol.ID)
		}
		title := fmt.Sprintf("%s, seed %d: samples at step %d", t.variant, t.config.Seed, step)
		fd, err := t.scorer.score(ctx, d, "score-"+a.run, title)
		if err != nil {
			return err
		}
		a.record(step, MetricFD, t.scorer.protocol.ID, fd)
		return a.keepBest(ctx, t.scorer.protocol.ID)
	}
}

// keepScore stores the score of the last step as that of the last checkpoint, so that
// Sweep need not measure it again.
func (a *session) keepScore(ctx context.Context, t *training) error {
	r, err := a.store.Run(ctx, a.run)
	if err != nil {
		return err
	}
	c, err := a.store.newest(ctx, r)
	fd, ok := r.Last(MetricFD)
	if err != nil || !ok {
		return err
	}
	return a.store.keep(ctx, c.sum, t.scorer.method(), fd)
}
