package experiments

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"ddpmlab/internal/pointrows"
)

// number is a stored REAL, or the text NaN that stands in a query for NULL.
type number float64

// Scan implements sql.Scanner.
func (n *number) Scan(src any) error {
	switch v := src.(type) {
	case float64:
		*n = number(v)
	case int64:
		*n = number(v)
	case nil, string, []byte:
		*n = number(math.NaN())
	default:
		return fmt.Errorf("a number is stored as %T", src)
	}
	return nil
}

const (
	selectSeries = `SELECT max(id) FROM series WHERE run = ? AND context = ? AND key = ?`
	selectRows   = `SELECT step, time, value FROM point_row WHERE series = ? AND step >= ? ORDER BY step LIMIT ?`
	selectBlock  = `SELECT point_rows(step, time, value) FROM (` + selectRows + `)`
	selectPacks  = `SELECT body FROM point_pack WHERE series = ? ORDER BY first`
	countPoints  = `SELECT coalesce((SELECT sum(n) FROM point_pack WHERE series = ?1), 0) + (SELECT count(*) FROM point_row WHERE series = ?1)`
)

// splitSeries is a series' name as the database has it: "validation/loss" is the key loss in
// the context validation.
func splitSeries(name string) (context, key string) {
	if i := strings.LastIndexByte(name, '/'); i > 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// sqlSeriesName is the name again.
const sqlSeriesName = `CASE series.context WHEN '' THEN series.key ELSE series.context || '/' || series.key END`

// Points returns a run's series, by step; nil when it has none of that name.
func (s *Store) Points(ctx context.Context, run, name string) ([]Point, error) {
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	// One transaction, or points could be packed between the two looks at them.
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer tx.Rollback() // it only reads
	where, key := splitSeries(name)
	var id sql.NullInt64
	if err := tx.QueryRowContext(ctx, selectSeries, run, where, key).Scan(&id); err != nil || !id.Valid {
		return nil, explain(s.path, err)
	}
	points, err := readPoints(ctx, tx, id.Int64)
	return points, explain(s.path, err)
}

// rowsOfPoints is how many rows of points are read at once.
const rowsOfPoints = 1 << 16

// readPoints reads the points of a series: those in packs, and those that are rows.
func readPoints(ctx context.Context, tx *sql.Tx, series int64) (points []Point, err error) {
	var n int
	if err := tx.QueryRowContext(ctx, countPoints, series).Scan(&n); err != nil || n == 0 {
		return nil, err
	}
	if points, err = readPacks(ctx, tx, make([]Point, 0, n), series); err != nil {
		return nil, err
	}
	packed := len(points)
	for from := int64(math.MinInt64); len(points) < n; from = points[len(points)-1].Step + 1 {
		before := len(points)
		if points, err = appendRows(ctx, tx, points, series, from, rowsOfPoints); err != nil {
			return nil, err
		}
		if len(points) == before {
			return nil, fmt.Errorf("series %d has %d points of %d", series, before, n)
		}
	}
	if packed > 0 && packed < len(points) && points[packed-1].Step >= points[packed].Step {
		slices.SortStableFunc(points, func(a, b Point) int { return cmp.Compare(a.Step, b.Step) })
	}
	return points, nil
}

// appendRows appends to points the first rows of a series from a step on, at most so many.
func appendRows(ctx context.Context, tx *sql.Tx, points []Point, series, from int64, most int) ([]Point, error) {
	if pointrows.Available {
		return appendBlock(ctx, tx, points, series, from, most)
	}
	return appendEachRow(ctx, tx, points, series, from, most)
}

func appendBlock(ctx context.Context, tx *sql.Tx, points []Point, series, from int64, most int) ([]Point, error) {
	rows, err := tx.QueryContext(ctx, selectBlock, series, from, most)
	if err != nil {
		return points, err
	}
	defer rows.Close()
	for rows.Next() { // one
		var block sql.RawBytes
		if err := rows.Scan(&block); err != nil {
			return points, err
		}
		for i := range pointrows.Count(block) {
			step, micros, value := pointrows.At(block, i)
			points = append(points, Point{step, time.UnixMicro(micros), value})
		}
	}
	return points, rows.Err()
}

func appendEachRow(ctx context.Context, tx *sql.Tx, points []Point, series, from int64, most int) ([]Point, error) {
	rows, err := tx.QueryContext(ctx, selectRows, series, from, most)
	if err != nil {
		return points, err
	}
	defer rows.Close()
	for rows.Next() {
		var p Point
		var micros int64
		var value number
		if err := rows.Scan(&p.Step, &micros, &value); err != nil {
			return points, err
		}
		p.Time, p.Value = time.UnixMicro(micros), float64(value)
		points = append(points, p)
	}
	return points, rows.Err()
}

func readPacks(ctx context.Context, tx *sql.Tx, points []Point, series int64) ([]Point, error) {
	rows, err := tx.QueryContext(ctx, selectPacks, series)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var body sql.RawBytes
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if points, err = decodePack(points, body); err != nil {
			return nil, err
		}
	}
	return points, rows.Err()
}
