package experiments

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// somePoints are points as trainings have them, and as they do not: gaps in the steps,
// clocks that go back, every kind of number.
func somePoints(n int) []Point {
	r := rand.New(rand.NewPCG(1, 2))
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), math.MaxFloat64, 5e-324, 1, 0.1, math.Pi}
	points := make([]Point, n)
	step, micros := int64(1), int64(1_800_000_000_000_000)
	for i := range points {
		value := float64(r.Float32()) // what a network computes
		switch r.IntN(8) {
		case 0:
			value = odd[r.IntN(len(odd))]
		case 1:
			value = r.NormFloat64()
		}
		points[i] = Point{step, time.UnixMicro(micros), value}
		step, micros = step+1, micros+r.Int64N(50_000)
		if r.IntN(20) == 0 {
			step, micros = step+r.Int64N(1000), micros-r.Int64N(1_000_000)
		}
	}
	return points
}

func samePoint(a, b Point) bool {
	return a.Step == b.Step && a.Time.Equal(b.Time) && math.Float64bits(a.Value) == math.Float64bits(b.Value)
}

// Points come out of a pack bit by bit, and any change of a pack is noticed.
func TestPack(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 100, 5000} {
		want := somePoints(n)
		pack := encodePack(want)
		got, err := decodePack(nil, pack)
		if err != nil || len(got) != n {
			t.Fatalf("%d points: got %d, error %v", n, len(got), err)
		}
		for i := range got {
			if !samePoint(got[i], want[i]) {
				t.Fatalf("%d points: got %v at %d, want %v", n, got[i], i, want[i])
			}
		}
		for range 100 {
			bad := append([]byte(nil), pack...)
			bad[rand.IntN(len(bad))] ^= 1 << rand.IntN(8)
			if _, err := decodePack(nil, bad); err == nil {
				t.Fatalf("%d points: a changed bit was not noticed", n)
			}
		}
	}
	extreme := []Point{{math.MinInt64, time.UnixMicro(math.MinInt64), 1}, {math.MaxInt64, time.UnixMicro(math.MaxInt64), 2}, {0, time.UnixMicro(0), 2}}
	got, err := decodePack(nil, encodePack(extreme))
	if err != nil || len(got) != 3 || !samePoint(got[1], extreme[1]) {
		t.Errorf("got %v, error %v, want %v", got, err, extreme)
	}
}

// What is no pack, but has the right checksum, is refused without a panic.
func FuzzPack(f *testing.F) {
	for _, n := range []int{0, 1, 50} {
		pack := encodePack(somePoints(n))
		f.Add(pack[1 : len(pack)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		points, err := decodePack(nil, sealed(body))
		if err != nil {
			return
		}
		again, err := decodePack(nil, encodePack(points))
		if err != nil || len(again) != len(points) {
			t.Fatalf("got %d points, error %v, want %d", len(again), err, len(points))
		}
		for i := range points {
			if !samePoint(points[i], again[i]) {
				t.Fatalf("got %v, want %v", again[i], points[i])
			}
		}
	})
}

// packRows makes rows of a run's points again, as before it was packed.
func unpackRun(t *testing.T, s *Store, run string) {
	t.Helper()
	err := s.do(false, func(tx *sql.Tx) error {
		for _, query := range []string{
			`INSERT INTO point_row SELECT * FROM point WHERE series IN (SELECT series FROM point_pack JOIN series ON id = series WHERE run = ?)`,
			`DELETE FROM point_pack WHERE series IN (SELECT id FROM series WHERE run = ?)`,
			`UPDATE series SET n = NULL, head = NULL, last = NULL, last_step = NULL, low = NULL, high = NULL, mean = NULL, tail = NULL WHERE run = ?`,
		} {
			if _, err := tx.Exec(query, run); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// packedRun records a run long enough for several packs.
func packedRun(t *testing.T, s *Store, o order) *Run {
	t.Helper()
	const n = packPoints + 3000
	losses := make([]float64, n)
	for i, p := range somePoints(n) {
		losses[i] = p.Value
	}
	return testRun(t, s, o, StatusFinished, losses...)
}

func count(t *testing.T, s *Store, query string, args ...any) (n int) {
	t.Helper()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.read.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A finished run's long series are packed, and everything that reads them finds what it
// found before: the series, queries, SQL, merging, copying. A run that can be resumed is
// not packed.
func TestPacked(t *testing.T) {
	s := testStore(t)
	o := testOrder(1)
	r := packedRun(t, s, o)
	o.again = true
	open := testRun(t, s, o, StatusInterrupted, make([]float64, packLeast)...)
	short := testRun(t, s, testOrder(2), StatusFinished, 3, 1, 2)
	if rows, packs := count(t, s, "SELECT count(*) FROM point_row"), count(t, s, "SELECT count(*) FROM point_pack"); rows != packLeast+3 || packs != 2 {
		t.Fatalf("got %d rows and %d packs, want the %d points of the other runs and 2", rows, packs, packLeast+3)
	}
	queries := []string{
		"last(loss) < 10 order by loss", "first(loss) > 0", "min(loss) > 0 order by min(loss)", "max(loss) > 1",
		"mean(loss) > 0", "count(loss) > 100", "count(loss) = 3 and last(loss) = 2 and first(loss) = 3 and min(loss) = 1",
	}
	state := func(s *Store) string {
		var out strings.Builder
		for _, id := range []string{r.ID, open.ID, short.ID} {
			x, err := s.Run(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			last, _ := x.Last(MetricLoss)
			fmt.Fprintln(&out, id, last, x.loss)
			points, err := s.Points(t.Context(), id, MetricLoss)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range points {
				v := fmt.Sprint(math.Float64bits(p.Value))
				if math.IsNaN(p.Value) {
					v = "NaN"
				}
				fmt.Fprintln(&out, p.Step, p.Time.UnixMicro(), v)
			}
			// As SQL sees them.
			for _, v := range mustPoints(t, s.read, id) {
				fmt.Fprintln(&out, v)
			}
		}
		for _, q := range queries {
			runs, err := s.Query(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range runs {
				q += " " + r.ID
			}
			fmt.Fprintln(&out, q)
		}
		return out.String()
	}
	want := state(s)
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := s.Copy(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	c, err := Open(copied)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	merged := testStore(t)
	if _, err := merged.Merge(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if n := count(t, merged, "SELECT count(*) FROM point_pack"); n != 2 {
		t.Errorf("got %d packs after merging, want 2", n)
	}
	for name, other := range map[string]*Store{"copied": c, "merged": merged} {
		if got := state(other); got != want {
			t.Errorf("%s: it has changed: %s", name, firstDifference(got, want))
		}
	}
	unpackRun(t, s, r.ID)
	unpackRun(t, s, short.ID)
	if n := count(t, s, "SELECT count(*) FROM point_pack"); n != 0 {
		t.Fatalf("got %d packs, want none", n)
	}
	if got := state(s); got != want {
		t.Errorf("unpacked: it differs: %s", firstDifference(got, want))
	}
	before := count(t, s, "SELECT count(*) FROM pragma_freelist_count, pragma_page_count WHERE page_count > 0")
	if _, err := s.GC(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := state(s); got != want || count(t, s, "SELECT count(*) FROM point_pack") != 2 {
		t.Errorf("packed by GC: it differs: %s", firstDifference(got, want))
	}
	if free := count(t, s, "SELECT freelist_count FROM pragma_freelist_count"); free > 100 {
		t.Errorf("got %d free pages after GC, want few (before: %d)", free, before)
	}
}

// firstDifference shows where two long texts begin to differ.
func firstDifference(got, want string) string {
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	part := func(s string) string { return s[min(max(0, i-40), len(s)):min(i+40, len(s))] }
	return fmt.Sprintf("got ...%q, want ...%q", part(got), part(want))
}

// Values keep all their bits on the way through SQL's JSON.
func TestPackedSQL(t *testing.T) {
	s := testStore(t)
	r := packedRun(t, s, testOrder(1))
	points, err := s.Points(t.Context(), r.ID, MetricLoss)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range mustPoints(t, s.read, r.ID) {
		if want := points[i].Value; v != want && !(math.IsNaN(v) && math.IsNaN(want)) {
			t.Fatalf("got %v of point %d, want %v", v, i, want)
		}
	}
}

// A process that is killed while it packs leaves each point once, and the next one goes on.
func TestPackInterrupted(t *testing.T) {
	s := testStore(t)
	r := packedRun(t, s, testOrder(1))
	unpackRun(t, s, r.ID)
	want := len(r.Series(MetricLoss))
	id := count(t, s, "SELECT id FROM series WHERE key = 'loss'")
	if err := s.do(false, func(tx *sql.Tx) error {
		_, err := tx.Exec(updateSummary, r.ID)
		if err == nil {
			_, err = packOldest(context.Background(), tx, int64(id))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got := len(r.Series(MetricLoss)); got != want || count(t, s, "SELECT count(*) FROM point_row") != want-packPoints {
		t.Errorf("half-way: got %d points, want %d", got, want)
	}
	if err := s.packAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows := count(t, s, "SELECT count(*) FROM point_row"); rows != 0 {
		t.Errorf("got %d rows, want all packed", rows)
	}
	points := r.Series(MetricLoss)
	if len(points) != want {
		t.Fatalf("got %d points, want %d", len(points), want)
	}
	for i, p := range points {
		if p.Step != int64(i+1) {
			t.Fatalf("got step %d at %d", p.Step, i)
		}
	}
}
