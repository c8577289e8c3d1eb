package experiments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/internal/render"
)

// A training saves its state every checkpointEvery iterations (see Store.CheckpointEvery),
// and at the latest checkpointAfter the last time, besides before evaluations, when it is
// interrupted, and at its end.
const (
	checkpointEvery = 500
	checkpointAfter = 10 * time.Minute
)

// keepCheckpoints is how many of a run's checkpoints are kept, the newest ones, besides
// the best one. Two: one to fall back on.
const keepCheckpoints = 2

// A checkpoint's names among a run's artifacts. The best one has the lowest score; it may
// be one of the newest too.
const (
	nameCheckpoint = "checkpoint"
	nameBest       = "best checkpoint"
)

const (
	insertLink = `INSERT OR REPLACE INTO run_artifact (run, name, step, sha256, created) VALUES (?, ?, ?, ?, ?)`
	deleteOld  = `DELETE FROM run_artifact WHERE run = ?1 AND name = ?2 AND step NOT IN
		(SELECT step FROM run_artifact WHERE run = ?1 AND name = ?2 ORDER BY step DESC LIMIT ?3) RETURNING sha256`
	deleteUnused = `DELETE FROM artifact WHERE sha256 = ?1 AND NOT EXISTS (SELECT 1 FROM run_artifact WHERE sha256 = ?1)
		RETURNING sha256`
	selectCheckpoints = `SELECT sha256, step FROM run_artifact WHERE run = ? AND name = ? ORDER BY step DESC`
)

// save stores a checkpoint.
func (a *session) save(ctx context.Context, c *ddpm.Checkpoint) error {
	c.Run, c.Code = a.run, a.code
	return a.saveAs(ctx, c.Step, c.Write)
}

// saveAs stores what write writes as the run's checkpoint at a step: the file first, then,
// in one transaction that survives a power cut, its place in the run; then older ones are
// removed.
func (a *session) saveAs(ctx context.Context, step int64, write func(io.Writer) error) error {
	s := a.store
	var c spilledFile
	var err error
	c.SHA256, c.Size, err = s.saveFile(write)
	if s.trouble(err) {
		c, err = s.spillFile(write)
	}
	if err != nil {
		return err
	}
	c.Step = step
	if c.Path == "" {
		err = s.relink(func(tx *sql.Tx) ([]string, error) {
			return enterCheckpoint(ctx, tx, a.run, step, c.SHA256, c.Size, s.micros())
		})
	}
	if c.Path != "" || s.trouble(err) {
		return a.spillCheckpoint(c)
	}
	return err
}

// relink changes the names of artifacts in one transaction that survives a power cut, and
// removes the files of those that f returns, unless they have another name.
func (s *Store) relink(f func(tx *sql.Tx) (old []string, err error)) error {
	var unused []string
	err := s.do(true, func(tx *sql.Tx) error {
		old, err := f(tx)
		if err != nil {
			return err
		}
		for _, o := range old {
			gone, err := texts(context.Background(), tx, deleteUnused, o)
			if err != nil {
				return err
			}
			unused = append(unused, gone...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, u := range unused {
		if err := os.Remove(s.file(u)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return explain(s.files, err)
		}
	}
	return nil
}

const (
	// The lowest score, of equal ones the first; NULL is NaN.
	selectBest = `SELECT step FROM point JOIN series ON series.id = series
		WHERE run = ? AND context = '' AND key = ? AND protocol = ? AND value IS NOT NULL ORDER BY value, step LIMIT 1`
	selectAtStep = `SELECT sha256 FROM run_artifact WHERE run = ? AND name = ? AND step = ?`
	deleteBest   = `DELETE FROM run_artifact WHERE run = ? AND name = ? AND step <> ? RETURNING sha256`
)

// keepBest names the checkpoint of the lowest score by the protocol the best one, and
// removes the one that was.
func (a *session) keepBest(ctx context.Context, protocol string) error {
	s := a.store
	return s.relink(func(tx *sql.Tx) (old []string, err error) {
		var step int64
		var sum string
		err = tx.QueryRowContext(ctx, selectBest, a.run, MetricFD, protocol).Scan(&step)
		if err == nil {
			err = tx.QueryRowContext(ctx, selectAtStep, a.run, nameCheckpoint, step).Scan(&sum)
		}
		switch {
		case errors.Is(err, sql.ErrNoRows): // no score, or the best is kept since long
			return nil, nil
		case err != nil:
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, insertLink, a.run, nameBest, step, sum, s.micros()); err != nil {
			return nil, err
		}
		return texts(ctx, tx, deleteBest, a.run, nameBest, step)
	})
}

// Checkpoint reads the newest checkpoint of the run.
func (s *Store) Checkpoint(ctx context.Context, r *Run) (*ddpm.Checkpoint, error) {
	c, err := s.newest(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.load(ctx, r, c)
}

// BestCheckpoint reads the checkpoint of the run's lowest score while it was trained.
func (s *Store) BestCheckpoint(ctx context.Context, r *Run) (*ddpm.Checkpoint, error) {
	all, err := s.named(ctx, r.ID, nameBest)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%w: run %s (%s, %s) has no score, and so no best one; take its newest, Checkpoint", ErrNoCheckpoint, r.ID, r.Name, r.Status)
	}
	if err != nil {
		return nil, err
	}
	return s.load(ctx, r, all[0])
}

// enterCheckpoint gives a run a checkpoint that lies in the store folder, and takes older
// ones from it, which it returns.
func enterCheckpoint(ctx context.Context, tx *sql.Tx, run string, step int64, sum string, size, micros int64) (old []string, err error) {
	if _, err := tx.ExecContext(ctx, insertArtifact, sum, size, nil, micros); err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, insertLink, run, nameCheckpoint, step, sum, micros); err != nil {
		return nil, err
	}
	return texts(ctx, tx, deleteOld, run, nameCheckpoint, keepCheckpoints)
}

// spillCheckpoint enters a checkpoint in the journal, and removes older ones that lie
// where journals do.
func (a *session) spillCheckpoint(c spilledFile) error {
	if err := a.store.queue(job{spill: []entry{{Run: a.run, Session: a.number, Checkpoint: &c}}}); err != nil {
		return explain(a.store.path, err)
	}
	if a.kept = append(a.kept, c); len(a.kept) > keepCheckpoints {
		if old := a.kept[0]; old.Path != "" {
			os.Remove(old.Path) // left behind it costs room only
		}
		a.kept = a.kept[1:]
	}
	return nil
}

// saveOn is save while the training goes on: a checkpoint that cannot be kept anywhere is
// told, and the next one is tried again.
func (a *session) saveOn(ctx context.Context, c *ddpm.Checkpoint) error {
	err := a.save(ctx, c)
	if !a.store.trouble(err) {
		return err
	}
	a.sink.Show("checkpoint "+a.run, render.Text(fmt.Sprintf("the checkpoint of step %d was not kept: %v; the training goes on", c.Step, err)))
	return nil
}

// texts runs a query of one column of text.
func texts(ctx context.Context, tx queryer, query string, args ...any) ([]string, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}

// saved is a stored checkpoint.
type saved struct {
	sum  string
	step int64
}

// checkpoints lists a run's checkpoints, the newest first.
func (s *Store) checkpoints(ctx context.Context, run string) ([]saved, error) {
	return s.named(ctx, run, nameCheckpoint)
}

// named lists a run's checkpoints of that name, the newest first.
func (s *Store) named(ctx context.Context, run, name string) ([]saved, error) {
	var all []saved
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, selectCheckpoints, run, name)
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var c saved
		if err := rows.Scan(&c.sum, &c.step); err != nil {
			return nil, explain(s.path, err)
		}
		all = append(all, c)
	}
	return all, explain(s.path, rows.Err())
}

// newest is the run's newest checkpoint.
func (s *Store) newest(ctx context.Context, r *Run) (saved, error) {
	all, err := s.checkpoints(ctx, r.ID)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%w: run %s (%s, %s) ended before its first one; train it again by `ddpmlab train --rerun`", ErrNoCheckpoint, r.ID, r.Name, r.Status)
	}
	if err != nil {
		return saved{}, err
	}
	return all[0], nil
}

// load reads a run's checkpoint.
func (s *Store) load(ctx context.Context, r *Run, c saved) (*ddpm.Checkpoint, error) {
	file, err := s.artifact(ctx, c.sum)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s of run %s (%s); the folder is not kept in git: copy it from where the run was trained, or train again by `ddpmlab train --rerun`",
			ErrNoCheckpoint, s.file(c.sum), r.ID, r.Name)
	case err != nil:
		return nil, explain(s.files, err)
	}
	defer file.Close()
	ck, err := ddpm.ReadCheckpoint(file)
	if err == nil {
		_, err = io.Copy(io.Discard, file) // to its end, where the sum is compared
	}
	if err != nil {
		return nil, fmt.Errorf("%s of run %s: %w; restore the file, or train again by `ddpmlab train --rerun`", s.file(c.sum), r.ID, err)
	}
	return ck, nil
}

// noCheckpoint is the error of resuming a run that has left none.
func noCheckpoint(r *Run) error {
	return fmt.Errorf("%w: run %s (%s) %s at step %d, before its first one, so nothing of it can be continued; train it anew by `ddpmlab train --rerun`",
		ErrNoCheckpoint, r.ID, r.Name, r.Status, r.Step)
}

// latest reads the run's newest checkpoint that can be read, and nil when it has none.
func (s *Store) latest(ctx context.Context, r *Run) (*ddpm.Checkpoint, error) {
	all, err := s.checkpoints(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	var first error
	for _, c := range all {
		ck, err := s.load(ctx, r, c)
		if err == nil {
			return ck, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}
