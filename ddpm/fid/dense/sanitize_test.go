package dense_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestSanitizers builds the products and testdata/dense_test.c with the address and
// undefined-behaviour sanitizers and runs them.
func TestSanitizers(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the products again")
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "gcc"
	}
	dir := t.TempDir()
	build := func(out string, files ...string) ([]byte, error) {
		args := append([]string{"-Og", "-g1", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-o", out}, files...)
		return exec.Command(cc, append(args, "-lm")...).CombinedOutput()
	}
	empty := filepath.Join(dir, "empty.c")
	if err := os.WriteFile(empty, []byte("int main(void) { return 0; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := build(filepath.Join(dir, "empty"), empty); err != nil {
		t.Skipf("%s cannot link the sanitizers: %v\n%s", cc, err, out)
	}
	files, err := filepath.Glob("*.c")
	if err != nil || len(files) == 0 {
		t.Fatalf("no C sources: %v", err)
	}
	program := filepath.Join(dir, "dense_test")
	if out, err := build(program, append(files, "testdata/dense_test.c")...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("baseline: done")) {
		t.Errorf("%v\n%s", err, out)
	}
}
