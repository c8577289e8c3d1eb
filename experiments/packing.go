package experiments

import (
	"context"
	"database/sql"
	"fmt"
	"math"
)

// packLeast is from how many points on a series of a finished run is packed. Shorter ones
// stay rows, which every program can read.
const packLeast = 1 << 10

// meanTail is the mean of a series' last values: lossPoints of them.
const meanTail = `(SELECT avg(value) FROM (SELECT value FROM point_row WHERE series = series.id ORDER BY step DESC LIMIT 100))`

const (
	// Runs that end like this get no more points.
	selectFinal = `SELECT id FROM run WHERE status IN ('finished', 'diverged') AND EXISTS (SELECT 1 FROM series
		WHERE run = run.id AND (n IS NULL OR n >= ? AND EXISTS (SELECT 1 FROM point_row WHERE series = series.id)))`
	updateSummary = `UPDATE series SET
			(n, last_step, low, high, mean) = (SELECT count(*), max(step), min(value), max(value), avg(value) FROM point_row WHERE series = series.id),
			head = (SELECT value FROM point_row WHERE series = series.id ORDER BY step LIMIT 1),
			last = (SELECT value FROM point_row WHERE series = series.id ORDER BY step DESC LIMIT 1),
			tail = ` + meanTail + `
		WHERE n IS NULL AND run = (SELECT id FROM run WHERE id = ? AND status IN ('finished', 'diverged'))`
	selectLong   = `SELECT id FROM series WHERE run = ? AND n >= ? AND EXISTS (SELECT 1 FROM point_row WHERE series = series.id)`
	insertPack   = `INSERT INTO point_pack (series, first, last, n, body) VALUES (?, ?, ?, ?, ?)`
	deleteOldest = `DELETE FROM point_row WHERE series = ? AND step <= ?`
)

// pack makes the series of a run that has ended for good small and fast to read. What is
// asked of them most is written into their rows; then the points of long ones move into
// packs, a pack in a transaction: whoever reads meanwhile, or after a crash, finds each
// point once, and other writers wait for a moment only. It can be called again.
func (s *Store) pack(ctx context.Context, run string) error {
	var long []int64
	err := s.do(false, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, updateSummary, run); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, selectLong, run, packLeast)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				return err
			}
			long = append(long, id)
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	for _, id := range long {
		for n := packPoints; n == packPoints; {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.do(false, func(tx *sql.Tx) (err error) { n, err = packOldest(ctx, tx, id); return err }); err != nil {
				return err
			}
		}
	}
	return nil
}

// packOldest moves the oldest points of a series that are rows into a pack, and returns
// their number.
func packOldest(ctx context.Context, tx *sql.Tx, series int64) (int, error) {
	points, err := appendRows(ctx, tx, make([]Point, 0, packPoints), series, math.MinInt64, packPoints)
	n := len(points)
	if err != nil || n == 0 {
		return 0, err
	}
	first, last := points[0].Step, points[n-1].Step
	if _, err := tx.ExecContext(ctx, insertPack, series, first, last, n, encodePack(points)); err != nil {
		return 0, fmt.Errorf("pack series %d from step %d: %w", series, first, err)
	}
	_, err = tx.ExecContext(ctx, deleteOldest, series, last)
	return n, err
}

// packAll packs all runs that have ended for good and are not packed: those of an older
// database, and those whose process was killed before it had.
func (s *Store) packAll(ctx context.Context) error {
	db, err := s.reader()
	if err != nil {
		return err
	}
	runs, err := texts(ctx, db, selectFinal, packLeast)
	if err != nil {
		return explain(s.path, err)
	}
	for _, run := range runs {
		if err := s.pack(ctx, run); err != nil {
			return err
		}
	}
	return nil
}
