package check

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Thing is what an identifier in a cell stands for.
type Thing struct {
	Object types.Object
	Name   string // as the cell writes it, "x.f" for a member
	Origin Origin // if a cell declared it
	Owner  string // of a field or method: the type that has it, "" else
}

// Look type-checks as much as it can of an unfinished cell and returns what the identifier
// around the byte offset pos stands for; false if that is not known.
func (s *Session) Look(src string, pos int) (Thing, bool) {
	begin, end := pos, pos
	for begin > 0 {
		r, n := utf8.DecodeLastRuneInString(src[:begin])
		if !identRune(r) {
			break
		}
		begin -= n
	}
	for end < len(src) {
		r, n := utf8.DecodeRuneInString(src[end:])
		if !identRune(r) {
			break
		}
		end += n
	}
	if begin == end {
		return Thing{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := operand(src[:begin])
	name := src[begin:end]
	if x != "" {
		t, pkg := s.typeOf(src, begin, x)
		switch {
		case pkg != nil:
			if obj := pkg.Scope().Lookup(name); obj != nil && obj.Exported() {
				return Thing{Object: obj, Name: x + "." + name}, true
			}
		case t != nil:
			if obj, _, _ := types.LookupFieldOrMethod(t, true, s.pkg, name); obj != nil {
				return Thing{Object: obj, Name: x + "." + name, Origin: s.origin[obj], Owner: owner(t, obj)}, true
			}
		}
		return Thing{}, false
	}
	if obj := s.localObject(src, begin, name); obj != nil {
		return Thing{Object: obj, Name: name, Origin: s.origin[obj]}, true
	}
	_, imports := s.scopeAt(src, begin)
	obj := s.lookup(name, imports, true)
	if obj == nil {
		obj = types.Universe.Lookup(name)
	}
	return Thing{Object: obj, Name: name, Origin: s.origin[obj]}, obj != nil
}

// owner is the named type that declares a field or method of t.
func owner(t types.Type, obj types.Object) string {
	if fn, ok := obj.(*types.Func); ok && fn.Signature().Recv() != nil {
		t = fn.Signature().Recv().Type()
	}
	var find func(types.Type) string
	find = func(t types.Type) string {
		if p, ok := t.Underlying().(*types.Pointer); ok {
			t = p.Elem()
		}
		n, ok := types.Unalias(t).(*types.Named)
		if !ok {
			return ""
		}
		st, ok := n.Underlying().(*types.Struct)
		if _, isFunc := obj.(*types.Func); isFunc || !ok {
			return n.Obj().Name()
		}
		for f := range st.Fields() {
			if f == obj {
				return n.Obj().Name()
			}
		}
		for f := range st.Fields() {
			if f.Embedded() {
				if o := find(f.Type()); o != "" {
					return o
				}
			}
		}
		return ""
	}
	return find(t)
}

// Candidates returns the names that could stand at the byte offset pos of an unfinished
// cell, and where the incomplete name begins.
func (s *Session) Candidates(src string, pos int) (names []string, start int) {
	start = pos
	for start > 0 {
		r, n := utf8.DecodeLastRuneInString(src[:start])
		if !identRune(r) {
			break
		}
		start -= n
	}
	prefix := src[start:pos]
	s.mu.Lock()
	defer s.mu.Unlock()
	if path, at, ok := importPath(src, pos); ok {
		return withPrefix(s.importer.Paths(), path), at
	}
	if start > 0 && src[start-1] == '.' {
		x := operand(src[:start])
		if x == "" {
			return nil, start
		}
		switch t, pkg := s.typeOf(src, start, x); {
		case pkg != nil:
			return withPrefix(exportedNames(pkg), prefix), start
		case t != nil:
			for _, m := range Members(t, s.pkg) {
				names = append(names, m.Name())
			}
			return withPrefix(names, prefix), start
		}
		return nil, start
	}
	if prefix == "" {
		return nil, start
	}
	names = slices.Concat(slices.Collect(maps.Keys(s.live)), slices.Collect(maps.Keys(s.imported)),
		slices.Collect(maps.Keys(s.byName)), types.Universe.Names(), keywords(), localsBefore(src, start))
	return withPrefix(names, prefix), start
}

func withPrefix(names []string, prefix string) []string {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, prefix) })
	slices.Sort(names)
	return slices.Compact(names)
}

func keywords() (names []string) {
	for t := token.BREAK; t <= token.VAR; t++ {
		names = append(names, t.String())
	}
	return names
}

// importPath is the incomplete path when pos is inside the string of an import, and where
// it begins.
func importPath(src string, pos int) (path string, start int, ok bool) {
	line := src[strings.LastIndexByte(src[:pos], '\n')+1 : pos]
	quote := strings.LastIndexByte(line, '"')
	if quote < 0 || strings.Count(line, `"`) != 1 {
		return "", 0, false
	}
	before := strings.TrimSpace(src[:pos-len(line)+quote])
	open := strings.LastIndex(before, "import")
	if open < 0 || strings.ContainsAny(before[open:], "){};=") {
		return "", 0, false
	}
	return line[quote+1:], pos - len(line) + quote + 1, true
}

// operand is the expression before the dot that ends src; "" if there is none.
func operand(src string) string {
	if !strings.HasSuffix(src, ".") {
		return ""
	}
	toks := tokens(src[:len(src)-1])
	toks = toks[:len(toks)-1] // EOF
	if n := len(toks); n > 0 && toks[n-1].kind == token.SEMICOLON && toks[n-1].text == "" {
		toks = toks[:n-1] // the end's
	}
	for i := len(toks) - 1; i >= 0; {
		start := i
		switch toks[i].kind {
		case token.RPAREN, token.RBRACK, token.RBRACE:
			if start = opening(toks, i); start < 0 {
				return ""
			}
			if start > 0 && endsOperand(toks[start-1].kind) { // of a call, an index or a literal
				i = start - 1
				continue
			}
		case token.IDENT, token.STRING, token.CHAR:
			if i > 1 && toks[i-1].kind == token.PERIOD {
				i -= 2
				continue
			}
		default:
			return ""
		}
		return src[toks[start].offset : len(src)-1]
	}
	return ""
}

// opening is the index of the bracket that the one at i closes; -1: there is none.
func opening(toks []tok, i int) int {
	depth := 0
	for ; i >= 0; i-- {
		switch toks[i].kind {
		case token.RPAREN, token.RBRACK, token.RBRACE:
			depth++
		case token.LPAREN, token.LBRACK, token.LBRACE:
			depth--
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}

func endsOperand(t token.Token) bool {
	return t == token.RPAREN || t == token.RBRACK || t == token.RBRACE || t == token.IDENT
}

// typeOf is the type of the expression x, or the package it names, where the offset pos of
// src is. What is before pos is checked as far as it goes.
func (s *Session) typeOf(src string, pos int, x string) (types.Type, *types.Package) {
	expr, err := parser.ParseExpr(x)
	if err != nil {
		return nil, nil
	}
	scope, imports := s.scopeAt(src, pos)
	if scope == nil {
		return nil, nil
	}
	ast.Inspect(expr, func(n ast.Node) bool { // what x mentions and the cell before it does not
		if id, ok := n.(*ast.Ident); ok && scope.Lookup(id.Name) == nil {
			if obj := s.lookup(id.Name, imports, true); obj != nil {
				scope.Insert(obj)
			}
		}
		return true
	})
	if id, ok := expr.(*ast.Ident); ok {
		if pn, ok := scope.Lookup(id.Name).(*types.PkgName); ok {
			return nil, pn.Imported()
		}
	}
	setScope(s.pkg, scope)
	return evaluate(s.pkg, x), nil
}

// evaluate is the type of an expression in the package; nil if it has none.
func evaluate(pkg *types.Package, x string) (t types.Type) {
	defer func() {
		if recover() != nil { // an unfinished cell can confuse the checker
			t = nil
		}
	}()
	tv, err := types.Eval(token.NewFileSet(), pkg, token.NoPos, x)
	if err != nil || tv.IsVoid() {
		return nil
	}
	return tv.Type
}

// localObject is the object of that name that the unfinished cell itself declares before
// pos, if any.
func (s *Session) localObject(src string, pos int, name string) types.Object {
	scope, _ := s.scopeAt(src, pos)
	if scope == nil {
		return nil
	}
	if _, isPkg := scope.Lookup(name).(*types.PkgName); isPkg {
		return nil
	}
	return scope.Lookup(name)
}

// scopeAt checks the cell up to pos, closed where it is open, and returns a scope with all
// its names, local ones included, and what it imports.
func (s *Session) scopeAt(src string, pos int) (*types.Scope, map[string]*types.Package) {
	kept := s.fset
	s.fset = token.NewFileSet() // the session's has only cells that ran
	defer func() { s.fset = kept }()
	p, errs := s.parse(0, closed(src[:pos]))
	if errs != nil {
		return nil, nil
	}
	imports := s.imports(p, func(token.Pos, string, ...any) {})
	scope := s.enter(p, imports)
	info := newInfo()
	conf := types.Config{Importer: s.importer, GoVersion: GoVersion, Error: func(error) {}}
	func() {
		defer func() { _ = recover() }() // as above
		types.NewChecker(&conf, s.fset, s.pkg, info).Files([]*ast.File{p.file})
	}()
	all := types.NewScope(types.Universe, token.NoPos, token.NoPos, "looked at")
	latest := slices.SortedFunc(maps.Keys(info.Defs), func(a, b *ast.Ident) int { return int(b.Pos() - a.Pos()) })
	for _, id := range latest {
		if obj := info.Defs[id]; obj != nil && id.Name != "_" && obj.Parent() != nil {
			all.Insert(movable(obj)) // the first stays
		}
	}
	for _, name := range scope.Names() {
		if all.Lookup(name) == nil {
			all.Insert(scope.Lookup(name))
		}
	}
	return all, imports
}

// movable is an object that can be put in another scope.
func movable(obj types.Object) types.Object {
	if v, ok := obj.(*types.Var); ok {
		return types.NewVar(v.Pos(), v.Pkg(), v.Name(), v.Type())
	}
	return obj
}

// closed is the beginning of a cell made whole: the statement that the cursor is in is
// left out, and what is open is closed.
func closed(src string) string {
	cut := strings.LastIndexAny(src, "\n;{}")
	src = src[:cut+1]
	var open []byte
	for _, t := range tokens(src) {
		switch t.kind {
		case token.LPAREN:
			open = append(open, ')')
		case token.LBRACK:
			open = append(open, ']')
		case token.LBRACE:
			open = append(open, '}')
		case token.RPAREN, token.RBRACK, token.RBRACE:
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		}
	}
	slices.Reverse(open)
	return src + string(open)
}

// localsBefore are the names that the cell declares with := or as parameters before pos,
// found without checking.
func localsBefore(src string, pos int) (names []string) {
	toks := tokens(src[:pos])
	for i, t := range toks {
		if t.kind == token.IDENT && i+1 < len(toks) && (toks[i+1].kind == token.DEFINE || toks[i+1].kind == token.COMMA || toks[i+1].kind == token.IDENT) ||
			t.kind == token.IDENT && i > 0 && (toks[i-1].kind == token.VAR || toks[i-1].kind == token.FUNC || toks[i-1].kind == token.TYPE || toks[i-1].kind == token.CONST) {
			names = append(names, src[t.offset:t.offset+len(t.text)])
		}
	}
	return names
}

func identRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
