// Command gen writes the tables of package symbols: for each package in its list one Go
// file with the package's exported constants, variables, functions, types, and, for the
// interfaces a cell may implement, a proxy.
//
// Usage, in kernel/symbols: go generate
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/tools/go/packages"
)

// list is every package with a table of its own. The interpreter brings (old) tables for
// most of the standard library; the packages named here are those whose API has grown
// since, or that it lacks.
var list = []string{
	"ddpmlab/ddpm",
	"ddpmlab/ddpm/data",
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

func main() {
	files, err := generate(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
	if err := write(".", files); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// generate returns the tables' sources by file name. The packages are loaded as seen
// from dir.
func generate(dir string) (map[string][]byte, error) {
	cfg := &packages.Config{
		Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedDeps,
		Dir:  dir,
	}
	pkgs, err := packages.Load(cfg, list...)
	if err != nil {
		return nil, fmt.Errorf("load packages: %w", err)
	}
	files := make(map[string][]byte, len(pkgs))
	for _, p := range pkgs {
		if len(p.Errors) > 0 {
			return nil, fmt.Errorf("load %s: %w", p.PkgPath, p.Errors[0])
		}
		src, err := newTable(p.Types).source()
		if err != nil {
			return nil, fmt.Errorf("table of %s: %w", p.PkgPath, err)
		}
		files[fileName(p.PkgPath)] = src
	}
	return files, nil
}

// fileName is the table's file: table_ and the path with underscores.
func fileName(path string) string {
	path = strings.TrimPrefix(path, "gonum.org/v1/")
	return "table_" + strings.NewReplacer("/", "_", ".", "_").Replace(path) + ".go"
}

// write replaces the tables in dir by files, touching only what differs.
func write(dir string, files map[string][]byte) error {
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
