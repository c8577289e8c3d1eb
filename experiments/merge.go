package experiments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Merged is what Merge took over.
type Merged struct {
	Runs  int `json:"runs"`  // new ones, and newer states of known ones
	Files int `json:"files"` // checkpoints and the like, copied into the store folder
	// Absent is how many files of those runs are not beside the other database either.
	Absent int `json:"absent"`
}

// String counts what was taken over.
func (m Merged) String() string {
	s := fmt.Sprintf("merged: runs %d, files %d", m.Runs, m.Files)
	if m.Absent > 0 {
		s += fmt.Sprintf("; %d files, as checkpoints, are not beside the other database and were left out", m.Absent)
	}
	return s
}

// mergeSteps take over from the attached database "other", which has the same schema. A
// run is known by its id everywhere. Of a run that both have, the state with more sessions
// counts, then the finished one, then the one that came farther; tags and notes of both
// are kept, and a tag that both have stays as it is here.
var mergeSteps = []string{
	`CREATE TEMP TABLE newer AS SELECT o.id FROM other.run AS o LEFT JOIN main.run AS m USING (id)
		WHERE m.id IS NULL OR
			((SELECT count(*) FROM other.session WHERE run = o.id), o.finished IS NOT NULL, o.step) >
			((SELECT count(*) FROM main.session WHERE run = o.id), m.finished IS NOT NULL, m.step)`,
	`CREATE TEMP TABLE mytag AS SELECT * FROM main.tag WHERE run IN (SELECT id FROM newer)`,
	`CREATE TEMP TABLE mynote AS SELECT * FROM main.note WHERE run IN (SELECT id FROM newer)`,
	`DELETE FROM main.run WHERE id IN (SELECT id FROM newer)`,
	`INSERT INTO main.run SELECT * FROM other.run WHERE id IN (SELECT id FROM newer)`,
	`INSERT INTO main.session SELECT * FROM other.session WHERE run IN (SELECT id FROM newer)`,
	`INSERT INTO main.param SELECT * FROM other.param WHERE run IN (SELECT id FROM newer)`,
	`INSERT INTO main.series (run, key, context, protocol, n, head, last, last_step, low, high, mean, tail)
		SELECT run, key, context, protocol, n, head, last, last_step, low, high, mean, tail
		FROM other.series WHERE run IN (SELECT id FROM newer) ORDER BY id`,
	`CREATE TEMP TABLE same AS SELECT mine.id AS mine, its.id AS its
		FROM other.series AS its
		JOIN main.series AS mine ON (mine.run, mine.key, mine.context, mine.protocol) = (its.run, its.key, its.context, its.protocol)
		WHERE its.run IN (SELECT id FROM newer)`,
	`INSERT INTO main.point_row (series, step, time, value)
		SELECT mine, step, time, value FROM same JOIN other.point_row ON series = its ORDER BY mine, step`,
	`INSERT INTO main.point_pack (series, first, last, n, body)
		SELECT mine, first, last, n, body FROM same JOIN other.point_pack ON series = its ORDER BY mine, first`,
	`INSERT INTO main.figure SELECT * FROM other.figure WHERE true ON CONFLICT DO NOTHING`,
	`INSERT INTO main.figure_run SELECT * FROM other.figure_run WHERE true ON CONFLICT DO NOTHING`,
	`INSERT INTO main.cell SELECT * FROM other.cell WHERE true ON CONFLICT DO NOTHING`,
	`INSERT INTO main.executed SELECT * FROM other.executed WHERE run IN (SELECT id FROM newer)`,
	`INSERT INTO main.artifact SELECT * FROM other.artifact WHERE sha256 IN
		(SELECT sha256 FROM other.run_artifact WHERE run IN (SELECT id FROM newer)) ON CONFLICT DO NOTHING`,
	`INSERT INTO main.run_artifact SELECT * FROM other.run_artifact WHERE run IN (SELECT id FROM newer)`,
	`INSERT INTO main.protocol SELECT * FROM other.protocol WHERE true ON CONFLICT DO NOTHING`,
	`INSERT INTO main.result SELECT * FROM other.result WHERE true ON CONFLICT DO NOTHING`,
	// A sweep that both have stays as it is here: its trials find the merged runs.
	`CREATE TEMP TABLE newsweep AS SELECT name FROM other.sweep WHERE name NOT IN (SELECT name FROM main.sweep)`,
	`INSERT INTO main.sweep SELECT * FROM other.sweep WHERE name IN (SELECT name FROM newsweep)`,
	`INSERT INTO main.trial (sweep, number, fields, config, variant, run, error)
		SELECT sweep, number, fields, config, variant, run, error FROM other.trial WHERE sweep IN (SELECT name FROM newsweep)`,
	`INSERT INTO main.tag SELECT * FROM mytag`,
	`INSERT INTO main.note SELECT * FROM mynote`,
	`INSERT INTO main.tag SELECT * FROM other.tag WHERE run IN (SELECT id FROM main.run) ON CONFLICT DO NOTHING`,
	`INSERT INTO main.note SELECT * FROM other.note WHERE run IN (SELECT id FROM main.run) ON CONFLICT DO NOTHING`,
}

// Merge takes over the runs of another database, with their files, into this one. Merging
// the same again changes nothing. The other database is only read, also while runs are
// recorded in it.
func (s *Store) Merge(ctx context.Context, other string) (Merged, error) {
	var m Merged
	there, err := checkPlace(other)
	if err != nil {
		return m, unmergeable(other, err)
	}
	if !there {
		return m, noDatabase(other)
	}
	a, err1 := os.Stat(other)
	b, err2 := os.Stat(s.path)
	if err := errors.Join(err1, err2); err != nil {
		return m, err
	}
	if os.SameFile(a, b) {
		return m, fmt.Errorf("%s is the database that it would be merged into; name another one", other)
	}
	if err := s.Flush(); err != nil {
		return m, err
	}
	copied, end, err := snapshot(ctx, other)
	if err != nil {
		return m, unmergeable(other, explain(other, err))
	}
	defer end() // of a copy that nobody needs any more
	from := storeFolder(other)
	if m.Files, m.Absent, err = s.copyFiles(ctx, copied, from); err != nil {
		return m, err
	}
	if m.Runs, err = s.takeOver(ctx, copied.path); err == nil {
		err = s.packAll(ctx)
	}
	return m, explain(s.path, err)
}

// unmergeable is why the file at path cannot be merged.
func unmergeable(path string, err error) error {
	if errors.Is(err, ErrNotDatabase) {
		return fmt.Errorf("%s: %w; `ddpmlab runs import` takes the runs of other trackers", path, ErrNotDatabase)
	}
	return err
}

// snapshot is a consistent copy of the database at path, of today's schema, in a folder of
// its own.
func snapshot(ctx context.Context, path string) (s *Store, end func(), err error) {
	dir, err := os.MkdirTemp("", "ddpmlab-merge-*")
	if err != nil {
		return nil, nil, err
	}
	end = func() {
		if s != nil {
			s.Close()
		}
		os.RemoveAll(dir)
	}
	file := filepath.Join(dir, DefaultName)
	db := connect(path, "mode=ro&_busy_timeout=10000", 1)
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", file)
	err = errors.Join(err, db.Close())
	if err == nil {
		s, err = OpenExisting(file)
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return s, end, nil
}

// copyFiles copies the files of the other database's runs that are not here: before their
// rows, so that no row ever means a file that is still to come.
func (s *Store) copyFiles(ctx context.Context, other *Store, from string) (copied, absent int, err error) {
	db, err := other.reader()
	if err != nil {
		return 0, 0, err
	}
	sums, err := texts(ctx, db, "SELECT DISTINCT sha256 FROM artifact JOIN run_artifact USING (sha256) WHERE body IS NULL AND size > 0")
	if err != nil {
		return 0, 0, explain(other.path, err)
	}
	for _, sum := range sums {
		if exists(s.file(sum)) {
			continue
		}
		f, err := os.Open(filepath.Join(from, sum[:2], sum))
		if errors.Is(err, fs.ErrNotExist) {
			absent++
			continue
		}
		if err != nil {
			return copied, absent, err
		}
		got, _, err := s.saveFile(func(w io.Writer) error { _, err := io.Copy(w, f); return err })
		if err = errors.Join(err, f.Close()); err != nil {
			return copied, absent, err
		}
		if got != sum {
			return copied, absent, fmt.Errorf("%s: %w; restore it, or remove it to merge without it", f.Name(), errChanged)
		}
		copied++
	}
	return copied, absent, nil
}

// takeOver merges the rows of the database at path.
func (s *Store) takeOver(ctx context.Context, path string) (runs int, err error) {
	db, err := openWriter(ctx, s.path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "ATTACH ? AS other", path); err != nil {
		return 0, err
	}
	var tx *sql.Tx
	if err := patiently(busyTimeout, func() (err error) { tx, err = db.BeginTx(ctx, nil); return err }); err != nil {
		return 0, err
	}
	for _, step := range mergeSteps {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			tx.Rollback() // the first error is the one to tell
			return 0, err
		}
	}
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM newer").Scan(&runs); err != nil {
		tx.Rollback()
		return 0, err
	}
	return runs, tx.Commit()
}
