package kernel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ddpmlab/kernel"
)

var update = flag.Bool("update", false, "rewrite golden files")

// notebook writes a notebook of the given code cells and returns its path. A cell that
// begins with "raises:" is tagged raises-exception.
func notebook(t *testing.T, cells ...string) string {
	t.Helper()
	var list []any
	for i, src := range cells {
		meta := map[string]any{}
		if rest, ok := strings.CutPrefix(src, "raises:"); ok {
			src, meta = rest, map[string]any{"tags": []string{"raises-exception"}}
		}
		if rest, ok := strings.CutPrefix(src, "parameters:"); ok {
			src, meta = rest, map[string]any{"tags": []string{"parameters"}}
		}
		list = append(list, map[string]any{
			"cell_type": "code", "id": fmt.Sprint("c", i), "metadata": meta, "source": src, "outputs": []any{}, "execution_count": nil,
		})
	}
	b, err := json.Marshal(map[string]any{"cells": list, "metadata": map[string]any{}, "nbformat": 4, "nbformat_minor": 5})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nb.ipynb")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// executed is an executed notebook, as far as the tests look at it.
type executed struct {
	Cells []struct {
		ID      string   `json:"id"`
		Source  []string `json:"source"`
		Outputs []struct {
			Type      string         `json:"output_type"`
			Name      string         `json:"name"`
			Text      []string       `json:"text"`
			Data      map[string]any `json:"data"`
			Value     string         `json:"evalue"`
			Traceback []string       `json:"traceback"`
		} `json:"outputs"`
	} `json:"cells"`
}

func read(t *testing.T, path string) executed {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var nb executed
	if err := json.Unmarshal(b, &nb); err != nil {
		t.Fatal(err)
	}
	return nb
}

// texts is what the cell printed and showed.
func (nb executed) texts(i int) string {
	var b strings.Builder
	for _, o := range nb.Cells[i].Outputs {
		b.WriteString(strings.Join(o.Text, ""))
		if l, ok := o.Data["text/plain"].([]any); ok {
			for _, s := range l {
				fmt.Fprint(&b, s)
			}
		}
	}
	return b.String()
}

// TestRunNotebook compares the executed notebook and its page with golden files; -update
// rewrites them.
func TestRunNotebook(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "small.ipynb")
	var shown bytes.Buffer
	err := kernel.RunNotebook(t.Context(), "testdata/small.ipynb", kernel.Options{Out: out, HTML: true, Progress: &shown})
	if err != nil {
		t.Fatal(err)
	}
	for name, golden := range map[string]string{"small.ipynb": "small.golden.ipynb", "small.html": "small.golden.html"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		golden = filepath.Join("testdata", golden)
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from %s; got\n%s", name, golden, got)
		}
	}
	for _, want := range []string{
		"[2/6] fmt.Println(\"sum\", n+1)\nsum 3\n", "\n42\n",
		"    2 | xs[n+3]\n[5/6] failed, as expected", "wrote " + out + "\nwrote " + filepath.Join(dir, "small.html") + "\n",
	} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("progress lacks %q:\n%s", want, shown.String())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("temporary files left: %q", left)
	}
}

// TestRunOutput executes cells that print in unusual ways.
func TestRunOutput(t *testing.T) {
	nb := notebook(t,
		"import (\"fmt\"; \"os\"; \"os/exec\"; \"time\"; \"strings\")",
		"c := exec.Command(\"sh\", \"-c\", \"echo child; echo oops >&2\")\nc.Stdout, c.Stderr = os.Stdout, os.Stderr\nc.Run()",
		"for i := 0; i < 3; i++ { fmt.Fprint(os.Stdout, \"é\"[i%2:i%2+1]) }",
		"go func() { time.Sleep(50*time.Millisecond); fmt.Println(\"late\") }()",
		"fmt.Println(\"before\")\ntime.Sleep(150*time.Millisecond)",
		"line := strings.Repeat(\"x\", 99) + \"\\n\"\nfor i := 0; i < 20000; i++ { os.Stdout.WriteString(line) }",
		"fmt.Print(\"a\\x00b\")",
		"out, err := exec.Command(\"go\", \"version\").Output()\nstrings.HasPrefix(string(out), \"go version\"), err",
	)
	err := kernel.RunNotebook(t.Context(), nb, kernel.Options{Inplace: true})
	var failed *kernel.CellError
	if !errors.As(err, &failed) || failed.Cell != 8 || !strings.Contains(failed.Message, "cell 8, line 2:1: syntax error") {
		t.Errorf("got %v, want a syntax error in cell 8", err)
	}
	got := read(t, nb)
	for i, want := range map[int]string{1: "child\noops\n", 2: "é\ufffd", 4: "before\nlate\n", 6: "a\x00b"} {
		text := got.texts(i)
		if text != want {
			t.Errorf("cell %d: got %q, want %q", i, text, want)
		}
	}
	if n := len(got.texts(5)); n != 2e6 {
		t.Errorf("2 MB of output became %d bytes", n)
	}
	if n := len(got.Cells[5].Outputs); n != 1 {
		t.Errorf("one stream became %d outputs", n)
	}
}

// TestRunDisplay executes a training: one progress and one curve, both in their last
// state, in the notebook.
func TestRunDisplay(t *testing.T) {
	nb := notebook(t, "import \"ddpmlab/kerneltest\"", "kerneltest.Train(ctx, 300);")
	if err := kernel.RunNotebook(t.Context(), nb, kernel.Options{Inplace: true}); err != nil {
		t.Fatal(err)
	}
	outs := read(t, nb).Cells[1].Outputs
	if len(outs) != 2 {
		t.Fatalf("%d outputs, want 2: %+v", len(outs), outs)
	}
	if text := fmt.Sprint(outs[0].Data["text/plain"]); !strings.Contains(text, "300/300") || !strings.Contains(text, "done") {
		t.Errorf("progress is %s", text)
	}
	if svg := fmt.Sprint(outs[1].Data["image/svg+xml"]); !strings.Contains(svg, "<svg") {
		t.Errorf("curve has no SVG: %.100s", svg)
	}
}

func TestRunParams(t *testing.T) {
	nb := notebook(t, "parameters:n, s := 1, \"a\"", "n, s == \"b\"", "n")
	for _, params := range [][]string{{"n=5", `s="b"`}, {"n = 5*2"}} {
		out := nb + ".out"
		err := kernel.RunNotebook(t.Context(), nb, kernel.Options{Out: out, Params: params})
		var failed *kernel.CellError
		if !errors.As(err, &failed) { // "n, s" is no Go
			t.Fatal(err)
		}
		got := read(t, out)
		if len(got.Cells) != 4 || got.Cells[1].ID != "injected-parameters" {
			t.Fatalf("cells %+v", got.Cells)
		}
	}
	nb = notebook(t, "parameters:n := 1", "n")
	for i := range 2 { // the second time the cell is replaced
		if err := kernel.RunNotebook(t.Context(), nb, kernel.Options{Inplace: true, Params: []string{fmt.Sprint("n=", i+5)}}); err != nil {
			t.Fatal(err)
		}
		got := read(t, nb)
		if len(got.Cells) != 3 || got.texts(2) != fmt.Sprint(i+5) {
			t.Errorf("%d cells, n = %s, want 3 and %d", len(got.Cells), got.texts(2), i+5)
		}
	}
}

// TestRunRefuses gives the runner what it cannot run: one clear sentence, nothing written.
func TestRunRefuses(t *testing.T) {
	good := notebook(t, "1")
	text := func(s string) string {
		path := filepath.Join(t.TempDir(), "x.ipynb")
		if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	readOnly := t.TempDir()
	tests := []struct {
		name, path string
		opt        kernel.Options
		want       string
	}{
		{"missing", "no/such.ipynb", kernel.Options{}, "no/such.ipynb: no such file"},
		{"no JSON", text("# hello"), kernel.Options{}, "x.ipynb: not a notebook: line 1, column 1: invalid character '#'"},
		{"cut off", text(`{"cells": [`), kernel.Options{}, "not a notebook: the file ends in the middle"},
		{"empty", text(" \n"), kernel.Options{}, "not a notebook: the file is empty"},
		{"comma missing", text("{\n \"cells\": [\"a\" 7]}"), kernel.Options{}, "not a notebook: line 2, column 16: "},
		{"more than JSON", text(`{"nbformat": 4, "cells": []} x`), kernel.Options{}, "something follows"},
		{"a list", text("[]"), kernel.Options{}, "not a notebook: the file holds a JSON array; want a JSON object"},
		{"old format", text(`{"nbformat": 3, "worksheets": []}`), kernel.Options{}, "nbformat is 3, want 4"},
		{"no format", text(`{}`), kernel.Options{}, "nbformat is missing, want 4"},
		{"no cells", text(`{"nbformat": 4}`), kernel.Options{}, "no list of cells"},
		{"no code", text(`{"nbformat": 4, "cells": [{"cell_type": "markdown", "source": "x"}]}`), kernel.Options{}, "no code cells"},
		{"odd cell", text(`{"nbformat": 4, "cells": [7]}`), kernel.Options{}, "cell 1 is not a JSON object"},
		{"python", text(`{"nbformat": 4, "metadata": {"kernelspec": {"language": "python"}}, "cells": []}`), kernel.Options{}, "in python"},
		{"both outputs", good, kernel.Options{Out: "x", Inplace: true}, "not both"},
		{"no folder", good, kernel.Options{Out: filepath.Join(readOnly, "none", "x.ipynb")}, "executed notebook: folder " + filepath.Join(readOnly, "none") + " cannot be written: no such file or directory; choose another place with --out FILE"},
		{"no parameters cell", good, kernel.Options{Params: []string{"n=1"}}, "no code cell tagged parameters"},
		{"no assignment", good, kernel.Options{Params: []string{"n"}}, `"n" is not of the form Name=value`},
		{"no name", good, kernel.Options{Params: []string{"f()=1"}}, "not of the form"},
		{"no expression", good, kernel.Options{Params: []string{"s=a b"}}, "no Go expression"},
		{"no kernel", good, kernel.Options{Out: filepath.Join(readOnly, "x.ipynb"), KernelArgv: []string{"/no/such/kernel"}}, "start the kernel: "},
		{"kernel that ends", good, kernel.Options{Out: filepath.Join(readOnly, "x.ipynb"), KernelArgv: []string{"sh", "-c", "echo no luck >&2; exit 3"}}, "ended while starting: no luck"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := kernel.RunNotebook(t.Context(), tt.path, tt.opt)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(strings.TrimSpace(err.Error()), "\n") {
				t.Errorf("got %v, want one line with %q", err, tt.want)
			}
		})
	}
}

// TestRunFailure stops at a cell that fails; the notebook is written whole.
func TestRunFailure(t *testing.T) {
	nb := notebook(t, "x := 0", "raises:1 / x", "x = 1\nx + nothing", "40 + 2")
	err := kernel.RunNotebook(t.Context(), nb, kernel.Options{Inplace: true, HTML: true})
	var failed *kernel.CellError
	if !errors.As(err, &failed) || failed.Cell != 3 {
		t.Fatalf("got %v, want that code cell 3 failed", err)
	}
	if want := "code cell 3 failed: cell 3, line 2:5: compile error: undefined: nothing"; !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %q, want %q", err, want)
	}
	got := read(t, nb)
	if len(got.Cells) != 4 || len(got.Cells[1].Outputs) != 1 || len(got.Cells[2].Outputs) != 1 || len(got.Cells[3].Outputs) != 0 {
		t.Errorf("cells %+v", got.Cells)
	}
	page, err := os.ReadFile(strings.TrimSuffix(nb, ".ipynb") + ".html")
	if err != nil || !bytes.Contains(page, []byte("undefined: nothing")) {
		t.Errorf("page: %v", err)
	}
}

// TestRunFailureLines has a message of several lines: the error is one that has them all.
func TestRunFailureLines(t *testing.T) {
	nb := notebook(t, "func f(a int, b string) {}\nf(1)")
	err := kernel.RunNotebook(t.Context(), nb, kernel.Options{Inplace: true})
	want := "not enough arguments in call to f have (number) want (int, string)"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestRunDies has the kernel end under a cell.
func TestRunDies(t *testing.T) {
	for src, want := range map[string]string{
		"os.Exit(3)": "the kernel ended: exit status 3",
		"exec.Command(\"kill\", \"-KILL\", fmt.Sprint(os.Getpid())).Run()":                                         "the kernel ended: signal: killed",
		"for range 500 { go func() { select {} }() }\ntime.Sleep(50 * time.Millisecond)\nnew(sync.Mutex).Unlock()": "the kernel ended: fatal error: sync: unlock of unlocked mutex",
		"func g(n int) int { return g(n+1) + 1 }\ng(0)":                                                            "the kernel ended: stack overflow",
		"go func() { exec.Command(\"kill\", \"-ABRT\", fmt.Sprint(os.Getpid())).Run() }()\nselect {}":              "SIGABRT: abort",
	} {
		nb := notebook(t, "import (\"fmt\"; \"os\"; \"os/exec\")", "fmt.Println(\"last words\")", src, "1")
		err := kernel.RunNotebook(t.Context(), nb, kernel.Options{Inplace: true})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", src, err, want)
		}
		got := read(t, nb)
		if v := got.Cells[2].Outputs; len(v) != 1 || !strings.Contains(v[0].Value, want) {
			t.Errorf("%s: outputs %+v, want %q", src, v, want)
		}
		if got.texts(1) != "last words\n" || len(got.Cells[2].Outputs) != 1 || got.Cells[2].Outputs[0].Type != "error" || len(got.Cells) != 4 {
			t.Errorf("%s: cells %+v", src, got.Cells)
		}
	}
}

// TestRunInterrupt presses Ctrl-C once, and once more for a cell that cannot be stopped.
func TestRunInterrupt(t *testing.T) {
	tests := []struct {
		name, src string
		presses   int
		want      string // in the cell's error
	}{
		{"loop", "for {}", 1, "the cell was interrupted"},
		{"training", "kerneltest.Train(ctx, 1e6)", 1, "the cell was interrupted"},
		{"deadlock", "mu.Lock()", 2, "the kernel was ended"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nb := notebook(t, "import (\"fmt\"; \"sync\"; \"ddpmlab/kerneltest\")\nvar mu sync.Mutex\nmu.Lock()\n_ = kerneltest.Train", "fmt.Println(\"begun\")\n"+tt.src, "1")
			presses := make(chan os.Signal, 2)
			begun := newWatch("begun")
			go func() {
				<-begun.seen
				for range tt.presses {
					time.Sleep(100 * time.Millisecond)
					presses <- os.Interrupt
				}
			}()
			start := time.Now()
			err := kernel.RunNotebook(t.Context(), nb, kernel.Options{Inplace: true, Interrupts: presses, Progress: begun})
			if !errors.Is(err, kernel.ErrInterrupted) {
				t.Fatalf("got %v, want %v", err, kernel.ErrInterrupted)
			}
			if d := time.Since(start); d > 4*time.Second {
				t.Errorf("took %v", d)
			}
			outs := read(t, nb).Cells[1].Outputs
			if last := outs[len(outs)-1]; last.Type != "error" || last.Value != tt.want {
				t.Errorf("outputs %+v, want %q", outs, tt.want)
			}
		})
	}
}

// TestRunSignal interrupts the kernel by SIGINT, from one of its own cells.
func TestRunSignal(t *testing.T) {
	nb := notebook(t, "import (\"fmt\"; \"os\"; \"os/exec\")\nkept := 41",
		"raises:go func() { exec.Command(\"kill\", \"-INT\", fmt.Sprint(os.Getpid())).Run() }()\nfor {}", "kept + 1")
	if err := kernel.RunNotebook(t.Context(), nb, kernel.Options{Inplace: true}); err != nil {
		t.Fatal(err)
	}
	got := read(t, nb)
	if o := got.Cells[1].Outputs; len(o) != 1 || o[0].Value != "the cell was interrupted" || got.texts(2) != "42" {
		t.Errorf("cells %+v", got.Cells)
	}
}

// TestRunCancelled ends the context instead.
func TestRunCancelled(t *testing.T) {
	nb := notebook(t, "println(\"begun\")\nfor {}")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	begun := newWatch("begun")
	go func() { <-begun.seen; cancel() }()
	if err := kernel.RunNotebook(ctx, nb, kernel.Options{Inplace: true, Progress: begun}); !errors.Is(err, kernel.ErrInterrupted) {
		t.Errorf("got %v, want %v", err, kernel.ErrInterrupted)
	}
}

// watch is a writer that tells when it has seen a word.
type watch struct {
	word string
	all  string
	seen chan struct{}
}

func newWatch(word string) *watch { return &watch{word: word, seen: make(chan struct{})} }

func (w *watch) Write(p []byte) (int, error) {
	before := printed(w.all, w.word)
	w.all += string(p)
	if !before && printed(w.all, w.word) {
		close(w.seen)
	}
	return len(p), nil
}

// printed reports whether a line is the word: not a cell's first line, which is shown too.
func printed(s, word string) bool {
	return regexp.MustCompile(`(?m)^` + word + `$`).MatchString(s)
}
