package experiments

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ddpmlab/internal/cell"
	"ddpmlab/internal/exchange"
)

// contents is all rows of a database but the ids of its series, and which files it has.
func contents(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	for _, query := range []string{
		"SELECT * FROM run ORDER BY id", "SELECT * FROM session ORDER BY run, number", "SELECT * FROM param ORDER BY run, name",
		"SELECT run, key, context, protocol, step, time, value FROM point JOIN series ON series.id = series ORDER BY run, key, protocol, step",
		"SELECT * FROM cell ORDER BY sha256", "SELECT * FROM executed ORDER BY run, session, position", "SELECT * FROM tag ORDER BY run, name",
		"SELECT * FROM note ORDER BY run, time", "SELECT sha256, size FROM artifact ORDER BY sha256", "SELECT * FROM run_artifact ORDER BY run, name, step",
	} {
		r, err := s.SQL(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, query, r.Cells)
	}
	filepath.WalkDir(s.files, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			fmt.Fprintln(&b, d.Name())
		}
		return nil
	})
	return b.String()
}

// recorded records a run with points, a checkpoint, a cell and a tag.
func recorded(t *testing.T, s *Store, seed uint64, losses ...float64) string {
	t.Helper()
	ctx := cell.NewContext(t.Context(), cell.Cell{Source: fmt.Sprint("cell ", seed)})
	a, _, err := s.begin(ctx, testOrder(seed))
	if err != nil {
		t.Fatal(err)
	}
	a.start(ctx)
	for i, x := range losses {
		a.Record(int64(i+1), MetricLoss, x)
	}
	body := []byte(fmt.Sprint("checkpoint ", seed))
	err = errors.Join(
		a.saveAs(ctx, 1, func(w io.Writer) error { _, err := w.Write(body); return err }),
		a.finish(StatusInterrupted, int64(len(losses)), ""),
		s.Tag(ctx, a.run, "seed", fmt.Sprint(seed)), s.Note(ctx, a.run, fmt.Sprint("note ", seed)))
	if err != nil {
		t.Fatal(err)
	}
	return a.run
}

// Merging takes over all there is, twice is as good as once, and the order of merging
// does not matter.
func TestMerge(t *testing.T) {
	a, b, c := testStore(t), testStore(t), testStore(t)
	recorded(t, a, 1, 1, math.NaN(), math.Inf(1))
	shared := recorded(t, b, 2, 4, 5, 6)
	recorded(t, b, 3, 7)
	before := contents(t, b)
	for round, want := range []Merged{{Runs: 2, Files: 2}, {}} {
		m, err := a.Merge(t.Context(), b.Path())
		if err != nil || m != want {
			t.Errorf("round %d: got %+v, error %v, want %+v", round, m, err, want)
		}
	}
	if contents(t, b) != before {
		t.Error("the other database changed")
	}
	if _, err := c.Merge(t.Context(), a.Path()); err != nil {
		t.Fatal(err)
	}
	if got, want := contents(t, c), contents(t, a); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}

	// The run goes on there; here it gets a tag. Both are kept, and the newer state.
	if err := a.Tag(t.Context(), shared, "mine", "yes"); err != nil {
		t.Fatal(err)
	}
	r, err := b.reopen(t.Context(), shared, 2, environment{})
	if err != nil {
		t.Fatal(err)
	}
	r.start(t.Context())
	r.Record(3, MetricLoss, 60)
	r.Record(4, MetricLoss, 70)
	if err := r.finish(StatusFinished, 4, ""); err != nil {
		t.Fatal(err)
	}
	if m, err := a.Merge(t.Context(), b.Path()); err != nil || m.Runs != 1 {
		t.Errorf("got %+v, error %v, want the one run that went on", m, err)
	}
	if m, err := a.Merge(t.Context(), c.Path()); err != nil || m.Runs != 0 {
		t.Errorf("got %+v, error %v, want nothing of an older state", m, err)
	}
	run, err := a.Run(t.Context(), shared)
	if err != nil || run.Status != StatusFinished || fmt.Sprint(run.Tags) != "map[mine:yes seed:2]" {
		t.Errorf("got %+v, error %v, want it finished, with both tags", run, err)
	}
	if got, want := fmt.Sprint(mustPoints(t, a.read, shared)), "[4 5 60 70]"; got != want {
		t.Errorf("got losses %s, want %s", got, want)
	}
	if err := a.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// What cannot be merged is refused, and nothing changes.
func TestMergeRefuses(t *testing.T) {
	a, b := testStore(t), testStore(t)
	recorded(t, b, 1, 1)
	dir := t.TempDir()
	notes := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(notes, bytes.Repeat([]byte("notes"), 100), 0o644); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(dir, "theirs.db")
	if err := exchange.WriteMLflow(t.Context(), theirs, "x", nil); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, want string
	}{
		{filepath.Join(dir, "absent.db"), "no database at"},
		{notes, "not a ddpmlab database"},
		{a.Path(), "that it would be merged into"},
		{theirs, "theirs.db: not a ddpmlab database; `ddpmlab runs import` takes"},
	} {
		if _, err := a.Merge(t.Context(), tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
	// A damaged checkpoint.
	filepath.WalkDir(b.files, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.WriteFile(path, []byte("other bytes"), 0o644)
	})
	if _, err := a.Merge(t.Context(), b.Path()); !errors.Is(err, errChanged) {
		t.Errorf("got %v, want errChanged", err)
	}
	if all, err := a.AllRuns(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("got %d runs, error %v, want none", len(all), err)
	}
	if err := os.RemoveAll(b.files); err != nil {
		t.Fatal(err)
	}
	if m, err := a.Merge(t.Context(), b.Path()); err != nil || m.Runs != 1 || m.Absent != 1 {
		t.Errorf("got %+v, error %v, want the run without its file", m, err)
	}
}
