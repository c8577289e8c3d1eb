package experiments_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ddpmlab/experiments"
)

// write makes a file and the folders above it.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Which file a name means.
func TestOpenPath(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string // that are there, below the root
		env   string   // DDPMLAB_DB, below the root
		cwd   string
		open  string
		want  string
	}{
		{"beside go.mod", []string{"go.mod", "notebooks/tour.ipynb"}, "", "notebooks", "runs.db", "runs.db"},
		{"no name", []string{"go.mod", "notebooks/tour.ipynb"}, "", "notebooks", "", "runs.db"},
		{"found between", []string{"go.mod", "a/runs.db", "a/b/x"}, "", "a/b", "runs.db", "a/runs.db"},
		{"found here", []string{"go.mod", "runs.db", "a/runs.db"}, "", "a", "runs.db", "a/runs.db"},
		{"not above go.mod", []string{"runs.db", "m/go.mod", "m/a/x"}, "", "m/a", "runs.db", "m/runs.db"},
		{"outside a module", []string{"runs.db", "a/x"}, "", "a", "runs.db", "a/runs.db"},
		{"another name", []string{"go.mod", "a/x"}, "", "a", "study.db", "study.db"},
		{"environment", []string{"go.mod", "e/x"}, "e/mine.db", "", "runs.db", "e/mine.db"},
		{"environment, another name", []string{"go.mod", "e/x"}, "e/mine.db", "", "study.db", "study.db"},
		{"with a folder", []string{"go.mod", "a/b/x"}, "", "a", "b/runs.db", "a/b/runs.db"},
		{"here, said so", []string{"go.mod", "a/x"}, "", "a", "./runs.db", "a/runs.db"},
		{"odd characters", []string{"go.mod"}, "", "", "a b?mode=ro#%41.db", "a b?mode=ro#%41.db"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range tt.files {
				write(t, filepath.Join(root, f), "")
			}
			if tt.env != "" {
				t.Setenv("DDPMLAB_DB", filepath.Join(root, tt.env))
			}
			t.Chdir(filepath.Join(root, tt.cwd))
			s, err := experiments.Open(tt.open)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if want := filepath.Join(root, tt.want); s.Path() != want {
				t.Errorf("got %s, want %s", s.Path(), want)
			}
			if _, err := os.Stat(s.Path()); err != nil {
				t.Error(err)
			}
		})
	}
}

// sqlite runs a statement on a database file of its own making.
func sqlite(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// What is not a database of ours is refused in one sentence with a cure, and is left as
// it is.
func TestOpenRefuses(t *testing.T) {
	full := func(t *testing.T, path string) {
		s, err := experiments.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		kind error
		want string // part of the text
	}{
		{"text", func(t *testing.T, path string) { write(t, path, strings.Repeat("Dear diary, ", 100)) }, experiments.ErrNotDatabase, "move this one away"},
		{"short text", func(t *testing.T, path string) { write(t, path, "x") }, experiments.ErrNotDatabase, "move this one away"},
		{"another program's", func(t *testing.T, path string) { sqlite(t, path, "CREATE TABLE t (x)") }, experiments.ErrNotDatabase, "move this one away"},
		{"newer", func(t *testing.T, path string) {
			full(t, path)
			sqlite(t, path, "PRAGMA user_version = 1000")
		}, experiments.ErrNewerSchema, "update ddpmlab"},
		{"folder", func(t *testing.T, path string) { write(t, filepath.Join(path, "x"), "") }, nil, "is a folder; name a file in it"},
		{"device", func(t *testing.T, path string) {
			if err := os.Symlink(os.DevNull, path); err != nil {
				t.Fatal(err)
			}
		}, experiments.ErrNotDatabase, "name another file"},
		{"no folder", func(t *testing.T, path string) { os.Remove(filepath.Dir(path)) }, nil, "does not exist; make it first"},
		{"no folder but a file", func(t *testing.T, path string) {
			os.Remove(filepath.Dir(path))
			write(t, filepath.Dir(path), "")
		}, nil, "is not a folder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sub", "runs.db")
			if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			tt.make(t, path)
			before, _ := os.ReadFile(path)
			s, err := experiments.Open(path)
			if err == nil {
				s.Close()
				t.Fatal("got no error")
			}
			if tt.kind != nil && !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %v", err, tt.kind)
			}
			if text := err.Error(); !strings.Contains(text, tt.want) || !strings.Contains(text, filepath.Dir(path)) || strings.Contains(text, "\n") {
				t.Errorf("got %q, want one line with the path and %q", text, tt.want)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

// Wherever a database is damaged, opening or checking it says so.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.db")
	s, err := experiments.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for at := page; at < len(text); at += 3 * page {
		bad := []byte(string(text))
		for i := range page {
			bad[at+i] = 0xa5
		}
		write(t, path, string(bad))
		s, err := experiments.Open(path)
		if err == nil {
			err = s.Check(t.Context())
			s.Close()
		}
		if !errors.Is(err, experiments.ErrDamaged) || !strings.Contains(err.Error(), ".recover") {
			t.Errorf("page %d: got %v, want ErrDamaged with a cure", at/page, err)
		}
	}
}

// An empty file, as mktemp makes it, becomes a database.
func TestOpenEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.db")
	write(t, path, "")
	s, err := experiments.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if rows, err := s.Reference(t.Context(), 2); err != nil || len(rows) != 48 {
		t.Errorf("got %d reference rows, error %v, want 48", len(rows), err)
	}
}

func TestReference(t *testing.T) {
	s, err := experiments.Open(filepath.Join(t.TempDir(), "runs.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tt := range []struct {
		table, rows int
		last        experiments.Reference
	}{
		{1, 4, experiments.Reference{Paper: "Ning et al. 2023", Table: 1, Model: "ADM", Dataset: "imagenet32", Steps: 1000, Metric: "l1", Value: 0.8165}},
		{2, 48, experiments.Reference{Paper: "Ning et al. 2023", Table: 2, Model: "DDPM-IP", Dataset: "lsun_tower64", Steps: 80, Metric: "sfid", Value: 16.51}},
		{3, 8, experiments.Reference{Paper: "Ning et al. 2023", Table: 3, Model: "DDPM-IP", Dataset: "cifar10", Steps: 1000, Metric: "sfid", Value: 3.75}},
	} {
		rows, err := s.Reference(t.Context(), tt.table)
		if err != nil || len(rows) != tt.rows || rows[len(rows)-1] != tt.last {
			t.Errorf("table %d: got %d rows that end with %v, error %v, want %d that end with %v", tt.table, len(rows), rows[len(rows)-1], err, tt.rows, tt.last)
		}
	}
	if _, err := s.Reference(t.Context(), 9); err == nil || !strings.Contains(err.Error(), "tables 1, 2 and 3") {
		t.Errorf("table 9: got %v, want the tables there are", err)
	}
}

// A closed store says so.
func TestClosed(t *testing.T) {
	s, err := experiments.Open(filepath.Join(t.TempDir(), "runs.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(t.Context(), "01J", "a", "b"); !errors.Is(err, experiments.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}
