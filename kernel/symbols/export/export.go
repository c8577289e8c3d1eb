// Package export holds what the packages that a cell can import declare: their types, as
// the compiler's export data, and their doc comments. With it a cell is type-checked,
// completed and explained where no Go toolchain is. The archives are written by
// kernel/symbols/gen from the same list as the tables of package symbols.
package export

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"slices"
	"sync"

	"golang.org/x/tools/go/gcexportdata"
)

// This module's packages, which change often, have archives of their own.
var (
	//go:embed types.zip
	typesZip []byte
	//go:embed types_ddpmlab.zip
	ownTypesZip []byte
	//go:embed docs.zip
	docsZip []byte
	//go:embed docs_ddpmlab.zip
	ownDocsZip []byte

	typesArchives = sync.OnceValue(func() []*zip.Reader { return open(ownTypesZip, typesZip) })
	docsArchives  = sync.OnceValue(func() []*zip.Reader { return open(ownDocsZip, docsZip) })
)

func open(archives ...[]byte) (out []*zip.Reader) {
	for _, data := range archives {
		r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			panic("kernel/symbols/export: " + err.Error()) // the file is part of the binary
		}
		out = append(out, r)
	}
	return out
}

// Paths returns the import paths of all packages there are, sorted.
func Paths() []string {
	var paths []string
	for _, archive := range typesArchives() {
		for _, f := range archive.File {
			paths = append(paths, f.Name)
		}
	}
	for path := range declared {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

// Importer reads packages when they are first asked for. It is a types.Importer, not safe
// for concurrent use.
type Importer struct {
	fset   *token.FileSet            // empty: export data has no positions
	seen   map[string]*types.Package // read, or mentioned by what was read
	loaded map[string]bool
}

// NewImporter returns an importer that has read nothing yet.
func NewImporter() *Importer {
	return &Importer{
		fset:   token.NewFileSet(),
		seen:   map[string]*types.Package{"unsafe": types.Unsafe},
		loaded: map[string]bool{"unsafe": true},
	}
}

// Paths returns the import paths of all packages there are, sorted.
func (im *Importer) Paths() []string { return Paths() }

// Import returns the package with that path.
func (im *Importer) Import(path string) (*types.Package, error) {
	if im.loaded[path] {
		return im.seen[path], nil
	}
	if src, ok := declared[path]; ok {
		return im.check(path, src)
	}
	data, err := read(typesArchives(), path)
	if err != nil {
		return nil, err
	}
	p, err := gcexportdata.Read(bytes.NewReader(data), im.fset, im.seen, path)
	if err != nil {
		return nil, fmt.Errorf("read what package %q declares: %w", path, err)
	}
	im.loaded[path] = true
	return p, nil
}

// declared are packages beside those of the archive: path -> Go declarations.
var declared = map[string]string{}

// Declare adds a package that the program put in the interpreter's registry itself, by Go
// declarations in which functions need no bodies. It is to be called before any cell is
// checked, as from an init or TestMain function.
func Declare(path, src string) { declared[path] = src }

func (im *Importer) check(path, src string) (*types.Package, error) {
	f, err := parser.ParseFile(im.fset, path, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	conf := types.Config{Importer: im, IgnoreFuncBodies: true}
	p, err := conf.Check(path, im.fset, []*ast.File{f}, nil)
	if err == nil {
		im.seen[path], im.loaded[path] = p, true
	}
	return p, err
}

// Docs returns the doc comments of a package by name: "Name", and "Type.Name" for methods
// and fields; "" is the package's own. The map is shared: do not change it.
func Docs(path string) map[string]string {
	docsMu.Lock()
	defer docsMu.Unlock()
	if m, ok := docs[path]; ok {
		return m
	}
	var m map[string]string
	if data, err := read(docsArchives(), path); err == nil {
		if err := json.Unmarshal(data, &m); err != nil {
			panic("kernel/symbols/export: " + err.Error())
		}
	}
	docs[path] = m
	return m
}

var (
	docsMu sync.Mutex
	docs   = map[string]map[string]string{}
)

func read(archives []*zip.Reader, path string) ([]byte, error) {
	for _, archive := range archives {
		if f, err := archive.Open(path); err == nil {
			defer f.Close()
			return io.ReadAll(f)
		}
	}
	return nil, fmt.Errorf("no package %q", path)
}
