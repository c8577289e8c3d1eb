package experiments

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/internal/cell"
)

// selectPoints goes through the view, as SQL of the user's own does.
const selectPoints = `SELECT step, time, value FROM point
	WHERE series = (SELECT max(id) FROM series WHERE run = ? AND key = ?) ORDER BY step`

// mustPoints reads a run's losses without flushing first.
func mustPoints(t *testing.T, db *sql.DB, run string) []float64 {
	t.Helper()
	rows, err := db.Query(selectPoints, run, MetricLoss)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var values []float64
	for rows.Next() {
		var step, micros int64
		var v number
		if err := rows.Scan(&step, &micros, &v); err != nil {
			t.Fatal(err)
		}
		values = append(values, float64(v))
	}
	return values
}

// Values come back as they were recorded: NaN and infinities too.
func TestValues(t *testing.T) {
	s := testStore(t)
	want := []float64{1, 0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 5e-324, 3}
	r := testRun(t, s, testOrder(1), StatusFinished, want...)
	points := r.Series(MetricLoss)
	if len(points) != len(want) {
		t.Fatalf("got %d points, want %d", len(points), len(want))
	}
	for i, p := range points {
		if same := p.Value == want[i] || math.IsNaN(p.Value) && math.IsNaN(want[i]); !same || p.Step != int64(i+1) {
			t.Errorf("got %v at step %d, want %v at step %d", p.Value, p.Step, want[i], i+1)
		}
		if age := time.Since(p.Time); age < 0 || age > time.Minute {
			t.Errorf("step %d was recorded %v ago", p.Step, age)
		}
	}
	if v, ok := r.Last(MetricLoss); v != 3 || !ok {
		t.Errorf("got last %v %v, want 3", v, ok)
	}
	if got := r.Series("nothing"); got != nil {
		t.Errorf("got %v of a series that is not there, want nil", got)
	}
}

// A finished run is in the database's file, not only in the log beside it: a copy of
// the file alone, made while the store is open, has it.
func TestFinishedRunIsInTheFile(t *testing.T) {
	s := testStore(t)
	r := testRun(t, s, testOrder(1), StatusFinished, 1, 2, 3)
	b, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, want := fmt.Sprint(mustPoints(t, c.read, r.ID)), "[1 2 3]"; got != want {
		t.Errorf("got losses %s from the copy, want %s", got, want)
	}
}

// Points beyond a group's size, and a step recorded twice.
func TestManyPoints(t *testing.T) {
	s := testStore(t)
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	const n = 3*flushPoints + rowsAtOnce/2 + 1
	for i := range int64(n) {
		a.Record(i+1, MetricLoss, float64(i))
	}
	a.Record(n, MetricLoss, -1)
	if err := a.finish(StatusFinished, n, ""); err != nil {
		t.Fatal(err)
	}
	points, err := s.Points(t.Context(), a.run, MetricLoss)
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != n || points[n-1].Value != -1 || points[n-2].Value != n-2 {
		t.Errorf("got %d points that end with %v, want %d that end with -1", len(points), points[len(points)-1], n)
	}
}

// Rows come back as the database has them, also beyond those that are read at once, and at
// the ends of what a step can be.
func TestPointRows(t *testing.T) {
	s := testStore(t)
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	defer a.finish(StatusInterrupted, 1, "")
	odd := []float64{math.NaN(), math.Inf(1), math.Copysign(0, -1), 5e-324, 0.1}
	a.Record(math.MinInt64, MetricLoss, 1)
	for i := range int64(2*rowsOfPoints + 3) {
		a.Record(3*i-7, MetricLoss, odd[i%5])
	}
	a.Record(math.MaxInt64, MetricLoss, math.Inf(-1))
	got, err := s.Points(t.Context(), a.run, MetricLoss)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := s.read.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	want, err := appendEachRow(t.Context(), tx, nil, 1, math.MinInt64, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 2*rowsOfPoints+5 || len(got) != len(want) {
		t.Fatalf("got %d points, one by one %d, want %d", len(got), len(want), 2*rowsOfPoints+5)
	}
	for i, p := range got {
		q := want[i]
		if same := math.Float64bits(p.Value) == math.Float64bits(q.Value) || math.IsNaN(p.Value) && math.IsNaN(q.Value); !same || p.Step != q.Step || !p.Time.Equal(q.Time) {
			t.Fatalf("point %d: got %v, want %v", i, p, q)
		}
	}
	if p := got[2]; p.Step != -4 || !math.IsInf(p.Value, 1) {
		t.Errorf("got %v, want step -4 with an infinity", p)
	}
}

// A recorder that is faster than the disk waits; nothing is dropped.
func TestBackPressure(t *testing.T) {
	s := testStore(t)
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	w, err := s.writer()
	if err != nil {
		t.Fatal(err)
	}
	release, held := make(chan bool), make(chan bool)
	go w.do(false, func(*sql.Tx) error { close(held); <-release; return nil })
	<-held
	recorded := make(chan bool)
	go func() {
		for i := range int64(maxPoints + 1) {
			a.Record(i+1, MetricLoss, 1)
		}
		close(recorded)
	}()
	select {
	case <-recorded:
		t.Error("the recorder did not wait")
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	<-recorded
	if err := a.finish(StatusFinished, maxPoints+1, ""); err != nil {
		t.Fatal(err)
	}
	points, err := s.Points(t.Context(), a.run, MetricLoss)
	if err != nil || len(points) != maxPoints+1 {
		t.Errorf("got %d points, error %v, want %d", len(points), err, maxPoints+1)
	}
}

// Points that cannot be written end the training and say why.
func TestWriteFails(t *testing.T) {
	s := testStore(t)
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	ctx := a.start(t.Context())
	if err := s.do(false, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM run WHERE id = ?", a.run)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	a.Record(1, MetricLoss, 1)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() == nil || a.err() == nil {
		t.Error("the training went on although its run is gone")
	}
	a.Record(2, MetricLoss, 1) // ignored
	if err := a.finish(StatusFailed, 0, ""); err != nil {
		t.Error(err)
	}
}

// What is asked for again comes back at once; attempts are counted.
func TestBegin(t *testing.T) {
	s := testStore(t)
	o := testOrder(1)
	first := testRun(t, s, o, StatusInterrupted, 1)
	second := testRun(t, s, o, StatusFinished, 1, 2)
	a, done, err := s.begin(t.Context(), o)
	if a != nil || done != second.ID || err != nil {
		t.Errorf("got a session %v, run %q, error %v, want run %s", a != nil, done, err, second.ID)
	}
	again := o
	again.again = true
	third := testRun(t, s, again, StatusFailed)
	for i, r := range []*Run{first, second, third} {
		if r.Attempt != i+1 {
			t.Errorf("run %d: got attempt %d, want %d", i+1, r.Attempt, i+1)
		}
	}
	if _, done, _ := s.begin(t.Context(), o); done != second.ID {
		t.Errorf("got run %q, want the finished one, %s", done, second.ID)
	}
	testRun(t, s, testOrder(2), StatusFinished) // another seed is another run

	runs, err := s.Runs(t.Context(), testConfig(1))
	if err != nil || len(runs) != 1 || runs[0].ID != second.ID {
		t.Errorf("got runs %v, error %v, want the finished one", runs, err)
	}
	all, err := s.AllRuns(t.Context())
	if err != nil || len(all) != 4 {
		t.Errorf("got %d runs, error %v, want 4", len(all), err)
	}
}

// Two cells that train the same thing at once: the second is told.
func TestBeginTwice(t *testing.T) {
	s := testStore(t)
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	if _, _, err := s.begin(t.Context(), testOrder(1)); !errors.Is(err, ErrAlreadyRuns) || !strings.Contains(err.Error(), a.run) {
		t.Errorf("got %v, want ErrAlreadyRuns with the run's id", err)
	}
	if _, err := s.reopen(t.Context(), a.run, 0, environment{}); !errors.Is(err, ErrAlreadyRuns) {
		t.Errorf("resume: got %v, want ErrAlreadyRuns", err)
	}
	if err := a.finish(StatusFinished, 0, ""); err != nil {
		t.Fatal(err)
	}
}

// A resumed run goes on at its checkpoint: later points are forgotten, sessions counted.
func TestReopen(t *testing.T) {
	s := testStore(t)
	r := testRun(t, s, testOrder(1), StatusInterrupted, 1, 2, 3, 4)
	a, err := s.reopen(t.Context(), r.ID, 2, testOrder(1).env)
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	a.Record(3, MetricLoss, 30)
	if err := a.finish(StatusFinished, 3, ""); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(mustPoints(t, s.read, r.ID)), "[1 2 30]"; got != want {
		t.Errorf("got losses %s, want %s", got, want)
	}
	d, err := s.Show(t.Context(), r.ID)
	if err != nil || len(d.Sessions) != 2 || d.Sessions[1].FromStep != 2 || d.Status != StatusFinished || d.Step != 3 {
		t.Errorf("got %+v, error %v, want two sessions, the second from step 2, finished at 3", d, err)
	}
	if _, err := s.reopen(t.Context(), r.ID, 2, environment{}); !errors.Is(err, ErrNotResumable) {
		t.Errorf("resume a finished run: got %v, want ErrNotResumable", err)
	}
}

// The cells that led to a run are kept as they were.
func TestCells(t *testing.T) {
	s := testStore(t)
	ctx := cell.NewContext(t.Context(), cell.Cell{
		Notebook: "tour.ipynb", Index: 7, Source: "lab.Train(ctx, cfg, v)\n", Before: []string{"cfg := ddpm.Tour()", "x := `\x00`"},
	})
	a, _, err := s.begin(ctx, testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	a.start(ctx)
	if err := a.finish(StatusFinished, 0, ""); err != nil {
		t.Fatal(err)
	}
	d, err := s.Show(ctx, a.run)
	if err != nil {
		t.Fatal(err)
	}
	want := []Executed{
		{1, "tour.ipynb", 0, "cfg := ddpm.Tour()"},
		{1, "tour.ipynb", 0, "x := `\x00`"},
		{1, "tour.ipynb", 7, "lab.Train(ctx, cfg, v)\n"},
	}
	if fmt.Sprint(d.Cells) != fmt.Sprint(want) {
		t.Errorf("got cells %v, want %v", d.Cells, want)
	}
}

// Config and variant are also rows with types.
func TestParams(t *testing.T) {
	s := testStore(t)
	o := testOrder(math.MaxUint64)
	o.variant = ddpm.InputPerturbation(0.1)
	r := testRun(t, s, o, StatusFinished)
	if r.Seed != math.MaxUint64 {
		t.Errorf("got seed %d, want %d", r.Seed, uint64(math.MaxUint64))
	}
	for _, tt := range []struct {
		name, kind, typ string
		value           any
	}{
		{"batch", "int", "integer", int64(64)},
		{"lr", "float", "real", 1e-3},
		{"ema_warmup", "bool", "integer", int64(1)},
		{"schedule", "string", "text", "cosine"},
		{"model.mult", "json", "text", "[1,2]"},
		{"seed", "json", "text", "18446744073709551615"},
		{"variant.gamma", "float", "real", 0.1},
	} {
		var kind, typ string
		var value any
		err := s.read.QueryRow("SELECT kind, typeof(value), value FROM param WHERE run = ? AND name = ?", r.ID, tt.name).Scan(&kind, &typ, &value)
		if err != nil || kind != tt.kind || typ != tt.typ || value != tt.value {
			t.Errorf("%s: got %s %s %v, error %v, want %s %s %v", tt.name, kind, typ, value, err, tt.kind, tt.typ, tt.value)
		}
	}
	runs, err := s.Runs(t.Context(), o.config)
	if err != nil || len(runs) != 1 {
		t.Errorf("got %d runs with this seed, error %v, want 1", len(runs), err)
	}
}

func TestDead(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	me := lease{boot: "boot-1 pid:[4]", pid: 100, born: 5000}
	table := func(pid int) (int64, bool) { // the processes of this machine
		born, ok := map[int]int64{100: 5000, 101: 5001, 102: 9999}[pid]
		return born, ok
	}
	for _, tt := range []struct {
		name  string
		boot  string
		pid   int
		born  int64
		since time.Duration // the last heartbeat
		want  bool
	}{
		{"alive", me.boot, 101, 5001, time.Second, false},
		{"alive after a night's sleep", me.boot, 101, 5001, 9 * time.Hour, false},
		{"ended", me.boot, 103, 5001, time.Second, true},
		{"another process has its number", me.boot, 102, 5001, time.Second, true},
		{"this process", me.boot, 100, 5000, time.Second, false},
		{"this process, but the session ended", me.boot, 100, 5000, 2 * time.Minute, true},
		{"this process's number before", me.boot, 100, 4000, time.Second, true},
		{"another machine", "boot-2 pid:[4]", 101, 5001, time.Second, false},
		{"another machine, silent", "boot-2 pid:[4]", 101, 5001, 2 * time.Minute, true},
		{"another container, silent", "boot-1 pid:[9]", 101, 5001, 2 * time.Minute, true},
		{"a machine that does not say", "", 101, 0, time.Second, false},
		{"a machine that does not say, silent", "", 101, 0, 2 * time.Minute, true},
		{"a clock ahead of ours", "boot-2", 101, 0, -time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lease{boot: tt.boot, pid: tt.pid, born: tt.born, heartbeat: now.Add(-tt.since)}
			if got := l.dead(me, now, table); got != tt.want {
				t.Errorf("got dead %v, want %v: %+v", got, tt.want, l)
			}
		})
	}
}

func TestProcessBorn(t *testing.T) {
	born, ok := processBorn(os.Getpid())
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	if !ok || born <= 0 || born != ownLease().born {
		t.Errorf("got %d %v of this process, want the ticks of its lease, %d", born, ok, ownLease().born)
	}
	if _, ok := processBorn(1 << 30); ok {
		t.Error("a process that cannot be is alive")
	}
}

// Every schema file is a step, and an older database is brought to the newest one.
func TestMigrate(t *testing.T) {
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "old.db")
	db, err := openWriter(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(steps[0] + fmt.Sprintf("; PRAGMA user_version = 1; PRAGMA application_id = %d", applicationID)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	state, err := readState(t.Context(), s.read, path, len(steps))
	if err != nil || state.version != len(steps) {
		t.Errorf("got version %d, error %v, want %d", state.version, err, len(steps))
	}
	if rows, err := s.Reference(t.Context(), 1); err != nil || len(rows) != 4 {
		t.Errorf("got %d reference rows, error %v, want 4", len(rows), err)
	}
}

// A process that ended while it held the database only for reading leaves no trace; a
// database that is only read stays as it is, byte for byte.
func TestReadLeavesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	testRun(t, s, testOrder(1), StatusFinished, 1)
	if err := s.do(false, func(*sql.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.AllRuns(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || string(before) != string(after) {
		t.Errorf("reading changed the file (error %v)", err)
	}
	names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if len(names) != 1 {
		t.Errorf("got files %v, want the database alone", names)
	}
}
