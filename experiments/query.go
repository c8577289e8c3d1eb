package experiments

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ddpmlab/ddpm"
)

const (
	selectRuns = `SELECT id, name, status, attempt, key, config, variant, step, run.started, coalesce(finished, 0), error,
			label, parent, commit_id, dirty, host, device
		FROM run JOIN session ON session.run = id AND number = (SELECT max(number) FROM session WHERE session.run = id)
		WHERE deleted IS NULL AND (%s) ORDER BY run.started, id`
	// A run that was scored in two ways shows the later one: rows come by series id.
	selectLast = `SELECT series.run, ` + sqlSeriesName + `,
			CASE WHEN n IS NULL THEN (SELECT coalesce(value, 'NaN') FROM point_row WHERE series = series.id ORDER BY step DESC LIMIT 1)
				WHEN n > 0 THEN coalesce(last, 'NaN') END,
			CASE WHEN n IS NULL AND series.key = 'loss' AND context = '' THEN ` + meanTail + ` ELSE tail END,
			series.protocol
		FROM series JOIN run ON run.id = series.run WHERE deleted IS NULL AND (%s) ORDER BY series.id`
	selectProtocols = `SELECT id, detail, coalesce(floor, 0) FROM protocol WHERE id IN (SELECT protocol FROM series)`
	selectAllTags   = `SELECT run, tag.name, value FROM tag JOIN run ON id = run WHERE deleted IS NULL AND (%s)`
)

// every is the condition that all runs fulfil.
const every = "1"

// lossPoints is how many of a run's last losses its shown loss is the mean of: single
// batches scatter by more than what variants differ in.
const lossPoints = 100

// runs reads the runs that fulfil the condition, oldest first; not deleted ones.
func (s *Store) runs(ctx context.Context, where string, args ...any) (Runs, error) {
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, fmt.Sprintf(selectRuns, where), args...)
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer rows.Close()
	byID := make(map[string]*Run)
	known := newParsedConfigs()
	var all Runs
	for rows.Next() {
		r, err := s.scanRun(rows, known)
		if err != nil {
			return nil, explain(s.path, err)
		}
		byID[r.ID] = r
		all = append(all, r)
	}
	if err := rows.Err(); err != nil {
		return nil, explain(s.path, err)
	}
	rows.Close()
	if len(all) == 0 {
		return nil, nil
	}
	if err := readLast(ctx, db, byID, where, args); err != nil {
		return nil, explain(s.path, err)
	}
	return all, explain(s.path, readTags(ctx, db, byID, where, args))
}

// readTags adds to the runs their tags.
func readTags(ctx context.Context, db *sql.DB, runs map[string]*Run, where string, args []any) error {
	rows, err := db.QueryContext(ctx, fmt.Sprintf(selectAllTags, where), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var run, name, value string
		if err := rows.Scan(&run, &name, &value); err != nil {
			return err
		}
		if r := runs[run]; r != nil {
			if r.Tags == nil {
				r.Tags = make(map[string]string)
			}
			r.Tags[name] = value
		}
	}
	return rows.Err()
}

func (s *Store) scanRun(rows *sql.Rows, known *parsedConfigs) (*Run, error) {
	r := &Run{store: s, last: make(map[string]float64), protocols: make(map[string]Protocol)}
	var config, variant sql.RawBytes
	var started, finished int64
	if err := rows.Scan(&r.ID, &r.Name, &r.Status, &r.Attempt, &r.Key, &config, &variant, &r.Step, &started, &finished,
		&r.Error, &r.Group, &r.Parent, &r.Commit, &r.Dirty, &r.Host, &r.Device); err != nil {
		return nil, err
	}
	var err error
	if r.Config, err = known.config(config); err != nil {
		return nil, fmt.Errorf("config of run %s: %w", r.ID, err)
	}
	if r.Variant, err = known.variant(variant); err != nil {
		return nil, fmt.Errorf("variant of run %s: %w", r.ID, err)
	}
	r.Seed, r.Started = r.Config.Seed, time.UnixMicro(started)
	if finished != 0 {
		r.Finished = time.UnixMicro(finished)
	}
	return r, nil
}

// readLast adds to the runs the last value and the protocol of each of their series.
func readLast(ctx context.Context, db *sql.DB, runs map[string]*Run, where string, args []any) error {
	protocols, err := readProtocols(ctx, db)
	if err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, fmt.Sprintf(selectLast, where), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var run, key, protocol string
		var value *number
		var mean number
		if err := rows.Scan(&run, &key, &value, &mean, &protocol); err != nil {
			return err
		}
		r := runs[run]
		if r == nil || value == nil { // started after the runs were read, or all points were removed
			continue
		}
		r.last[key] = float64(*value)
		if key == MetricLoss {
			r.loss = float64(mean)
		}
		if p, ok := protocols[protocol]; ok {
			r.protocols[key] = p
		}
	}
	return rows.Err()
}

// readProtocols reads the protocols of all scores: they are few, however many the runs.
func readProtocols(ctx context.Context, db *sql.DB) (map[string]Protocol, error) {
	rows, err := db.QueryContext(ctx, selectProtocols)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make(map[string]Protocol)
	for rows.Next() {
		var p Protocol
		var detail string
		if err := rows.Scan(&p.ID, &detail, &p.Floor); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(detail), &p.Protocol); err != nil {
			return nil, fmt.Errorf("protocol %s: %w", p.ID, err)
		}
		all[p.ID] = p
	}
	return all, rows.Err()
}

// AllRuns returns every run, oldest first.
func (s *Store) AllRuns(ctx context.Context) (Runs, error) { return s.runs(ctx, every) }

// Runs returns the runs of every variant that were trained with this configuration, one
// for each variant: the last finished one, or else the last one. They come in the order
// in which the variants were first tried.
func (s *Store) Runs(ctx context.Context, c ddpm.Config) (Runs, error) {
	all, err := s.runs(ctx, "run.seed = ?", int64(c.Seed))
	if err != nil {
		return nil, err
	}
	want := configText(c)
	var picked Runs
	place := make(map[string]int) // of a key in picked
	for _, r := range all {
		if configText(r.Config) != want {
			continue
		}
		i, known := place[r.Key]
		switch {
		case !known:
			place[r.Key] = len(picked)
			picked = append(picked, r)
		case r.Status == StatusFinished || picked[i].Status != StatusFinished:
			picked[i] = r
		}
	}
	return picked, nil
}

// configText is what two configurations have in common when they are equal but for the
// preset's name. Fields that a stored one lacks are zero.
func configText(c ddpm.Config) string {
	c.Preset = ""
	text, err := json.Marshal(c)
	if err != nil {
		return "" // NaN: Validate refuses it
	}
	return string(text)
}

// Run returns the run whose id begins with prefix, in upper or lower case.
func (s *Store) Run(ctx context.Context, prefix string) (*Run, error) {
	given := strings.TrimSpace(prefix)
	if given == "" {
		return nil, s.noRun(ctx, given)
	}
	prefix = strings.ToUpper(given)
	low, high := idRange(prefix)
	found, err := s.runs(ctx, "run.id BETWEEN ? AND ?", low, high)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, s.noRun(ctx, given)
	case len(found) > 1:
		return nil, fmt.Errorf("%w %q: %s; give more of the id", ErrAmbiguous, prefix, candidates(found))
	}
	return found[0], nil
}

// idRange is the range of the ids that begin with prefix, in upper or lower case: no id
// has a character above "~".
func idRange(prefix string) (low, high string) {
	low = strings.ToUpper(strings.TrimSpace(prefix))
	return low, low + "~"
}

// noRun is the error for an id that no run has, with the ids there are.
func (s *Store) noRun(ctx context.Context, prefix string) error {
	all, err := s.AllRuns(ctx)
	if err != nil {
		return err
	}
	if deleted, err := s.deleted(ctx, prefix); err != nil {
		return err
	} else if len(deleted) == 1 {
		return fmt.Errorf("%w %q in %s: it was deleted; `ddpmlab runs restore %s` brings it back", ErrNoRun, prefix, s.path, deleted[0])
	}
	switch {
	case len(all) == 0:
		return fmt.Errorf("%w %q in %s: it has no runs yet; train one first", ErrNoRun, prefix, s.path)
	}
	return fmt.Errorf("%w %q in %s; there are: %s", ErrNoRun, prefix, s.path, candidates(all))
}

// candidates lists runs in an error: the newest ones.
func candidates(runs Runs) string {
	const most = 8
	var b strings.Builder
	for i, r := range slices.Backward(runs) {
		if len(runs)-1-i == most {
			fmt.Fprintf(&b, ", and %d older", i+1)
			break
		}
		if i < len(runs)-1 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%s, %s)", r.ID, r.Name, r.Status)
	}
	return b.String()
}

// Series returns a series of the run, by step; nil when it has none of that name. On a
// database that cannot be read it panics with a *CellError; Store.Points returns the error.
func (r *Run) Series(name string) []Point {
	if r.store == nil {
		return r.series[name]
	}
	points, err := r.store.Points(context.Background(), r.ID, name)
	if err != nil {
		panic(&CellError{Err: err})
	}
	return points
}

// Last returns the last value of a series, as it was when the run was read, and false
// when it has none.
func (r *Run) Last(key string) (float64, bool) {
	v, ok := r.last[key]
	return v, ok
}

// Keys lists the run's series, sorted.
func (r *Run) Keys() []string { return slices.Sorted(maps.Keys(r.last)) }

// Protocol tells how the score in the series key was measured, and false for a series
// that is not a score, as the loss.
func (r *Run) Protocol(key string) (Protocol, bool) {
	p, ok := r.protocols[key]
	return p, ok
}
