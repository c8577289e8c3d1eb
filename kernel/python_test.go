package kernel_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"ddpmlab/kernel"
	"ddpmlab/kernel/kerneltest"
)

// python runs a script of testdata with the kernel installed as ddpmlab, and returns what
// it printed.
func python(t *testing.T, script string, args ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("takes over 2 s")
	}
	interpreter := kerneltest.Python(t)
	prefix := t.TempDir()
	if _, err := kernel.Install(kernel.InstallOptions{Prefix: prefix}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, interpreter, append([]string{filepath.Join("testdata", script)}, args...)...)
	cmd.Env = append(os.Environ(),
		"JUPYTER_PATH="+filepath.Join(prefix, "share", "jupyter"), "JUPYTER_DATA_DIR="+t.TempDir(),
		"JUPYTER_RUNTIME_DIR="+t.TempDir(), "JUPYTER_CONFIG_DIR="+t.TempDir(), "IPYTHONDIR="+t.TempDir(),
		"DDPMLAB_HISTORY="+filepath.Join(t.TempDir(), "history.sqlite"))
	cmd.WaitDelay = 5 * time.Second // a kernel that goes on holds the pipes
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", script, err, out, stderr.String())
	}
	return string(out)
}

// TestNBClient executes the small notebook with nbclient: the outputs are the same as
// with our own runner.
func TestNBClient(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.ipynb")
	python(t, "nbclient_run.py", "testdata/small.ipynb", out, "ddpmlab")
	outputs := func(path string) (all []any) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var nb struct {
			Cells []struct {
				Outputs any `json:"outputs"`
				Count   any `json:"execution_count"`
			} `json:"cells"`
		}
		if err := json.Unmarshal(b, &nb); err != nil {
			t.Fatal(err)
		}
		for _, c := range nb.Cells {
			all = append(all, c.Outputs, c.Count)
		}
		return all
	}
	got, want := outputs(out), outputs("testdata/small.golden.ipynb")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("nbclient got\n%v\nour runner\n%v", got, want)
	}
}

// TestJupyterClient goes through a front end's requests with jupyter_client.
func TestJupyterClient(t *testing.T) {
	got := python(t, "client_session.py", "ddpmlab")
	want := `ok
ok 42
ok stdout:printed
error syntax error: expected operand, found 'EOF'
error interrupted: the cell was interrupted
ok 43
ddpmlab 5.5
['Sprintln']
{'text/plain': 'var x int\n\ndeclared in cell 1, line 1'}
incomplete
[[1, 6, 'x + 3']]
{}
error compile error: undefined: x
ok 2
[[1, 'x + 3'], [2, 'x']]
[[1, 'x + 3']]
True
False
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestJupyterKernelTest runs the whole of jupyter_kernel_test, with a sample for everything.
func TestJupyterKernelTest(t *testing.T) {
	if got, want := python(t, "kernel_test.py", "ddpmlab"), "left out: []\n13 run, 0 failed, 0 skipped\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
