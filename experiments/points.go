package experiments

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
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
	selectPacks  = `SELECT body FROM point_pack WHERE series = ? ORDER BY first`
	selectRows   = `SELECT step, time, value FROM point_row WHERE series = ? ORDER BY step`
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
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer conn.Close()
	// One transaction, or points could be packed between the two looks at them.
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer tx.Rollback() // it only reads
	where, key := splitSeries(name)
	var id sql.NullInt64
	if err := tx.QueryRowContext(ctx, selectSeries, run, where, key).Scan(&id); err != nil || !id.Valid {
		return nil, explain(s.path, err)
	}
	var points []Point
	err = conn.Raw(func(c any) (err error) {
		points, err = readPoints(ctx, c.(driver.QueryerContext), id.Int64)
		return err
	})
	return points, explain(s.path, err)
}

// readPoints reads the points of a series, below database/sql: its conversions take longer
// than SQLite itself, and a series may have millions of points.
func readPoints(ctx context.Context, c driver.QueryerContext, series int64) (points []Point, err error) {
	err = eachRow(ctx, c, countPoints, series, func(row []driver.Value) error {
		if n := row[0].(int64); n > 0 {
			points = make([]Point, 0, n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = eachRow(ctx, c, selectPacks, series, func(row []driver.Value) (err error) {
		points, err = decodePack(points, row[0].([]byte))
		return err
	})
	if err != nil {
		return nil, err
	}
	packed := len(points)
	err = eachRow(ctx, c, selectRows, series, func(row []driver.Value) error {
		value, ok := row[2].(float64)
		if !ok {
			value = math.NaN()
		}
		points = append(points, Point{row[0].(int64), time.UnixMicro(row[1].(int64)), value})
		return nil
	})
	if packed > 0 && packed < len(points) && points[packed-1].Step >= points[packed].Step {
		slices.SortStableFunc(points, func(a, b Point) int { return cmp.Compare(a.Step, b.Step) })
	}
	return points, err
}

// eachRow calls use for each row of a query with one argument. The row's bytes are its
// until the next row. The driver watches for a cancellation at each row, which takes a
// tenth of the time; here it is looked for now and then.
func eachRow(ctx context.Context, c driver.QueryerContext, query string, arg int64, use func([]driver.Value) error) error {
	rows, err := c.QueryContext(context.WithoutCancel(ctx), query, []driver.NamedValue{{Ordinal: 1, Value: arg}})
	if err != nil {
		return err
	}
	defer rows.Close()
	row := make([]driver.Value, len(rows.Columns()))
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch err := rows.Next(row); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
		if err := use(row); err != nil {
			return err
		}
	}
}
