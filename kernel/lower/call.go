package lower

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strings"
)

// callExpr rewrites a call, a conversion or a builtin.
func (l *lowerer) callExpr(x *ast.CallExpr) ast.Expr {
	pos := x.Pos()
	tv := l.info.Types[x.Fun]
	switch {
	case tv.IsType():
		return l.conversion(x, tv.Type)
	case tv.IsBuiltin():
		return l.builtin(x)
	}
	sig, ok := l.typeOf(x.Fun).Underlying().(*types.Signature)
	if !ok {
		l.refuse(pos, "call this")
		return l.ident("nil", pos)
	}
	if len(x.Args) == 1 {
		if t, ok := l.info.TypeOf(x.Args[0]).(*types.Tuple); ok && l.spread(t, sig.Params(), sig.Variadic()) {
			return l.spreadCall(x, t, sig)
		}
	}
	callee := l.callee(x.Fun)
	if special := l.special(x, callee); special != nil {
		return special
	}
	var fun ast.Expr
	if sel, ok := ast.Unparen(x.Fun).(*ast.SelectorExpr); ok {
		fun = l.selector(sel)
	} else {
		fun = l.expr(x.Fun)
	}
	if _, ok := ast.Unparen(x.Fun).(*ast.FuncLit); ok {
		fun = &ast.ParenExpr{Lparen: pos, X: ast.Unparen(fun).(*ast.FuncLit), Rparen: pos}
	}
	return &ast.CallExpr{Fun: fun, Lparen: x.Lparen, Args: l.args(x, sig, callee), Ellipsis: x.Ellipsis, Rparen: x.Rparen}
}

// callee is the function that a call names; nil for a function value.
func (l *lowerer) callee(fun ast.Expr) *types.Func {
	var id *ast.Ident
	switch f := ast.Unparen(fun).(type) {
	case *ast.Ident:
		id = f
	case *ast.SelectorExpr:
		id = f.Sel
	}
	fn, _ := l.info.ObjectOf(id).(*types.Func)
	return fn
}

// args rewrites a call's arguments.
func (l *lowerer) args(x *ast.CallExpr, sig *types.Signature, callee *types.Func) (out []ast.Expr) {
	params := sig.Params()
	param := func(i int) types.Type {
		if sig.Variadic() && i >= params.Len()-1 {
			last := params.At(params.Len() - 1).Type()
			if s, ok := types.Unalias(last).(*types.Slice); ok && !x.Ellipsis.IsValid() {
				return s.Elem()
			}
			return last
		}
		if i < params.Len() {
			return params.At(i).Type()
		}
		return nil
	}
	view := l.view(callee)
	for i, a := range x.Args {
		to := param(i)
		from := l.typeOf(a)
		if to == nil || !isAny(to) || from == nil || isInterface(from) || !l.declared(from) {
			out = append(out, l.conv(a, to))
			continue
		}
		switch view {
		case keeps:
			out = append(out, l.conv(a, to))
		case looks:
			if why := l.unlike(from, callee); why != "" {
				l.refuse(a.Pos(), "pass a %s to %s: %s", l.typeString(from), callee.FullName(), why)
			}
			out = append(out, l.expr(a))
		case refuses:
			l.refuse(a.Pos(), "pass a %s to %s, which would not see the type", l.typeString(from), callee.FullName())
			out = append(out, l.expr(a))
		}
	}
	return out
}

// spread reports whether one of several results, passed on as they are, becomes an
// interface.
func (l *lowerer) spread(t, to *types.Tuple, variadic bool) bool {
	for i := range t.Len() {
		var want types.Type
		switch {
		case variadic && i >= to.Len()-1:
			if s, ok := types.Unalias(to.At(to.Len() - 1).Type()).(*types.Slice); ok {
				want = s.Elem()
			}
		case i < to.Len():
			want = to.At(i).Type()
		}
		if want != nil && isInterface(want) && !types.Identical(want, t.At(i).Type()) {
			return true
		}
	}
	return false
}

// spreadCall is f(g()) as func(a0 A, a1 B) R { return f(a0, a1) }(g()).
func (l *lowerer) spreadCall(x *ast.CallExpr, t *types.Tuple, sig *types.Signature) ast.Expr {
	pos := x.Pos()
	args := l.held(t, pos)
	inner := &ast.CallExpr{Fun: x.Fun, Lparen: x.Lparen, Args: args, Rparen: x.Rparen}
	l.info.Types[inner] = l.info.Types[x]
	var body ast.Stmt
	if sig.Results().Len() > 0 {
		body = &ast.ReturnStmt{Return: pos, Results: []ast.Expr{l.expr(inner)}}
	} else {
		body = &ast.ExprStmt{X: l.expr(inner)}
	}
	return l.holding(args, t, sig.Results(), body, l.expr(x.Args[0]), pos)
}

// held are fresh names for several results.
func (l *lowerer) held(t *types.Tuple, pos token.Pos) (names []ast.Expr) {
	for v := range t.Variables() {
		id := l.ident(l.temp("a"), pos)
		l.info.Types[id] = types.TypeAndValue{Type: v.Type()}
		obj := types.NewVar(pos, l.cell.Pkg, id.Name, v.Type())
		l.info.Uses[id] = obj
		names = append(names, id)
	}
	return names
}

// holding calls, with several results, a function literal whose parameters are the names.
func (l *lowerer) holding(names []ast.Expr, t, results *types.Tuple, body ast.Stmt, call ast.Expr, pos token.Pos) ast.Expr {
	ft := &ast.FuncType{Func: pos, Params: &ast.FieldList{Opening: pos, Closing: pos}}
	for i, n := range names {
		ft.Params.List = append(ft.Params.List, l.field(n.(*ast.Ident).Name, l.typ(t.At(i).Type(), pos), pos))
	}
	if results.Len() > 0 {
		ft.Results = &ast.FieldList{Opening: pos, Closing: pos}
		for v := range results.Variables() {
			ft.Results.List = append(ft.Results.List, l.field("", l.typ(v.Type(), pos), pos))
		}
	}
	lit := &ast.FuncLit{Type: ft, Body: &ast.BlockStmt{Lbrace: pos, List: []ast.Stmt{body}, Rbrace: pos}}
	return l.call(&ast.ParenExpr{Lparen: pos, X: lit, Rparen: pos}, pos, call)
}

// view is what a compiled function does with a value of an empty interface.
type view int

const (
	keeps   view = iota // prints it with its methods, or gives it back
	looks               // takes it apart by reflection
	refuses             // asks its type
)

// views is by package, or by function where they differ.
var views = map[string]view{
	"fmt": keeps, "log": keeps, "errors": keeps, "context": keeps, "sync": keeps, "sync/atomic": keeps,
	"container/heap": keeps, "container/list": keeps, "container/ring": keeps, "testing": keeps,
	"encoding/json": looks, "encoding/xml": looks, "encoding/binary": looks, "sort": looks,
	"ddpmlab/kernel/cells": keeps, "ddpmlab/kernel/display": keeps,
	"text/template": looks, "html/template": looks, "reflect.DeepEqual": looks,
	"fmt.Sscan": looks, "fmt.Sscanf": looks, "fmt.Sscanln": looks, "fmt.Scan": looks, "fmt.Scanf": looks,
	"fmt.Scanln": looks, "fmt.Fscan": looks, "fmt.Fscanf": looks, "fmt.Fscanln": looks,
}

func (l *lowerer) view(fn *types.Func) view {
	if fn == nil || fn.Pkg() == nil || fn.Pkg() == l.cell.Pkg {
		return keeps
	}
	if v, ok := views[fn.Pkg().Path()+"."+fn.Name()]; ok {
		return v
	}
	if v, ok := views[fn.Pkg().Path()]; ok {
		return v
	}
	return refuses
}

// unlike says why a package that takes values apart by reflection would see something
// else than Go's value: it cannot see the methods, nor that fields are unexported.
func (l *lowerer) unlike(t types.Type, fn *types.Func) (why string) {
	path := fn.Pkg().Path()
	encodes := strings.HasPrefix(path, "encoding/")
	template := strings.HasSuffix(path, "/template")
	seen := map[types.Type]bool{}
	var visit func(types.Type)
	visit = func(t types.Type) {
		t = types.Unalias(t)
		if seen[t] || why != "" {
			return
		}
		seen[t] = true
		if n, ok := t.(*types.Named); ok {
			if n.Obj().Pkg() != l.cell.Pkg {
				return
			}
			methods := types.NewMethodSet(types.NewPointer(n))
			for i := range methods.Len() {
				name := methods.At(i).Obj().Name()
				if template || encodes && (strings.HasPrefix(name, "Marshal") || strings.HasPrefix(name, "Unmarshal")) || strings.HasPrefix(fn.Name(), "Scan") {
					why = "it would not see the method " + name
				}
			}
		}
		if st, ok := t.Underlying().(*types.Struct); ok && (encodes || template) {
			for i := range st.NumFields() {
				f := st.Field(i)
				if !f.Exported() {
					why = "it would see the field " + f.Name()
				} else if f.Embedded() {
					why = "it would not see that " + f.Name() + " is embedded"
				} else if l.names.folded[f] && (!strings.HasPrefix(fn.Name(), "Marshal") || strings.Contains(st.Tag(i), ",omit") || path != "encoding/json") {
					why = "it would not see the type of " + f.Name()
				}
			}
		}
		components(t.Underlying(), visit)
	}
	visit(t)
	return why
}

// special rewrites calls of functions that compare or look for types that a cell declares.
func (l *lowerer) special(x *ast.CallExpr, fn *types.Func) ast.Expr {
	if fn == nil || fn.Pkg() == nil || x.Ellipsis.IsValid() {
		return nil
	}
	pos := x.Pos()
	errorType := types.Universe.Lookup("error").Type()
	switch fn.FullName() {
	case "errors.Is":
		if len(x.Args) == 2 {
			return l.hook(IsError, pos, l.conv(x.Args[0], errorType), l.conv(x.Args[1], errorType))
		}
	case "errors.As":
		if len(x.Args) != 2 {
			return nil
		}
		p, ok := l.typeOf(x.Args[1]).Underlying().(*types.Pointer)
		if !ok {
			return nil
		}
		// func(err error, target *T) bool { for _, e := range chain(err) { if is(e, T) { *target = as(e, T); return true } }; return false }
		err, target, e := l.temp("err"), l.temp("target"), l.temp("e")
		found := []ast.Stmt{
			l.assign(pos, &ast.StarExpr{Star: pos, X: l.ident(target, pos)}, l.test(As, pos, l.ident(e, pos), l.typ(p.Elem(), pos))),
			&ast.ReturnStmt{Return: pos, Results: []ast.Expr{l.ident("true", pos)}},
		}
		loop := &ast.RangeStmt{
			For: pos, Key: l.ident("_", pos), Value: l.ident(e, pos), Tok: token.DEFINE, X: l.hook(Chain, pos, l.ident(err, pos)),
			Body: &ast.BlockStmt{Lbrace: pos, Rbrace: pos, List: []ast.Stmt{&ast.IfStmt{
				If: pos, Cond: l.test(Is, pos, l.ident(e, pos), l.typ(p.Elem(), pos)),
				Body: &ast.BlockStmt{Lbrace: pos, List: found, Rbrace: pos},
			}}},
		}
		body := []ast.Stmt{loop, &ast.ReturnStmt{Return: pos, Results: []ast.Expr{l.ident("false", pos)}}}
		return l.literal(pos, []string{err, target}, []types.Type{errorType, p}, types.Typ[types.Bool], body,
			l.conv(x.Args[0], errorType), l.expr(x.Args[1]))
	}
	return nil
}

// conversion rewrites T(x).
func (l *lowerer) conversion(x *ast.CallExpr, to types.Type) ast.Expr {
	arg := x.Args[0]
	pos := x.Pos()
	if isInterface(to) {
		if from := l.info.TypeOf(arg); isNil(from) || types.Identical(from, to) || isAny(to) && !l.declared(types.Default(from)) && !isInterface(from) {
			return l.call(&ast.ParenExpr{Lparen: pos, X: l.typ(to, pos), Rparen: pos}, pos, l.expr(arg))
		}
		return l.conv(arg, to)
	}
	from := l.typeOf(arg)
	_, toArray := to.Underlying().(*types.Array)
	pointer, toPointer := to.Underlying().(*types.Pointer)
	if toPointer {
		_, toArray = pointer.Elem().Underlying().(*types.Array)
	}
	if _, fromSlice := from.Underlying().(*types.Slice); fromSlice && toArray {
		l.refuse(pos, "convert a slice to an array")
	}
	return l.call(&ast.ParenExpr{Lparen: pos, X: l.typ(to, pos), Rparen: pos}, pos, l.expr(arg))
}

// builtin rewrites the call of a predeclared function.
func (l *lowerer) builtin(x *ast.CallExpr) ast.Expr {
	pos := x.Pos()
	var name string
	switch f := ast.Unparen(x.Fun).(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		l.refuse(pos, "use package unsafe")
		return l.ident("nil", pos)
	}
	any := types.Universe.Lookup("any").Type()
	out := &ast.CallExpr{Fun: l.ident(name, x.Fun.Pos()), Lparen: x.Lparen, Ellipsis: x.Ellipsis, Rparen: x.Rparen}
	switch name {
	case "min", "max":
		return l.minMax(x, name)
	case "clear":
		return l.hook(Clear, pos, l.expr(x.Args[0]))
	case "recover":
		return l.hook(Recovered, pos, out)
	case "panic":
		out.Args = []ast.Expr{l.conv(x.Args[0], any)}
	case "new":
		if !l.info.Types[x.Args[0]].IsType() { // new(x) of Go 1.26
			p := l.typeOf(x).(*types.Pointer)
			v := l.temp("v")
			ret := &ast.ReturnStmt{Return: pos, Results: []ast.Expr{&ast.UnaryExpr{OpPos: pos, Op: token.AND, X: l.ident(v, pos)}}}
			return l.literal(pos, []string{v}, []types.Type{p.Elem()}, p, []ast.Stmt{ret}, l.conv(x.Args[0], p.Elem()))
		}
		out.Args = l.exprs(x.Args)
	case "append":
		slice, _ := l.typeOf(x).Underlying().(*types.Slice)
		for i, a := range x.Args {
			if i > 0 && !x.Ellipsis.IsValid() && slice != nil {
				out.Args = append(out.Args, l.conv(a, slice.Elem()))
			} else {
				out.Args = append(out.Args, l.expr(a))
			}
		}
	case "delete":
		m, _ := l.typeOf(x.Args[0]).Underlying().(*types.Map)
		out.Args = []ast.Expr{l.expr(x.Args[0]), l.conv(x.Args[1], m.Key())}
	default:
		out.Args = l.exprs(x.Args)
	}
	return out
}

// minMax rewrites min and max of values that are not constant, as calls of a function
// literal of two arguments. A NaN is the result, and -0 is less than 0.
func (l *lowerer) minMax(x *ast.CallExpr, name string) ast.Expr {
	pos := x.Pos()
	t := l.typeOf(x)
	basic := t.Underlying().(*types.Basic)
	less := token.LSS
	if name == "max" {
		less = token.GTR
	}
	a, b := l.temp("a"), l.temp("b")
	binary := func(x ast.Expr, op token.Token, y ast.Expr) ast.Expr {
		return &ast.BinaryExpr{X: x, OpPos: pos, Op: op, Y: y}
	}
	ret := func(name string) ast.Stmt {
		return &ast.ReturnStmt{Return: pos, Results: []ast.Expr{l.ident(name, pos)}}
	}
	when := func(cond ast.Expr, name string) ast.Stmt {
		return &ast.IfStmt{If: pos, Cond: cond, Body: &ast.BlockStmt{Lbrace: pos, List: []ast.Stmt{ret(name)}, Rbrace: pos}}
	}
	var body []ast.Stmt
	if basic.Info()&types.IsFloat != 0 {
		zero, one := constant.MakeInt64(0), constant.MakeInt64(1)
		body = append(body,
			when(binary(l.ident(a, pos), token.NEQ, l.ident(a, pos)), a),
			when(binary(l.ident(b, pos), token.NEQ, l.ident(b, pos)), b),
			when(binary(binary(l.ident(b, pos), token.EQL, l.constant(zero, t, pos)), token.LAND,
				binary(l.ident(a, pos), token.EQL, l.ident(b, pos))), "")) // both are zeros
		body[2].(*ast.IfStmt).Body.List = []ast.Stmt{
			when(binary(binary(l.constant(one, t, pos), token.QUO, l.ident(b, pos)), less, l.constant(zero, t, pos)), b),
			ret(a),
		}
	}
	body = append(body, when(binary(l.ident(b, pos), less, l.ident(a, pos)), b), ret(a))
	value := func(x ast.Expr) ast.Expr {
		if v := l.info.Types[x].Value; v != nil {
			return l.constant(v, t, x.Pos())
		}
		return l.expr(x)
	}
	out := value(x.Args[0])
	for _, arg := range x.Args[1:] {
		out = l.literal(pos, []string{a, b}, []types.Type{t, t}, t, body, out, value(arg))
	}
	return out
}
