package data

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// debianFolder is where Debian's package dataset-fashion-mnist puts its files.
const debianFolder = "/usr/share/datasets/fashion-mnist"

// Folders lists where Open looks for the files of a set that is not built in,
// first match first: the folder in the environment variable DDPMLAB_DATA if it
// is set, ./data, ddpmlab/data in the user's cache folder (where Fetch puts
// them), and that of Debian's package dataset-fashion-mnist. Files may lie in
// the folder itself or in its subfolder fashion-mnist.
func Folders() []string {
	var all []string
	if d := os.Getenv("DDPMLAB_DATA"); d != "" {
		all = append(all, d)
	}
	all = append(all, "data")
	if d, err := cacheFolder(); err == nil {
		all = append(all, d)
	}
	return append(all, debianFolder)
}

// cacheFolder is the default of Fetch.
func cacheFolder() (string, error) {
	d, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(d, "ddpmlab", "data"), nil
}

// NotFoundError tells that a file or folder of a set is in none of the folders searched.
type NotFoundError struct {
	File    string
	Folders []string
	Cure    string // how to get it
}

// Error is one sentence that ends with the cure.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("%s is not in %s; %s", e.File, strings.Join(e.Folders, ", "), e.Cure)
}

// fashionCure is how to get the files of Fashion-MNIST.
const fashionCure = "run `ddpmlab data fetch fashion-mnist-train` or `apt install dataset-fashion-mnist`, or set DDPMLAB_DATA to its folder"
