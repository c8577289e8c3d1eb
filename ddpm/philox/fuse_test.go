package philox_test

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// The compiler may fuse x*y + z where nothing forbids it; on amd64 it never does,
// so a forgotten conversion would show on arm64 alone. Its code is looked at here.
func TestNoFusedOperations(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package for arm64")
	}
	cmd := exec.Command("go", "build", "-gcflags=-S", ".")
	cmd.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go build for arm64: %v\n%s", err, out)
	}
	if !regexp.MustCompile(`\bFMULS\b`).Match(out) {
		t.Fatal("no multiplication in the listing; has the compiler's output changed?")
	}
	for _, line := range regexp.MustCompile(`(?m)^.*\bFN?M(ADD|SUB)[SD]\b.*$`).FindAll(out, -1) {
		t.Errorf("fused operation, write float32(a*b) + c: %s", line)
	}
}
