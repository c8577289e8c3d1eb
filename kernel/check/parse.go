package check

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"slices"
	"strings"
)

// parsed is a cell as the type checker takes it.
type parsed struct {
	file       *ast.File // declarations, and a function with the statements
	items      []Item
	imports    []*ast.ImportSpec
	last       ast.Expr        // the value of the cell, if it ends in an expression
	stale      *ast.AssignStmt // a := that declares nothing
	declared   map[string]bool // by the cell, for the session
	variables  map[string]bool // those of them that are variables
	mentioned  map[string]bool // every name that occurs
	qualifiers map[string]bool // those that stand before a dot
}

// FileName is the name of a cell in positions.
func FileName(number int) string { return fmt.Sprintf("In[%d]", number) }

// parse parses the cell twice, since no Go file has both functions and statements at its
// top level: once with all but the functions and imports blanked, once with these blanked.
// Both have the same positions.
func (s *Session) parse(number int, src string) (*parsed, []Error) {
	name := FileName(number)
	if e := unbalanced(src); e != nil {
		return nil, []Error{*e}
	}
	decls, stmts := split(src)
	line := "/*line " + name + ":1:1*/"
	var errs []Error
	collect := func(err error) {
		if list, ok := err.(scanner.ErrorList); ok {
			for _, e := range list {
				errs = append(errs, Error{Line: e.Pos.Line, Column: e.Pos.Column, Message: e.Msg, Syntax: true})
			}
		}
	}
	const mode = parser.SkipObjectResolution | parser.ParseComments
	df := &ast.File{}
	if strings.TrimSpace(decls) != "" { // most cells have neither functions nor imports
		var err error
		df, err = parser.ParseFile(s.fset, name, "package main;"+line+decls, mode)
		collect(err)
	}
	sf, err := parser.ParseFile(s.fset, name, "package main;func _(){"+line+stmts+"\n}", mode)
	collect(err)
	if len(errs) > 0 {
		sortErrors(errs)
		errs = slices.CompactFunc(errs, func(a, b Error) bool { return a.Line == b.Line })
		first := errs[0]
		line, column := end(src)
		beyond := func(e Error) bool { return e.Line > line || e.Line == line && e.Column > column }
		if len(errs) > 1 { // what the parser misses at the end, it misses because of the first
			errs = slices.DeleteFunc(errs[1:], beyond)
			errs = slices.Insert(errs, 0, first)
		}
		for i, e := range errs {
			if beyond(e) { // at the brace that closes the function around the statements
				errs[i].Line, errs[i].Column, errs[i].Message = line, column, strings.Replace(e.Message, "found '}'", "found 'EOF'", 1)
			}
			errs[i].Message += lineHint(src, errs[i].Line)
		}
		return nil, errs
	}
	p := &parsed{
		file:     &ast.File{Name: ast.NewIdent("main"), FileStart: sf.FileStart, FileEnd: sf.FileEnd, Package: sf.Package},
		declared: map[string]bool{}, variables: map[string]bool{}, mentioned: map[string]bool{}, qualifiers: map[string]bool{},
	}
	p.declarations(df)
	p.statements(sf.Decls[0].(*ast.FuncDecl))
	if p.stale != nil {
		at := s.fset.Position(p.stale.TokPos)
		return nil, []Error{{Line: at.Line, Column: at.Column, Message: "no new variables on left side of :="}}
	}
	p.sortByLine(s.fset)
	ast.Inspect(p.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			p.mentioned[n.Name] = true
		case *ast.SelectorExpr:
			if id, ok := n.X.(*ast.Ident); ok {
				p.qualifiers[id.Name] = true
			}
		}
		return true
	})
	return p, nil
}

// sortByLine puts the items of both files in the order of the source.
func (p *parsed) sortByLine(fset *token.FileSet) {
	slices.SortStableFunc(p.items, func(a, b Item) int {
		x, y := fset.Position(a.Node.Pos()), fset.Position(b.Node.Pos())
		if x.Line != y.Line {
			return x.Line - y.Line
		}
		return x.Column - y.Column
	})
}

// declarations takes the functions and imports.
func (p *parsed) declarations(f *ast.File) {
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			it := Item{Node: d}
			if d.Recv == nil && d.Name.Name != "_" {
				it.Names = p.declare(d.Name)
			}
			p.items = append(p.items, it)
			p.file.Decls = append(p.file.Decls, d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if imp, ok := spec.(*ast.ImportSpec); ok {
					p.imports = append(p.imports, imp)
				}
			}
		}
	}
}

// statements takes the others: declarations for the file, the rest for its function.
func (p *parsed) statements(fn *ast.FuncDecl) {
	var body []ast.Stmt
	for i, stmt := range fn.Body.List {
		it := Item{Node: stmt}
		switch st := stmt.(type) {
		case *ast.DeclStmt:
			d := st.Decl.(*ast.GenDecl)
			it.Node = d
			it.Names = p.declare(declaredBy(d)...)
			for _, name := range it.Names {
				p.variables[name] = d.Tok == token.VAR
			}
			p.file.Decls = append(p.file.Decls, d)
		case *ast.AssignStmt:
			if st.Tok == token.DEFINE {
				assign := p.define(st, &it)
				if assign != nil {
					body = append(body, assign)
				}
			} else {
				body = append(body, st)
			}
		case *ast.ExprStmt:
			if i == len(fn.Body.List)-1 {
				if id, ok := st.X.(*ast.Ident); ok && id.Name == "nil" { // a value, but of no type
					continue
				}
				p.last = st.X
				stmt = asUsed(st)
			}
			body = append(body, stmt)
		case *ast.EmptyStmt:
			continue
		default:
			body = append(body, stmt)
		}
		p.items = append(p.items, it)
	}
	fn.Body.List = body
	p.file.Decls = append(p.file.Decls, fn)
}

// asUsed assigns the value of a last expression, which may be unused. A call may have no
// value, and stays.
func asUsed(st *ast.ExprStmt) ast.Stmt {
	if _, ok := ast.Unparen(st.X).(*ast.CallExpr); ok {
		return st
	}
	blank := &ast.Ident{Name: "_", NamePos: st.Pos()}
	return &ast.AssignStmt{Lhs: []ast.Expr{blank}, TokPos: st.Pos(), Tok: token.ASSIGN, Rhs: []ast.Expr{st.X}}
}

// define makes x := e a declaration of the file. Those of its variables that the cell
// declared before are assigned, by the statement it returns.
func (p *parsed) define(st *ast.AssignStmt, it *Item) ast.Stmt {
	spec := &ast.ValueSpec{Values: st.Rhs}
	var old, new []ast.Expr
	for _, l := range st.Lhs {
		id, ok := l.(*ast.Ident)
		switch {
		case !ok: // leave the message to the checker
			return st
		case id.Name != "_" && p.declared[id.Name]:
			held := &ast.Ident{Name: fmt.Sprintf("%s‹%d›", id.Name, id.Pos()), NamePos: id.Pos()}
			spec.Names = append(spec.Names, held)
			old = append(old, id)
			new = append(new, &ast.Ident{Name: held.Name, NamePos: id.Pos()})
			it.Assigned = append(it.Assigned, id)
		default:
			spec.Names = append(spec.Names, id)
		}
	}
	if len(old) == len(spec.Names) {
		p.stale = st
		return st
	}
	for _, id := range spec.Names {
		if !strings.HasSuffix(id.Name, "›") {
			it.Names = append(it.Names, p.declare(id)...)
			p.variables[id.Name] = true
		}
	}
	p.file.Decls = append(p.file.Decls, &ast.GenDecl{Tok: token.VAR, TokPos: st.Pos(), Specs: []ast.Spec{spec}})
	if old == nil {
		return nil
	}
	return &ast.AssignStmt{Lhs: old, TokPos: st.TokPos, Tok: token.ASSIGN, Rhs: new}
}

// declare notes names that the cell declares.
func (p *parsed) declare(ids ...*ast.Ident) (names []string) {
	for _, id := range ids {
		if id.Name != "_" {
			p.declared[id.Name] = true
			names = append(names, id.Name)
		}
	}
	return names
}

func declaredBy(d *ast.GenDecl) (ids []*ast.Ident) {
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			ids = append(ids, s.Name)
		case *ast.ValueSpec:
			ids = append(ids, s.Names...)
		}
	}
	return ids
}

// split returns the source twice, once with everything but its functions and imports
// blanked, once without them. Lines and columns stay; a package clause is blanked in both.
func split(src string) (decls, stmts string) {
	d, st := []byte(src), []byte(src)
	toks := tokens(src)
	blank := func(b []byte, from, to int) {
		for i := from; i < to; i++ {
			if b[i] != '\n' {
				b[i] = ' '
			}
		}
	}
	depth, begin, kept := 0, 0, 0 // token that begins the statement; end of the last function or import
	for i, t := range toks {
		switch t.kind {
		case token.LPAREN, token.LBRACE, token.LBRACK:
			depth++
		case token.RPAREN, token.RBRACE, token.RBRACK:
			depth--
		}
		if !(depth <= 0 && t.kind == token.SEMICOLON || t.kind == token.EOF) {
			continue
		}
		first := toks[begin]
		end := min(t.offset+len(t.text), len(src))
		switch {
		case first.kind == token.PACKAGE:
			blank(st, first.offset, end)
		case first.kind == token.IMPORT, first.kind == token.FUNC && !literal(toks[begin:]):
			blank(d, kept, docStart(src, kept, first.offset))
			blank(st, first.offset, end)
			kept = end
		}
		begin = i + 1
		if t.kind == token.EOF {
			break
		}
	}
	blank(d, kept, len(src))
	return string(d), string(st)
}

// docStart is where the comment lines just above the declaration at offset begin, not
// before from.
func docStart(src string, from, offset int) int {
	for {
		lineStart := strings.LastIndexByte(src[:offset], '\n') // end of the line above
		if lineStart <= from {
			return offset
		}
		above := strings.LastIndexByte(src[:lineStart], '\n') + 1
		if above < from || !strings.HasPrefix(strings.TrimSpace(src[above:lineStart]), "//") {
			return offset
		}
		offset = above
	}
}

// unbalanced reports the first closing bracket without an opening one: a brace would
// close the function that the statements are put in.
func unbalanced(src string) *Error {
	depth := 0
	for _, t := range tokens(src) {
		switch t.kind {
		case token.LPAREN, token.LBRACE, token.LBRACK:
			depth++
		case token.RPAREN, token.RBRACE, token.RBRACK:
			depth--
		}
		if depth < 0 && t.kind == token.RBRACE {
			before := src[:t.offset]
			return &Error{
				Line:   strings.Count(before, "\n") + 1,
				Column: t.offset - strings.LastIndexByte(before, '\n'), Message: "expected statement, found '}'", Syntax: true,
			}
		}
	}
	return nil
}

// end is where the source's last token ends.
func end(src string) (line, column int) {
	at := 0
	for _, t := range tokens(src) {
		switch {
		case t.kind == token.EOF || t.kind == token.SEMICOLON && t.text == "":
		case t.text != "":
			at = t.offset + len(t.text)
		default:
			at = t.offset + len(t.kind.String())
		}
	}
	at = min(at, len(src))
	return strings.Count(src[:at], "\n") + 1, at - strings.LastIndexByte(src[:at], '\n')
}

type tok struct {
	offset int
	kind   token.Token
	text   string // of a semicolon: "" when the line's end stands for it
}

func tokens(src string) (toks []tok) {
	fset := token.NewFileSet()
	file := fset.AddFile("", -1, len(src))
	var sc scanner.Scanner
	sc.Init(file, []byte(src), func(token.Position, string) {}, 0)
	for {
		pos, kind, text := sc.Scan()
		if kind == token.SEMICOLON && text != ";" {
			text = ""
		}
		toks = append(toks, tok{file.Offset(pos), kind, text})
		if kind == token.EOF {
			return toks
		}
	}
}

// literal reports whether the tokens, of which the first is func, begin a function literal
// and not a declaration: func(x T) { or func(x T) R {, where a method has a name and a second
// parameter list.
func literal(toks []tok) bool {
	if len(toks) < 2 || toks[1].kind != token.LPAREN {
		return false
	}
	depth := 0
	for i, t := range toks[1:] {
		switch t.kind {
		case token.LPAREN:
			depth++
		case token.RPAREN:
			depth--
		}
		if depth == 0 {
			rest := toks[i+2:]
			return !(len(rest) > 1 && rest[0].kind == token.IDENT && rest[1].kind == token.LPAREN)
		}
	}
	return false
}
