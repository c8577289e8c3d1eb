package experiments

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What counts as a change of the code.
func TestCodeState(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git here")
	}
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const (
		notebook = `{"cells": [{"cell_type": "code", "source": ["x := 1\n", "x"], "outputs": []}]}`
		executed = `{"cells": [{"cell_type": "code", "source": "x := 1\nx", "outputs": [{"data": 1}]}]}`
		edited   = `{"cells": [{"cell_type": "code", "source": "x := 2\nx", "outputs": []}]}`
	)
	git("init", "-q")
	write("main.go", "package main")
	write("runs.db", "1")
	write("notebooks/tour.ipynb", notebook)
	git("add", ".")
	git("commit", "-q", "-m", "x")
	for _, tt := range []struct {
		name  string
		files map[string]string
		dirty bool
	}{
		{"nothing", nil, false},
		{"the database", map[string]string{"runs.db": "2", "runs.db-wal": "3"}, false},
		{"outputs", map[string]string{"notebooks/tour.ipynb": executed, "notebooks/tour.html": "x", "notebooks/tour.out.ipynb": "x"}, false},
		{"a new notebook", map[string]string{"notebooks/mine.ipynb": edited}, false},
		{"an edited cell", map[string]string{"notebooks/tour.ipynb": edited}, true},
		{"a notebook that is none", map[string]string{"notebooks/tour.ipynb": "{"}, true},
		{"code", map[string]string{"main.go": "package other"}, true},
		{"new code", map[string]string{"sub dir/new.go": "package other"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			git("reset", "-q", "--hard")
			git("clean", "-qfd")
			for name, text := range tt.files {
				write(name, text)
			}
			commit, dirty, diff := codeState(t.Context(), filepath.Join(dir, "notebooks"))
			if len(commit) != 40 || dirty != tt.dirty || (len(diff) > 0) != tt.dirty {
				t.Errorf("got commit %q, dirty %v, patch %q, want dirty %v", commit, dirty, diff, tt.dirty)
			}
			if !tt.dirty {
				return
			}
			// The patch makes the same files out of the commit.
			git("reset", "-q", "--hard")
			git("clean", "-qfd")
			file := filepath.Join(t.TempDir(), "patch")
			if err := os.WriteFile(file, diff, 0o644); err != nil {
				t.Fatal(err)
			}
			git("apply", file)
			for name, text := range tt.files {
				if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text {
					t.Errorf("%s: got %q after applying the patch, error %v, want %q", name, got, err, text)
				}
			}
		})
	}
	git("reset", "-q", "--hard")
	git("clean", "-qfd")
	git("mv", "main.go", "moved.go")
	if _, dirty, diff := codeState(t.Context(), dir); !dirty || len(diff) == 0 {
		t.Error("got a clean tree after a file was renamed, want a dirty one")
	}
	if commit, _, _ := codeState(t.Context(), t.TempDir()); len(commit) != 0 && len(commit) != 40 {
		t.Errorf("outside a repository: got commit %q, want none or the build's", commit)
	}
}
