// Package arch_test holds the arrows between the project's packages: what may import
// what. ARCHITECTURE.md draws them.
package arch_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "ddpmlab"

// rule says what the packages that match may import of this project, tests included. A
// pattern that ends in /... matches a folder and all below it.
type rule struct {
	packages string
	imports  []string
}

// rules are searched from the top for the first that matches a package.
var rules = []rule{
	{"cmd/...", []string{"kernel", "plots", "experiments", "ddpm/...", "internal/..."}},
	{"kernel/symbols/export", nil},
	{"kernel/check", []string{"kernel/check", "kernel/symbols/export"}}, // the latter in tests only, as below
	{"kernel/lower", []string{"kernel/check", "kernel/symbols/export"}},
	{"kernel/symbols/...", []string{"kernel/symbols", "kernel/cells", "kernel/display", "plots", "experiments", "ddpm", "ddpm/data", "ddpm/fid"}}, // what cells can import
	{"kernel/kerneltest", nil},
	{"kernel/clienttest", []string{"kernel/kerneltest"}},
	{"kernel/history", nil},
	{"kernel/crash", nil},
	{"kernel/display", nil},
	{"kernel/svg", nil},
	{"kernel/cells", []string{"internal/cell"}},
	{"kernel", []string{"kernel/check", "kernel/lower", "kernel/symbols", "kernel/symbols/export", "kernel/kerneltest", "kernel/history", "kernel/crash", "kernel/display", "kernel/svg", "plots", "internal/..."}}, // no diffusion
	{"plots", []string{"experiments", "ddpm", "ddpm/fid", "ddpm/unet", "internal/..."}},
	{"experiments", []string{"ddpm", "ddpm/data", "ddpm/fid", "ddpm/unet", "ddpm/philox", "ddpm/engine/...", "internal/..."}},
	{"ddpm", []string{"ddpm/...", "internal/display", "internal/render"}},
	{"ddpm/unet", []string{"ddpm/engine/...", "ddpm/philox"}},
	{"ddpm/inception", []string{"ddpm/engine/...", "ddpm/tensorfile"}},
	{"ddpm/inception/inceptiontest", []string{"ddpm/inception", "ddpm/philox", "ddpm/tensorfile"}},
	{"ddpm/fid/dense", []string{"ddpm/philox"}}, // the latter in tests
	{"ddpm/fid/...", []string{"ddpm/fid/...", "ddpm/data", "ddpm/engine/...", "ddpm/inception/...", "ddpm/npz", "ddpm/philox", "ddpm/tensorfile"}},
	{"ddpm/data", []string{"ddpm/npz", "ddpm/philox", "internal/pickle"}},
	{"ddpm/npz", nil},
	{"ddpm/tensorfile", []string{"internal/pickle"}},
	{"ddpm/philox", nil},
	{"ddpm/engine/op", nil},
	{"ddpm/engine/...", []string{"ddpm/engine/...", "ddpm/philox"}},
	{"internal/render", nil},
	{"internal/cell", nil},
	{"internal/pickle", nil},
	{"internal/display", []string{"internal/render"}},
	{"internal/suggest", nil},
	{"internal/exchange", []string{"internal/tfevents", "internal/protowire"}},
	{"internal/parquet", nil},
	{"internal/pointrows", nil},
	{"internal/tfevents", []string{"internal/protowire"}},
	{"internal/protowire", nil},
	{"internal/arch", nil},
	{"internal/gpukit", []string{"experiments", "ddpm", "ddpm/data", "ddpm/engine/...", "ddpm/philox", "internal/bench", "internal/render"}},
	{"internal/bench", []string{"ddpm", "ddpm/data", "ddpm/engine/...", "ddpm/inception", "ddpm/unet", "ddpm/philox", "internal/render"}},
	{"notebooks", []string{"ddpm", "experiments", "kernel/kerneltest"}},
}

// homes are the folders that alone may import something from outside.
var homes = []struct {
	of      string // import path or the beginning of it
	folders []string
}{
	{"database/sql", []string{"experiments", "internal/exchange", "kernel/history", "kernel/symbols"}}, // a cell may, too
	{"github.com/mattn/go-sqlite3", []string{"experiments", "internal/exchange", "internal/pointrows", "kernel/history"}},
	{"github.com/go-zeromq/", []string{"kernel"}},
	{"github.com/cosmos72/gomacro", []string{"kernel", "kernel/symbols", "kernel/symbols/gen"}},
	{"gonum.org/v1/plot", []string{"plots", "kernel/symbols"}},
	{"gorgonia.org/", []string{"ddpm/engine/...", "ddpm/unet"}},
	{"C", []string{"ddpm/engine/cpu", "ddpm/engine/cuda/...", "ddpm/fid/dense", "internal/bench", "internal/pointrows", "kernel/crash"}},
}

func TestArrows(t *testing.T) {
	used := map[string]bool{}
	for _, f := range sources(t, "../..") {
		i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.packages, f.folder) })
		if i < 0 {
			t.Errorf("%s: no rule for package %s; add one here and to ARCHITECTURE.md", f.name, f.folder)
			continue
		}
		used[rules[i].packages] = true
		for _, imported := range f.imports {
			if imported == "database/sql" && strings.HasSuffix(f.name, "_test.go") {
				continue // a test may look at a database from outside
			}
			if why := refuse(rules[i], f.folder, imported); why != "" {
				t.Errorf("%s imports %s: %s", f.name, imported, why)
			}
		}
	}
	for _, r := range rules {
		if !used[r.packages] {
			t.Errorf("rule %s matches no package; remove it", r.packages)
		}
	}
}

// refuse is why a package in folder, which has the rule r, may not have the import, or "".
func refuse(r rule, folder, imported string) string {
	for _, h := range homes {
		if (imported == h.of || strings.HasPrefix(imported, strings.TrimSuffix(h.of, "/")+"/")) &&
			!slices.ContainsFunc(h.folders, func(p string) bool { return matches(p, folder) }) {
			return "only " + strings.Join(h.folders, ", ") + " may"
		}
	}
	inner, ok := strings.CutPrefix(imported, module+"/")
	if !ok || inner == folder || slices.ContainsFunc(r.imports, func(p string) bool { return matches(p, inner) }) {
		return ""
	}
	return "packages " + r.packages + " may import of this project: " + strings.Join(r.imports, ", ")
}

func matches(pattern, folder string) bool {
	tree, ok := strings.CutSuffix(pattern, "/...")
	return folder == tree || ok && strings.HasPrefix(folder, tree+"/")
}

// source is a Go file, with its name and folder relative to the module's root.
type source struct {
	name, folder string
	imports      []string
}

// sources reads the imports of all Go files of the module, for every platform and tag.
func sources(t *testing.T, root string) []source {
	t.Helper()
	var all []source
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		s := source{name: name, folder: path.Dir(name)}
		for _, i := range f.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, imported)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("%d Go files below %s, want the whole module", len(all), root)
	}
	return all
}

func TestRefuse(t *testing.T) {
	ddpm := rule{"ddpm", []string{"ddpm/...", "internal/render"}}
	for _, tt := range []struct {
		folder, imported string
		ok               bool
	}{
		{"ddpm", "ddpmlab/ddpm/unet", true},
		{"ddpm", "ddpmlab/ddpm", true}, // its own tests
		{"ddpm", "ddpmlab/experiments", false},
		{"ddpm", "ddpmlab/ddpmx", false},
		{"ddpm", "database/sql", false},
		{"ddpm", "database/sql/driver", false},
		{"ddpm", "C", false},
		{"ddpm", "gorgonia.org/tensor", false},
		{"ddpm", "fmt", true},
		{"ddpm", "github.com/go-zeromq/zmq4", false},
	} {
		if why := refuse(ddpm, tt.folder, tt.imported); (why == "") != tt.ok {
			t.Errorf("got %q, want ok %v, for %s importing %s", why, tt.ok, tt.folder, tt.imported)
		}
	}
}
