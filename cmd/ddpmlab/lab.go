package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// labVersion is the JupyterLab that is installed where there is none.
const labVersion = "4.6.6"

// findJupyter is the program jupyter: the one on PATH, else the one of a virtual
// environment that is made on first use, in the user's cache folder.
func findJupyter(ctx context.Context, w world) (string, error) {
	if path, err := exec.LookPath("jupyter"); err == nil && exec.CommandContext(ctx, path, "lab", "--version").Run() == nil {
		return path, nil
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", errors.New("neither JupyterLab nor python3, which would install it, is on PATH; install one of them, or run notebooks without them by `ddpmlab notebook run`")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("install JupyterLab: %w", err)
	}
	dir := filepath.Join(cache, "ddpmlab", "jupyterlab-"+labVersion)
	jupyter := filepath.Join(dir, "bin", "jupyter")
	ready := filepath.Join(dir, "ready")
	if _, err := os.Stat(ready); err == nil {
		return jupyter, nil
	}
	if err := printf(w.err, "JupyterLab is not on PATH; installing %s in %s, once\n", labVersion, dir); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{python, "-m", "venv", "--clear", dir},
		{filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "jupyterlab==" + labVersion},
	} {
		c := exec.CommandContext(ctx, args[0], args[1:]...)
		c.Stdout, c.Stderr = w.err, w.err
		if err := c.Run(); err != nil {
			return "", fmt.Errorf("install JupyterLab: %s: %w", filepath.Base(args[0]), err)
		}
	}
	return jupyter, os.WriteFile(ready, nil, 0o644)
}
