package main

import (
	"context"
	"errors"
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
	if _, err := exec.LookPath("python3"); err != nil {
		return "", errors.New("neither JupyterLab nor python3, which would install it, is on PATH; install one of them, or run notebooks without them by `ddpmlab notebook run`")
	}
	python, err := pythonWith(ctx, w, "jupyterlab-"+labVersion, "jupyterlab=="+labVersion)
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(python), "jupyter"), nil
}
