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
	return install(ctx, "torch-"+torchVersion, "PyTorch "+torchVersion+" (several GB)", []string{"torch==" + torchVersion, "numpy"}, log)
}

// install returns a Python interpreter that has the packages, in a virtual environment of
// that name in the user's cache folder, made on first use. what is what a person calls it.
func install(ctx context.Context, name, what string, packages []string, log func(format string, args ...any)) (python string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "ddpmlab", name)
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
	log("install %s in %s, once", what, dir)
	for _, args := range [][]string{
		{"python3", "-m", "venv", "--clear", dir},
		append([]string{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, packages...),
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("install %s: %q: %w\n%s", what, args, err, out)
		}
	}
	return python, os.WriteFile(ready, nil, 0o644)
}
