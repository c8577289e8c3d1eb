package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// checkOut refuses a file that cannot be written, before the work that fills it. what is
// the flag that names it.
func checkOut(what, name string) error {
	dir := filepath.Dir(name)
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is %q; the folder %s does not exist: make it first", what, name, dir)
	case err != nil:
		return fmt.Errorf("%s is %q: %w", what, name, err)
	case !info.IsDir():
		return fmt.Errorf("%s is %q; %s is not a folder", what, name, dir)
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%s is %q, which is a folder; name a file in it", what, name)
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("%s is %q; %s cannot be written: %w", what, name, dir, err)
	}
	return errors.Join(tmp.Close(), os.Remove(tmp.Name()))
}

// writeFile writes a file that appears complete or not at all.
func writeFile(name string, content []byte) error {
	return createFile(name, func(f *os.File) error {
		_, err := f.Write(content)
		return err
	})
}

// createFile makes a file of what fill writes. It appears complete or not at all.
func createFile(name string, fill func(f *os.File) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := fill(tmp); err != nil {
		tmp.Close()
		os.Remove(tmp.Name())
		return err
	}
	err = errors.Join(tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
