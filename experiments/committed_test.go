package experiments_test

import (
	"database/sql"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"ddpmlab/experiments"
)

var update = flag.Bool("update", false, "write runs.db at the repository's root anew")

// The database that is committed opens, has the newest schema and the papers' rows, and
// is small. `go test ./experiments -run TestCommitted -update` makes it anew.
func TestCommitted(t *testing.T) {
	committed := filepath.Join("..", experiments.DefaultName)
	if *update {
		s, err := experiments.Open(filepath.Join(t.TempDir(), "new.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := os.Remove(committed); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := s.Copy(t.Context(), committed); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	write(t, path, string(text))
	s, err := experiments.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for table, want := range map[int]int{1: 4, 2: 48, 3: 8} {
		if rows, err := s.Reference(t.Context(), table); err != nil || len(rows) != want {
			t.Errorf("table %d: got %d rows, error %v, want %d", table, len(rows), err, want)
		}
	}
	if err := errors.Join(s.Check(t.Context()), s.Close()); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(text) {
		t.Errorf("reading changed the file (error %v)", err)
	}
}

// A copy is one file, complete, in a form that any program reads, also while runs are
// being recorded; a file that is there is not written over.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	s, err := experiments.Open(filepath.Join(dir, "runs.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path := filepath.Join(dir, "it's a copy.db")
	if err := s.Copy(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if err := s.Copy(t.Context(), path); err == nil {
		t.Error("got no error for a file that is there")
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 1<<20 {
		t.Errorf("got %v, error %v, want less than 1 MiB", info, err)
	}
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var mode string
	if err := db.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil || mode != "delete" {
		t.Errorf("got journal mode %s, error %v, want delete", mode, err)
	}
}
