package experiments

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// DefaultName is the database's name where none is given. The environment variable
// DDPMLAB_DB replaces it.
const DefaultName = "runs.db"

// envPath names the environment variable that replaces DefaultName.
const envPath = "DDPMLAB_DB"

// Path is the absolute path of the database that name means, whether or not it is there;
// see Open.
func Path(name string) (string, error) { return resolve(name) }

// resolve returns the absolute path of the database that name means:
//
//   - "" and "runs.db" are DDPMLAB_DB's value, where that is set;
//   - a bare name is looked for in the working directory and its parents, up to the one
//     that holds go.mod (a kernel's working directory is notebooks/); where there is
//     none yet it is made beside go.mod; outside a module it is in the working directory;
//   - every other path is taken as it is.
func resolve(name string) (string, error) {
	if name == "" {
		name = DefaultName
	}
	if env := os.Getenv(envPath); env != "" && name == DefaultName {
		name = env
	}
	if filepath.IsAbs(name) {
		return filepath.Clean(name), nil
	}
	here, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	if filepath.Base(name) != name || name == "." || name == ".." {
		return filepath.Join(here, name), nil
	}
	found := ""
	for dir := here; ; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, name)
		if found == "" && exists(path) {
			found = path
		}
		if exists(filepath.Join(dir, "go.mod")) {
			if found == "" {
				found = path
			}
			return found, nil
		}
		if dir == filepath.Dir(dir) {
			return filepath.Join(here, name), nil // outside a module: no search
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// checkPlace refuses a path where no database can be, before SQLite does so in its own
// words, and reports whether a file is there already.
func checkPlace(path string) (there bool, err error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return false, fmt.Errorf("%s is a folder; name a file in it, as %s", path, filepath.Join(path, DefaultName))
	case err == nil && !info.Mode().IsRegular():
		return false, &problem{path: path, kind: ErrNotDatabase, cure: cureNotOurs}
	case err == nil:
		return true, checkMagic(path)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
		return false, explain(path, err)
	}
	dir := filepath.Dir(path)
	switch info, err = os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("%s: the folder %s does not exist; make it first, or name another file by --db or %s", path, dir, envPath)
	case err != nil:
		return false, explain(path, err)
	case !info.IsDir():
		return false, fmt.Errorf("%s: %s is not a folder; name another file by --db or %s", path, dir, envPath)
	}
	return false, nil
}

// checkMagic refuses a file that holds something else. SQLite would take a file of a few
// bytes for an empty database, and write over it.
func checkMagic(path string) error {
	const magic = "SQLite format 3\x00"
	f, err := os.Open(path)
	if err != nil {
		return explain(path, err)
	}
	defer f.Close()
	start := make([]byte, len(magic))
	n, err := io.ReadFull(f, start)
	if err == nil && string(start) == magic || n == 0 && err == io.EOF {
		return nil
	}
	if n == 0 {
		return explain(path, err)
	}
	return &problem{path: path, kind: ErrNotDatabase, cure: cureNotOurs}
}
