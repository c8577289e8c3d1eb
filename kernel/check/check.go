// Package check parses and type-checks notebook cells with go/types, each as a whole and
// against what the cells before it declared, before anything of it runs.
//
// A cell is a sequence of declarations and statements. To the checker its declarations, x
// := e among them, are those of a file of one package that lasts as long as the session,
// and its other statements the body of a function of that file. A name may be declared
// again by a later cell; what was compiled before keeps the object it saw.
package check

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// GoVersion is the language that cells are checked as.
const GoVersion = "go1.26"

// Importer finds packages for cells.
type Importer interface {
	types.Importer
	// Paths is every path that Import knows, sorted.
	Paths() []string
}

// Session is what the cells so far have declared. Its methods may be called at any time.
type Session struct {
	mu       sync.Mutex
	fset     *token.FileSet
	importer Importer
	pkg      *types.Package            // of all cells: go/types compares packages by pointer
	live     map[string]types.Object   // names that cells declared
	imported map[string]*types.Package // names that import declarations gave
	byName   map[string]string         // package name -> path, for packages that nobody imported
	origin   map[types.Object]Origin   // of the live objects, and of their methods
}

// Origin is where a cell declared an object.
type Origin struct {
	Cell, Line int
	Doc        string // its doc comment
}

// NewSession starts a session whose positions are in fset.
func NewSession(fset *token.FileSet, importer Importer) *Session {
	return &Session{
		fset: fset, importer: importer, pkg: types.NewPackage("main", "main"),
		live: map[string]types.Object{}, imported: map[string]*types.Package{},
		byName: packageNames(importer.Paths()), origin: map[types.Object]Origin{},
	}
}

// packageNames finds for the name of a package its path. Of several, this module's comes
// first, then the one with the shortest path; of those, the last (text/template).
func packageNames(paths []string) map[string]string {
	names := map[string]string{}
	own := func(p string) bool { return strings.HasPrefix(p, "ddpmlab/") }
	for _, p := range paths {
		elems := strings.Split(p, "/")
		name := elems[len(elems)-1]
		if len(elems) > 1 && len(name) > 1 && name[0] == 'v' && name[1] >= '0' && name[1] <= '9' {
			name = elems[len(elems)-2]
		}
		old, ok := names[name]
		if !ok || own(p) && !own(old) || own(p) == own(old) && len(p) <= len(old) {
			names[name] = p
		}
	}
	return names
}

// Provide gives the package of that path a name by which it imports itself when used, where
// the path says another.
func (s *Session) Provide(name, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.byName, func(_, p string) bool { return p == path })
	s.byName[name] = path
}

// Declare makes sure that a name is a variable, or function, of the type.
func (s *Session) Declare(name string, typ func() types.Type) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := typ()
	switch obj := s.live[name].(type) {
	case *types.Var, *types.Func:
		if types.Identical(obj.Type(), t) {
			return
		}
	}
	s.forget(name)
	delete(s.imported, name)
	if sig, ok := t.(*types.Signature); ok {
		s.live[name] = types.NewFunc(token.NoPos, s.pkg, name, sig)
		return
	}
	s.live[name] = types.NewVar(token.NoPos, s.pkg, name, t)
}

// Cell is a checked cell.
type Cell struct {
	Number int
	Items  []Item // as written
	Info   *types.Info
	Pkg    *types.Package
	Fset   *token.FileSet

	session *Session
	files   []*token.File
	objects map[string]types.Object // what the items declare
	imports map[string]*types.Package
	undo    []func() // of late methods
}

// Item is a declaration or statement of a cell's top level. Import declarations are none.
type Item struct {
	Node  ast.Node // *ast.FuncDecl, *ast.GenDecl or ast.Stmt
	Names []string // what it declares for the session
	// Assigned are the variables of a := that an item before it declared.
	Assigned []*ast.Ident
}

// Error is a message about a place in a cell.
type Error struct {
	Line, Column int // 1-based; Column counts bytes
	Message      string
	Syntax       bool // from the parser
}

func (e Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message) }

// Check parses and checks a cell. With errors it changes nothing, and returns them all in
// the order of the source. A cell without is to be committed.
func (s *Session) Check(number int, src string) (*Cell, []Error) {
	return s.CheckUsing(number, src, nil)
}

// CheckUsing checks source that, unlike cells after it, knows packages by further names:
// name -> path.
func (s *Session) CheckUsing(number int, src string, packages map[string]string) (*Cell, []Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Cell{Number: number, Pkg: s.pkg, Fset: s.fset, session: s, Info: newInfo()}
	begin := s.fset.Base()
	p, errs := s.parse(number, src)
	for at := begin; at < s.fset.Base(); {
		f := s.fset.File(token.Pos(at))
		c.files = append(c.files, f)
		at = f.Base() + f.Size() + 1
	}
	if len(errs) == 0 {
		c.Items = p.items
		errs = s.check(c, p, packages)
	}
	if len(errs) > 0 {
		c.drop()
		c.Forget()
		return nil, errs
	}
	return c, nil
}

// Forget gives up the positions of the cell's nodes: nobody will ask where they are.
func (c *Cell) Forget() {
	for _, f := range c.files {
		c.Fset.RemoveFile(f)
	}
	c.files = nil
}

// Lasting reports whether code of the cell may run after the cell: that of its functions.
func (c *Cell) Lasting() (yes bool) {
	for _, it := range c.Items {
		ast.Inspect(it.Node, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.FuncDecl, *ast.FuncLit:
				yes = true
			}
			return !yes
		})
	}
	return yes
}

// Syntax parses a cell and returns what is wrong with it.
func Syntax(src string) []Error {
	s := &Session{fset: token.NewFileSet()}
	_, errs := s.parse(0, src)
	return errs
}

func newInfo() *types.Info {
	return &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Instances: map[*ast.Ident]types.Instance{},
		Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
		Implicits: map[ast.Node]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
		Scopes: map[ast.Node]*types.Scope{},
	}
}

// check type-checks the parsed cell into c. It recovers what go/types might panic with: a
// notebook must outlive it.
func (s *Session) check(c *Cell, p *parsed, packages map[string]string) (errs []Error) {
	defer func() {
		if e := recover(); e != nil {
			errs = append(errs, Error{Line: 1, Column: 1, Message: fmt.Sprintf("the type checker does not cope with this cell: %v", e)})
		}
	}()
	report := func(pos token.Pos, format string, args ...any) {
		at := s.fset.Position(pos)
		errs = append(errs, Error{Line: at.Line, Column: at.Column, Message: fmt.Sprintf(format, args...)})
	}
	c.imports = s.imports(p, report)
	if len(errs) > 0 {
		return errs
	}
	visible := maps.Clone(c.imports)
	for name, path := range packages {
		pkg, err := s.importer.Import(path)
		if err != nil {
			return []Error{{Line: 1, Column: 1, Message: err.Error()}}
		}
		visible[name] = pkg
	}
	scope := s.enter(p, visible)
	s.lateMethods(c, p, report)
	if len(errs) > 0 {
		return errs
	}
	restore := s.earlier(p)
	conf := types.Config{
		Importer: s.importer, GoVersion: GoVersion, Sizes: types.SizesFor("gc", runtime.GOARCH),
		Error: func(err error) {
			e := err.(types.Error)
			switch {
			case unused(e), p.last != nil && e.Pos == p.last.Pos() && strings.HasSuffix(e.Msg, " is not used"):
			case strings.HasPrefix(e.Msg, "\t") && len(errs) > 0: // goes with the one before
				if at := s.fset.Position(e.Pos); at.Line > 0 {
					errs[len(errs)-1].Message += fmt.Sprintf(" (%s at line %d)", strings.TrimSpace(e.Msg), at.Line)
				}
			default:
				report(e.Pos, "%s%s", e.Msg, s.suggest(c, p, e))
			}
		},
	}
	types.NewChecker(&conf, s.fset, s.pkg, c.Info).Files([]*ast.File{p.file})
	for _, f := range restore {
		f()
	}
	if len(errs) == 0 {
		checkOrder(c, p, report)
	}
	c.objects = map[string]types.Object{}
	for _, it := range c.Items {
		for _, name := range it.Names {
			if obj := scope.Lookup(name); obj != nil {
				c.objects[name] = obj
			}
		}
	}
	sortErrors(errs)
	return errs
}

// sortErrors puts errors in the order of the source.
func sortErrors(errs []Error) {
	slices.SortStableFunc(errs, func(a, b Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

// unused reports whether the error is about a variable or import that nothing uses, as
// is normal in a notebook.
func unused(e types.Error) bool {
	return e.Soft && (strings.Contains(e.Msg, "declared and not used") || strings.Contains(e.Msg, "imported and not used"))
}

// imports resolves the cell's import declarations.
func (s *Session) imports(p *parsed, report func(token.Pos, string, ...any)) map[string]*types.Package {
	out := map[string]*types.Package{}
	for _, spec := range p.imports {
		path := strings.Trim(spec.Path.Value, "\"`")
		pkg, err := s.importer.Import(path)
		if err != nil {
			report(spec.Path.Pos(), "%s", s.unknownPackage(path))
			continue
		}
		name := pkg.Name()
		if spec.Name != nil {
			name = spec.Name.Name
		}
		switch {
		case name == ".":
			report(spec.Name.Pos(), "cells have no dot imports: import %q, and write %s.Name", path, pkg.Name())
		case name != "_":
			out[name] = pkg
		}
	}
	return out
}

// unknownPackage says what there is instead.
func (s *Session) unknownPackage(path string) string {
	first, rest, _ := strings.Cut(path, "/")
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	if name == "" {
		name = first
	}
	if meant, ok := s.byName[name]; ok && !strings.Contains(first, ".") {
		return fmt.Sprintf("there is no package %q in cells; package %s is %q, and need not be imported: write %s.Name", path, name, meant, name)
	}
	var main []string
	for _, p := range s.importer.Paths() {
		if first, _, _ := strings.Cut(p, "/"); strings.Contains(first, ".") || first == "ddpmlab" {
			main = append(main, p)
		}
	}
	return fmt.Sprintf("package %q is not part of this kernel; it has: %s and the standard library",
		path, strings.Join(main, ", ")) + Suggestion(path, s.importer.Paths())
}

// enter gives the session's package a fresh scope with what the cell's names mean: what
// cells before it declared and imported, and packages that import themselves.
func (s *Session) enter(p *parsed, imports map[string]*types.Package) *types.Scope {
	scope := types.NewScope(types.Universe, token.NoPos, token.NoPos, "cell")
	setScope(s.pkg, scope)
	for name := range p.mentioned {
		if p.declared[name] {
			continue
		}
		if obj := s.lookup(name, imports, p.qualifiers[name]); obj != nil {
			scope.Insert(obj)
		}
	}
	return scope
}

// lookup is what a name that a cell does not declare itself means in it; nil if nothing, or
// if it is predeclared. A qualifier stands before a dot, and may be a package that was not
// imported.
func (s *Session) lookup(name string, imports map[string]*types.Package, qualifier bool) types.Object {
	if pkg := imports[name]; pkg != nil {
		return types.NewPkgName(token.NoPos, s.pkg, name, pkg)
	}
	if obj := s.live[name]; obj != nil {
		return obj
	}
	if pkg := s.imported[name]; pkg != nil {
		return types.NewPkgName(token.NoPos, s.pkg, name, pkg)
	}
	if path, ok := s.byName[name]; ok && qualifier {
		if pkg, err := s.importer.Import(path); err == nil {
			return types.NewPkgName(token.NoPos, s.pkg, name, pkg)
		}
	}
	return nil
}

// Commit makes what the items with these indexes declare, and what the cell imports, part
// of the session; the other items have not come to run.
func (c *Cell) Commit(items ...int) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, pkg := range c.imports {
		s.forget(name)
		s.imported[name] = pkg
	}
	for _, i := range items {
		it := c.Items[i]
		for _, name := range it.Names {
			s.forget(name)
			delete(s.imported, name)
			obj := c.objects[name]
			s.live[name] = obj
			s.origin[obj] = c.originOf(it.Node, obj)
		}
		if fn, ok := it.Node.(*ast.FuncDecl); ok && fn.Recv != nil {
			if obj := c.Info.Defs[fn.Name]; obj != nil {
				s.origin[obj] = c.originOf(fn, obj)
			}
		}
	}
}

// Drop undoes what checking the cell changed, if it is not to be run after all.
func (c *Cell) Drop() {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	c.drop()
}

func (c *Cell) drop() {
	for _, f := range slices.Backward(c.undo) {
		f()
	}
	c.undo = nil
}

// forget removes a name, and with it what is known of its methods.
func (s *Session) forget(name string) {
	old := s.live[name]
	delete(s.live, name)
	delete(s.origin, old)
	if tn, ok := old.(*types.TypeName); ok {
		if named, ok := tn.Type().(*types.Named); ok {
			for m := range named.Methods() {
				delete(s.origin, m)
			}
		}
	}
}

func (c *Cell) originOf(node ast.Node, obj types.Object) Origin {
	o := Origin{Cell: c.Number, Line: c.Fset.Position(obj.Pos()).Line}
	switch n := node.(type) {
	case *ast.FuncDecl:
		o.Doc = strings.TrimSpace(n.Doc.Text())
	case *ast.GenDecl:
		o.Doc = strings.TrimSpace(n.Doc.Text())
	}
	return o
}

// Names is what cells declared and imported, sorted.
func (s *Session) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(func(yield func(string) bool) {
		for _, seq := range []func(func(string) bool){maps.Keys(s.live), maps.Keys(s.imported)} {
			for name := range seq {
				if !yield(name) {
					return
				}
			}
		}
	})
}

// Declared is what cells declared, without what Declare did, sorted by name.
func (s *Session) Declared() []types.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []types.Object
	for _, name := range slices.Sorted(maps.Keys(s.live)) {
		if _, ok := s.origin[s.live[name]]; ok {
			list = append(list, s.live[name])
		}
	}
	return list
}
