package kernel_test

import (
	"os"
	"path/filepath"
	"testing"

	"ddpmlab/kernel"
)

func TestRunSmall(t *testing.T) {
	out := filepath.Join(t.TempDir(), "o.ipynb")
	err := kernel.RunNotebook(t.Context(), "testdata/small.ipynb", kernel.Options{Out: out, HTML: true, Progress: os.Stderr})
	b, _ := os.ReadFile(out)
	t.Log(string(b))
	if err != nil {
		t.Fatal(err)
	}
}
