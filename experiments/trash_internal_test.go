package experiments

import (
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A deleted run is in no list and is trained again when asked for; GC removes it and its
// files, and leaves what others have.
func TestDelete(t *testing.T) {
	s := testStore(t)
	o := testOrder(1)
	first, second := testRun(t, s, o, StatusFinished, 1), testRun(t, s, testOrder(2), StatusFinished, 2)
	sums := map[string]string{}
	for name, runs := range map[string][]string{"own": {first.ID}, "shared": {first.ID, second.ID}} {
		sum, size, err := s.saveFile(func(w io.Writer) error { _, err := io.WriteString(w, name); return err })
		if err != nil {
			t.Fatal(err)
		}
		sums[name] = sum
		err = s.do(true, func(tx *sql.Tx) error {
			_, err := tx.Exec(insertArtifact, sum, size, nil, 0)
			for _, run := range runs {
				_, e := tx.Exec(insertLink, run, name, 1, sum, 0)
				err = errors.Join(err, e)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// Half a file of a killed process, and one that is being written.
	old, young := filepath.Join(s.files, "new-1"), filepath.Join(s.files, "new-2")
	for _, f := range []string{old, young} {
		if err := os.WriteFile(f, []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(old, yesterday, yesterday); err != nil {
		t.Fatal(err)
	}

	if err := s.Delete(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if all, err := s.AllRuns(t.Context()); err != nil || len(all) != 1 || all[0].ID != second.ID {
		t.Errorf("got %v, error %v, want the other run alone", all, err)
	}
	if _, err := s.Run(t.Context(), first.ID); !errors.Is(err, ErrNoRun) {
		t.Errorf("got %v, want ErrNoRun", err)
	}
	if r, err := s.Restore(t.Context(), first.ID[:20]); err != nil || r.ID != first.ID {
		t.Errorf("got %v, error %v, want the run back", r, err)
	}
	if err := s.Delete(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	_, err := s.Run(t.Context(), strings.ToLower(first.ID))
	if want := "it was deleted; `ddpmlab runs restore " + first.ID + "` brings it back"; !errors.Is(err, ErrNoRun) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want ErrNoRun and %q", err, want)
	}
	if got, want := (&CellError{err}).CellMessage(), "it was deleted; lab.Restore(\""+first.ID+"\") brings it back"; !strings.HasSuffix(got, want) {
		t.Errorf("in a cell: got %q, want it to end with %q", got, want)
	}
	a, done, err := s.begin(t.Context(), o)
	if err != nil || done != "" {
		t.Fatalf("got run %q, error %v, want a new one", done, err)
	}
	a.start(t.Context())
	if err := s.Delete(t.Context(), a.run); !errors.Is(err, ErrAlreadyRuns) {
		t.Errorf("delete a run that is trained: got %v, want ErrAlreadyRuns", err)
	}
	if err := a.finish(StatusFinished, 0, ""); err != nil {
		t.Fatal(err)
	}

	if freed, err := s.GC(t.Context(), time.Hour); err != nil || freed.Runs != 0 || freed.Bytes != 4 {
		t.Errorf("got %+v, error %v, want the half file alone removed", freed, err)
	}
	freed, err := s.GC(t.Context(), 0)
	if err != nil || freed.Runs != 1 || freed.Files != 1 || freed.Bytes != 3 {
		t.Errorf("got %+v, error %v, want one run and its file", freed, err)
	}
	for path, want := range map[string]bool{s.file(sums["own"]): false, s.file(sums["shared"]): true, old: false, young: true} {
		if exists(path) != want {
			t.Errorf("%s: there %v, want %v", path, !want, want)
		}
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// A run's group and tags come back with it; what it takes of the machine is recorded.
func TestGroupTagsSystem(t *testing.T) {
	s := testStore(t)
	a, _, err := s.begin(WithGroup(t.Context(), "study"), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	a.Record(1, MetricLoss, 1)
	before, ok := readUsage(time.Now().Add(-time.Second))
	if !ok {
		t.Skip("this system does not say what a process uses")
	}
	a.sample(before)
	if err := a.finish(StatusFinished, 1, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(t.Context(), a.run, "good", ""); err != nil {
		t.Fatal(err)
	}
	r, err := s.Run(t.Context(), a.run)
	if err != nil || r.Group != "study" || len(r.Tags) != 1 {
		t.Fatalf("got %+v, error %v, want it in its group with a tag", r, err)
	}
	if mb, ok := r.Last(MetricMemory); !ok || mb < 1 || mb > 1e5 {
		t.Errorf("got %v MB, want what a test process takes", mb)
	}
	if cpu, ok := r.Last(MetricCPU); !ok || cpu < 0 || cpu > 1e4 {
		t.Errorf("got %v %%, want a share of the processors", cpu)
	}
	d, err := s.Show(t.Context(), a.run)
	if err != nil || len(d.Artifacts) == 0 || !d.Artifacts[0].Here {
		t.Errorf("got %+v, error %v, want texts about the environment", d.Artifacts, err)
	}
}
