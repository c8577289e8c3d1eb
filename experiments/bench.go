package experiments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/render"
)

// StoreSpeed is what Measure found.
type StoreSpeed struct {
	Points    int     `json:"points"`         // recorded, read back
	LogP50    float64 `json:"log_p50_us"`     // microseconds of one call of Record, 100,000 calls a second
	LogP99    float64 `json:"log_p99_us"`     // likewise
	PerSecond float64 `json:"points_per_s"`   // to disk, recorded as fast as can be
	ReadBack  float64 `json:"read_s"`         // seconds to read all points
	Megabytes float64 `json:"mb_per_million"` // of the file, 10^6 bytes for 10^6 points
	Pack      float64 `json:"pack_s"`         // seconds to pack them, when the run has finished
	ReadPack  float64 `json:"read_packed_s"`  // seconds to read all points once packed
	PackedMB  float64 `json:"packed_mb_per_million"`
	Query     float64 `json:"query_s"`   // seconds for a query by the last and the least value
	Runs      int     `json:"runs"`      // that were compared
	Compare   float64 `json:"compare_s"` // seconds to query them, sort them and make their table
}

// Measure measures the store in a new database in the folder dir: points recorded, read
// and sized, and a table of so many runs.
func Measure(ctx context.Context, dir string, points, runs int) (v *StoreSpeed, err error) {
	if points < 1 || runs < 1 {
		return nil, fmt.Errorf("measure the store with %d points and %d runs; want 1 or more of both", points, runs)
	}
	s, err := Open(filepath.Join(dir, "measure.db"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	v = &StoreSpeed{Points: points, Runs: runs}
	o := order{config: ddpm.Tour(), variant: ddpm.ADM(), key: "measure", data256: "measure", env: environment{}}
	if err := v.measurePoints(ctx, s, o); err != nil {
		return nil, err
	}
	return v, v.measureCompare(ctx, s, o)
}

func (v *StoreSpeed) measurePoints(ctx context.Context, s *Store, o order) error {
	a, _, err := s.begin(ctx, o)
	if err != nil {
		return err
	}
	a.start(ctx)
	before, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	// As fast as can be. Losses as a training has them: 24 bits that look like noise.
	begun := time.Now()
	for step := range int64(v.Points) {
		a.Record(step+1, MetricLoss, noisyLoss(step))
	}
	if err := errors.Join(s.Flush(), a.err()); err != nil {
		return err
	}
	v.PerSecond = float64(v.Points) / time.Since(begun).Seconds()
	if v.ReadBack, err = timeRead(ctx, s, a.run, v.Points); err != nil {
		return err
	}
	if err := s.do(true, func(*sql.Tx) error { return nil }); err != nil { // moves the log into the file
		return err
	}
	after, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	v.Megabytes = float64(after.Size()-before.Size()) / float64(v.Points)

	// One call at a time, as training steps come: ten microseconds from one to the next.
	const every = 10 * time.Microsecond
	took := make([]time.Duration, min(v.Points, 100_000))
	next := time.Now()
	for i := range took {
		for time.Now().Before(next) {
		}
		from := time.Now()
		a.Record(int64(i+1), MetricGradNorm, float64(i))
		took[i] = time.Since(from)
		next = from.Add(every)
	}
	slices.Sort(took)
	v.LogP50 = micros(took[len(took)/2])
	v.LogP99 = micros(took[len(took)*99/100])
	if err := s.Flush(); err != nil {
		return err
	}
	begun = time.Now()
	if err := a.finish(StatusFinished, int64(v.Points), ""); err != nil {
		return err
	}
	v.Pack = time.Since(begun).Seconds()
	return v.measurePacked(ctx, s, a.run)
}

func (v *StoreSpeed) measurePacked(ctx context.Context, s *Store, run string) (err error) {
	if v.ReadPack, err = timeRead(ctx, s, run, v.Points); err != nil {
		return err
	}
	begun := time.Now()
	runs, err := s.Query(ctx, "last(loss) < 10 and min(loss) >= 0 and count(loss) > 0")
	if err == nil && len(runs) != 1 {
		err = fmt.Errorf("found %d runs, want 1", len(runs))
	}
	if err != nil {
		return err
	}
	v.Query = time.Since(begun).Seconds()
	db, err := s.reader()
	if err != nil {
		return err
	}
	var bytes int64
	if err := db.QueryRowContext(ctx, `SELECT coalesce(sum(length(body)), 0) FROM point_pack JOIN series ON series.id = series WHERE key = 'loss'`).Scan(&bytes); err != nil {
		return explain(s.path, err)
	}
	v.PackedMB = float64(bytes) / float64(v.Points)
	return nil
}

// noisyLoss is a loss as the network computes it, in 32 bits.
func noisyLoss(step int64) float64 {
	x := uint64(step) * 0x9e3779b97f4a7c15
	return float64(0.05 + 0.1*float32(x>>40)/(1<<24))
}

// timeRead times the reading of all losses.
func timeRead(ctx context.Context, s *Store, run string, want int) (seconds float64, err error) {
	if err := s.Flush(); err != nil {
		return 0, err
	}
	begun := time.Now()
	all, err := s.Points(ctx, run, MetricLoss)
	if err == nil && len(all) != want {
		err = fmt.Errorf("read %d points of %d", len(all), want)
	}
	return time.Since(begun).Seconds(), err
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// measureCompare makes runs with 200 losses and a score each, and times their table.
func (v *StoreSpeed) measureCompare(ctx context.Context, s *Store, o order) error {
	const losses = 200
	p := Protocol{Protocol: fid.Protocol{Metric: "FD", Extractor: "none", N: 500}}
	m := method{id: p.Hash(), metric: p.Metric, detail: p.Protocol}
	err := s.do(true, func(tx *sql.Tx) error {
		if err := m.save(ctx, tx); err != nil {
			return err
		}
		for i := range v.Runs {
			o.config.Seed = uint64(i)
			a := &session{store: s, run: fmt.Sprintf("MEASURE%019d", i), number: 1}
			if err := errors.Join(o.insert(ctx, tx, a.run, 1, s.now()), a.enter(ctx, tx, o.env, 0)); err != nil {
				return err
			}
			loss, score := &seriesRef{session: a, name: MetricLoss}, &seriesRef{session: a, name: MetricFD, protocol: m.id}
			points := []queued{{series: score, step: losses, value: float64(i)}}
			for step := range int64(losses) {
				points = append(points, queued{series: loss, step: step + 1, value: 1})
			}
			if err := insertPoints(tx, points); err != nil {
				return err
			}
			if _, err := tx.Exec(updateFinish, StatusFinished, s.micros(), losses, "", a.run, 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, s.packAll(ctx)); err != nil {
		return err
	}
	begun := time.Now()
	runs, err := s.Query(ctx, "count(loss) < 1000 order by fd")
	if err != nil {
		return err
	}
	c, err := s.Compare(ctx, runs)
	if err != nil {
		return err
	}
	if text := c.String(); len(runs) != v.Runs || text == "" {
		return fmt.Errorf("compared %d runs of %d", len(runs), v.Runs)
	}
	v.Compare = time.Since(begun).Seconds()
	return nil
}

// Table is what was measured beside what the store is built for.
func (v *StoreSpeed) Table() *render.Table {
	t := &render.Table{Caption: "The run store", Columns: append(render.Left("what"), render.Right("measured", "aim")...)}
	t.Add("one call of Record, median", fmt.Sprintf("%.2f µs", v.LogP50), "2 µs")
	t.Add("one call of Record, 99 %", fmt.Sprintf("%.2f µs", v.LogP99), "20 µs")
	t.Add("points to disk", fmt.Sprintf("%.0f/s", v.PerSecond), "300000/s")
	t.Add(fmt.Sprintf("%d points read back", v.Points), fmt.Sprintf("%.3f s", v.ReadBack), fmt.Sprintf("%.3f s", 0.35*float64(v.Points)/1e6))
	t.Add("the same, packed", fmt.Sprintf("%.3f s", v.ReadPack), fmt.Sprintf("%.3f s", 0.1*float64(v.Points)/1e6))
	t.Add("packing them", fmt.Sprintf("%.3f s", v.Pack), "")
	t.Add("query for a last and a least value", fmt.Sprintf("%.1f ms", 1e3*v.Query), "")
	t.Add("file, for a million points", fmt.Sprintf("%.1f MB", v.Megabytes), "40 MB")
	t.Add("packs, for a million points", fmt.Sprintf("%.1f MB", v.PackedMB), "")
	t.Add(fmt.Sprintf("table of %d runs", v.Runs), fmt.Sprintf("%.0f ms", 1e3*v.Compare), fmt.Sprintf("%.0f ms", 100*float64(v.Runs)/2000))
	return t
}

// Bundle is the table.
func (v *StoreSpeed) Bundle() render.Bundle { return v.Table().Bundle() }

// String is the table as text.
func (v *StoreSpeed) String() string { return v.Table().String() }
