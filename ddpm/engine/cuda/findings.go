//go:build ddpmcuda

package cuda

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
)

// finding is how a convolution was found to be computed fastest.
type finding struct {
	Plan      int     `json:"plan"` // the library's fastest, or noPlan
	Engine    int64   `json:"engine"`
	Workspace int64   `json:"workspace"` // in bytes
	Seconds   float64 `json:"seconds"`
	Own       float64 `json:"own"` // seconds of our own kernel
}

const noPlan = -1

// findings are those for one GPU, driver and version of the library. They are kept in a
// file of the user's cache, which has them for others too.
type findings struct {
	key   string
	of    map[string]finding // by job
	fresh bool               // whether some are not in the file
}

// findingsFile is where findings are kept; "" if the user has no cache.
func findingsFile() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "ddpmlab", "cudnn.json")
}

// readFindings reads those for key. They can be used when the file is damaged, which is
// the error.
func readFindings(key string) (*findings, error) {
	all, err := readAllFindings()
	f := &findings{key: key, of: all[key]}
	if f.of == nil {
		f.of = map[string]finding{}
	}
	return f, err
}

func readAllFindings() (all map[string]map[string]finding, err error) {
	text, err := os.ReadFile(findingsFile())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s is damaged (%w)", findingsFile(), err)
	}
	return all, nil
}

// find looks in the file again for what is not known: others may have found it meanwhile.
func (f *findings) find(job string) (finding, bool) {
	x, known := f.of[job]
	if !known {
		all, _ := readAllFindings() // what is damaged has been told
		if x, known = all[f.key][job]; known {
			f.of[job] = x
		}
	}
	return x, known
}

func (f *findings) add(job string, x finding) {
	f.of[job] = x
	f.fresh = true
}

// save adds them to the file, which is replaced as a whole.
func (f *findings) save() error {
	if !f.fresh {
		return nil
	}
	f.fresh = false
	path := findingsFile()
	if path == "" {
		return nil
	}
	all, _ := readAllFindings() // what is damaged has been told
	if all == nil {
		all = map[string]map[string]finding{}
	}
	if all[f.key] == nil {
		all[f.key] = map[string]finding{}
	}
	maps.Copy(all[f.key], f.of)
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	part := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(part, text, 0o644); err != nil {
		return err
	}
	return os.Rename(part, path)
}
