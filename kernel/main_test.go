package kernel_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"ddpmlab/kernel"
)

// TestMain lets the test binary be the kernel that tests start as a child process: it
// answers the command line that ddpmlab does.
func TestMain(m *testing.M) {
	if a := os.Args; len(a) == 5 && a[1] == "kernel" && a[2] == "serve" && a[3] == "-f" {
		if err := kernel.Serve(context.Background(), a[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
