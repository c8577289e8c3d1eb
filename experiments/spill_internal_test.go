package experiments

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ddpmlab/internal/display"
)

// fill makes the disk look full to the writing connection of a store: the database cannot
// grow any more.
func fill(s *Store) error { return limit(s, 1) }

// limit lets the database grow to so many pages; it is never smaller than it is.
func limit(s *Store, pages int) error {
	if err := s.do(true, nil); err != nil { // nothing waits, and the writer is open
		return err
	}
	_, err := s.write.db.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages))
	return err
}

// recordLosses records losses from step first to last.
func recordLosses(a *session, first, last int64) {
	for step := first; step <= last; step++ {
		a.Record(step, MetricLoss, 1/float64(step))
	}
}

// wantLosses compares a run's losses with those of recordLosses up to step n.
func wantLosses(t *testing.T, s *Store, run string, n int) {
	t.Helper()
	points, err := s.Points(t.Context(), run, MetricLoss)
	if err != nil || len(points) != n {
		t.Fatalf("got %d points, error %v, want %d", len(points), err, n)
	}
	for i, p := range points {
		if p.Step != int64(i+1) || p.Value != 1/float64(i+1) {
			t.Fatalf("got %v at %d, want step %d", p, i, i+1)
		}
	}
}

// spillTo keeps journals of tests out of the user's folders.
func spillTo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(envSpill, dir)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	return dir
}

// A training whose database cannot grow goes on, and says so; once there is room its
// numbers are where they belong, in order, and no journal is left.
func TestSpill(t *testing.T) {
	spillTo(t)
	s := testStore(t)
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	var shown display.Recording
	ctx := a.start(display.NewContext(t.Context(), &shown))
	recordLosses(a, 1, 100)
	if err := fill(s); err != nil {
		t.Fatal(err)
	}
	recordLosses(a, 101, 30_000)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	left := s.Waiting()
	if len(left) != 1 || !strings.HasPrefix(left[0], s.Path()+"-spill-") {
		t.Fatalf("got journals %v, want one beside the database", left)
	}
	all := shown.AllShown()
	if len(all) != 1 || !strings.Contains(all[0].Bundle.String(), "disk is full") || !strings.Contains(all[0].Bundle.String(), left[0]) {
		t.Errorf("got %v, want to be told once what happens and where the numbers are", all)
	}
	if err := limit(s, 1<<30); err != nil {
		t.Fatal(err)
	}
	recordLosses(a, 30_001, 30_010)
	if err := a.finish(StatusFinished, 30_010, ""); err != nil || ctx.Err() == nil && a.err() != nil {
		t.Fatalf("got error %v, %v", err, a.err())
	}
	wantLosses(t, s, a.run, 30_010)
	if left := s.Waiting(); len(left) != 0 {
		t.Errorf("got journals %v, want none", left)
	}
}

// What a process could not bring into the database by its end, the next one does: points,
// checkpoints and how the run ended.
func TestSpillTakenOver(t *testing.T) {
	spillTo(t)
	path := filepath.Join(t.TempDir(), "runs.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	ctx := a.start(t.Context())
	if err := fill(s); err != nil {
		t.Fatal(err)
	}
	recordLosses(a, 1, 20_000)
	body := bytes.Repeat([]byte("weights"), 1000)
	if err := a.saveAs(ctx, 20_000, func(w io.Writer) error { _, err := w.Write(body); return err }); err != nil {
		t.Fatal(err)
	}
	err = a.finish(StatusFinished, 20_000, "")
	if !errors.Is(err, ErrSpilled) || !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), a.run+" is finished") {
		t.Fatalf("got %v, want ErrSpilled with the run and its reason", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing left to do
		if s, err = Open(path); err != nil {
			t.Fatal(err)
		}
		wantLosses(t, s, a.run, 20_000)
		r, err := s.Run(t.Context(), a.run)
		if err != nil || r.Status != StatusFinished || r.Step != 20_000 {
			t.Errorf("got %v, error %v, want it finished", r, err)
		}
		all, err := s.checkpoints(t.Context(), a.run)
		if err != nil || len(all) != 1 || all[0].sum != sha256Hex(body) || !exists(s.file(all[0].sum)) {
			t.Errorf("got checkpoints %v, error %v, want one", all, err)
		}
		if left := s.Waiting(); len(left) != 0 {
			t.Errorf("got journals %v, want none", left)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A database that another program holds for long does not hold a training up.
func TestSpillHeld(t *testing.T) {
	spillTo(t)
	s := testStore(t)
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	if _, err := s.write.db.Exec("PRAGMA busy_timeout = 10"); err != nil {
		t.Fatal(err)
	}
	cmd := child(t, "hold", s.Path())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(out, new(string)); err != nil {
		t.Fatal(err)
	}
	s.write.patience = 100 * time.Millisecond
	recordLosses(a, 1, 5000)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if left := s.Waiting(); len(left) != 1 {
		t.Errorf("got journals %v, want one", left)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := a.finish(StatusFinished, 5000, ""); err != nil {
		t.Fatal(err)
	}
	wantLosses(t, s, a.run, 5000)
}

// A journal is read up to its last whole line; entries of runs that are not in the database
// stay; of a run that was resumed, what was recorded anew is not brought back.
func TestReplay(t *testing.T) {
	spillTo(t)
	path := filepath.Join(t.TempDir(), "runs.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	r := testRun(t, s, testOrder(1), StatusInterrupted, 1, 0.5)
	a, err := s.reopen(t.Context(), r.ID, 2, environment{})
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	recordLosses(a, 3, 4)
	if err := errors.Join(a.finish(StatusInterrupted, 4, ""), s.Close()); err != nil {
		t.Fatal(err)
	}
	j, err := newJournal(journalPlaces(path)[0])
	if err != nil {
		t.Fatal(err)
	}
	old := entry{Run: r.ID, Session: 1, Key: MetricLoss, Pack: encodePack([]Point{{2, time.Now(), 0.5}, {3, time.Now(), 77}, {9, time.Now(), 77}})}
	now := entry{Run: r.ID, Session: 2, Key: MetricLoss, Pack: encodePack([]Point{{5, time.Now(), 0.2}})}
	gone := entry{Run: "01J00000000000000000000000", Session: 1, Key: MetricLoss, Pack: old.Pack}
	for _, e := range []entry{old, gone, now} {
		if err := j.append(e, true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.f.WriteString(`{"run":"` + r.ID); err != nil {
		t.Fatal(err)
	}
	open := func(journals int) {
		t.Helper()
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if journals == 0 {
			wantLosses(t, s, r.ID, 4)
			return
		}
		wantLosses(t, s, r.ID, 5)
		if left := s.Waiting(); len(left) != journals {
			t.Errorf("got journals %v, want %d", left, journals)
		}
	}
	open(0) // its process lives: nobody else takes it
	if err := j.f.Close(); err != nil {
		t.Fatal(err)
	}
	open(1)
	open(1)
}

// childSpill trains on a disk that is full to the last byte, with its journals elsewhere.
func childSpill(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	defer s.Close()
	a, _, err := s.begin(context.Background(), testOrder(1))
	if err != nil {
		return err
	}
	ctx := a.start(context.Background())
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "ballast"), make([]byte, 1<<21), 0o644); err == nil {
		return errors.New("the disk is not small")
	}
	recordLosses(a, 1, 50_000)
	body := bytes.Repeat([]byte("weights"), 100_000)
	if err := a.saveAs(ctx, 50_000, func(w io.Writer) error { _, err := w.Write(body); return err }); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if err := a.finish(StatusFinished, 50_000, ""); !errors.Is(err, ErrSpilled) {
		return fmt.Errorf("got %v, want ErrSpilled", err)
	}
	return a.err()
}

// A training on a disk that is full goes on with journals on another one, checkpoint
// included, and all is there when there is room again.
func TestSpillFullDisk(t *testing.T) {
	elsewhere := spillTo(t)
	disk := t.TempDir()
	onSmallDisk(t, "spill", disk)
	if names, err := os.ReadDir(elsewhere); err != nil || len(names) < 2 {
		t.Fatalf("got %v, error %v, want journal and checkpoint", names, err)
	}
	s, err := Open(filepath.Join(disk, "runs.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	runs, err := s.AllRuns(t.Context())
	if err != nil || len(runs) != 1 || runs[0].Status != StatusFinished {
		t.Fatalf("got runs %v, error %v, want one that is finished", runs, err)
	}
	wantLosses(t, s, runs[0].ID, 50_000)
	all, err := s.checkpoints(t.Context(), runs[0].ID)
	if err != nil || len(all) != 1 {
		t.Fatalf("got checkpoints %v, error %v, want one", all, err)
	}
	f, err := s.artifact(t.Context(), all[0].sum)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Error(err)
	}
	if err := errors.Join(f.Close(), s.Check(t.Context())); err != nil {
		t.Error(err)
	}
	names, err := os.ReadDir(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.Contains(n.Name(), "spill") {
			t.Errorf("%s was left behind", n.Name())
		}
	}
}
