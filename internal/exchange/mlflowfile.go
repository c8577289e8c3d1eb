package exchange

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"
)

//go:embed mlflow.sql
var mlflowSchema string

// MLflow's limits, in characters. What is longer is cut, and whole in a file of the run.
const (
	maxParam = 500
	maxTag   = 5000
	maxKey   = 250
)

// Tags that MLflow's pages read.
const (
	tagName    = "mlflow.runName"
	tagNote    = "mlflow.note.content"
	tagUser    = "mlflow.user"
	tagParent  = "mlflow.parentRunId"
	cutMessage = "… (cut; the whole is in the run's artifacts)"
)

// statusNames are MLflow's, by Status.
var statusNames = [...]string{Running: "RUNNING", Finished: "FINISHED", Failed: "FAILED", Killed: "KILLED"}

func statusOf(name string) Status {
	if i := slices.Index(statusNames[:], name); i >= 0 {
		return Status(i)
	}
	return Running // SCHEDULED
}

const (
	insertExperiment = `INSERT INTO experiments VALUES (?, ?, ?, 'active')`
	insertMLRun      = `INSERT INTO runs VALUES (?, ?, 'LOCAL', '', '', ?, ?, ?, ?, '', 'active', ?, 1, NULL)`
	insertMLParam    = `INSERT INTO params VALUES (?, ?, ?)`
	insertMLTag      = `INSERT INTO tags VALUES (?, ?, ?)`
	insertMLMetric   = `INSERT OR IGNORE INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)`
	insertLatest     = `INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)`
)

// WriteMLflow writes the runs as a new database of MLflow's at path, in one experiment, with
// their files in a folder beside it, NAME-artifacts. MLflow 2.0 and later open it
// (`mlflow server --backend-store-uri sqlite:///PATH`) and bring it to their own schema, so
// it is theirs from then on.
//
// Times are to the millisecond, as MLflow has them; infinities are ±1.8e308, its way to
// store them.
func WriteMLflow(ctx context.Context, path, experiment string, runs []Run) (err error) {
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists; name a file that does not", path)
	}
	artifacts := strings.TrimSuffix(path, filepath.Ext(path)) + "-artifacts"
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_foreign_keys=on&_synchronous=OFF")
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, db.Close()); err != nil {
			os.Remove(path) // half of it is of no use
			err = fmt.Errorf("%s: %w", path, err)
		}
	}()
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing after Commit
	if _, err := tx.ExecContext(ctx, mlflowSchema); err != nil {
		return err
	}
	for id, name := range []string{"Default", experiment} {
		where := (&url.URL{Scheme: "file", Path: filepath.Join(artifacts, fmt.Sprint(id))}).String()
		if _, err := tx.ExecContext(ctx, insertExperiment, id, name, where); err != nil {
			return err
		}
	}
	for i := range runs {
		if err := writeRun(ctx, tx, &runs[i], filepath.Join(artifacts, "1")); err != nil {
			return fmt.Errorf("run %s: %w", runs[i].ID, err)
		}
	}
	return tx.Commit()
}

func writeRun(ctx context.Context, tx *sql.Tx, r *Run, folder string) error {
	var end any
	if !r.Finished.IsZero() {
		end = r.Finished.UnixMilli()
	}
	dir := filepath.Join(folder, r.ID, "artifacts")
	uri := (&url.URL{Scheme: "file", Path: dir}).String()
	if _, err := tx.ExecContext(ctx, insertMLRun, r.ID, cut(r.Name, maxKey), r.User, statusNames[r.Status], r.Started.UnixMilli(), end, uri); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(r.Params)) {
		if _, err := tx.ExecContext(ctx, insertMLParam, cut(Metric(key), maxKey), cut(r.Params[key], maxParam), r.ID); err != nil {
			return err
		}
	}
	tags := r.allTags()
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if _, err := tx.ExecContext(ctx, insertMLTag, cut(Metric(key), maxKey), cut(tags[key], maxTag), r.ID); err != nil {
			return err
		}
	}
	insert, err := tx.PrepareContext(ctx, insertMLMetric)
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, s := range r.Series {
		key := cut(Metric(s.Key), maxKey)
		var latest *Point
		for i, p := range s.Points {
			value, nan := mlValue(p.Value)
			if _, err := insert.ExecContext(ctx, key, value, p.Time.UnixMilli(), r.ID, p.Step, nan); err != nil {
				return err
			}
			if latest == nil || p.Step >= latest.Step {
				latest = &s.Points[i]
			}
		}
		if latest != nil {
			value, nan := mlValue(latest.Value)
			if _, err := tx.ExecContext(ctx, insertLatest, key, value, latest.Time.UnixMilli(), latest.Step, nan, r.ID); err != nil {
				return err
			}
		}
	}
	for _, f := range r.Files {
		if err := f.save(dir); err != nil {
			return err
		}
	}
	return nil
}

// allTags is the tags with those that MLflow's pages read.
func (r *Run) allTags() map[string]string {
	tags := map[string]string{tagName: r.Name}
	if r.User != "" {
		tags[tagUser] = r.User
	}
	if r.Note != "" {
		tags[tagNote] = r.Note
	}
	if r.Parent != "" {
		tags[tagParent] = r.Parent
	}
	maps.Copy(tags, r.Tags)
	return tags
}

// save writes the file below dir.
func (f *File) save(dir string) error {
	if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
		return fmt.Errorf("file %q lies outside of the run's folder", f.Path)
	}
	path := filepath.Join(dir, filepath.FromSlash(f.Path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// mlValue is a value as MLflow stores it.
func mlValue(x float64) (value float64, nan bool) {
	switch {
	case math.IsNaN(x):
		return 0, true
	case math.IsInf(x, 0):
		return math.Copysign(math.MaxFloat64, x), false
	}
	return x, false
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-len([]rune(cutMessage))]) + cutMessage
}

const (
	selectMLRuns = `SELECT run_uuid, coalesce(runs.name, ''), coalesce(user_id, ''), status, coalesce(start_time, 0), coalesce(end_time, 0),
			coalesce(artifact_uri, ''), coalesce(experiments.name, '')
		FROM runs LEFT JOIN experiments USING (experiment_id) WHERE runs.lifecycle_stage = 'active' ORDER BY start_time, run_uuid`
	selectMLPairs   = `SELECT key, coalesce(value, '') FROM %s WHERE run_uuid = ?`
	selectMLMetrics = `SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp`
)

// tagExperiment keeps the name of the experiment that an imported run belonged to.
const tagExperiment = "mlflow.experiment"

// IsMLflow reports whether the file at path is a database of MLflow's.
func IsMLflow(ctx context.Context, path string) bool {
	db, err := readSQLite(path)
	if err != nil {
		return false
	}
	defer db.Close()
	var n int
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name IN ('alembic_version', 'latest_metrics', 'runs')`).Scan(&n)
	return err == nil && n == 3
}

func readSQLite(path string) (*sql.DB, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	return sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&_query_only=true&_busy_timeout=10000")
}

// ReadMLflow reads the runs of a database of MLflow 2 or 3, deleted ones excepted. Their
// files are those that lie in folders of this machine.
func ReadMLflow(ctx context.Context, path string) (runs []Run, err error) {
	db, err := readSQLite(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err = errors.Join(err, db.Close()); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}()
	db.SetMaxOpenConns(1)
	var folders []string
	err = eachRow(ctx, db, selectMLRuns, nil, func(rows *sql.Rows) error {
		var r Run
		var status, uri, experiment string
		var start, end int64
		if err := rows.Scan(&r.ID, &r.Name, &r.User, &status, &start, &end, &uri, &experiment); err != nil {
			return err
		}
		r.Status, r.Started = statusOf(status), time.UnixMilli(start)
		if end != 0 {
			r.Finished = time.UnixMilli(end)
		}
		r.Params, r.Tags = make(map[string]string), map[string]string{tagExperiment: experiment}
		runs, folders = append(runs, r), append(folders, uri)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range runs {
		r := &runs[i]
		for table, into := range map[string]map[string]string{"params": r.Params, "tags": r.Tags} {
			err := eachRow(ctx, db, fmt.Sprintf(selectMLPairs, table), r.ID, func(rows *sql.Rows) error {
				var key, value string
				err := rows.Scan(&key, &value)
				into[key] = value
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		r.Note = r.Tags[tagNote]
		if name := r.Tags[tagName]; name != "" {
			r.Name = name
		}
		r.Parent = r.Tags[tagParent]
		delete(r.Tags, tagParent)
		delete(r.Tags, tagNote)
		delete(r.Tags, tagName)
		delete(r.Tags, tagUser)
		err := eachRow(ctx, db, selectMLMetrics, r.ID, func(rows *sql.Rows) error {
			var key string
			var p Point
			var millis int64
			var nan bool
			if err := rows.Scan(&key, &p.Value, &millis, &p.Step, &nan); err != nil {
				return err
			}
			switch p.Time = time.UnixMilli(millis); {
			case nan:
				p.Value = math.NaN()
			case math.Abs(p.Value) == math.MaxFloat64:
				p.Value = math.Inf(int(math.Copysign(1, p.Value)))
			}
			r.add(key, p)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if r.Files, err = filesBelow(folders[i]); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

func eachRow(ctx context.Context, db *sql.DB, query string, arg any, use func(*sql.Rows) error) error {
	var args []any
	if arg != nil {
		args = []any{arg}
	}
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := use(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// filesBelow lists the files of a run's folder, a path or file: URI. A folder that is not
// here has none.
func filesBelow(uri string) ([]File, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "" && u.Scheme != "file" || u.Path == "" {
		return nil, nil
	}
	root := filepath.FromSlash(u.Path)
	var files []File
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files = append(files, File{filepath.ToSlash(name), func() (io.ReadCloser, error) { return os.Open(path) }})
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return files, err
}
