//go:build !linux

package experiments

import (
	"context"
	"database/sql"
	"math"
	"time"
)

// registerPointRows has nothing to do: rows are read one by one.
func registerPointRows() error { return nil }

const selectRows = `SELECT step, time, value FROM point_row WHERE series = ? AND step >= ? ORDER BY step LIMIT ?`

// appendRows appends to points the first rows of a series from a step on, at most so many.
func appendRows(ctx context.Context, tx *sql.Tx, points []Point, series, from int64, most int) ([]Point, error) {
	rows, err := tx.QueryContext(ctx, selectRows, series, from, most)
	if err != nil {
		return points, err
	}
	defer rows.Close()
	for rows.Next() {
		var p Point
		var micros int64
		var value sql.NullFloat64
		if err := rows.Scan(&p.Step, &micros, &value); err != nil {
			return points, err
		}
		if p.Time, p.Value = time.UnixMicro(micros), value.Float64; !value.Valid {
			p.Value = math.NaN()
		}
		points = append(points, p)
	}
	return points, rows.Err()
}
