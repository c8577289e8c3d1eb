package history_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ddpmlab/kernel/history"
)

func open(t *testing.T, path string) *history.Store {
	t.Helper()
	s, err := history.Open(path, "a.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// lines are the entries as session.line, to compare.
func lines(t *testing.T) func([]history.Entry, error) string {
	return func(entries []history.Entry, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var b []string
		for _, e := range entries {
			b = append(b, fmt.Sprintf("%d.%d:%s", e.Session, e.Line, e.Source))
		}
		return strings.Join(b, " ")
	}
}

// TestStore goes through two sessions of one database.
func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "history.sqlite")
	first := open(t, path)
	for i, src := range []string{"a", "b", "a"} {
		if err := first.Add(i+1, src, strings.ToUpper(src)); err != nil {
			t.Fatal(err)
		}
	}
	first.Close()
	s := open(t, path)
	for i, src := range []string{"x*y", "b", "xzy\nlast"} {
		if err := s.Add(i+1, src, ""); err != nil {
			t.Fatal(err)
		}
	}
	of := lines(t)
	for _, tt := range []struct{ name, got, want string }{
		{"tail", of(s.Tail(2, false)), "2.2:b 2.3:xzy\nlast"},
		{"whole tail", of(s.Tail(0, false)), "1.1:a 1.2:b 1.3:a 2.1:x*y 2.2:b 2.3:xzy\nlast"},
		{"unique tail", of(s.Tail(3, true)), "2.1:x*y 2.2:b 2.3:xzy\nlast"},
		{"unique", of(s.Tail(9, true)), "1.3:a 2.1:x*y 2.2:b 2.3:xzy\nlast"},
		{"search", of(s.Search("b", 0, false)), "1.2:b 2.2:b"},
		{"search unique", of(s.Search("b", 0, true)), "2.2:b"},
		{"search the last", of(s.Search("b", 1, false)), "2.2:b"},
		{"star", of(s.Search("x*", 0, false)), "2.1:x*y 2.3:xzy\nlast"},
		{"a literal star", of(s.Search("x[*]y", 0, false)), "2.1:x*y"},
		{"question mark", of(s.Search("x?y", 0, false)), "2.1:x*y"},
		{"range of this session", of(s.Range(0, 1, 3)), "2.1:x*y 2.2:b"},
		{"range of the one before", of(s.Range(-1, 2, 0)), "1.2:b 1.3:a"},
		{"range of a session", of(s.Range(1, 1, 2)), "1.1:a"},
		{"range of none", of(s.Range(7, 1, 2)), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	if e, err := s.Range(1, 1, 2); err != nil || e[0].Output != "A" {
		t.Errorf("output %+v, %v", e, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; want it readable by the user only", info.Mode(), err)
	}
}

// TestTogether lets several kernels begin and write at once.
func TestTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.sqlite")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := history.Open(path, "")
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for i := range 20 {
				if err := s.Add(i+1, "x", ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	e, err := open(t, path).Tail(0, false)
	if err != nil || len(e) != 160 {
		t.Errorf("%d entries, %v; want 160", len(e), err)
	}
}

// TestUnusable opens what is no history.
func TestUnusable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.sqlite")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 200)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := history.Open(path, ""); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names the file", err)
	}
	if _, err := history.Open(t.TempDir(), ""); err == nil {
		t.Error("a folder was opened")
	}
}

func TestMemory(t *testing.T) {
	s := open(t, "")
	if err := s.Add(1, "x", ""); err != nil {
		t.Fatal(err)
	}
	if got := lines(t)(s.Tail(0, false)); got != "1.1:x" {
		t.Errorf("got %q", got)
	}
	if other := lines(t)(open(t, "").Tail(0, false)); other != "" {
		t.Errorf("another store has %q", other)
	}
}
