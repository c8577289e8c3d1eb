//go:build ddpmcuda

package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The program with the GPU, from the command line and in a notebook; `make test-cuda` runs
// it on the test doubles of the driver and of cuDNN, which are $FAKE and $FAKE_CUDNN here.
func TestCUDAScripts(t *testing.T) {
	fake := os.Getenv("DDPMLAB_LIBCUDA")
	if fake == "" {
		t.Skip("run by `make test-cuda`")
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/cuda",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("FAKE", fake)
			e.Setenv("DDPMLAB_LIBCUDA", fake)
			e.Setenv("DDPMLAB_CUDNN", "off")
			e.Setenv("FAKE_CUDNN", os.Getenv("FAKE_CUDNN"))
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/cache")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"refuses": refuses, "newest": newest},
	})
}
