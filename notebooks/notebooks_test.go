// Package notebooks_test executes the notebooks, at a size that takes seconds.
package notebooks_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/kernel/kerneltest"
)

// small is put in after the cell tagged parameters. The tour's bias table needs a
// schedule of 1,000 steps, so it is the network that is made small.
var small = []string{
	"cfg.Model.Channels=8", "cfg.Model.HeadChannels=16", "cfg.Model.Groups=4",
	"cfg.Batch=16", "cfg.Iterations=12", "cfg.Warmup=2", "cfg.EvalFirst=2", "cfg.EvalEvery=0",
	"cfg.EvalSamples=64", "cfg.SamplingSteps=2",
}

// build returns the program, built once.
func build(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "ddpmlab")
	if out, err := exec.Command("go", "build", "-o", exe, "../cmd/ddpmlab").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return exe
}

// TestTour executes the tour with our own runner and with nbclient.
func TestTour(t *testing.T) {
	if testing.Short() {
		t.Skip("trains ten networks")
	}
	exe := build(t)
	t.Run("headless runner", func(t *testing.T) {
		dir := t.TempDir()
		args := []string{"notebook", "run", "tour.ipynb", "--out", filepath.Join(dir, "out.ipynb")}
		for _, p := range small {
			args = append(args, "-p", p)
		}
		run(t, dir, exe, args...)
		if _, err := os.Stat(filepath.Join(dir, "out.html")); err != nil {
			t.Error(err)
		}
		check(t, dir)
	})
	t.Run("nbclient", func(t *testing.T) {
		python, dir := kerneltest.Python(t), t.TempDir()
		run(t, dir, exe, "kernel", "install", "--prefix", dir)
		run(t, dir, python, "../kernel/testdata/nbclient_run.py", withParameters(t, dir), filepath.Join(dir, "out.ipynb"), "ddpmlab")
		check(t, dir)
	})
}

// run runs a command of which dir is the whole world: database, kernelspecs, runtime files.
func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DDPMLAB_DB="+filepath.Join(dir, "runs.db"),
		"JUPYTER_PATH="+filepath.Join(dir, "share", "jupyter"), "JUPYTER_DATA_DIR="+filepath.Join(dir, "data"),
		"JUPYTER_RUNTIME_DIR="+filepath.Join(dir, "runtime"), "JUPYTER_CONFIG_DIR="+filepath.Join(dir, "config"))
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(name), err, out)
	}
}

type notebook struct {
	Cells         []cell         `json:"cells"`
	Metadata      map[string]any `json:"metadata"`
	NBFormat      int            `json:"nbformat"`
	NBFormatMinor int            `json:"nbformat_minor"`
}

type cell struct {
	Type     string `json:"cell_type"`
	ID       string `json:"id"`
	Metadata struct {
		Tags []string `json:"tags,omitempty"`
	} `json:"metadata"`
	Source  any      `json:"source"`
	Count   *int     `json:"execution_count"`
	Outputs []output `json:"outputs"`
}

type output struct {
	Type  string         `json:"output_type"`
	Data  map[string]any `json:"data"`
	EName string         `json:"ename"`
	Value string         `json:"evalue"`
}

func read(t *testing.T, path string) notebook {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var nb notebook
	if err := json.Unmarshal(b, &nb); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return nb
}

// withParameters writes the tour with small's assignments at the end of the cell tagged
// parameters, for runners that know nothing of parameters.
func withParameters(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile("tour.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	const last = `"cfg.Seed = 1"`
	lines := `"cfg.Seed = 1\n", "` + strings.Join(small, `\n", "`) + `"`
	text := strings.Replace(string(b), last, lines, 1)
	if text == string(b) {
		t.Fatalf("tour.ipynb has no line %s", last)
	}
	path := filepath.Join(dir, "tour.ipynb")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// check checks what an execution of the tour in dir left: pictures, tables, no error
// but the expected one, and a finished run of each variant in the database.
func check(t *testing.T, dir string) {
	t.Helper()
	svg, tables := 0, 0
	for i, c := range read(t, filepath.Join(dir, "out.ipynb")).Cells {
		expected := slices.Contains(c.Metadata.Tags, "raises-exception")
		failed := false
		for _, o := range c.Outputs {
			failed = failed || o.Type == "error"
			if o.Type == "error" && !expected {
				t.Errorf("cell %d failed: %s: %s", i, o.EName, o.Value)
			}
			if _, ok := o.Data["image/svg+xml"]; ok {
				svg++
			}
			if html, ok := o.Data["text/html"]; ok && strings.Contains(flat(html), "<table") {
				tables++
			}
		}
		if expected && !failed {
			t.Errorf("cell %d is tagged raises-exception and did not fail", i)
		}
	}
	if svg < 3 || tables < 2 {
		t.Errorf("%d SVG pictures and %d tables, want at least 3 and 2", svg, tables)
	}

	store, err := experiments.Open(filepath.Join(dir, "runs.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	runs, err := store.AllRuns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	finished := map[string]bool{}
	for _, r := range runs {
		if r.Status != experiments.StatusFinished {
			t.Errorf("%s is %s", r.Variant, r.Status)
			continue
		}
		finished[r.Variant.String()] = true
		if loss := r.Series(experiments.MetricLoss); len(loss) != 12 || loss[11].Value >= loss[0].Value {
			t.Errorf("%s: the loss did not fall: %v", r.Variant, loss)
		}
	}
	want := map[string]bool{}
	for _, v := range []ddpm.Variant{
		ddpm.ADM(), ddpm.WeightDecay(0.03), ddpm.GradPenalty(1e-6), ddpm.InputPerturbation(0.1), ddpm.InputPerturbation(0.2),
	} {
		want[v.String()] = true
	}
	if !maps.Equal(finished, want) {
		t.Errorf("finished runs of %v, want %v", slices.Sorted(maps.Keys(finished)), slices.Sorted(maps.Keys(want)))
	}
}

// flat is a notebook's text, which may be a list of lines.
func flat(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var b strings.Builder
		for _, line := range v {
			b.WriteString(flat(line))
		}
		return b.String()
	}
	return ""
}

// TestCommittedNotebooks: a notebook is committed without outputs, counts or paths, and
// with a kernel and cell ids.
func TestCommittedNotebooks(t *testing.T) {
	files, err := filepath.Glob("*.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, ".out.ipynb") {
			continue
		}
		t.Run(f, func(t *testing.T) {
			nb := read(t, f)
			if nb.NBFormat != 4 || nb.NBFormatMinor < 5 {
				t.Errorf("nbformat %d.%d, want 4.5", nb.NBFormat, nb.NBFormatMinor)
			}
			if spec, _ := nb.Metadata["kernelspec"].(map[string]any); spec["name"] != "ddpmlab" {
				t.Errorf("kernelspec %v, want ddpmlab", spec)
			}
			for i, c := range nb.Cells {
				if len(c.Outputs) > 0 || c.Count != nil {
					t.Errorf("cell %d has outputs or a count", i)
				}
				if c.ID == "" {
					t.Errorf("cell %d has no id", i)
				}
				if n := strings.Count(flat(c.Source), "\n") + 1; c.Type == "code" && n > 12 {
					t.Errorf("cell %d has %d lines", i, n)
				}
			}
		})
	}
}
