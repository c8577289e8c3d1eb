//go:build ddpmcuda

package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The program with the GPU, from the command line and in a notebook; `make test-cuda` runs
// it on the test double of the driver, which is $FAKE here.
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
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"refuses": refuses, "newest": newest},
	})
}
