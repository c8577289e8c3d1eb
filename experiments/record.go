package experiments

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// trainedSeries are the series that trainings alone write.
var trainedSeries = []string{MetricLoss, MetricGradNorm, MetricImagesPerSec, MetricFD, MetricCPU, MetricMemory}

const (
	selectPacked = `SELECT count(*) FROM point_pack WHERE series = ?`
	updateOpen   = `UPDATE series SET n = NULL WHERE id = ?`
)

// Record adds a number to the run whose id begins with prefix, as what a cell measured of
// its checkpoint: a value at a step of the series of that name. "validation/accuracy" is the
// series accuracy in the context validation. A value at the same step is replaced.
func (s *Store) Record(ctx context.Context, prefix, name string, step int64, value float64) error {
	if name == "" || slices.Contains(trainedSeries, name) {
		return fmt.Errorf("record %q: want a name of your own, as \"validation/accuracy\"; trainings alone write %s", name, strings.Join(trainedSeries, ", "))
	}
	r, err := s.Run(ctx, prefix)
	if err != nil {
		return err
	}
	ref := &seriesRef{session: &session{store: s, run: r.ID}, name: name}
	err = s.do(true, func(tx *sql.Tx) error {
		ref.id = 0 // the transaction may be tried again
		if err := insertPoints(tx, []queued{{series: ref, step: step, time: s.micros(), value: value}}); err != nil {
			return err
		}
		var packs int
		if err := tx.QueryRowContext(ctx, selectPacked, ref.id).Scan(&packs); err != nil {
			return err
		}
		if packs > 0 {
			return fmt.Errorf("record %s: the series of run %s is packed, since the run has ended, and takes no more", name, r.ID)
		}
		_, err := tx.ExecContext(ctx, updateOpen, ref.id)
		return err
	})
	if err != nil {
		return explain(s.path, err)
	}
	return s.pack(ctx, r.ID)
}
