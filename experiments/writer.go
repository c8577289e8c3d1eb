package experiments

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of the group commit. A killed process loses at most the last flushEvery.
const (
	flushEvery  = 50 * time.Millisecond
	flushPoints = 4096    // flush at once when so many wait
	maxPoints   = 1 << 16 // a recorder waits while so many wait: slower, but nothing is dropped
	rowsAtOnce  = 128     // points in one INSERT
)

// writer is the database's only writing connection in this process: a goroutine that
// writes points in groups, and runs jobs in between. Points recorded before a job are
// on disk before the job runs.
type writer struct {
	store *Store
	db    *sql.DB // one connection
	path  string

	patience time.Duration // how long another process's lock is waited for

	// Of the goroutine: the journals with what the database could not take, the place where
	// the next one is tried, why there are any, and when they were last tried again.
	journals []*journal
	place    int
	cause    error
	retried  time.Time

	mu     sync.Mutex
	room   *sync.Cond // points were taken, or the writer closed
	points []queued
	jobs   []job
	closed bool

	wake chan struct{} // capacity 1: there is something to look at
	done chan struct{} // the goroutine has ended
}

// queued is a point on its way to disk.
type queued struct {
	series *seriesRef
	step   int64
	time   int64 // microseconds
	value  float64
}

// seriesRef is a series of a run; its id is set, in the writer's goroutine, when its
// first point is written.
type seriesRef struct {
	id             int64
	session        *session // is told when points could not be written
	name, protocol string
}

// job is one transaction.
type job struct {
	fn    func(*sql.Tx) error
	full  bool    // survives a power cut, not only a killed process
	drain bool    // bring the journals into the database, if there are any
	spill []entry // for a journal
	err   chan error
}

func newWriter(s *Store, db *sql.DB) *writer {
	w := &writer{store: s, db: db, path: s.path, patience: busyTimeout, wake: make(chan struct{}, 1), done: make(chan struct{})}
	w.room = sync.NewCond(&w.mu)
	go w.loop()
	return w
}

// record queues a point, which is on disk within flushEvery. It waits when the disk
// cannot keep up.
func (w *writer) record(p queued) {
	w.mu.Lock()
	for len(w.points) >= maxPoints && !w.closed {
		w.room.Wait()
	}
	if w.closed {
		w.mu.Unlock()
		p.series.session.fail(explain(w.path, ErrClosed))
		return
	}
	w.points = append(w.points, p)
	n := len(w.points)
	w.mu.Unlock()
	if n == 1 || n == flushPoints {
		w.signal()
	}
}

// do runs fn in a transaction and returns when it is committed, or was rolled back
// because of the error returned.
func (w *writer) do(full bool, fn func(*sql.Tx) error) error {
	return w.queue(job{fn: fn, full: full})
}

func (w *writer) queue(j job) error {
	j.err = make(chan error, 1)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return explain(w.path, ErrClosed)
	}
	w.jobs = append(w.jobs, j)
	w.mu.Unlock()
	w.signal()
	return <-j.err
}

// flush returns when every point recorded before is written, or its run was told that
// it could not be.
func (w *writer) flush() error {
	return w.do(false, nil)
}

// close writes what waits and ends the goroutine.
func (w *writer) close() error {
	w.mu.Lock()
	w.closed = true
	w.room.Broadcast()
	w.mu.Unlock()
	w.signal()
	<-w.done
	return w.db.Close()
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // it is awake already
	}
}

func (w *writer) loop() {
	defer close(w.done)
	var spare []queued
	var due <-chan time.Time // set while points wait
	for {
		late := false
		select {
		case <-w.wake:
		case <-due:
			late = true
		}
		w.mu.Lock()
		n := len(w.points)
		if !late && !w.closed && len(w.jobs) == 0 && n < flushPoints {
			if n > 0 && due == nil {
				due = time.After(flushEvery)
			}
			w.mu.Unlock()
			continue
		}
		points, jobs, closed := w.points, w.jobs, w.closed
		w.points, w.jobs, due = spare[:0], nil, nil
		w.room.Broadcast()
		w.mu.Unlock()

		w.writePoints(points)
		clear(points) // let go of the runs
		spare = points
		for _, j := range jobs {
			j.err <- explain(w.path, w.run(j))
		}
		if closed {
			w.leaveJournals()
			return
		}
	}
}

// run runs one job.
func (w *writer) run(j job) (err error) {
	switch {
	case j.spill != nil:
		return w.spillEntries(j.spill, true)
	case j.drain && len(w.journals) > 0:
		return w.drain()
	case j.fn == nil:
		return nil
	}
	if j.full {
		if _, err := w.db.Exec("PRAGMA synchronous = FULL"); err != nil {
			return err
		}
		defer func() {
			if _, e := w.db.Exec("PRAGMA synchronous = NORMAL"); err == nil {
				err = e
			}
			// What must last is moved from the log into the file itself, so that a copy
			// of the file alone has it. Passively: a reader or writer in the way is not
			// waited for and leaves it for the next time.
			_, _ = w.db.Exec("PRAGMA wal_checkpoint(PASSIVE)")
		}()
	}
	return w.transact(j.fn)
}

// transact runs fn in a transaction.
func (w *writer) transact(fn func(*sql.Tx) error) error {
	var tx *sql.Tx
	err := patiently(w.patience, func() (err error) {
		tx, err = w.db.Begin() // immediate: waits for other processes' writes
		return err
	})
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		tx.Rollback() // the first error is the one to tell
		return err
	}
	return tx.Commit()
}

// writePoints writes a group of points, all or none. What the database cannot take goes to
// a journal, or ends the training: Store.OnTrouble. Another process may hold the database
// for longer than the busy timeout; without a journal that is waited for a few times.
func (w *writer) writePoints(points []queued) {
	// After points that were lost no more are written: a series has no gaps.
	points = slices.DeleteFunc(points, func(p queued) bool { return p.series.session.err() != nil })
	if len(points) == 0 {
		return
	}
	if len(w.journals) > 0 && (time.Since(w.retried) < retryEvery || w.drain() != nil) {
		if err := w.spillPoints(points, w.cause); err != nil {
			w.failAll(points, explain(w.path, err))
		}
		return
	}
	tries := 4
	if w.store.OnTrouble != Stop {
		tries = 1
	}
	var err error
	for range tries {
		if err = w.transact(func(tx *sql.Tx) error { return insertPoints(tx, points) }); !isBusy(err) {
			break
		}
	}
	if err == nil {
		return
	}
	err = explain(w.path, err)
	for _, p := range points {
		p.series.id = 0 // what was inserted was rolled back
	}
	if w.store.trouble(err) {
		w.cause, w.retried = err, time.Now()
		e := w.spillPoints(points, err)
		if e == nil {
			return
		}
		err = fmt.Errorf("%w; %w", err, e)
	}
	w.failAll(points, err)
}

// failAll ends the trainings whose points these are.
func (w *writer) failAll(points []queued, err error) {
	for _, p := range points {
		p.series.session.fail(err)
	}
}

// leaveJournals tries a last time to bring the journals into the database, and leaves them
// to the next process else.
func (w *writer) leaveJournals() {
	if len(w.journals) > 0 {
		_ = w.drain() // they stay
	}
	for _, j := range w.journals {
		j.f.Close() // all has been written
	}
}

func isBusy(err error) bool {
	_, kind := diagnose(err)
	return kind == ErrLocked
}

// A resumed run, or a second process's, may come by the same step again.
const (
	insertPoint  = `INSERT OR REPLACE INTO point_row (series, step, time, value) VALUES `
	insertSeries = `INSERT INTO series (run, context, key, protocol) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET key = excluded.key RETURNING id`
)

// insertMany is insertPoint for rowsAtOnce points.
var insertMany = insertPoint + strings.Repeat("(?, ?, ?, ?), ", rowsAtOnce-1) + "(?, ?, ?, ?)"

func insertPoints(tx *sql.Tx, points []queued) error {
	for _, p := range points {
		if s := p.series; s.id == 0 {
			context, key := splitSeries(s.name)
			if err := tx.QueryRow(insertSeries, s.session.run, context, key, s.protocol).Scan(&s.id); err != nil {
				return fmt.Errorf("make series %s: %w", s.name, err)
			}
		}
	}
	args := make([]any, 0, 4*min(len(points), rowsAtOnce))
	insert := func(query string, points []queued) error {
		stmt, err := tx.Prepare(query)
		if err != nil {
			return err
		}
		defer stmt.Close()
		rows := strings.Count(query, "?") / 4
		for ; len(points) > 0; points = points[rows:] {
			args = args[:0]
			for _, p := range points[:rows] {
				args = append(args, p.series.id, p.step, p.time, p.value) // NaN is stored as NULL
			}
			if _, err := stmt.Exec(args...); err != nil {
				return err
			}
		}
		return nil
	}
	many := len(points) / rowsAtOnce * rowsAtOnce
	if many > 0 {
		if err := insert(insertMany, points[:many]); err != nil {
			return err
		}
	}
	return insert(insertPoint+"(?, ?, ?, ?)", points[many:])
}
