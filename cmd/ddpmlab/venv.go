package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// pythonWith returns the interpreter of a virtual environment with the packages, each with
// its version, in the folder name of the cache. It is made on first use.
func pythonWith(ctx context.Context, w world, name string, packages ...string) (python string, err error) {
	python3, err := exec.LookPath("python3")
	if err != nil {
		return "", fmt.Errorf("install %s: python3 is not on PATH", packages[0])
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("install %s: %w", packages[0], err)
	}
	dir := filepath.Join(cache, "ddpmlab", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("install %s: %w", packages[0], err)
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fmt.Errorf("install %s: %w", packages[0], err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { // until another process has made it
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	python, ready := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "ready")
	if _, err := os.Stat(ready); err == nil {
		return python, nil
	}
	if err := printf(w.err, "installing %s in %s, once\n", packages[0], dir); err != nil {
		return "", err
	}
	pip := append([]string{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, packages...)
	for _, args := range [][]string{{python3, "-m", "venv", "--clear", dir}, pip} {
		c := exec.CommandContext(ctx, args[0], args[1:]...)
		c.Stdout, c.Stderr = w.err, w.err
		if err := c.Run(); err != nil {
			return "", fmt.Errorf("install %s: %s: %w", packages[0], filepath.Base(args[0]), err)
		}
	}
	return python, os.WriteFile(ready, nil, 0o644)
}
