package experiments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	updateDelete  = `UPDATE run SET deleted = ? WHERE id = ? AND status <> 'running'`
	updateRestore = `UPDATE run SET deleted = NULL WHERE id = ?`
	deleteTrash   = `DELETE FROM run WHERE deleted <= ? RETURNING id`
	// A result or a sample that was measured of a checkpoint goes with it; what was
	// measured of a data set, as its floor, stays.
	deleteOrphans = `DELETE FROM artifact WHERE NOT EXISTS (SELECT 1 FROM run_artifact WHERE run_artifact.sha256 = artifact.sha256) RETURNING sha256`
	deleteResults = `DELETE FROM result WHERE subject = ?`
	deleteCells   = `DELETE FROM cell WHERE NOT EXISTS (SELECT 1 FROM executed WHERE executed.cell = cell.sha256)`
	selectDeleted = `SELECT id FROM run WHERE deleted IS NOT NULL AND id BETWEEN ? AND ?`
)

// Delete takes the run whose id begins with prefix out of all lists. Restore brings it
// back, until GC. A run that is being trained is refused.
func (s *Store) Delete(ctx context.Context, prefix string) error {
	r, err := s.Run(ctx, prefix)
	if err != nil {
		return err
	}
	return s.do(true, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, updateDelete, s.micros(), r.ID)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("%w: %s; stop it first", ErrAlreadyRuns, r.ID))
		}
		return nil
	})
}

// deleted lists the deleted runs whose ids begin with prefix; none for no prefix.
func (s *Store) deleted(ctx context.Context, prefix string) ([]string, error) {
	if prefix == "" {
		return nil, nil
	}
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	low, high := idRange(strings.ToUpper(prefix))
	found, err := texts(ctx, db, selectDeleted, low, high)
	return found, explain(s.path, err)
}

// Restore brings the deleted run back whose id begins with prefix, and returns it.
func (s *Store) Restore(ctx context.Context, prefix string) (*Run, error) {
	low, high := idRange(strings.ToUpper(strings.TrimSpace(prefix)))
	var found []string
	err := s.do(true, func(tx *sql.Tx) (err error) {
		if found, err = texts(ctx, tx, selectDeleted, low, high); err != nil || len(found) != 1 {
			return err
		}
		_, err = tx.ExecContext(ctx, updateRestore, found[0])
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, fmt.Errorf("%w %q among the deleted ones in %s", ErrNoRun, prefix, s.path)
	case len(found) > 1:
		return nil, fmt.Errorf("%w %q among the deleted ones: %v; give more of the id", ErrAmbiguous, prefix, found)
	}
	return s.Run(ctx, found[0])
}

// Freed is what GC removed.
type Freed struct {
	Runs  int   `json:"runs"`
	Files int   `json:"files"` // artifacts, inside and beside the database
	Bytes int64 `json:"bytes"` // of the files beside it
}

// String counts what was removed.
func (f Freed) String() string {
	return fmt.Sprintf("removed for good: runs %d, artifacts %d, files %.1f MB", f.Runs, f.Files, float64(f.Bytes)/1e6)
}

// GC removes for good the runs that were deleted longer ago than the age given, and every
// artifact that no run has any more: rows, and files in the store folder, also those that
// a killed process left half-written, once they are an hour old. It packs the series of
// finished runs that are not, and gives free room in the database back to the disk.
func (s *Store) GC(ctx context.Context, age time.Duration) (Freed, error) {
	var freed Freed
	var gone []string
	begun := s.now()
	err := s.do(true, func(tx *sql.Tx) error {
		runs, err := texts(ctx, tx, deleteTrash, s.now().Add(-age).UnixMicro())
		if err != nil {
			return err
		}
		if gone, err = texts(ctx, tx, deleteOrphans); err != nil {
			return err
		}
		for _, sum := range gone {
			if _, err := tx.ExecContext(ctx, deleteResults, sum); err != nil {
				return err
			}
		}
		freed.Runs, freed.Files = len(runs), len(gone)
		_, err = tx.ExecContext(ctx, deleteCells)
		return err
	})
	if err != nil {
		return freed, err
	}
	if freed.Bytes, err = s.sweepFiles(ctx, begun, gone); err != nil {
		return freed, err
	}
	return freed, s.compact(ctx)
}

// compact packs the series of runs that have ended for good, and gives the room that the
// database no longer needs back to the disk. A database that others use keeps its room
// until the next time.
func (s *Store) compact(ctx context.Context) error {
	if err := s.packAll(ctx); err != nil {
		return err
	}
	db, err := s.reader()
	if err != nil {
		return err
	}
	var pages, free int
	if err := db.QueryRowContext(ctx, "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count").Scan(&pages, &free); err != nil {
		return explain(s.path, err)
	}
	if free < pages/8 {
		return nil
	}
	own := connect(s.path, copyParams, 1)
	_, err = own.ExecContext(ctx, "VACUUM")
	if err = errors.Join(err, own.Close()); isBusy(err) {
		return nil
	}
	return explain(s.path, err)
}

// sweepFiles removes the files of the store folder that are not artifacts: those that were
// until begun, and older ones. A younger one may be about to be entered by another process.
func (s *Store) sweepFiles(ctx context.Context, begun time.Time, gone []string) (bytes int64, err error) {
	db, err := s.reader()
	if err != nil {
		return 0, err
	}
	known, err := texts(ctx, db, "SELECT sha256 FROM artifact WHERE body IS NULL ORDER BY sha256")
	if err != nil {
		return 0, explain(s.path, err)
	}
	slices.Sort(gone)
	err = filepath.WalkDir(s.files, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if _, ok := slices.BinarySearch(known, d.Name()); ok {
			return nil
		}
		until := begun.Add(-time.Hour)
		if _, ok := slices.BinarySearch(gone, d.Name()); ok {
			until = begun
		}
		info, err := d.Info()
		if err != nil || info.ModTime().After(until) {
			return err
		}
		bytes += info.Size()
		return os.Remove(path)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return bytes, explain(s.files, err)
	}
	return bytes, nil
}
