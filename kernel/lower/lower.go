// Package lower rewrites a checked cell in the older Go that the interpreter speaks, and
// refuses what cannot be rewritten exactly: a cell is run as Go says or not at all.
//
// Every node is made anew from the checked one and its types. Constant expressions become
// their values, type expressions are written out from the types, packages go by hidden
// names, and every conversion to an interface is explicit. Names in angle quotes, which no
// cell can write, are hooks of the evaluator (see the constants) and variables of the
// rewriting.
package lower

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"

	"ddpmlab/kernel/check"
)

// Hooks, which the evaluator provides.
const (
	Ready     = "‹ready›"     // Ready(ch) waits for ch and returns a channel with what came
	Send      = "‹send›"      // Send(ch, v)
	Elem      = "‹elem›"      // Elem(ch, v) is v as ch's element type
	Stop      = "‹stop›"      // Stop() is the channel that is closed to stop the cell
	Interrupt = "‹interrupt›" // Interrupt() ends the cell as interrupted
	Go        = "‹go›"        // Go(f)(x) runs f(x) in a goroutine of the cell
	Defer     = "‹defer›"     // Defer(f)(x) runs f(x) at the cell's end
	Return    = "‹return›"    // Return() ends the cell
	Any       = "‹any›"       // Any(x) is x as an any that knows x's type
	Is        = "‹is›"        // *Is(x, T) reports whether interface value x holds a T
	As        = "‹as›"        // *As(x, T) is x.(T), a zero T if x holds none
	Must      = "‹must›"      // *Must(x, T) is x.(T), a panic if x holds none
	Equal     = "‹equal›"     // Equal(a, b) is a == b of interface values
	Iface     = "‹iface›"     // *Iface(x, T) is x, whose type a cell declared, as a T of a package
	Method    = "‹method›"    // Method("T", "M", f) makes f the method M of *T for compiled code
	Clear     = "‹clear›"     // Clear(x) is clear(x)
	Recovered = "‹recovered›" // Recovered(r) is what recover returned as Go has it
	Chain     = "‹chain›"     // Chain(err) is err and all it wraps
	IsError   = "‹iserror›"   // IsError(err, target) is errors.Is(err, target)
	Fold      = "‹fold›"      // Fold(x) is x as an any, a nil one if x is nil
	Unfold    = "‹unfold›"    // *Unfold(x, T) is what was folded as a T
	Field     = "‹field›"     // Field("T", i, F) says that field i of T holds a folded F
)

// Program is a cell as the evaluator takes it.
type Program struct {
	Imports map[string]string // path -> the name the steps use
	Steps   []Step            // in the order they are to be compiled, and run
	Value   types.Type        // of the last step, if the cell ends in an expression
	Values  []types.Type      // of its values, if it has several
	Last    ast.Expr          // that expression, as written
}

// Step is a declaration or statement.
type Step struct {
	Node ast.Node
	Item int // index in the cell's Items; -1: a stub, to be declared again
}

// Names knows what the interpreter calls the types of a session: one that is declared
// again gets another name.
type Names struct {
	of     map[types.Object]string
	last   map[string]int
	folded map[*types.Var]bool // fields that are anys to the interpreter
}

// NewNames returns the names of a session that has none.
func NewNames() *Names {
	return &Names{map[types.Object]string{}, map[string]int{}, map[*types.Var]bool{}}
}

func (n *Names) typeName(obj *types.TypeName) string {
	if name, ok := n.of[obj]; ok {
		return name
	}
	name := obj.Name()
	if i := n.last[name]; i > 0 {
		name = fmt.Sprintf("%s‹%d›", name, i+1)
	}
	n.last[obj.Name()]++
	n.of[obj] = name
	return name
}

// Cell rewrites the cell.
func Cell(c *check.Cell, names *Names) (*Program, []check.Error) {
	l := &lowerer{
		cell: c, info: c.Info, names: names, program: &Program{Imports: map[string]string{}},
		renamed: map[types.Object]string{}, refused: map[token.Pos]bool{}, local: map[types.Object]bool{},
	}
	l.run()
	return l.program, l.errs
}

// lowerer rewrites one cell.
type lowerer struct {
	cell    *check.Cell
	info    *types.Info
	names   *Names
	program *Program
	errs    []check.Error
	refused map[token.Pos]bool

	renamed map[types.Object]string // variables with another name for a while
	local   map[types.Object]bool   // types that functions declare
	results *types.Tuple            // of the function that is rewritten; nil: the cell itself
	inFunc  bool
	loops   []*loop
	pending []exposed
	temps   int
}

// refuse reports what cells cannot do.
func (l *lowerer) refuse(pos token.Pos, format string, args ...any) {
	if l.refused[pos] {
		return
	}
	l.refused[pos] = true
	p := l.cell.Fset.Position(pos)
	l.errs = append(l.errs, check.Error{Line: p.Line, Column: p.Column, Message: "cells cannot do this yet: " + fmt.Sprintf(format, args...)})
}

// temp is a fresh name.
func (l *lowerer) temp(of string) string {
	l.temps++
	return fmt.Sprintf("%s‹%d›", of, l.temps)
}

// run rewrites the items in the order they are run: as written, except that types and
// functions come as early as the variables they use allow.
func (l *lowerer) run() {
	c := l.cell
	declares := c.Declares()
	behind := c.Variables(declares)
	done := make([]bool, len(c.Items))
	stubbed := map[int]bool{}

	l.typeDecls(done)
	for i, it := range c.Items {
		if isDecl(it.Node, token.CONST) { // its uses become its value
			l.step(nil, i)
			done[i] = true
		}
	}
	functions := func() {
		var ready []int
		for i, it := range c.Items {
			if _, ok := it.Node.(*ast.FuncDecl); ok && !done[i] && !slices.ContainsFunc(behind[i], func(v int) bool { return !done[v] }) {
				ready = append(ready, i)
			}
		}
		for k, i := range ready { // what a function mentions that comes later is declared before it
			for _, j := range c.Mentions(c.Items[i].Node, declares) {
				itself := j == i && c.Items[i].Node.(*ast.FuncDecl).Recv != nil
				if (itself || slices.Contains(ready[k+1:], j)) && !stubbed[j] {
					stubbed[j] = true
					if d := l.funcDecl(c.Items[j].Node.(*ast.FuncDecl), true); d != nil {
						l.step(d, -1)
					}
				}
			}
			done[i] = true
			decl := c.Items[i].Node.(*ast.FuncDecl)
			if d := l.funcDecl(decl, false); d != nil {
				l.step(d, i)
				l.method(decl)
			}
		}
		l.pending = slices.DeleteFunc(l.pending, func(e exposed) bool {
			if i, ok := declares[e.fn]; ok && !done[i] {
				return false
			}
			l.expose(e.t, e.fn, e.path, e.t.Obj().Pos())
			return true
		})
	}
	functions()
	for i, it := range c.Items {
		if done[i] {
			continue
		}
		if _, ok := it.Node.(*ast.FuncDecl); ok {
			continue
		}
		l.item(i, it)
		done[i] = true
		functions()
	}
	l.value()
}

// value notes the type of the cell's value.
func (l *lowerer) value() {
	items := l.cell.Items
	if len(items) == 0 {
		return
	}
	st, ok := items[len(items)-1].Node.(*ast.ExprStmt)
	if !ok {
		return
	}
	tv := l.info.Types[st.X]
	l.program.Last = st.X
	switch t := tv.Type.(type) {
	case *types.Tuple:
		for v := range t.Variables() {
			l.program.Values = append(l.program.Values, v.Type())
		}
	case nil:
	default:
		if !tv.IsVoid() {
			l.program.Value = types.Default(t)
		}
	}
}

func (l *lowerer) step(n ast.Node, item int) {
	l.program.Steps = append(l.program.Steps, Step{n, item})
}

func isDecl(n ast.Node, tok token.Token) bool {
	d, ok := n.(*ast.GenDecl)
	return ok && d.Tok == tok
}

// item rewrites a variable declaration or a statement of the top level.
func (l *lowerer) item(i int, it check.Item) {
	switch n := it.Node.(type) {
	case *ast.GenDecl:
		for k, d := range l.varSpecs(n) {
			if k > 0 {
				i = -1
			}
			l.step(d, i)
		}
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE {
			l.redefined(it, n)
		}
		l.step(l.stmt(n), i)
	case *ast.ExprStmt:
		if i == len(l.cell.Items)-1 {
			l.step(l.lastValue(n.X), i)
			return
		}
		l.step(l.stmt(n), i)
	case ast.Stmt:
		l.step(l.stmt(n), i)
	}
}

// varSpecs is a declaration of variables as one node for each line. One of several results
// is a := to the interpreter.
func (l *lowerer) varSpecs(d *ast.GenDecl) (out []ast.Node) {
	for _, s := range l.varDecl(d).Specs {
		vs := s.(*ast.ValueSpec)
		if len(vs.Names) == 1 || len(vs.Values) != 1 || vs.Type != nil {
			out = append(out, &ast.GenDecl{TokPos: d.TokPos, Tok: token.VAR, Specs: []ast.Spec{vs}})
			continue
		}
		a := &ast.AssignStmt{TokPos: vs.Pos(), Tok: token.ASSIGN, Rhs: vs.Values}
		for _, id := range vs.Names {
			if id.Name != "_" {
				a.Tok = token.DEFINE
			}
			a.Lhs = append(a.Lhs, id)
		}
		out = append(out, a)
	}
	return out
}

// lastValue is the cell's value. One of an untyped constant has its default type.
func (l *lowerer) lastValue(x ast.Expr) ast.Node {
	tv := l.info.Types[x]
	if tv.Type == nil || tv.IsVoid() {
		return &ast.ExprStmt{X: l.expr(x)}
	}
	if tv.Value != nil {
		return l.constant(tv.Value, types.Default(tv.Type), x.Pos())
	}
	if n := l.selfContaining(types.Default(tv.Type)); n != nil {
		l.refuse(x.Pos(), "show a value of a type that contains itself (%s)", n.Obj().Name())
	}
	return &ast.ExprStmt{X: l.expr(x)}
}

// redefined refuses a := that assigns to a variable of another type.
func (l *lowerer) redefined(it check.Item, n *ast.AssignStmt) {
	for i, lhs := range n.Lhs {
		id, ok := lhs.(*ast.Ident)
		if !ok || !slices.Contains(it.Assigned, id) {
			continue
		}
		var from types.Type
		if len(n.Rhs) == len(n.Lhs) {
			from = l.info.TypeOf(n.Rhs[i])
		} else if t, ok := l.info.TypeOf(n.Rhs[0]).(*types.Tuple); ok && i < t.Len() {
			from = t.At(i).Type()
		}
		if to := l.info.TypeOf(id); from != nil && to != nil && !types.Identical(types.Default(from), to) {
			l.refuse(id.Pos(), "this := assigns a %s to %s, a %s; use = and declare the other names with var", l.typeString(from), id.Name, l.typeString(to))
		}
	}
}

func (l *lowerer) typeString(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string {
		if p == l.cell.Pkg {
			return ""
		}
		return p.Name()
	})
}

// typeDecl declares a type of the item.
func (l *lowerer) typeDecl(spec *ast.TypeSpec, item int) {
	n := l.typeSpec(spec)
	if n == nil {
		l.step(nil, item)
		return
	}
	l.step(n, item)
	l.promoted(l.info.Defs[spec.Name].Type())
}

// typeSpec is one type's declaration; nil for an alias, whose uses become the type.
func (l *lowerer) typeSpec(spec *ast.TypeSpec) ast.Node {
	if spec.TypeParams != nil {
		l.refuse(spec.TypeParams.Pos(), "declare a generic type; write %s for the types you need", spec.Name.Name)
		return nil
	}
	if spec.Assign.IsValid() || spec.Name.Name == "_" {
		return nil
	}
	obj := l.info.Defs[spec.Name].(*types.TypeName)
	if mutual := l.recursive(obj.Type()); mutual != nil {
		l.refuse(spec.Name.Pos(), "declare types that contain each other (%s and %s)", spec.Name.Name, mutual.Obj().Name())
		return nil
	}
	if iface, ok := obj.Type().Underlying().(*types.Interface); ok && !iface.IsMethodSet() {
		l.refuse(spec.Name.Pos(), "declare a constraint for generic code")
		return nil
	}
	name := l.typeName(obj)
	return &ast.GenDecl{TokPos: spec.Pos(), Tok: token.TYPE, Specs: []ast.Spec{
		&ast.TypeSpec{Name: l.ident(name, spec.Pos()), Type: l.typ(obj.Type().Underlying(), spec.Pos())},
	}}
}

// recursive finds another session type that contains t and is contained in it.
func (l *lowerer) recursive(t types.Type) *types.Named {
	var found *types.Named
	seen := map[types.Type]bool{}
	var visit func(u types.Type, path []*types.Named)
	visit = func(u types.Type, path []*types.Named) {
		if n, ok := types.Unalias(u).(*types.Named); ok {
			if n == t && len(path) > 1 {
				found = path[len(path)-1]
			}
			if seen[n] || n.Obj().Pkg() == nil || n.Obj().Pkg().Path() != "main" {
				return
			}
			seen[n] = true
			path = append(slices.Clone(path), n)
		}
		l.parts(u.Underlying(), func(c types.Type) { visit(c, path) })
	}
	visit(t, nil)
	return found
}

// behind is the named type that a receiver's type is, or points to.
func behind(t types.Type) *types.Named {
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		t = p.Elem()
	}
	n, _ := types.Unalias(t).(*types.Named)
	return n
}

// containsItself reports whether values of the type can hold others of it.
func (l *lowerer) containsItself(t *types.Named) (found bool) {
	seen := map[types.Type]bool{}
	var visit func(types.Type)
	visit = func(u types.Type) {
		u = types.Unalias(u)
		found = found || u == t && len(seen) > 0
		if seen[u] || found {
			return
		}
		seen[u] = true
		if n, ok := u.(*types.Named); ok && n.Obj().Pkg() != t.Obj().Pkg() {
			return
		}
		if types.IsInterface(u) {
			return
		}
		l.parts(u.Underlying(), visit)
	}
	visit(t)
	return found
}

// components calls f for the types that an unnamed type is made of.
func components(t types.Type, f func(types.Type)) {
	switch t := t.(type) {
	case *types.Pointer:
		f(t.Elem())
	case *types.Slice:
		f(t.Elem())
	case *types.Array:
		f(t.Elem())
	case *types.Chan:
		f(t.Elem())
	case *types.Map:
		f(t.Key())
		f(t.Elem())
	case *types.Struct:
		for v := range t.Fields() {
			f(v.Type())
		}
	case *types.Signature:
		for v := range t.Params().Variables() {
			f(v.Type())
		}
		for v := range t.Results().Variables() {
			f(v.Type())
		}
	case *types.Interface:
		for m := range t.Methods() {
			f(m.Type())
		}
	}
}

// typeName is what the interpreter calls the session's or a function's type.
func (l *lowerer) typeName(obj *types.TypeName) string {
	if obj.Parent() != nil && l.local[obj] {
		return obj.Name()
	}
	return l.names.typeName(obj)
}

// funcDecl rewrites a function or method; a stub has only its signature.
func (l *lowerer) funcDecl(d *ast.FuncDecl, stub bool) ast.Node {
	if d.Name.Name == "_" {
		return nil
	}
	fn, ok := l.info.Defs[d.Name].(*types.Func)
	if !ok {
		return nil
	}
	sig := fn.Signature()
	if sig.TypeParams() != nil {
		l.refuse(d.Type.TypeParams.Pos(), "declare a generic function; write %s for the types you need", d.Name.Name)
		return nil
	}
	if sig.RecvTypeParams() != nil {
		return nil // its type is refused
	}
	if recv := sig.Recv(); recv != nil && !stub {
		if n := behind(recv.Type()); n != nil && l.containsItself(n) {
			l.refuse(d.Name.Pos(), "declare methods of a type that contains itself (%s); write a function", n.Obj().Name())
			return nil
		}
	}
	if d.Body == nil {
		l.refuse(d.Pos(), "declare a function without a body")
		return nil
	}
	out := &ast.FuncDecl{Name: l.ident(d.Name.Name, d.Name.Pos()), Type: l.funcType(sig, d.Type.Pos())}
	if d.Recv != nil {
		recv := sig.Recv()
		out.Recv = &ast.FieldList{List: []*ast.Field{l.field(recv.Name(), l.typ(recv.Type(), d.Pos()), d.Pos())}}
	}
	if stub {
		out.Body = &ast.BlockStmt{Lbrace: d.Pos(), Rbrace: d.Pos(), List: []ast.Stmt{
			&ast.ExprStmt{X: l.call(l.ident("panic", d.Pos()), d.Pos(), l.intLit(0, d.Pos()))},
		}}
		return out
	}
	out.Body = l.body(sig, d.Body)
	return out
}

// body rewrites a function's body.
func (l *lowerer) body(sig *types.Signature, b *ast.BlockStmt) *ast.BlockStmt {
	results, inFunc, loops := l.results, l.inFunc, l.loops
	l.results, l.inFunc, l.loops = sig.Results(), true, nil
	out := l.block(b)
	l.results, l.inFunc, l.loops = results, inFunc, loops
	return out
}

// Nodes.

func (l *lowerer) ident(name string, pos token.Pos) *ast.Ident {
	return &ast.Ident{NamePos: pos, Name: name}
}

func (l *lowerer) call(fun ast.Expr, pos token.Pos, args ...ast.Expr) *ast.CallExpr {
	return &ast.CallExpr{Fun: fun, Lparen: pos, Args: args, Rparen: pos}
}

func (l *lowerer) hook(name string, pos token.Pos, args ...ast.Expr) *ast.CallExpr {
	return l.call(l.ident(name, pos), pos, args...)
}

// test is the value that a hook's result points to: the interpreter's builtins cannot
// return any type as it is.
func (l *lowerer) test(name string, pos token.Pos, args ...ast.Expr) ast.Expr {
	return &ast.ParenExpr{Lparen: pos, X: &ast.StarExpr{Star: pos, X: l.hook(name, pos, args...)}, Rparen: pos}
}

func (l *lowerer) intLit(i int64, pos token.Pos) ast.Expr {
	return &ast.BasicLit{ValuePos: pos, Kind: token.INT, Value: strconv.FormatInt(i, 10)}
}

func (l *lowerer) field(name string, typ ast.Expr, pos token.Pos) *ast.Field {
	f := &ast.Field{Type: typ}
	if name != "" {
		f.Names = []*ast.Ident{l.ident(name, pos)}
	}
	return f
}

func (l *lowerer) define(pos token.Pos, name string, x ast.Expr) ast.Stmt {
	return &ast.AssignStmt{Lhs: []ast.Expr{l.ident(name, pos)}, TokPos: pos, Tok: token.DEFINE, Rhs: []ast.Expr{x}}
}

func (l *lowerer) assign(pos token.Pos, to, x ast.Expr) ast.Stmt {
	return &ast.AssignStmt{Lhs: []ast.Expr{to}, TokPos: pos, Tok: token.ASSIGN, Rhs: []ast.Expr{x}}
}
