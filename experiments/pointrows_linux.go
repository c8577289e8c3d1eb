package experiments

// int ddpmlab_register_point_rows(void);
import "C"

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"time"
)

// registerPointRows gives the connections that are opened from then on the function
// point_rows: pointrows_linux.c.
var registerPointRows = sync.OnceValue(func() error {
	if code := C.ddpmlab_register_point_rows(); code != 0 {
		return fmt.Errorf("register the function point_rows with SQLite: code %d", int(code))
	}
	return nil
})

const selectRows = `SELECT point_rows(step, time, value) FROM
	(SELECT step, time, value FROM point_row WHERE series = ? AND step >= ? ORDER BY step LIMIT ?)`

// appendRows appends to points the first rows of a series from a step on, at most so many.
func appendRows(ctx context.Context, tx *sql.Tx, points []Point, series, from int64, most int) ([]Point, error) {
	rows, err := tx.QueryContext(ctx, selectRows, series, from, most)
	if err != nil {
		return points, err
	}
	defer rows.Close()
	for rows.Next() { // one
		var b sql.RawBytes
		if err := rows.Scan(&b); err != nil {
			return points, err
		}
		const size = 24 // step, time, value
		for ; len(b) >= size; b = b[size:] {
			points = append(points, Point{
				Step:  int64(binary.NativeEndian.Uint64(b)),
				Time:  time.UnixMicro(int64(binary.NativeEndian.Uint64(b[8:]))),
				Value: math.Float64frombits(binary.NativeEndian.Uint64(b[16:])),
			})
		}
	}
	return points, rows.Err()
}
