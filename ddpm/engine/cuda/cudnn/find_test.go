package cudnn_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ddpmlab/ddpm/engine/cuda/cudnn"
)

// install makes the file of a library below dir, and returns its path.
func install(t *testing.T, dir, folder string) string {
	t.Helper()
	path := filepath.Join(dir, folder, "libcudnn.so.9")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCandidates(t *testing.T) {
	conda, venv, python, home := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	want := []string{
		"libcudnn.so.9",
		install(t, conda, "lib"),
		install(t, conda, "lib/python3.12/site-packages/nvidia/cudnn/lib"),
		install(t, venv, "lib/python3.11/site-packages/nvidia/cudnn/lib"),
		install(t, python, "lib64"),
		install(t, python, "lib/python3/dist-packages/nvidia/cudnn/lib"),
		install(t, home, ".local/lib/python3.12/site-packages/nvidia/cudnn/lib"),
	}
	if err := os.MkdirAll(filepath.Join(python, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(python, "bin/python3"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DDPMLAB_CUDNN", "")
	t.Setenv("CONDA_PREFIX", conda)
	t.Setenv("VIRTUAL_ENV", venv)
	t.Setenv("PATH", filepath.Join(python, "bin"))
	t.Setenv("HOME", home)
	if got := cudnn.Candidates(); len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
		t.Errorf("candidates %q, want %q first", got, want)
	}
	t.Setenv("CONDA_PREFIX", "")
	t.Setenv("VIRTUAL_ENV", python) // where python3 is, too
	if got := cudnn.Candidates(); len(got) < 4 || !slices.Equal(got[1:4], want[4:7]) {
		t.Errorf("candidates %q, want %q each once", got, want[4:7])
	}
	t.Setenv("DDPMLAB_CUDNN", "/my/libcudnn.so")
	if got := cudnn.Candidates(); !slices.Equal(got, []string{"/my/libcudnn.so"}) {
		t.Errorf("candidates %q, want the one that is named", got)
	}
}
