package kernel

import (
	"fmt"
	"go/scanner"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"ddpmlab/kernel/check"
	"ddpmlab/kernel/symbols/export"
)

// Complete completes the identifier, member or import path before pos.
func (g *gomacro) Complete(src string, pos int) (names []string, start int) {
	names, start = g.session.Candidates(src, pos)
	return slices.DeleteFunc(names, func(n string) bool { return strings.ContainsRune(n, '‹') }), start
}

// Inspect describes what the identifier around pos stands for: at detail 0 its declaration
// and the first paragraph of its doc comment, at detail 1 the whole comment and a type's
// fields and methods.
func (g *gomacro) Inspect(src string, pos, detail int) string {
	thing, ok := g.session.Look(src, pos)
	if !ok {
		return ""
	}
	var b strings.Builder
	b.WriteString(declaration(thing, detail))
	if doc := docOf(thing); doc != "" {
		if first, _, more := strings.Cut(doc, "\n\n"); more && detail == 0 {
			doc = first
		}
		b.WriteString("\n\n" + doc)
	}
	if o := thing.Origin; o.Cell > 0 {
		fmt.Fprintf(&b, "\n\ndeclared in cell %d, line %d", o.Cell, o.Line)
	}
	return b.String()
}

// declaration is how the thing would be declared.
func declaration(thing check.Thing, detail int) string {
	own := types.Qualifier(asInCell)
	name := thing.Name
	switch obj := thing.Object.(type) {
	case *types.PkgName:
		return fmt.Sprintf("package %s // import %q", obj.Imported().Name(), obj.Imported().Path())
	case *types.Builtin:
		return "func " + name + " // built in"
	case *types.Nil:
		return name
	case *types.Func:
		return "func " + name + strings.TrimPrefix(types.TypeString(withoutReceiver(obj.Signature()), own), "func")
	case *types.Const:
		if b, ok := obj.Type().(*types.Basic); ok && b.Info()&types.IsUntyped != 0 {
			return fmt.Sprintf("const %s = %s", name, obj.Val())
		}
		return fmt.Sprintf("const %s %s = %s", name, types.TypeString(obj.Type(), own), obj.Val())
	case *types.TypeName:
		return typeDeclaration(name, obj, own, detail)
	case *types.Var:
		kind := "var"
		if obj.IsField() {
			kind = "field"
		}
		return fmt.Sprintf("%s %s %s", kind, name, types.TypeString(obj.Type(), own))
	}
	return name
}

// asInCell is how a cell writes the name of a package, "" for its own.
func asInCell(p *types.Package) string {
	if p.Path() == "main" {
		return ""
	}
	return p.Name()
}

func withoutReceiver(sig *types.Signature) *types.Signature {
	return types.NewSignatureType(nil, nil, slices.Collect(sig.TypeParams().TypeParams()), sig.Params(), sig.Results(), sig.Variadic())
}

// typeDeclaration is a type's declaration without what is not exported of a package's, and,
// at detail 1, its methods.
func typeDeclaration(name string, obj *types.TypeName, own types.Qualifier, detail int) string {
	visible := func(o types.Object) bool { return o.Exported() || o.Pkg() != nil && o.Pkg().Path() == "main" }
	var b strings.Builder
	t := types.Unalias(obj.Type())
	if st, ok := t.Underlying().(*types.Struct); ok {
		fmt.Fprintf(&b, "type %s struct {\n", name)
		hidden := false
		for f := range st.Fields() {
			if !visible(f) {
				hidden = true
				continue
			}
			if f.Embedded() {
				fmt.Fprintf(&b, "\t%s\n", types.TypeString(f.Type(), own))
			} else {
				fmt.Fprintf(&b, "\t%s %s\n", f.Name(), types.TypeString(f.Type(), own))
			}
		}
		if hidden {
			b.WriteString("\t// and unexported fields\n")
		}
		b.WriteString("}")
	} else {
		fmt.Fprintf(&b, "type %s %s", name, types.TypeString(t.Underlying(), own))
	}
	named, ok := t.(*types.Named)
	if !ok || detail == 0 {
		return b.String()
	}
	for m := range named.Methods() {
		if visible(m) {
			recv := name
			if _, ok := m.Signature().Recv().Type().(*types.Pointer); ok {
				recv = "*" + name
			}
			fmt.Fprintf(&b, "\nfunc (%s) %s%s", recv, m.Name(), strings.TrimPrefix(types.TypeString(withoutReceiver(m.Signature()), own), "func"))
		}
	}
	return b.String()
}

// docOf is the doc comment of the thing, from its cell or its package.
func docOf(thing check.Thing) string {
	if thing.Origin.Cell > 0 {
		return thing.Origin.Doc
	}
	if pn, ok := thing.Object.(*types.PkgName); ok {
		return export.Docs(pn.Imported().Path())[""]
	}
	if thing.Object.Pkg() == nil {
		return ""
	}
	name := thing.Object.Name()
	if thing.Owner != "" {
		name = thing.Owner + "." + name
	}
	return export.Docs(thing.Object.Pkg().Path())[name]
}

// completeness says whether a cell could be run as it is: "complete", "incomplete" with
// the next line's indentation, or "invalid".
func completeness(src string) (status, indent string) {
	depth, open, bad, last := scan(src)
	switch {
	case bad || depth < 0:
		return "invalid", ""
	case open || depth > 0 || continues(last):
		return "incomplete", strings.Repeat("\t", max(depth, 0))
	}
	if check.Syntax(src) != nil {
		return "invalid", ""
	}
	return "complete", ""
}

// scan reads the source's tokens: how many brackets are open, whether a string or comment
// is, whether something is no Go at all, and the last token.
func scan(src string) (depth int, open, bad bool, last token.Token) {
	fset := token.NewFileSet()
	var s scanner.Scanner
	s.Init(fset.AddFile("cell", -1, len(src)), []byte(src), func(_ token.Position, msg string) {
		if strings.Contains(msg, "raw string literal not terminated") || strings.Contains(msg, "comment not terminated") {
			open = true
		} else {
			bad = true
		}
	}, 0)
	for {
		_, tok, lit := s.Scan()
		switch tok {
		case token.EOF:
			return depth, open, bad, last
		case token.LPAREN, token.LBRACE, token.LBRACK:
			depth++
		case token.RPAREN, token.RBRACE, token.RBRACK:
			depth--
		}
		if depth < 0 {
			bad = true
		}
		if tok != token.SEMICOLON || lit != "\n" {
			last = tok
		}
	}
}

// continues reports whether a line that ends in the token goes on.
func continues(t token.Token) bool {
	switch t {
	case token.INC, token.DEC, token.RPAREN, token.RBRACK, token.RBRACE, token.SEMICOLON, token.ILLEGAL, token.ELLIPSIS:
		return false
	}
	return t.IsOperator()
}
