//go:build clients

package clienttest

import (
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ddpmlab/kernel/kerneltest"
)

// requirements are JupyterLab, nbconvert, papermill, jupyter console, Selenium and what
// they need, pinned.
//
//go:embed requirements.txt
var requirements []byte

// artifacts is where screenshots stay, from here; git ignores it.
const artifacts = "../../artifacts/clients"

// clients is an installation of the clients and of the kernel.
type clients struct {
	t      *testing.T
	python string
	dir    string
}

func install(t *testing.T) *clients {
	t.Helper()
	c := &clients{t: t, python: kerneltest.PythonWith(t, requirements), dir: t.TempDir()}
	program := filepath.Join(c.dir, "ddpmlab")
	c.run("go", "build", "-o", program, "ddpmlab/cmd/ddpmlab")
	c.run(program, "kernel", "install", "--prefix", c.dir)
	return c
}

// run runs a command in an environment of its own and returns what it printed.
func (c *clients) run(name string, args ...string) string {
	c.t.Helper()
	return c.feed("", name, args...)
}

func (c *clients) feed(stdin, name string, args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 6*time.Minute)
	defer cancel()
	cmd := c.command(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr.String())
	}
	return string(out)
}

// command is a command in that environment.
func (c *clients) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(),
		"JUPYTER_PATH="+filepath.Join(c.dir, "share", "jupyter"), "JUPYTER_DATA_DIR="+filepath.Join(c.dir, "data"),
		"JUPYTER_RUNTIME_DIR="+filepath.Join(c.dir, "runtime"), "JUPYTER_CONFIG_DIR="+filepath.Join(c.dir, "config"),
		"IPYTHONDIR="+filepath.Join(c.dir, "ipython"), "DDPMLAB_HISTORY="+filepath.Join(c.dir, "history.sqlite"),
		"DDPMLAB_DB="+filepath.Join(c.dir, "runs.db"),
		"PATH="+filepath.Dir(c.python)+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// tour is a copy of the tour with a network so small that it takes seconds, and a cell before
// and one after the others, where these are not empty.
func (c *clients) tour(before, more string) string {
	c.t.Helper()
	b, err := os.ReadFile("../../notebooks/tour.ipynb")
	if err != nil {
		c.t.Fatal(err)
	}
	var nb map[string]any
	if err := json.Unmarshal(b, &nb); err != nil {
		c.t.Fatal(err)
	}
	cell := func(id, source string) any {
		return map[string]any{
			"cell_type": "code", "id": id, "metadata": map[string]any{}, "source": source, "outputs": []any{}, "execution_count": nil,
		}
	}
	small := cell("small", strings.Join([]string{
		"cfg.Model.Channels=8", "cfg.Model.HeadChannels=16", "cfg.Model.Groups=4",
		"cfg.Batch=16", "cfg.Iterations=12", "cfg.Warmup=2", "cfg.EvalFirst=2", "cfg.EvalEvery=0",
		"cfg.EvalSamples=64", "cfg.SamplingSteps=2",
	}, "\n"))
	cells := nb["cells"].([]any)
	at := slices.IndexFunc(cells, func(c any) bool {
		b, _ := json.Marshal(c.(map[string]any)["metadata"])
		return strings.Contains(string(b), `"parameters"`)
	})
	cells = slices.Insert(cells, at+1, small)
	if before != "" {
		cells = slices.Insert(cells, 0, cell("before", before))
	}
	if more != "" {
		cells = append(cells, cell("more", more))
	}
	nb["cells"] = cells
	if b, err = json.Marshal(nb); err != nil {
		c.t.Fatal(err)
	}
	path := filepath.Join(c.dir, "tour.ipynb")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// debian installs packages of Debian's, when this user may, unless the program is there.
func debian(t *testing.T, program string, packages ...string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	if os.Geteuid() != 0 {
		t.Skipf("%s is missing; install it as root: apt-get install %s", program, strings.Join(packages, " "))
	}
	for _, args := range [][]string{{"update"}, append([]string{"install", "-y", "--no-install-recommends"}, packages...)} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("apt-get %q: %v\n%s", args, err, out)
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLab opens the tour in JupyterLab, runs all cells, watches a plot change while the
// last one trains, stops it, completes, inspects and answers a question.
func TestLab(t *testing.T) {
	chromium := debian(t, "chromium", "chromium", "chromium-driver", "fonts-dejavu-core")
	driver := debian(t, "chromedriver", "chromium-driver")
	c := install(t)
	tour := c.tour("", "cfg = ddpm.Tour()\ncfg.Iterations = 5000\ncfg.EvalEvery = 0\nlab.Train(ctx, cfg, ddpm.InputPerturbation(0.3))")
	shots, err := filepath.Abs(artifacts)
	if err != nil {
		t.Fatal(err)
	}
	got := c.run(c.python, "testdata/lab.py", tour, "ddpmlab", shots, chromium, driver)
	want := `JupyterLab 4.6
busy with a live plot
stopped in time
True all cells ran
['image/png', 'image/svg+xml', 'text/html']
Tab completes True
Shift-Tab shows True
input answered
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestNotebookLab starts JupyterLab by `ddpmlab notebook lab`, and asks it for its page and
// for the kernels it knows.
func TestNotebookLab(t *testing.T) {
	c := install(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := c.command(ctx, filepath.Join(c.dir, "ddpmlab"), "notebook", "lab", c.dir, "--browser=false", "--port", port)
	cmd.Env = append(cmd.Env, "JUPYTER_TOKEN=open-sesame", "JUPYTER_PATH=")
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	get := func(path string) string {
		for {
			r, err := http.Get("http://" + address + path + "?token=open-sesame")
			if err == nil {
				defer r.Body.Close()
				b, err := io.ReadAll(r.Body)
				if err != nil || r.StatusCode != http.StatusOK {
					t.Errorf("%s: %s, %v", path, r.Status, err)
				}
				return string(b)
			}
			select {
			case <-ctx.Done():
				return err.Error()
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	if got := get("/lab"); !strings.Contains(got, "JupyterLab") {
		t.Errorf("/lab is %.300s", got)
	}
	if got := get("/api/kernelspecs"); !strings.Contains(got, `"display_name": "Go (ddpmlab)"`) {
		t.Errorf("/api/kernelspecs is %.1000s", got)
	}
	cancel()
	err = cmd.Wait()
	if t.Failed() {
		t.Logf("%v\n%s", err, log.String())
	}
}

// TestConverters executes a notebook with papermill and with nbconvert. Papermill knows
// no cell that may fail, and the other has one.
func TestConverters(t *testing.T) {
	c := install(t)
	nb := filepath.Join(c.dir, "some.ipynb")
	if err := os.WriteFile(nb, []byte(`{"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {"name": "ddpmlab", "display_name": "Go", "language": "go"}},
"cells": [
{"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": null, "source": "import \"ddpmlab/plots\"\nx := []struct{ N int; F float64 }{{41, 1.5}}\nx[0].N++\nx"},
{"cell_type": "code", "id": "b", "metadata": {}, "outputs": [], "execution_count": null, "source": "display.Markdown(\"**bold words**\")"}
]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(c.dir, "papermill.ipynb")
	c.run(c.python, "-m", "papermill", "--no-progress-bar", nb, out)
	page := filepath.Join(c.dir, "some.html")
	c.run(c.python, "-m", "jupyter", "nbconvert", "--to", "html", "--execute", "--output", page, nb)
	for path, wants := range map[string][]string{
		out:  {">42</td>", "**bold words**", `"text/markdown"`},
		page: {">42</td>", "<strong>bold words</strong>", `<span class="kn">import</span>`},
	} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s has no %s", filepath.Base(path), want)
			}
		}
	}
}

// TestConsole types into jupyter console.
func TestConsole(t *testing.T) {
	c := install(t)
	got := c.feed("x := 40\nx + 2\nkernel.Input(ctx, \"name? \")\nAda\nexit\n",
		c.python, "-m", "jupyter", "console", "--simple-prompt", "--kernel", "ddpmlab", "--ZMQTerminalInteractiveShell.kernel_timeout=60")
	for _, want := range []string{"ddpmlab: Go cells", "Out[2]: 42", "name? ", "Out[3]: Ada"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

// TestGophernotes executes the tour in stock gophernotes with this project's packages, after
// a cell that makes ctx.
func TestGophernotes(t *testing.T) {
	c := install(t)
	c.run(filepath.Join(c.dir, "ddpmlab"), "kernel", "install", "--gophernotes", "--prefix", c.dir)
	out := filepath.Join(c.dir, "gophernotes.ipynb")
	tour := c.tour("import \"context\"\nctx := context.Background()", "1 + 1")
	c.run(c.python, "../testdata/nbclient_run.py", tour, out, "ddpmlab-gophernotes")
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var nb struct {
		Cells []struct {
			Source  any // a text or its lines
			Outputs []struct {
				Data   map[string]any
				EValue string
			}
		}
	}
	if err := json.Unmarshal(b, &nb); err != nil {
		t.Fatal(err)
	}
	for code, mime := range map[string]string{ // what the tour's cells show here
		"plots.FDCurve(":     "image/png",
		"plots.LossCurve(":   "image/png",
		"plots.BiasTable(":   "text/html",
		"\nplots.VariantsTa": "text/html",
		"plots.SampleGrid(":  "image/png",
		"\nruns":             "text/plain",
		"1 + 1":              "text/plain",
	} {
		found := false
		for _, cell := range nb.Cells {
			found = found || strings.Contains("\n"+joined(cell.Source), code) && len(cell.Outputs) > 0 && cell.Outputs[len(cell.Outputs)-1].Data[mime] != nil
		}
		if !found {
			t.Errorf("%s shows no %s", strings.TrimSpace(code), mime)
		}
	}
	mistake := nb.Cells[len(nb.Cells)-2].Outputs
	if len(mistake) != 1 || !strings.Contains(mistake[0].EValue, "want 1 or more") {
		t.Errorf("the tour's mistake: %v", mistake)
	}
}

// joined is a cell's source, which a notebook stores as one text or as lines.
func joined(source any) string {
	list, ok := source.([]any)
	if !ok {
		return source.(string)
	}
	var b strings.Builder
	for _, l := range list {
		b.WriteString(l.(string))
	}
	return b.String()
}
