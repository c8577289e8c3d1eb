package experiments

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"sync"
	"time"
)

// claim is a trial that belongs to this process until it is released, and how many of
// the sweep's trials are done.
type claim struct {
	trial     *Trial // nil: there is none to take
	done, all int
}

const (
	updateClaim = `UPDATE trial SET pid = ?, born = ?, boot = ?, host = ?, heartbeat = ?, error = '' WHERE sweep = ? AND number = ?`
	updateBeat  = `UPDATE trial SET heartbeat = ? WHERE sweep = ? AND number = ? AND pid = ? AND born = ? AND boot = ?`
	// Another process may have taken the trial back: of this one's heartbeats it saw none.
	updateRelease = `UPDATE trial SET pid = NULL, run = coalesce(nullif(?, ''), run), error = ?
		WHERE sweep = ? AND number = ? AND pid = ? AND born = ? AND boot = ?`
	selectRunStatus = `SELECT status FROM run WHERE id = ? AND deleted IS NULL`
)

// readSweepStatus is Sweeping without the runs' numbers.
func (s *Store) readSweepStatus(ctx context.Context, name string) (*SweepStatus, []string, error) {
	db, err := s.reader()
	if err != nil {
		return nil, nil, err
	}
	return s.readSettled(ctx, db, name)
}

func (s *Store) readSettled(ctx context.Context, q queryer, name string) (*SweepStatus, []string, error) {
	w, ids, err := s.readSweep(ctx, q, name)
	if err != nil {
		return nil, nil, err
	}
	for i, t := range w.Trials {
		status := ""
		if ids[i] != "" {
			err := q.QueryRowContext(ctx, selectRunStatus, ids[i]).Scan(&status)
			if errors.Is(err, sql.ErrNoRows) { // deleted: to be trained again
				ids[i] = ""
			} else if err != nil {
				return nil, nil, explain(s.path, err)
			}
		}
		t.settle(status)
	}
	return w, ids, nil
}

// claim takes the first trial that nobody works on: which one, is decided in a writing
// transaction, so that no two processes take the same. The claim of a process that has
// ended is taken over.
func (w *sweepWork) claim(ctx context.Context) (claim, error) {
	if err := w.store.reap(ctx); err != nil {
		return claim{}, err
	}
	var c claim
	var run string
	err := w.store.do(true, func(tx *sql.Tx) error {
		c = claim{} // the transaction may be tried again
		status, ids, err := w.store.readSettled(ctx, tx, w.sweep)
		if err != nil {
			return err
		}
		c.all = len(status.Trials)
		for i, t := range status.Trials {
			mine := w.limits.Number == 0 || w.limits.Number == t.Number
			switch {
			case t.done(w.limits.Retry && !w.tried[t.Number]):
				c.done++
			case !mine || c.trial != nil || t.claimed || w.tried[t.Number] || t.Status == StatusRunning:
			default:
				c.trial, run = t, ids[i]
			}
		}
		if c.trial == nil {
			return nil
		}
		l := ownLease()
		host, _ := os.Hostname() // for people
		_, err = tx.ExecContext(ctx, updateClaim, l.pid, l.born, l.boot, host, w.store.micros(), w.sweep, c.trial.Number)
		return err
	})
	if err != nil || c.trial == nil {
		return c, explain(w.store.path, err)
	}
	w.tried[c.trial.Number] = true
	if run != "" {
		c.trial.Run, err = w.store.Run(ctx, run)
	}
	return c, err
}

// beat keeps the claim alive until stop is called. A beat that fails is left to the next.
func (w *sweepWork) beat(t *Trial) (stop func()) {
	l, end := ownLease(), make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(heartbeatEvery)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			_ = w.store.do(false, func(tx *sql.Tx) error {
				_, err := tx.Exec(updateBeat, w.store.micros(), w.sweep, t.Number, l.pid, l.born, l.boot)
				return err
			})
		}
	})
	return func() { close(end); ended.Wait() }
}

// release gives the trial back: with its run where it is done, with the reason where it
// failed, and otherwise as it was.
func (w *sweepWork) release(ctx context.Context, t *Trial, r *Run, trained error) error {
	run, reason := "", ""
	if r != nil {
		run = r.ID
	} else if trained != nil && ctx.Err() == nil && !errors.Is(trained, ErrAlreadyRuns) {
		reason = trained.Error()
	}
	l := ownLease()
	err := w.store.do(true, func(tx *sql.Tx) error {
		_, err := tx.Exec(updateRelease, run, reason, w.sweep, t.Number, l.pid, l.born, l.boot)
		return err
	})
	return explain(w.store.path, err)
}

// withSweep returns a context whose new runs belong to the sweep of that name.
func withSweep(ctx context.Context, name string) context.Context {
	p := placeOf(ctx)
	p.sweep = name
	return context.WithValue(ctx, placeKey{}, p)
}
