// Package kerneltest helps tests that run notebooks by Jupyter's own clients, which are
// in Python. Only tests use it.
package kerneltest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// requirements are the pinned packages: nbclient, nbformat, jupyter_client,
// jupyter_kernel_test and what they need.
//
//go:embed requirements.txt
var requirements []byte

// Python returns the Python interpreter of a virtual environment that holds nbclient,
// nbformat, jupyter_client and jupyter_kernel_test in pinned versions. It is made on first use, in the user's
// cache folder. Without python3 the test is skipped, or fails where the variable CI is
// true.
func Python(t testing.TB) string {
	t.Helper()
	return PythonWith(t, requirements)
}

// PythonWith is Python with other packages: a list of requirements as pip reads it.
func PythonWith(t testing.TB, requirements []byte) string {
	t.Helper()
	python3, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3 is missing; these tests must run in CI")
		}
		t.Skip("python3 is missing")
	}
	python, err := environment(python3, requirements)
	if err != nil {
		t.Fatal(err)
	}
	return python
}

// environment makes the virtual environment, unless it is there already.
func environment(python3 string, requirements []byte) (string, error) {
	version, err := exec.Command(python3, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", python3, err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(append(version, requirements...))
	dir := filepath.Join(cache, "ddpmlab", "python-"+hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()

	python, ready := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "ready")
	if _, err := os.Stat(ready); err == nil {
		return python, nil
	}
	list := dir + ".txt"
	if err := os.WriteFile(list, requirements, 0o644); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{python3, "-m", "venv", "--clear", dir},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", list},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%q: %w\n%s", args, err, out)
		}
	}
	return python, os.WriteFile(ready, nil, 0o644)
}

// lock waits until no other process makes the environment.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
