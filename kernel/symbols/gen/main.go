// Command gen writes the tables of package symbols: for each package in its list one Go
// file with the package's exported constants, variables, functions, types, and, for the
// interfaces a cell may implement, a proxy; and, for every package a cell can import, the
// archives of package export.
//
// Usage, in kernel/symbols: go generate
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cosmos72/gomacro/imports"
	"golang.org/x/tools/go/packages"
)

// list is every package with a table of its own. The interpreter brings (old) tables for
// most of the standard library; the packages named here are those whose API has grown
// since, or that it lacks.
var list = []string{
	"ddpmlab/ddpm",
	"ddpmlab/ddpm/data",
	"ddpmlab/ddpm/fid",
	"ddpmlab/experiments",
	"ddpmlab/kernel/cells",
	"ddpmlab/kernel/display",
	"ddpmlab/plots",

	"gonum.org/v1/gonum/floats",
	"gonum.org/v1/gonum/mat",
	"gonum.org/v1/gonum/stat",
	"gonum.org/v1/gonum/stat/distuv",
	"gonum.org/v1/plot",
	"gonum.org/v1/plot/font",
	"gonum.org/v1/plot/palette",
	"gonum.org/v1/plot/plotter",
	"gonum.org/v1/plot/plotutil",
	"gonum.org/v1/plot/vg",
	"gonum.org/v1/plot/vg/draw",

	"bufio",
	"bytes",
	"context",
	"crypto/rand",
	"database/sql",
	"encoding",
	"encoding/binary",
	"encoding/hex",
	"errors",
	"flag",
	"fmt",
	"hash",
	"hash/maphash",
	"html/template",
	"image",
	"image/draw",
	"io",
	"io/fs",
	"log",
	"log/slog",
	"math",
	"math/bits",
	"math/rand",
	"math/rand/v2",
	"net/http",
	"net/http/httptest",
	"net/netip",
	"net/url",
	"os",
	"os/exec",
	"os/signal",
	"path/filepath",
	"reflect",
	"regexp/syntax",
	"runtime",
	"runtime/debug",
	"runtime/metrics",
	"sort",
	"strconv",
	"strings",
	"sync",
	"sync/atomic",
	"text/template",
	"time",
	"unicode",
	"unicode/utf16",
	"unicode/utf8",
}

// tableless packages have no table, since the interpreter cannot instantiate compiled
// generics. Cells that use them are checked all the same, and told so.
var tableless = []string{"cmp", "iter", "maps", "slices", "unique"}

func main() {
	out, err := generate(".")
	if err == nil {
		err = out.write(".")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// output is what the generator writes.
type output struct {
	tables map[string][]byte // by file name
	types  map[string][]byte // export data by import path
	docs   map[string][]byte // doc comments by import path
}

// generate makes the tables of the packages in list, and the export data and doc comments
// of every package a cell can import. The packages are loaded as seen from dir.
func generate(dir string) (*output, error) {
	paths := append(slices.Clone(list), tableless...)
	for path := range imports.Packages { // those the interpreter brings tables of
		first, _, _ := strings.Cut(path, "/")
		if !strings.Contains(first, ".") && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	cfg := &packages.Config{
		Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedDeps | packages.NeedFiles,
		Dir:  dir,
	}
	pkgs, err := packages.Load(cfg, paths...)
	if err != nil {
		return nil, fmt.Errorf("load packages: %w", err)
	}
	out := &output{tables: map[string][]byte{}, types: map[string][]byte{}, docs: map[string][]byte{}}
	for _, p := range pkgs {
		if len(p.Errors) > 0 {
			return nil, fmt.Errorf("load %s: %w", p.PkgPath, p.Errors[0])
		}
		if p.PkgPath != "unsafe" { // its types are the type checker's own
			if out.types[p.PkgPath], err = exportData(p); err != nil {
				return nil, err
			}
		}
		if out.docs[p.PkgPath], err = docComments(p); err != nil {
			return nil, err
		}
		if !slices.Contains(list, p.PkgPath) {
			continue
		}
		src, err := newTable(p.Types).source()
		if err != nil {
			return nil, fmt.Errorf("table of %s: %w", p.PkgPath, err)
		}
		out.tables[fileName(p.PkgPath)] = src
	}
	return out, nil
}

// fileName is the table's file: table_ and the path with underscores.
func fileName(path string) string {
	path = strings.TrimPrefix(path, "gonum.org/v1/")
	return "table_" + strings.NewReplacer("/", "_", ".", "_").Replace(path) + ".go"
}

// write writes what differs from what is in dir.
func (out *output) write(dir string) error {
	if err := writeTables(dir, out.tables); err != nil {
		return err
	}
	for name, files := range out.archives() {
		if err := writeArchive(filepath.Join(dir, "export", name), files); err != nil {
			return err
		}
	}
	return nil
}

// archives are the files of each archive.
func (out *output) archives() map[string]map[string][]byte {
	archives := map[string]map[string][]byte{}
	for kind, files := range map[string]map[string][]byte{"types": out.types, "docs": out.docs} {
		own, others := map[string][]byte{}, map[string][]byte{}
		for path, data := range files {
			if strings.HasPrefix(path, "ddpmlab/") {
				own[path] = data
			} else {
				others[path] = data
			}
		}
		archives[kind+".zip"], archives[kind+"_ddpmlab.zip"] = others, own
	}
	return archives
}

// writeTables replaces the tables in dir by files, touching only what differs.
func writeTables(dir string, files map[string][]byte) error {
	old, err := filepath.Glob(filepath.Join(dir, "table_*.go"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if files[filepath.Base(name)] == nil {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	for name, src := range files {
		path := filepath.Join(dir, name)
		if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, src) {
			continue
		}
		if err := os.WriteFile(path, src, 0o644); err != nil {
			return err
		}
	}
	return nil
}
