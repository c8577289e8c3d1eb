package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ddpmlab/kernel/symbols/export"
)

// differ is one comparison: declarations and a body, each a cell.
type differ struct{ name, decls, body string }

// readDiffers reads "-- name --", declarations, "--", body.
func readDiffers(t *testing.T, file string) (out []differ) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split("\n"+string(b), "\n-- ")[1:] {
		name, rest, _ := strings.Cut(part, " --\n")
		decls, body, ok := strings.Cut("\n"+rest, "\n--\n")
		if !ok {
			t.Fatalf("%s: case %q has no body", file, name)
		}
		out = append(out, differ{name, strings.TrimPrefix(decls, "\n"), body})
	}
	return out
}

// TestDifferential runs cells beside `go run` on the same source: the outputs are equal.
func TestDifferential(t *testing.T) {
	cases := readDiffers(t, "testdata/differential/cells.txt")
	want := compiled(t, cases)
	g := newTest(t)
	n := 0
	for _, c := range cases {
		got := printed(t, func() {
			for _, src := range []string{c.decls, c.body} {
				n++
				if _, f := g.Eval(t.Context(), source{Number: n, Source: src}); f != nil {
					fmt.Println(strings.Join(f.text(g.Line), "\n"))
					return
				}
			}
		})
		if got != want[c.name] {
			t.Errorf("%s:\n%s", c.name, diffLines(got, want[c.name]))
		}
	}
	t.Logf("%d comparisons", len(cases))
}

func diffLines(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	var b strings.Builder
	for i := range max(len(g), len(w)) {
		var x, y string
		if i < len(g) {
			x = g[i]
		}
		if i < len(w) {
			y = w[i]
		}
		if x != y {
			fmt.Fprintf(&b, "\tgot  %s\n\twant %s\n", x, y)
		}
	}
	return b.String()
}

// compiled is what Go prints of each case.
func compiled(t *testing.T, cases []differ) map[string]string {
	t.Helper()
	var decls, calls strings.Builder
	for i, c := range cases {
		fmt.Fprintf(&decls, "%s\nfunc case%d() {\n%s\n}\n", c.decls, i, unusedAllowed(c.body))
		fmt.Fprintf(&calls, "fmt.Print(\"\\x00\")\ncase%d()\n", i)
	}
	src := decls.String() + "func main() {\n" + calls.String() + "}\n"
	var imports strings.Builder
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`\b([a-z]+)\.[A-Z]`).FindAllStringSubmatch(src, -1) {
		path := map[string]string{"json": "encoding/json", "heap": "container/heap", "atomic": "sync/atomic", "bits": "math/bits"}[m[1]]
		if path == "" {
			path = m[1]
		}
		if !seen[path] && path != "log" && slices.Contains(export.Paths(), path) {
			seen[path] = true
			fmt.Fprintf(&imports, "import %q\n", path)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	if err := os.WriteFile(file, []byte("package main\n"+imports.String()+src), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module differential\ngo 1.26\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", ".")
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go run: %v\n%s", err, stderr.String())
	}
	parts := strings.Split(string(out), "\x00")[1:]
	want := map[string]string{}
	for i, c := range cases {
		want[c.name] = parts[i]
	}
	return want
}

// unusedAllowed is a body that Go compiles although it has unused variables.
func unusedAllowed(body string) string { return body }
