package experiments

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// A series has a context: what stands before the last slash of its name. Cells can add
// numbers to a run that has ended.
func TestSeriesInContext(t *testing.T) {
	s := testStore(t)
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	a.Record(1, "loss", 3)
	a.Record(1, "validation/loss", 4)
	if err := a.finish(StatusFinished, 1, ""); err != nil {
		t.Fatal(err)
	}
	for step, v := range []float64{0.5, 0.75} {
		if err := s.Record(t.Context(), a.run, "a/b/accuracy", int64(step), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Record(t.Context(), a.run, "accuracy", 7, 0.25); err != nil {
		t.Fatal(err)
	}
	rows, err := s.SQL(t.Context(), "SELECT context, key, n, last FROM series ORDER BY 1, 2")
	if got := fmt.Sprint(rows.Cells); err != nil || got != "[[ accuracy 1 0.25] [ loss 1 3] [a/b accuracy 2 0.75] [validation loss 1 4]]" {
		t.Errorf("got %s, error %v", got, err)
	}
	r, err := s.Run(t.Context(), a.run)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Keys()); got != "[a/b/accuracy accuracy loss validation/loss]" {
		t.Errorf("got series %s", got)
	}
	if points := r.Series("validation/loss"); len(points) != 1 || points[0].Value != 4 || r.Series("loss")[0].Value != 3 {
		t.Errorf("got %v and %v, want 4 and 3", points, r.Series("loss"))
	}
	for query, want := range map[string]int{
		"validation/loss = 4 and loss = 3": 1, "min(a/b/accuracy) < 0.6 and max(a/b/accuracy) > 0.7": 1, "count(accuracy) = 1": 1, "accuracy > 0.3": 0,
	} {
		if found, err := s.Query(t.Context(), query); err != nil || len(found) != want {
			t.Errorf("%s: got %d runs, error %v, want %d", query, len(found), err, want)
		}
	}
	for _, name := range []string{"", "loss", "fd"} {
		if err := s.Record(t.Context(), a.run, name, 1, 0); err == nil || !strings.Contains(err.Error(), "a name of your own") {
			t.Errorf("%q: got %v, want it refused", name, err)
		}
	}
	if got := r.Series("loss"); got[0].Value != 3 {
		t.Errorf("a refused number changed the series: %v", got)
	}
}

// A packed series takes no more.
func TestRecordPacked(t *testing.T) {
	s := testStore(t)
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	for step := range int64(packLeast) {
		a.Record(step, "mine", 1)
	}
	if err := a.finish(StatusFinished, packLeast, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Record(t.Context(), a.run, "mine", packLeast, 2); err == nil || !strings.Contains(err.Error(), "is packed") {
		t.Errorf("got %v, want it refused", err)
	}
	if points, err := s.Points(t.Context(), a.run, "mine"); err != nil || len(points) != packLeast {
		t.Errorf("got %d points, error %v, want %d", len(points), err, packLeast)
	}
}

// Series with slashes in their names, as imports made them before there were contexts, get
// one; their names stay what they were.
func TestSeriesGetContext(t *testing.T) {
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "old.db")
	db, err := openWriter(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, step := range steps[:9] {
		if _, err := db.Exec(step); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"loss", "train/loss", "a/b/c", "/root", "end/", "x//y"}
	if _, err := db.Exec(`INSERT INTO run (id, key, attempt, name, preset, data, data_sha256, seed, config, variant, status, started)
		VALUES ('R', '', 1, '', '', '', '', 0, '{}', '{}', 'finished', 0)`); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, err := db.Exec("INSERT INTO series (run, key) VALUES ('R', ?)", name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(steps[9]); err != nil {
		t.Fatal(err)
	}
	got, err := texts(t.Context(), db, "SELECT "+sqlSeriesName+" FROM series ORDER BY id")
	if err != nil || fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("got names %q, error %v, want %q", got, err, names)
	}
	for _, name := range names {
		context, key := splitSeries(name)
		var n int
		if err := db.QueryRow("SELECT count(*) FROM series WHERE context = ? AND key = ?", context, key).Scan(&n); err != nil || n != 1 {
			t.Errorf("%s: got %d series of key %q in context %q, error %v", name, n, key, context, err)
		}
	}
}

// A run knows the run that it was made from.
func TestParent(t *testing.T) {
	s := testStore(t)
	first := testRun(t, s, testOrder(1), StatusFinished, 1)
	o := testOrder(2)
	a, _, err := s.begin((&Lab{store: s}).Group("g").Under(first).in(t.Context()), o)
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	if err := a.finish(StatusFinished, 0, ""); err != nil {
		t.Fatal(err)
	}
	runs, err := s.Query(t.Context(), "parent = "+first.ID)
	if err != nil || len(runs) != 1 || runs[0].ID != a.run || runs[0].Parent != first.ID || runs[0].Group != "g" || first.Parent != "" {
		t.Fatalf("got %v, error %v, want run %s under %s", runs, err, a.run, first.ID)
	}
	if text := runs[0].String(); !strings.Contains(text, first.ID) {
		t.Errorf("the card does not name the run that it was made from:\n%s", text)
	}
}
