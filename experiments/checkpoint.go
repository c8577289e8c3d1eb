package experiments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"ddpmlab/ddpm"
)

// checkpointEvery is after how many iterations a training saves its state, besides
// before evaluations, when it is interrupted, and at its end.
const checkpointEvery = 500

// keepCheckpoints is how many of a run's checkpoints are kept, the newest ones. Two: one
// to fall back on.
const keepCheckpoints = 2

// nameCheckpoint is a checkpoint's name among a run's artifacts.
const nameCheckpoint = "checkpoint"

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
	sum, size, err := s.saveFile(write)
	if err != nil {
		return err
	}
	var unused []string
	err = s.do(true, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, insertArtifact, sum, size, nil, s.micros()); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, insertLink, a.run, nameCheckpoint, step, sum, s.micros()); err != nil {
			return err
		}
		old, err := texts(ctx, tx, deleteOld, a.run, nameCheckpoint, keepCheckpoints)
		if err != nil {
			return err
		}
		for _, o := range old {
			gone, err := texts(ctx, tx, deleteUnused, o)
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
	var all []saved
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, selectCheckpoints, run, nameCheckpoint)
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
		err = fmt.Errorf("%w: run %s (%s, %s) ended before its first one; train it again with Rerun", ErrNoCheckpoint, r.ID, r.Name, r.Status)
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
		return nil, fmt.Errorf("%w: %s of run %s (%s); the folder is not kept in git: copy it from where the run was trained, or train again with Rerun",
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
		return nil, fmt.Errorf("%s of run %s: %w; restore the file, or train again with Rerun", s.file(c.sum), r.ID, err)
	}
	return ck, nil
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
