package lower

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strconv"
)

// method lets compiled code call the method d, which has just been declared, through an
// interface.
func (l *lowerer) method(d *ast.FuncDecl) {
	fn, ok := l.info.Defs[d.Name].(*types.Func)
	if !ok || d.Recv == nil {
		return
	}
	t := fn.Signature().Recv().Type()
	if p, ok := t.Underlying().(*types.Pointer); ok && types.Unalias(t) == p {
		t = p.Elem()
	}
	if named, ok := types.Unalias(t).(*types.Named); ok {
		l.expose(named, fn, nil, d.Pos())
	}
}

// promoted notes the methods that a struct type has from its embedded fields, to do the
// same with them when they are declared.
func (l *lowerer) promoted(t types.Type) {
	named, ok := t.(*types.Named)
	if !ok {
		return
	}
	if _, ok := t.Underlying().(*types.Struct); !ok {
		return
	}
	methods := types.NewMethodSet(types.NewPointer(t))
	for i := range methods.Len() {
		m := methods.At(i)
		if len(m.Index()) < 2 || !m.Obj().Exported() && m.Obj().Pkg() != l.cell.Pkg {
			continue
		}
		var path []string
		var at types.Type = t
		for _, i := range m.Index()[:len(m.Index())-1] {
			if p, ok := at.Underlying().(*types.Pointer); ok {
				at = p.Elem()
			}
			f := at.Underlying().(*types.Struct).Field(i)
			if !l.declared(at) {
				break // a package's own embedded field: its methods are reached without it
			}
			path = append(path, f.Name())
			at = f.Type()
		}
		l.pending = append(l.pending, exposed{named, m.Obj().(*types.Func), path})
	}
}

// exposed is a promoted method that is yet to be exposed.
type exposed struct {
	t    *types.Named
	fn   *types.Func
	path []string // embedded fields
}

// expose is a step: Method("T", "M", func(r *T, a0 A) R { return r.path.M(a0) }).
func (l *lowerer) expose(t *types.Named, fn *types.Func, path []string, pos token.Pos) {
	sig := fn.Signature()
	ft := l.funcType(types.NewSignatureType(nil, nil, nil, sig.Params(), sig.Results(), sig.Variadic()), pos)
	var callee ast.Expr = l.ident("‹r›", pos)
	var at types.Type = types.NewPointer(t)
	for _, name := range path {
		callee = &ast.SelectorExpr{X: callee, Sel: l.ident(name, pos)}
		if p, ok := at.Underlying().(*types.Pointer); ok {
			at = p.Elem()
		}
		for f := range at.Underlying().(*types.Struct).Fields() {
			if f.Name() == name {
				at = f.Type()
				break
			}
		}
	}
	if fn.Pkg() == l.cell.Pkg && !isInterface(at) {
		callee = l.receiver(callee, at, fn, pos)
	}
	callee = &ast.SelectorExpr{X: callee, Sel: l.ident(fn.Name(), pos)}
	call := l.call(callee, pos)
	for i, f := range ft.Params.List {
		name := fmt.Sprintf("‹a%d›", i)
		f.Names = []*ast.Ident{l.ident(name, pos)}
		call.Args = append(call.Args, l.ident(name, pos))
	}
	if sig.Variadic() {
		call.Ellipsis = pos
	}
	if ft.Results != nil {
		for _, f := range ft.Results.List {
			f.Names = nil
		}
	}
	recv := l.field("‹r›", &ast.StarExpr{Star: pos, X: l.typ(t, pos)}, pos)
	ft.Params.List = append([]*ast.Field{recv}, ft.Params.List...)
	var body ast.Stmt = &ast.ExprStmt{X: call}
	if sig.Results().Len() > 0 {
		body = &ast.ReturnStmt{Return: pos, Results: []ast.Expr{call}}
	}
	text := func(s string) ast.Expr {
		return &ast.BasicLit{ValuePos: pos, Kind: token.STRING, Value: strconv.Quote(s)}
	}
	lit := &ast.FuncLit{Type: ft, Body: &ast.BlockStmt{Lbrace: pos, List: []ast.Stmt{body}, Rbrace: pos}}
	l.step(&ast.ExprStmt{X: l.hook(Method, pos, text(l.typeName(t.Obj())), text(fn.Name()), lit)}, -1)
}

// methodExpr is T.M of a cell's type as a function literal that calls the method.
func (l *lowerer) methodExpr(x *ast.SelectorExpr, sel *types.Selection) ast.Expr {
	pos := x.Pos()
	sig := l.info.TypeOf(x).(*types.Signature)
	ft := l.funcType(sig, pos)
	var args []ast.Expr
	for i, f := range ft.Params.List {
		name := fmt.Sprintf("‹a%d›", i)
		f.Names = []*ast.Ident{l.ident(name, pos)}
		args = append(args, l.ident(name, pos))
	}
	recv := args[0]
	if fn, ok := sel.Obj().(*types.Func); ok && !isInterface(sel.Recv()) {
		recv = l.receiver(recv, sel.Recv(), fn, pos)
	}
	call := l.call(&ast.SelectorExpr{X: recv, Sel: x.Sel}, pos, args[1:]...)
	if sig.Variadic() {
		call.Ellipsis = pos
	}
	var body ast.Stmt = &ast.ExprStmt{X: call}
	if sig.Results().Len() > 0 {
		body = &ast.ReturnStmt{Return: pos, Results: []ast.Expr{call}}
	}
	return &ast.FuncLit{Type: ft, Body: &ast.BlockStmt{Lbrace: pos, List: []ast.Stmt{body}, Rbrace: pos}}
}

// methodValue is x.M without a call: a function with the receiver of now.
func (l *lowerer) methodValue(x *ast.SelectorExpr, sel *types.Selection) ast.Expr {
	pos := x.Pos()
	bound, ok := l.selector(x).(*ast.SelectorExpr)
	if !ok {
		return bound
	}
	fn := sel.Obj().(*types.Func)
	recv := fn.Signature().Recv().Type()
	if isInterface(recv) {
		recv = sel.Recv()
		if len(sel.Index()) > 1 {
			l.refuse(pos, "take a method of an embedded interface as a value; write a function literal that calls it")
		}
	}
	value := bound.X
	if _, want := types.Unalias(recv).(*types.Pointer); want {
		if _, name := value.(*ast.Ident); name {
			if _, have := types.Unalias(sel.Recv()).(*types.Pointer); !have {
				value = &ast.UnaryExpr{OpPos: pos, Op: token.AND, X: value}
			}
		}
	}
	sig := l.info.TypeOf(x).(*types.Signature)
	r := l.temp("r")
	ft := l.funcType(sig, pos)
	call := l.call(&ast.SelectorExpr{X: l.ident(r, pos), Sel: x.Sel}, pos)
	for i, f := range ft.Params.List {
		name := fmt.Sprintf("‹a%d›", i)
		f.Names = []*ast.Ident{l.ident(name, pos)}
		call.Args = append(call.Args, l.ident(name, pos))
	}
	if sig.Variadic() {
		call.Ellipsis = pos
	}
	var body ast.Stmt = &ast.ExprStmt{X: call}
	if sig.Results().Len() > 0 {
		body = &ast.ReturnStmt{Return: pos, Results: []ast.Expr{call}}
	}
	lit := &ast.FuncLit{Type: ft, Body: &ast.BlockStmt{Lbrace: pos, List: []ast.Stmt{body}, Rbrace: pos}}
	return l.literal(pos, []string{r}, []types.Type{recv}, sig, []ast.Stmt{&ast.ReturnStmt{Return: pos, Results: []ast.Expr{lit}}}, value)
}
