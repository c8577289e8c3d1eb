package experiments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
)

// Query returns the runs that fulfil a condition, as
//
//	gamma >= 0.1 and (fd < 20 or status = crashed) order by fd limit 10
//
// Names are those of
//
//   - runs: id, status, variant, seed, step, attempt, group, sweep, parent, preset, error, commit, dirty,
//     host, device, started ("2026-05-01 12:00"), age and took (in s, m, h or d, as 2d);
//   - fields of the configuration and variant, as `runs show` has them: lr, model.channels,
//     variant.gamma or gamma for short;
//   - series: fd is the last value, and so is last(fd); also first, min, max, mean, count;
//     one in a context is validation/accuracy;
//   - tags: tag.NAME is its value, and alone it asks whether there is one; note is the text
//     of all notes.
//
// The comparisons are = != < <= > >=, in (…), and ~, which looks for a text within another
// one, in upper or lower case. What a run does not have fulfils none of them but !=. Conditions are
// joined by and, or, not and parentheses. An empty condition is fulfilled by all runs.
// Without order by, runs come oldest first; runs without the value ordered by come last.
//
// An error says at which column of the text it is.
func (s *Store) Query(ctx context.Context, query string) (Runs, error) {
	q, err := parseQuery(query, knownNames(), s.now())
	if e, ok := errors.AsType[*QueryError](err); ok && e.unknown { // an older run may have it
		var names names
		if names, err = s.queryNames(ctx); err == nil {
			q, err = parseQuery(query, names, s.now())
		}
	}
	if err != nil {
		return nil, err
	}
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	ids, err := texts(ctx, db, q.sql, q.args...)
	if err != nil {
		return nil, explain(s.path, err)
	}
	list, err := json.Marshal(ids)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	found, err := s.runs(ctx, "run.id IN (SELECT value FROM json_each(?))", string(list))
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*Run, len(found))
	for _, r := range found {
		byID[r.ID] = r
	}
	runs := make(Runs, 0, len(ids))
	for _, id := range ids {
		if r := byID[id]; r != nil {
			runs = append(runs, r)
		}
	}
	return runs, nil
}

// kind is what a name of a query stands for.
type kind int

const (
	kindNumber kind = iota
	kindText
	kindTime     // compared as microseconds since 1970
	kindDuration // compared as microseconds
)

// operand is something that can be compared: SQL that yields it for a row of run.
type operand struct {
	sql    string
	args   []any
	kind   kind
	series string   // whose last value it is, or ""
	values []string // that there are, where they are few
	exists string   // SQL that asks whether there is one, for tags
}

const (
	sqlParam  = `(SELECT value FROM param WHERE param.run = run.id AND param.name = ?)`
	sqlSeries = `(SELECT max(series.id) FROM series WHERE series.run = run.id AND context = ? AND key = ?)`
	sqlTag    = `(SELECT value FROM tag WHERE tag.run = run.id AND tag.name = ?)`
	sqlNotes  = `(SELECT group_concat(text, char(10)) FROM note WHERE note.run = run.id)`
	sqlNewest = `(SELECT %s FROM session WHERE session.run = run.id ORDER BY number DESC LIMIT 1)`
)

// fixedNames are the names that every database has.
var fixedNames = map[string]operand{
	"id": {sql: "run.id", kind: kindText},
	"status": {sql: "run.status", kind: kindText, values: []string{
		StatusRunning, StatusFinished, StatusInterrupted, StatusCrashed, StatusFailed, StatusDiverged,
	}},
	"variant": {sql: "run.name", kind: kindText},
	"seed":    {sql: "run.seed"},
	"step":    {sql: "run.step"},
	"attempt": {sql: "run.attempt"},
	"group":   {sql: "run.label", kind: kindText},
	"sweep":   {sql: "run.sweep", kind: kindText},
	"parent":  {sql: "run.parent", kind: kindText},
	"preset":  {sql: "run.preset", kind: kindText},
	"error":   {sql: "run.error", kind: kindText},
	"started": {sql: "run.started", kind: kindTime},
	"age":     {sql: "(? - run.started)", kind: kindDuration},
	"took":    {sql: "(run.finished - run.started)", kind: kindDuration},
	"note":    {sql: sqlNotes, kind: kindText},
	"commit":  {sql: fmt.Sprintf(sqlNewest, "commit_id"), kind: kindText},
	"dirty":   {sql: fmt.Sprintf(sqlNewest, "dirty")},
	"host":    {sql: fmt.Sprintf(sqlNewest, "host"), kind: kindText},
	"device":  {sql: fmt.Sprintf(sqlNewest, "device"), kind: kindText},
}

// queryFuncs are the functions of a series: of a finished run they stand in the series'
// row.
var queryFuncs = map[string]string{
	"last":  seriesFunc("last", "SELECT value FROM point_row WHERE series = s.id ORDER BY step DESC LIMIT 1"),
	"first": seriesFunc("head", "SELECT value FROM point_row WHERE series = s.id ORDER BY step LIMIT 1"),
	"min":   seriesFunc("low", "SELECT min(value) FROM point_row WHERE series = s.id"),
	"max":   seriesFunc("high", "SELECT max(value) FROM point_row WHERE series = s.id"),
	"mean":  seriesFunc("mean", "SELECT avg(value) FROM point_row WHERE series = s.id"),
	"count": "coalesce(" + seriesFunc("n", "SELECT count(*) FROM point_row WHERE series = s.id") + ", 0)",
}

func seriesFunc(column, rows string) string {
	return "(SELECT CASE WHEN s.n IS NULL THEN (" + rows + ") ELSE s." + column + " END FROM series AS s WHERE s.id = " + sqlSeries + ")"
}

// names are the names that a query of one database may use.
type names map[string]operand

const (
	selectParamNames  = `SELECT name || ' ' || max(kind) FROM param GROUP BY name`
	selectSeriesNames = `SELECT DISTINCT ` + sqlSeriesName + ` FROM series`
)

// knownNames are the names that this program's runs have, whether or not the database has
// any.
func knownNames() names {
	all := make(names)
	for _, f := range fields() {
		all.add(f.name, operand{sql: sqlParam, args: []any{f.name}, kind: f.kind()})
	}
	for _, key := range trainedSeries {
		all.addSeries(key)
	}
	maps.Copy(all, fixedNames)
	return all
}

// add adds a field, and a variant's also by its short name.
func (n names) add(name string, o operand) {
	n[name] = o
	if short, ok := strings.CutPrefix(name, "variant."); ok {
		n[short] = o
	}
}

// addSeries adds the series of that name, which stands for its last value.
func (n names) addSeries(name string) {
	context, key := splitSeries(name)
	n[name] = operand{sql: queryFuncs["last"], args: []any{context, key}, series: name}
}

// queryNames are the known names and those that runs of the database have besides.
func (s *Store) queryNames(ctx context.Context) (names, error) {
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	all := make(names)
	params, err := texts(ctx, db, selectParamNames)
	if err != nil {
		return nil, explain(s.path, err)
	}
	for _, p := range params {
		name, kind, _ := strings.Cut(p, " ")
		o := operand{sql: sqlParam, args: []any{name}}
		if kind == "string" || kind == "json" {
			o.kind = kindText
		}
		all.add(name, o)
	}
	series, err := texts(ctx, db, selectSeriesNames)
	if err != nil {
		return nil, explain(s.path, err)
	}
	for _, name := range series {
		all.addSeries(name)
	}
	maps.Copy(all, knownNames())
	return all, nil
}
