package experiments

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/internal/cell"
	"ddpmlab/internal/display"
	"ddpmlab/internal/render"

	"github.com/oklog/ulid/v2"
)

// order is what a training run is asked to be.
type order struct {
	config  ddpm.Config
	variant ddpm.Variant
	key     string // ddpm.Key
	data256 string // the data set's SHA-256
	again   bool   // train although there is a finished run, or one that is running
	env     environment
}

// session is this process's work on a run. It is a ddpm.Recorder.
type session struct {
	store  *Store
	run    string
	number int
	left   unfinished              // an earlier attempt at the same, if there is one
	code   string                  // commit of this program, for its checkpoints
	stop   context.CancelCauseFunc // ends the training when nothing can be saved any more

	mu     sync.Mutex
	series map[[2]string]*seriesRef // by key and protocol
	step   atomic.Int64
	broken atomic.Pointer[error]

	sink display.Sink // is told when a journal has to take the points
	told sync.Once
	kept []spilledFile // checkpoints that the store folder could not take

	beats chan struct{} // closed to end the heartbeat
	ended sync.WaitGroup
}

const (
	selectKey = `SELECT id, attempt, CASE WHEN deleted IS NULL THEN status ELSE 'deleted' END, step
		FROM run WHERE key = ? ORDER BY attempt DESC`
	insertRun = `INSERT INTO run (id, key, attempt, name, preset, data, data_sha256, seed, config, variant, status, started, label, sweep, parent)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', ?, ?, ?, ?)`
	insertParam = `INSERT INTO param (run, name, kind, value) VALUES (?, ?, ?, ?)`
)

// begin makes a run for the order. When there is a finished run with its key, done is
// that run's id and there is no session.
func (s *Store) begin(ctx context.Context, o order) (open *session, done string, err error) {
	if err := s.reap(ctx); err != nil {
		return nil, "", err
	}
	now := s.now()
	id, err := ulid.New(ulid.Timestamp(now), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("name a run: %w", err)
	}
	open = &session{store: s, run: id.String(), number: 1, code: o.env.commit}
	err = s.do(true, func(tx *sql.Tx) error {
		attempt, finished, left, err := attempts(ctx, tx, o)
		if err != nil || finished != "" {
			done = finished
			return err
		}
		open.left = left
		if err := o.insert(ctx, tx, open.run, attempt+1, now); err != nil {
			return err
		}
		return open.enter(ctx, tx, o.env, 0)
	})
	if err != nil || done != "" {
		return nil, done, err
	}
	return open, "", nil
}

// insert writes the run's row and fields.
func (o order) insert(ctx context.Context, tx *sql.Tx, id string, attempt int, now time.Time) error {
	config, err := json.Marshal(o.config)
	if err != nil {
		return fmt.Errorf("write config: %w", err)
	}
	variant, err := json.Marshal(o.variant)
	if err != nil {
		return fmt.Errorf("write variant: %w", err)
	}
	c, p := o.config, placeOf(ctx)
	if _, err := tx.ExecContext(ctx, insertRun, id, o.key, attempt, o.variant.Name(), c.Preset,
		c.Data, o.data256, int64(c.Seed), string(config), string(variant), now.UnixMicro(), p.group, p.sweep, p.parent); err != nil {
		return err
	}
	for _, p := range flatten(config, variant) {
		if _, err := tx.ExecContext(ctx, insertParam, id, p.name, p.kind, p.value); err != nil {
			return err
		}
	}
	return nil
}

// unfinished is a run that Resume can continue.
type unfinished struct {
	run, status string
	step        int64
}

// attempts is the number of runs with the order's key, the newest finished one, and the
// newest one that could be continued.
func attempts(ctx context.Context, tx *sql.Tx, o order) (last int, finished string, left unfinished, err error) {
	rows, err := tx.QueryContext(ctx, selectKey, o.key)
	if err != nil {
		return 0, "", left, err
	}
	defer rows.Close()
	running := ""
	for rows.Next() {
		var id, status string
		var attempt int
		var step int64
		if err := rows.Scan(&id, &attempt, &status, &step); err != nil {
			return 0, "", left, err
		}
		last = max(last, attempt)
		if status == StatusFinished && finished == "" {
			finished = id
		}
		if status == StatusRunning {
			running = id
		}
		if left.run == "" && step > 0 && status != "deleted" && resumable(id, status) == nil {
			left = unfinished{id, status, step}
		}
	}
	switch {
	case rows.Err() != nil || o.again:
		return last, "", left, rows.Err()
	case finished == "" && running != "":
		return 0, "", left, fmt.Errorf("%w: %s, %s, by another cell or process; wait for it, or train another by `ddpmlab train --rerun`", ErrAlreadyRuns, running, o.variant)
	}
	return last, finished, left, nil
}

const (
	selectStatus = `SELECT status, (SELECT max(number) FROM session WHERE run = id) FROM run WHERE id = ?`
	updateResume = `UPDATE run SET status = 'running', finished = NULL, error = '', step = ? WHERE id = ?`
	deleteAfter  = `DELETE FROM point_row WHERE step > ? AND series IN (SELECT id FROM series WHERE run = ?)`
)

// reopen starts another session of a run, at the step of its checkpoint. What was
// recorded after that step is removed: it is about to be recorded again.
func (s *Store) reopen(ctx context.Context, run string, step int64, env environment) (*session, error) {
	open := &session{store: s, run: run, code: env.commit}
	open.step.Store(step)
	err := s.do(true, func(tx *sql.Tx) error {
		var status string
		if err := tx.QueryRowContext(ctx, selectStatus, run).Scan(&status, &open.number); err != nil {
			return err
		}
		if err := resumable(run, status); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, updateResume, step, run); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, deleteAfter, step, run); err != nil {
			return err
		}
		open.number++
		return open.enter(ctx, tx, env, step)
	})
	if err != nil {
		return nil, err
	}
	return open, nil
}

// resumable refuses a run that has nothing to resume.
func resumable(run, status string) error {
	switch status {
	case StatusRunning:
		return fmt.Errorf("%w: %s, by another cell or process; wait for it", ErrAlreadyRuns, run)
	case StatusFinished:
		return fmt.Errorf("%w: %s is finished; `ddpmlab train --rerun` trains it once more", ErrNotResumable, run)
	case StatusDiverged:
		return fmt.Errorf("%w: %s diverged and would do so again; try a smaller learning rate or another seed", ErrNotResumable, run)
	}
	return nil
}

const (
	insertSession = `INSERT INTO session (run, number, from_step, started, heartbeat, pid, born, boot, host,
		commit_id, dirty, device, environment) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	insertCell     = `INSERT INTO cell (sha256, source) VALUES (?, ?) ON CONFLICT DO NOTHING`
	insertExecuted = `INSERT INTO executed (run, session, position, notebook, number, cell) VALUES (?, ?, ?, ?, ?, ?)`
)

// enter writes the session's row and the notebook cells that led to it.
func (a *session) enter(ctx context.Context, tx *sql.Tx, env environment, step int64) error {
	now, l := a.store.micros(), ownLease()
	detail, err := json.Marshal(env)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, insertSession, a.run, a.number, step, now, now, l.pid, l.born, l.boot,
		env.Host, env.commit, env.dirty, env.device, string(detail)); err != nil {
		return err
	}
	for _, f := range env.files {
		sum, err := a.store.putInside(ctx, tx, f.body)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, insertLink, a.run, f.name, step, sum, now); err != nil {
			return err
		}
	}
	c, ok := cell.FromContext(ctx)
	if !ok {
		return nil
	}
	for i, source := range append(c.Before[:len(c.Before):len(c.Before)], c.Source) {
		number, sum := 0, sha256Hex([]byte(source))
		if i == len(c.Before) {
			number = c.Index
		}
		if _, err := tx.ExecContext(ctx, insertCell, sum, source); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, insertExecuted, a.run, a.number, i, c.Notebook, number, sum); err != nil {
			return err
		}
	}
	return nil
}

// start begins the heartbeat, and returns the context to train with: it ends when
// nothing can be saved any more.
func (a *session) start(ctx context.Context) context.Context {
	a.sink = display.FromContext(ctx)
	ctx, a.stop = context.WithCancelCause(ctx)
	a.series = make(map[[2]string]*seriesRef)
	a.beats = make(chan struct{})
	a.ended.Go(a.beat)
	return ctx
}

const (
	updateHeartbeat = `UPDATE session SET heartbeat = ? WHERE run = ? AND number = ?`
	updateStep      = `UPDATE run SET step = ? WHERE id = ? AND status = 'running'`
)

func (a *session) beat() {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	used, _ := readUsage(a.store.now())
	for {
		select {
		case <-a.beats:
			return
		case <-tick.C:
		}
		used = a.sample(used)
		err := a.store.do(false, func(tx *sql.Tx) error {
			if _, err := tx.Exec(updateHeartbeat, a.store.micros(), a.run, a.number); err != nil {
				return err
			}
			_, err := tx.Exec(updateStep, a.step.Load(), a.run)
			return err
		})
		if err != nil && !errors.Is(err, ErrLocked) && !a.store.trouble(err) { // locked: the next beat is soon enough
			a.fail(err)
		}
	}
}

// Record records one number of the run, at a training step from 1. It is on disk within
// 50 ms; when it cannot be written the training ends with the reason.
func (a *session) Record(step int64, key string, value float64) {
	a.record(step, key, "", value)
}

// record is Record for a value measured by the protocol with that id, or "".
func (a *session) record(step int64, key, protocol string, value float64) {
	if a.broken.Load() != nil {
		return // the training is being ended, and says why
	}
	for old := a.step.Load(); step > old && !a.step.CompareAndSwap(old, step); old = a.step.Load() {
	}
	name := [2]string{key, protocol}
	a.mu.Lock()
	ref := a.series[name]
	if ref == nil {
		ref = &seriesRef{session: a, name: key, protocol: protocol}
		a.series[name] = ref
	}
	a.mu.Unlock()
	w, err := a.store.writer()
	if err != nil {
		a.fail(err)
		return
	}
	w.record(queued{series: ref, step: step, time: a.store.micros(), value: value})
}

// spilled tells, once, that points go to the journal at path.
func (a *session) spilled(path string, cause error) {
	a.told.Do(func() {
		a.sink.Show("journal "+a.run, render.Text(fmt.Sprintf(
			"%v. The training goes on; what it records lies in %s until the database can take it.", cause, path)))
	})
}

// fail ends the training: what it records cannot be saved.
func (a *session) fail(err error) {
	if a.broken.CompareAndSwap(nil, &err) {
		a.stop(err)
	}
}

// err is why nothing can be saved any more, or nil.
func (a *session) err() error {
	if p := a.broken.Load(); p != nil {
		return *p
	}
	return nil
}

// A session that was taken for dead meanwhile, wrongly, still has the last word.
const updateFinish = `UPDATE run SET status = ?, finished = ?, step = ?, error = ?
	WHERE id = ? AND ? = (SELECT max(number) FROM session WHERE run = id)`

// finish ends the session: everything recorded is on disk, even after a power cut, and
// the run has the status given. reason is why it stopped, or "".
func (a *session) finish(status string, step int64, reason string) error {
	close(a.beats)
	a.ended.Wait()
	a.stop(nil)
	end := spilledEnd{status, a.store.micros(), step, reason}
	err := a.store.queue(job{drain: true}) // a run whose points are elsewhere has not ended here
	if err == nil {
		err = a.store.do(true, func(tx *sql.Tx) error {
			_, err := tx.Exec(updateFinish, end.Status, end.Time, end.Step, end.Reason, a.run, a.number)
			return err
		})
	}
	if a.store.trouble(err) {
		if e := a.store.queue(job{spill: []entry{{Run: a.run, Session: a.number, Finish: &end}}}); e != nil {
			return errors.Join(err, e)
		}
		return &problem{path: a.store.path, kind: ErrSpilled, cause: err, cure: fmt.Sprintf(
			"run %s is %s, and what it recorded is taken over when the database is opened and can be written again (%v)", a.run, status, err)}
	}
	if err == nil {
		// The run is safe, packed or not; what cannot be packed now is packed by GC.
		_ = a.store.pack(context.Background(), a.run)
	}
	return err
}
