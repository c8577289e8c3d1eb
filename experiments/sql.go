package experiments

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"

	"ddpmlab/internal/render"
	"ddpmlab/internal/suggest"
)

// Rows is the answer to a query in SQL, shown as a table.
type Rows struct {
	Columns []string
	Cells   [][]string // as text; NULL is ""

	numeric []bool // columns that hold numbers alone
}

// tablesHint is the end of the message about a table that there is not: the nearest, or
// all that there are.
func tablesHint(ctx context.Context, db *sql.DB, err error) string {
	name, ok := strings.CutPrefix(err.Error(), "no such table: ")
	if !ok {
		return ""
	}
	var all string
	if db.QueryRowContext(ctx, `SELECT group_concat(name, ', ' ORDER BY name) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'`).Scan(&all) != nil {
		return ""
	}
	if near := suggest.Nearest(name, strings.Split(all, ", ")); near != "" {
		return "; did you mean " + near + "?"
	}
	return "; there are " + all
}

// SQL answers a query in SQLite's SQL, which can only read: the tables are those of
// experiments/schema. Times are microseconds since 1970.
func (s *Store) SQL(ctx context.Context, query string) (*Rows, error) {
	word, _, _ := strings.Cut(strings.TrimLeft(query, "( \t\r\n"), " ")
	switch first := strings.ToUpper(strings.TrimSpace(strings.SplitN(word, "\n", 2)[0])); first {
	case "SELECT", "WITH", "VALUES", "EXPLAIN":
	default:
		return nil, fmt.Errorf("SQL: got %q; only queries that begin with SELECT, WITH, VALUES or EXPLAIN are answered", first)
	}
	if err := s.Flush(); err != nil {
		return nil, err
	}
	// A connection of its own: whatever the text says, the file was opened for reading.
	db := connect(s.path, sqlParams, 1)
	defer db.Close()
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("SQL: %w%s", err, tablesHint(ctx, db, err))
	}
	defer rows.Close()
	out := &Rows{}
	if out.Columns, err = rows.Columns(); err != nil {
		return nil, fmt.Errorf("SQL: %w", err)
	}
	out.numeric = make([]bool, len(out.Columns))
	for i := range out.numeric {
		out.numeric[i] = true
	}
	values, to := make([]any, len(out.Columns)), make([]any, len(out.Columns))
	for i := range values {
		to[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return nil, fmt.Errorf("SQL: %w", err)
		}
		cells := make([]string, len(values))
		for i, v := range values {
			cells[i] = out.cell(i, v)
		}
		out.Cells = append(out.Cells, cells)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("SQL: %w", err)
	}
	return out, nil
}

// cell is a value as text.
func (r *Rows) cell(column int, v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		if math.Trunc(v) == v && math.Abs(v) < 1e15 {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return strconv.FormatFloat(v, 'g', 7, 64)
	}
	r.numeric[column] = false
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return fmt.Sprintf("%d bytes", len(v))
	}
	return fmt.Sprint(v)
}

// Table is the answer as a table.
func (r *Rows) Table() *render.Table {
	t := &render.Table{Sorts: true}
	for i, name := range r.Columns {
		t.Columns = append(t.Columns, render.Column{Name: name, Right: r.numeric[i]})
	}
	for _, cells := range r.Cells {
		t.Add(cells...)
	}
	return t
}

// Bundle is the table.
func (r *Rows) Bundle() render.Bundle { return r.Table().Bundle() }

// String is the table as text.
func (r *Rows) String() string { return r.Table().String() }
