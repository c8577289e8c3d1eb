package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// torchVersion is the PyTorch that the numbers are compared with.
const torchVersion = "2.15.0"

// InstallTorch returns a Python interpreter that has PyTorch, in a virtual environment in
// the user's cache folder. It is made on first use: several GB are fetched.
func InstallTorch(ctx context.Context, log func(format string, args ...any)) (python string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "ddpmlab", "torch-"+torchVersion)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { // until another process has made it
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	python, ready := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "ready")
	if _, err := os.Stat(ready); err == nil {
		return python, nil
	}
	log("install PyTorch %s in %s: several GB, once", torchVersion, dir)
	for _, args := range [][]string{
		{"python3", "-m", "venv", "--clear", dir},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "torch==" + torchVersion, "numpy"},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("install PyTorch: %q: %w\n%s", args, err, out)
		}
	}
	return python, os.WriteFile(ready, nil, 0o644)
}
