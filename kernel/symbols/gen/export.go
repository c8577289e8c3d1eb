package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/tools/go/gcexportdata"
	"golang.org/x/tools/go/packages"
)

// exportData is the package's export data. Positions are left out: they name folders of
// the machine the generator runs on.
func exportData(p *packages.Package) ([]byte, error) {
	var b bytes.Buffer
	if err := gcexportdata.Write(&b, token.NewFileSet(), p.Types); err != nil {
		return nil, fmt.Errorf("export data of %s: %w", p.PkgPath, err)
	}
	return b.Bytes(), nil
}

// docComments is the package's doc comments as JSON: see export.Docs.
func docComments(p *packages.Package) ([]byte, error) {
	docs := map[string]string{}
	add := func(name string, comments ...*ast.CommentGroup) {
		for _, c := range comments {
			if text := strings.TrimSpace(c.Text()); text != "" && docs[name] == "" {
				docs[name] = text
			}
		}
	}
	fset := token.NewFileSet()
	for _, file := range p.GoFiles {
		f, err := parser.ParseFile(fset, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("doc comments of %s: %w", p.PkgPath, err)
		}
		add("", f.Doc)
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if d.Recv != nil {
					name = receiver(d.Recv.List[0].Type) + "." + name
				}
				if exported(name) {
					add(name, d.Doc)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					specDocs(d, spec, add)
				}
			}
		}
	}
	return json.Marshal(docs)
}

// specDocs adds the comments of a constant, variable or type. One of a group without a
// comment of its own has the group's.
func specDocs(d *ast.GenDecl, spec ast.Spec, add func(string, ...*ast.CommentGroup)) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() {
				add(n.Name, s.Doc, s.Comment, d.Doc)
			}
		}
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		add(s.Name.Name, s.Doc, d.Doc, s.Comment)
		var fields *ast.FieldList
		switch t := s.Type.(type) {
		case *ast.StructType:
			fields = t.Fields
		case *ast.InterfaceType:
			fields = t.Methods
		default:
			return
		}
		for _, f := range fields.List {
			for _, n := range f.Names {
				if n.IsExported() {
					add(s.Name.Name+"."+n.Name, f.Doc, f.Comment)
				}
			}
		}
	}
}

// receiver is the name of a method's type.
func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

// exported reports whether all parts of a dotted name are.
func exported(name string) bool {
	for part := range strings.SplitSeq(name, ".") {
		if !token.IsExported(part) {
			return false
		}
	}
	return true
}

// writeArchive writes a zip archive of the files, unless the file has the same already.
func writeArchive(name string, files map[string][]byte) error {
	if have, err := readArchive(name); err == nil && maps.EqualFunc(have, files, bytes.Equal) {
		return nil
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(out, flate.BestCompression)
	})
	for _, path := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(path) // without a time
		if err != nil {
			return err
		}
		if _, err := f.Write(files[path]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

func readArchive(name string) (map[string][]byte, error) {
	r, err := zip.OpenReader(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	files := map[string][]byte{}
	for _, f := range r.File {
		rc, err := f.Open()
		if err != nil {
			return nil, err
		}
		if files[f.Name], err = io.ReadAll(rc); err != nil {
			return nil, err
		}
		rc.Close()
	}
	return files, nil
}
