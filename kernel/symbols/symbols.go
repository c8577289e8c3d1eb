// Package symbols holds the tables of what a notebook cell can import: this module's
// public packages, parts of Gonum, and the standard library as of the Go release that
// generated them. Importing the package (for its side effect, too) puts the tables in the
// interpreter's registry, where they replace the interpreter's own, older ones.
//
// The tables are written by kernel/symbols/gen; a test there fails when they are stale.
// Generic functions and types have no table entry: the interpreter cannot instantiate
// compiled generics.
package symbols

import (
	"log"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/cosmos72/gomacro/imports"
)

//go:generate go run ./gen

// Has reports whether a cell can import the package with that path.
func Has(path string) bool {
	_, ok := imports.Packages[path]
	return ok && importable(path)
}

// Paths returns the import paths of all packages a cell can import, sorted.
func Paths() []string {
	var paths []string
	for path := range imports.Packages {
		if importable(path) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// Main returns the import paths a notebook is most likely to want, for messages: this
// module's packages and Gonum's, sorted.
func Main() []string {
	return slices.DeleteFunc(Paths(), func(path string) bool { return standard(path) })
}

// importable leaves out the interpreter's own packages, which are in its registry too.
func importable(path string) bool {
	return standard(path) || strings.HasPrefix(path, "ddpmlab/") || strings.HasPrefix(path, "gonum.org/")
}

// standard reports whether the path is of the standard library: no dot in its first
// element, and not this module.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && first != "ddpmlab"
}

// inCells is what cells call in place of functions that end the process, and with it the
// kernel and all variables: log.Fatal logs and panics, which ends the cell. os.Exit says
// that it ends the process, and does.
var inCells = map[string]map[string]reflect.Value{
	"log": {
		"Fatal":   reflect.ValueOf(log.Panic),
		"Fatalf":  reflect.ValueOf(log.Panicf),
		"Fatalln": reflect.ValueOf(log.Panicln),
	},
}

// register adds a generated table to the interpreter's registry, over what it has.
func register(path string, table imports.PackageUnderlying) {
	maps.Copy(table.Binds, inCells[path])
	imports.Packages.MergePackage(path, table)
}
