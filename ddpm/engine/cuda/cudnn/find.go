// Package cudnn finds NVIDIA's cuDNN 9, asks it how it would compute convolutions, and has
// it compute them.
//
// The library is loaded when the program runs, from wherever conda, pip or the system
// put it, through the functions of its backend interface; none of NVIDIA's files is
// needed to build. Programs built without the tag ddpmcuda have Candidates alone.
package cudnn

import (
	"os"
	"os/exec"
	"path/filepath"
)

// Wanted is the version that PyTorch 2.11 comes with, and that is tested.
const Wanted = "9.19.0.56"

// file is the name of the library in every installation.
const file = "libcudnn.so.9"

// Env is the environment variable that names the library's file, or forbids its use.
const (
	Env       = "DDPMLAB_CUDNN"
	forbidden = "off"
)

// Forbidden tells whether the user does without the library.
func Forbidden() bool { return os.Getenv(Env) == forbidden }

// Candidates lists where the library may be, in the order in which it is looked for:
// the file that DDPMLAB_CUDNN names, and no other, if it is set; else wherever the
// system's linker finds it, then those in the environments of conda and Python that are
// active, and those that pip installed for all or for this user.
func Candidates() []string {
	if named := os.Getenv(Env); named != "" {
		return []string{named}
	}
	all := []string{file}
	for _, prefix := range prefixes() {
		for _, pattern := range []string{"lib", "lib64", "lib/python3*/site-packages/nvidia/cudnn/lib", "lib/python3*/dist-packages/nvidia/cudnn/lib"} {
			found, _ := filepath.Glob(filepath.Join(prefix, pattern, file)) // the pattern is good
			all = append(all, found...)
		}
	}
	return all
}

// prefixes are folders in which programs and libraries are installed.
func prefixes() []string {
	all := []string{os.Getenv("CONDA_PREFIX"), os.Getenv("VIRTUAL_ENV")}
	if python, err := exec.LookPath("python3"); err == nil {
		all = append(all, filepath.Dir(filepath.Dir(python)))
	}
	if home, err := os.UserHomeDir(); err == nil {
		all = append(all, filepath.Join(home, ".local"))
	}
	var known []string
	seen := map[string]bool{"": true}
	for _, p := range append(all, "/usr/local", "/usr/local/cuda", "/usr") {
		if !seen[p] {
			known = append(known, p)
		}
		seen[p] = true
	}
	return known
}
