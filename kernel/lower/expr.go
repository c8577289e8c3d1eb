package lower

import (
	"go/ast"
	"go/token"
	"go/types"
)

// typeOf is an expression's type; that of an untyped constant is its default.
func (l *lowerer) typeOf(x ast.Expr) types.Type {
	t := l.info.TypeOf(x)
	if t == nil {
		return nil
	}
	if _, ok := t.(*types.Tuple); ok {
		return t
	}
	return types.Default(t)
}

// exprs rewrites expressions.
func (l *lowerer) exprs(xs []ast.Expr) []ast.Expr {
	var out []ast.Expr
	for _, x := range xs {
		out = append(out, l.expr(x))
	}
	return out
}

// expr rewrites an expression; nil stays nil.
func (l *lowerer) expr(x ast.Expr) ast.Expr {
	if x == nil {
		return nil
	}
	pos := x.Pos()
	tv := l.info.Types[x]
	switch {
	case tv.IsType():
		return l.typ(tv.Type, pos)
	case tv.Value != nil:
		return l.constant(tv.Value, tv.Type, pos)
	}
	switch x := x.(type) {
	case *ast.Ident:
		return l.identifier(x)
	case *ast.ParenExpr:
		return &ast.ParenExpr{Lparen: x.Lparen, X: l.expr(x.X), Rparen: x.Rparen}
	case *ast.FuncLit:
		sig := l.info.TypeOf(x).(*types.Signature)
		return &ast.FuncLit{Type: l.funcType(sig, pos), Body: l.body(sig, x.Body)}
	case *ast.CompositeLit:
		return l.composite(x)
	case *ast.SelectorExpr:
		if sel := l.info.Selections[x]; sel != nil && sel.Kind() == types.MethodVal && l.declared(sel.Recv()) {
			return l.methodValue(x, sel)
		}
		return l.selector(x)
	case *ast.IndexExpr:
		return l.index(x)
	case *ast.IndexListExpr:
		l.refuse(pos, "use generic functions and types")
	case *ast.SliceExpr:
		return &ast.SliceExpr{X: l.expr(x.X), Lbrack: x.Lbrack, Low: l.asInt(x.Low), High: l.asInt(x.High), Max: l.asInt(x.Max), Slice3: x.Slice3, Rbrack: x.Rbrack}
	case *ast.StarExpr:
		return &ast.StarExpr{Star: x.Star, X: l.expr(x.X)}
	case *ast.UnaryExpr:
		if x.Op == token.ARROW {
			return &ast.UnaryExpr{OpPos: x.OpPos, Op: x.Op, X: l.hook(Ready, pos, l.expr(x.X))}
		}
		if v := l.foldedField(x.X); v != nil && x.Op == token.AND {
			l.refuse(pos, "take the address of %s, by which a type contains itself; use the address of what has the field", v.Name())
		}
		return &ast.UnaryExpr{OpPos: x.OpPos, Op: x.Op, X: l.expr(x.X)}
	case *ast.BinaryExpr:
		return l.binary(x)
	case *ast.TypeAssertExpr:
		return l.assert(x, l.expr(x.X), l.typeOf(x.X))
	case *ast.CallExpr:
		return l.callExpr(x)
	default:
		l.refuse(pos, "run this expression")
	}
	return l.ident("nil", pos)
}

func (l *lowerer) identifier(id *ast.Ident) ast.Expr {
	obj := l.info.ObjectOf(id)
	if _, generic := l.info.Instances[id]; generic {
		l.refuse(id.Pos(), "call the generic function %s", id.Name)
	}
	if fn, ok := obj.(*types.Func); ok && fn.Signature().TypeParams() != nil {
		l.refuse(id.Pos(), "use the generic function %s", id.Name)
	}
	if name, ok := l.renamed[obj]; ok {
		return l.ident(name, id.Pos())
	}
	return l.ident(id.Name, id.Pos())
}

// composite rewrites a composite literal.
func (l *lowerer) composite(x *ast.CompositeLit) ast.Expr {
	t := l.typeOf(x)
	pointer := false
	if p, ok := t.Underlying().(*types.Pointer); ok { // &T{} without & and T, in another literal
		pointer, t = true, p.Elem()
	}
	out := &ast.CompositeLit{Type: l.typ(t, x.Pos()), Lbrace: x.Lbrace, Rbrace: x.Rbrace}
	for i, el := range x.Elts {
		kv, keyed := el.(*ast.KeyValueExpr)
		var key, value ast.Expr
		if keyed {
			el = kv.Value
		}
		switch u := t.Underlying().(type) {
		case *types.Struct:
			field := u.Field(min(i, u.NumFields()-1))
			if keyed {
				name := kv.Key.(*ast.Ident).Name
				for f := range u.Fields() {
					if f.Name() == name {
						field = f
					}
				}
				key = l.ident(name, kv.Pos())
			}
			value = l.stored(l.conv(el, field.Type()), el, field)
		case *types.Map:
			key, value = l.conv(kv.Key, u.Key()), l.conv(el, u.Elem())
		case *types.Slice:
			value = l.conv(el, u.Elem())
		case *types.Array:
			value = l.conv(el, u.Elem())
		}
		if keyed && key == nil {
			key = l.expr(kv.Key)
		}
		if keyed {
			value = &ast.KeyValueExpr{Key: key, Colon: kv.Colon, Value: value}
		}
		out.Elts = append(out.Elts, value)
	}
	if pointer {
		return &ast.UnaryExpr{OpPos: x.Pos(), Op: token.AND, X: out}
	}
	return out
}

// selector rewrites x.Sel. The embedded fields on the way to what a cell's type promotes
// are written out.
func (l *lowerer) selector(x *ast.SelectorExpr) ast.Expr {
	out := l.unfolded(x)
	if v := l.foldedField(x); v != nil {
		return l.test(Unfold, x.Pos(), out, l.typ(v.Type(), x.Pos()))
	}
	return out
}

// unfolded is selector without what reads a folded field.
func (l *lowerer) unfolded(x *ast.SelectorExpr) ast.Expr {
	if id, ok := x.X.(*ast.Ident); ok {
		if _, ok := l.info.Uses[id].(*types.PkgName); ok {
			obj := l.info.Uses[x.Sel]
			if fn, ok := obj.(*types.Func); ok && fn.Signature().TypeParams() != nil {
				l.refuse(x.Pos(), "call generic functions (%s.%s)", id.Name, x.Sel.Name)
			}
			if obj.Pkg().Path() == "unsafe" {
				l.refuse(x.Pos(), "use package unsafe")
			}
			return l.packageRef(obj, x.Pos())
		}
	}
	sel := l.info.Selections[x]
	if sel == nil {
		return &ast.SelectorExpr{X: l.expr(x.X), Sel: x.Sel}
	}
	if n := generic(sel.Recv()); n != nil {
		l.refuse(x.Pos(), "use the generic type %s", l.typeString(n))
	}
	out := l.expr(x.X)
	if sel.Kind() == types.MethodExpr {
		if len(sel.Index()) > 1 && l.declared(sel.Recv()) {
			l.refuse(x.Pos(), "name the method %s, which %s has from a field, without a value", x.Sel.Name, l.typeString(sel.Recv()))
		}
		if l.declared(sel.Recv()) {
			return l.methodExpr(x, sel)
		}
		return &ast.SelectorExpr{X: &ast.ParenExpr{Lparen: x.Pos(), X: out, Rparen: x.Pos()}, Sel: x.Sel}
	}
	if l.declared(sel.Recv()) {
		t := sel.Recv()
		for _, i := range sel.Index()[:len(sel.Index())-1] {
			if p, ok := t.Underlying().(*types.Pointer); ok {
				t = p.Elem()
			}
			st, ok := t.Underlying().(*types.Struct)
			if !ok || !l.declared(t) {
				break
			}
			out = &ast.SelectorExpr{X: out, Sel: l.ident(st.Field(i).Name(), x.Sel.Pos())}
			t = st.Field(i).Type()
		}
		if fn, ok := sel.Obj().(*types.Func); ok && fn.Pkg() == l.cell.Pkg && !isInterface(t) {
			_, pointer := types.Unalias(fn.Signature().Recv().Type()).(*types.Pointer)
			if _, have := types.Unalias(t).(*types.Pointer); pointer && !have && l.foldedField(x.X) != nil {
				l.refuse(x.Pos(), "call %s, which takes an address, on a field by which a type contains itself", fn.Name())
			}
			out = l.receiver(out, t, fn, x.Pos())
		}
	}
	return &ast.SelectorExpr{X: out, Sel: x.Sel}
}

// receiver is x, of type t, as the receiver that a cell's method wants: the interpreter
// does not always find the method where an address or a dereference is implied.
func (l *lowerer) receiver(x ast.Expr, t types.Type, fn *types.Func, pos token.Pos) ast.Expr {
	_, have := types.Unalias(t).(*types.Pointer)
	_, want := types.Unalias(fn.Signature().Recv().Type()).(*types.Pointer)
	_, name := x.(*ast.Ident)
	_, isStruct := types.Unalias(t).Underlying().(*types.Struct)
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		_, isStruct = p.Elem().Underlying().(*types.Struct)
	}
	switch {
	case have && (!want || !isStruct):
		return &ast.ParenExpr{Lparen: pos, X: &ast.StarExpr{Star: pos, X: x}, Rparen: pos}
	case want && !have && !name:
		return &ast.ParenExpr{Lparen: pos, X: &ast.UnaryExpr{OpPos: pos, Op: token.AND, X: x}, Rparen: pos}
	}
	return x
}

// generic is the generic type behind t, if it is an instance of one.
func generic(t types.Type) *types.Named {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := types.Unalias(t).(*types.Named); ok && n.TypeArgs() != nil {
		return n
	}
	return nil
}

func (l *lowerer) index(x *ast.IndexExpr) ast.Expr {
	t := l.typeOf(x.X)
	if _, ok := t.(*types.Signature); ok {
		l.refuse(x.Pos(), "use generic functions")
		return l.ident("nil", x.Pos())
	}
	out := &ast.IndexExpr{X: l.expr(x.X), Lbrack: x.Lbrack, Rbrack: x.Rbrack}
	if m, ok := t.Underlying().(*types.Map); ok {
		out.Index = l.conv(x.Index, m.Key())
		return out
	}
	out.Index = l.asInt(x.Index)
	return out
}

// asInt is an index or a bound as an int, which the interpreter wants. An unsigned one over
// the largest int becomes negative, and is out of range too.
func (l *lowerer) asInt(x ast.Expr) ast.Expr {
	if x == nil {
		return nil
	}
	pos := x.Pos()
	if v := l.info.Types[x].Value; v != nil {
		return l.constant(v, types.Typ[types.Int], pos)
	}
	if b, ok := types.Unalias(l.typeOf(x)).(*types.Basic); ok && b.Kind() == types.Int {
		return l.expr(x)
	}
	return l.call(l.ident("int", pos), pos, l.expr(x))
}

func (l *lowerer) binary(x *ast.BinaryExpr) ast.Expr {
	out := &ast.BinaryExpr{X: l.expr(x.X), OpPos: x.OpPos, Op: x.Op, Y: l.expr(x.Y)}
	switch x.Op {
	case token.EQL, token.NEQ:
		tx, ty := l.info.TypeOf(x.X), l.info.TypeOf(x.Y)
		if isNil(tx) || isNil(ty) {
			return out
		}
		tx, ty = types.Default(tx), types.Default(ty)
		if !isInterface(tx) && !isInterface(ty) {
			if l.holdsInterface(tx) {
				l.refuse(x.OpPos, "compare values that hold interfaces (%s)", l.typeString(tx))
			}
			return out
		}
		any := types.Universe.Lookup("any").Type()
		var equal ast.Expr = l.hook(Equal, x.OpPos, l.conv(x.X, any), l.conv(x.Y, any))
		if x.Op == token.NEQ {
			equal = &ast.UnaryExpr{OpPos: x.OpPos, Op: token.NOT, X: equal}
		}
		return equal
	case token.SHL, token.SHR:
		if b, ok := l.typeOf(x.Y).Underlying().(*types.Basic); ok && b.Info()&types.IsUnsigned == 0 && l.info.Types[x.Y].Value == nil {
			// Go panics where a signed count is negative; as an unsigned one it is just large.
			out.Y = l.unsigned(x.Y)
		}
	}
	return out
}

// unsigned is a shift count as a uint. A negative one panics, as the index of a slice.
func (l *lowerer) unsigned(y ast.Expr) ast.Expr {
	pos := y.Pos()
	n := l.temp("n")
	body := []ast.Stmt{
		&ast.IfStmt{
			If:   pos,
			Cond: &ast.BinaryExpr{X: l.ident(n, pos), OpPos: pos, Op: token.LSS, Y: l.intLit(0, pos)},
			Body: &ast.BlockStmt{Lbrace: pos, Rbrace: pos, List: []ast.Stmt{&ast.ExprStmt{X: l.call(l.ident("panic", pos), pos,
				&ast.BasicLit{ValuePos: pos, Kind: token.STRING, Value: `"negative shift amount"`})}}},
		},
		&ast.ReturnStmt{Return: pos, Results: []ast.Expr{l.call(l.ident("uint", pos), pos, l.ident(n, pos))}},
	}
	return l.literal(pos, []string{n}, []types.Type{l.typeOf(y)}, types.Typ[types.Uint], body, l.expr(y))
}

// literal is the call of a function literal with the given parameters and body.
func (l *lowerer) literal(pos token.Pos, names []string, params []types.Type, result types.Type, body []ast.Stmt, args ...ast.Expr) ast.Expr {
	ft := &ast.FuncType{Func: pos, Params: &ast.FieldList{Opening: pos, Closing: pos}}
	for i, name := range names {
		ft.Params.List = append(ft.Params.List, l.field(name, l.typ(params[i], pos), pos))
	}
	if result != nil {
		ft.Results = &ast.FieldList{Opening: pos, Closing: pos, List: []*ast.Field{l.field("", l.typ(result, pos), pos)}}
	}
	lit := &ast.FuncLit{Type: ft, Body: &ast.BlockStmt{Lbrace: pos, List: body, Rbrace: pos}}
	return l.call(&ast.ParenExpr{Lparen: pos, X: lit, Rparen: pos}, pos, args...)
}

func isNil(t types.Type) bool {
	b, ok := t.(*types.Basic)
	return ok && b.Kind() == types.UntypedNil
}

// holdsInterface reports whether comparing values of the type compares interfaces.
func (l *lowerer) holdsInterface(t types.Type) bool {
	switch u := t.Underlying().(type) {
	case *types.Interface:
		return true
	case *types.Array:
		return l.holdsInterface(u.Elem())
	case *types.Struct:
		for f := range u.Fields() {
			if l.holdsInterface(f.Type()) {
				return true
			}
		}
	}
	return false
}

// assert rewrites a type assertion on a value of type from.
func (l *lowerer) assert(x *ast.TypeAssertExpr, value ast.Expr, from types.Type) ast.Expr {
	pos := x.Pos()
	to := l.info.TypeOf(x.Type)
	if _, pair := l.info.TypeOf(x).(*types.Tuple); !pair {
		return l.test(Must, pos, value, l.typ(to, pos))
	}
	v := l.temp("v")
	ft := &ast.FuncType{
		Func: pos, Params: &ast.FieldList{List: []*ast.Field{l.field(v, l.typ(from, pos), pos)}},
		Results: &ast.FieldList{List: []*ast.Field{l.field("", l.typ(to, pos), pos), l.field("", l.ident("bool", pos), pos)}},
	}
	ret := &ast.ReturnStmt{Return: pos, Results: []ast.Expr{
		l.test(As, pos, l.ident(v, pos), l.typ(to, pos)), l.test(Is, pos, l.ident(v, pos), l.typ(to, pos)),
	}}
	lit := &ast.FuncLit{Type: ft, Body: &ast.BlockStmt{Lbrace: pos, List: []ast.Stmt{ret}, Rbrace: pos}}
	return l.call(&ast.ParenExpr{Lparen: pos, X: lit, Rparen: pos}, pos, value)
}

// conv rewrites x where a value of type to is wanted: a conversion to an interface is
// written out.
func (l *lowerer) conv(x ast.Expr, to types.Type) ast.Expr {
	from := l.info.TypeOf(x)
	if from == nil || to == nil || !isInterface(to) || isNil(from) {
		return l.expr(x)
	}
	if _, tuple := from.(*types.Tuple); tuple {
		return l.expr(x)
	}
	from = types.Default(from)
	out := l.expr(x)
	pos := x.Pos()
	if n := l.selfContaining(from); n != nil {
		l.refuse(pos, "make an interface of, or print, a value of a type that contains itself (%s); print its fields", n.Obj().Name())
		return out
	}
	switch {
	case types.Identical(from, to):
		return out
	case isInterface(from):
		if isAny(to) && isAny(from) {
			return out
		}
		if isAny(to) {
			return l.hook(Any, pos, out)
		}
		return l.test(As, pos, out, l.typ(to, pos)) // what from holds implements to, or is nil
	case isAny(to):
		if l.declared(from) {
			return l.hook(Any, pos, out)
		}
		if l.info.Types[x].Value != nil { // the interpreter would keep an untyped constant
			return l.call(l.typ(from, pos), pos, out)
		}
		return out
	}
	if l.declared(from) && !l.emulated(to) {
		if n := l.localType(from); n != nil {
			l.refuse(pos, "use %s, which a function declares, as interface %s; declare it outside", n.Name(), l.typeString(to))
		}
		return l.test(Iface, pos, out, l.typ(to, pos))
	}
	return l.call(&ast.ParenExpr{Lparen: pos, X: l.typ(to, pos), Rparen: pos}, pos, out)
}

// selfContaining is the first type of a cell that t is made of and that contains itself.
func (l *lowerer) selfContaining(t types.Type) (found *types.Named) {
	seen := map[types.Type]bool{}
	var visit func(types.Type)
	visit = func(t types.Type) {
		t = types.Unalias(t)
		if seen[t] || found != nil || types.IsInterface(t) {
			return
		}
		seen[t] = true
		if n, ok := t.(*types.Named); ok {
			if n.Obj().Pkg() != l.cell.Pkg {
				return
			}
			if l.containsItself(n) {
				found = n
				return
			}
		}
		if _, ok := t.Underlying().(*types.Signature); ok {
			return
		}
		l.parts(t.Underlying(), visit)
	}
	visit(t)
	return found
}

// localType is the type behind t, if a function declares it.
func (l *lowerer) localType(t types.Type) *types.TypeName {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := types.Unalias(t).(*types.Named); ok && l.local[n.Obj()] {
		return n.Obj()
	}
	return nil
}
