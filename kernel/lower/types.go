package lower

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strconv"
)

// typ writes a type out.
func (l *lowerer) typ(t types.Type, pos token.Pos) ast.Expr {
	switch t := types.Unalias(t).(type) {
	case *types.Basic:
		if t.Kind() == types.UnsafePointer {
			l.refuse(pos, "use unsafe.Pointer")
		}
		return l.ident(types.Typ[types.Default(t).(*types.Basic).Kind()].Name(), pos)
	case *types.Named:
		return l.named(t, pos)
	case *types.Pointer:
		return &ast.StarExpr{Star: pos, X: l.typ(t.Elem(), pos)}
	case *types.Slice:
		return &ast.ArrayType{Lbrack: pos, Elt: l.typ(t.Elem(), pos)}
	case *types.Array:
		return &ast.ArrayType{Lbrack: pos, Len: l.intLit(t.Len(), pos), Elt: l.typ(t.Elem(), pos)}
	case *types.Map:
		return &ast.MapType{Map: pos, Key: l.typ(t.Key(), pos), Value: l.typ(t.Elem(), pos)}
	case *types.Chan:
		dir := map[types.ChanDir]ast.ChanDir{types.SendRecv: ast.SEND | ast.RECV, types.SendOnly: ast.SEND, types.RecvOnly: ast.RECV}[t.Dir()]
		return &ast.ChanType{Begin: pos, Dir: dir, Value: l.typ(t.Elem(), pos)}
	case *types.Signature:
		return l.funcType(t, pos)
	case *types.Struct:
		fields := &ast.FieldList{Opening: pos, Closing: pos}
		for i := range t.NumFields() {
			v := t.Field(i)
			name := v.Name()
			if v.Embedded() {
				name = ""
			}
			var typ ast.Expr = &ast.InterfaceType{Interface: pos, Methods: &ast.FieldList{Opening: pos, Closing: pos}}
			if !l.names.folded[v] {
				typ = l.typ(v.Type(), pos)
			}
			f := l.field(name, typ, pos)
			if tag := t.Tag(i); tag != "" {
				f.Tag = &ast.BasicLit{ValuePos: pos, Kind: token.STRING, Value: strconv.Quote(tag)}
			}
			fields.List = append(fields.List, f)
		}
		return &ast.StructType{Struct: pos, Fields: fields}
	case *types.Interface:
		methods := &ast.FieldList{Opening: pos, Closing: pos}
		for m := range t.Methods() {
			methods.List = append(methods.List, l.field(m.Name(), l.funcType(m.Signature(), pos), pos))
		}
		return &ast.InterfaceType{Interface: pos, Methods: methods}
	case *types.TypeParam:
		l.refuse(pos, "use type parameters")
	default:
		l.refuse(pos, "use the type %s", l.typeString(t))
	}
	return l.ident("int", pos)
}

func (l *lowerer) named(t *types.Named, pos token.Pos) ast.Expr {
	obj := t.Obj()
	switch {
	case obj.Pkg() == nil: // error
		return l.ident(obj.Name(), pos)
	case t.TypeArgs() != nil:
		l.refuse(pos, "use the generic type %s", l.typeString(t))
		return l.ident("int", pos)
	case obj.Pkg() == l.cell.Pkg:
		return l.ident(l.typeName(obj), pos)
	case !obj.Exported():
		l.refuse(pos, "name the type %s", l.typeString(t))
	}
	return l.packageRef(obj, pos)
}

// packageRef is a package's object.
func (l *lowerer) packageRef(obj types.Object, pos token.Pos) ast.Expr {
	path := obj.Pkg().Path()
	alias := "‹" + path + "›"
	l.program.Imports[path] = alias
	return &ast.SelectorExpr{X: l.ident(alias, pos), Sel: l.ident(obj.Name(), pos)}
}

// funcType writes a signature out, without its receiver.
func (l *lowerer) funcType(sig *types.Signature, pos token.Pos) *ast.FuncType {
	if sig.TypeParams() != nil {
		l.refuse(pos, "use generic functions")
	}
	ft := &ast.FuncType{Func: pos, Params: &ast.FieldList{Opening: pos, Closing: pos}}
	named := false
	for v := range sig.Params().Variables() {
		named = named || v.Name() != ""
	}
	for i := range sig.Params().Len() {
		v := sig.Params().At(i)
		var typ ast.Expr
		if slice, ok := types.Unalias(v.Type()).(*types.Slice); ok && sig.Variadic() && i == sig.Params().Len()-1 {
			typ = &ast.Ellipsis{Ellipsis: pos, Elt: l.typ(slice.Elem(), pos)}
		} else {
			typ = l.typ(v.Type(), pos)
		}
		name := v.Name()
		if named && name == "" {
			name = "_"
		}
		ft.Params.List = append(ft.Params.List, l.field(name, typ, pos))
	}
	if n := sig.Results().Len(); n > 0 {
		ft.Results = &ast.FieldList{Opening: pos, Closing: pos}
		for v := range sig.Results().Variables() {
			ft.Results.List = append(ft.Results.List, l.field(v.Name(), l.typ(v.Type(), pos), pos))
		}
	}
	return ft
}

// constant is a constant's value, of type t.
func (l *lowerer) constant(v constant.Value, t types.Type, pos token.Pos) ast.Expr {
	basic, ok := t.Underlying().(*types.Basic)
	if !ok { // an interface: the constant has its default type
		switch v.Kind() {
		case constant.Bool:
			basic = types.Typ[types.Bool]
		case constant.String:
			basic = types.Typ[types.String]
		case constant.Int:
			basic = types.Typ[types.Int]
		case constant.Float:
			basic = types.Typ[types.Float64]
		default:
			basic = types.Typ[types.Complex128]
		}
		t = basic
	}
	t = types.Default(t)
	info := basic.Info()
	var lit ast.Expr
	switch {
	case info&types.IsBoolean != 0:
		lit = l.ident(strconv.FormatBool(constant.BoolVal(v)), pos)
	case info&types.IsString != 0:
		lit = &ast.BasicLit{ValuePos: pos, Kind: token.STRING, Value: strconv.Quote(constant.StringVal(v))}
	case info&types.IsInteger != 0:
		lit = l.number(constant.ToInt(v), token.INT, pos)
	case info&types.IsFloat != 0:
		lit = l.number(constant.ToFloat(v), token.FLOAT, pos)
	default:
		c := constant.ToComplex(v)
		lit = l.call(l.ident("complex", pos), pos, l.number(constant.Real(c), token.FLOAT, pos), l.number(constant.Imag(c), token.FLOAT, pos))
	}
	switch b, _ := types.Unalias(t).(*types.Basic); {
	case b != nil && (b.Kind() == types.Int || b.Kind() == types.String || b.Kind() == types.Bool || b.Kind() == types.Float64):
		return lit
	}
	return l.call(l.typ(t, pos), pos, lit)
}

// number is a literal; a negative one is its operand's negation.
func (l *lowerer) number(v constant.Value, kind token.Token, pos token.Pos) ast.Expr {
	negative := constant.Sign(v) < 0
	if negative {
		v = constant.UnaryOp(token.SUB, v, 0)
	}
	var text string
	if kind == token.INT {
		text = v.ExactString()
	} else {
		f, _ := constant.Float64Val(v)
		text = strconv.FormatFloat(f, 'e', -1, 64)
	}
	var lit ast.Expr = &ast.BasicLit{ValuePos: pos, Kind: kind, Value: text}
	if negative {
		lit = &ast.ParenExpr{Lparen: pos, X: &ast.UnaryExpr{OpPos: pos, Op: token.SUB, X: lit}, Rparen: pos}
	}
	return lit
}

// declared reports whether the type mentions one that a cell declared, or a struct with
// fields that are not exported: the interpreter's values do not know the one, and have
// other names for the other.
func (l *lowerer) declared(t types.Type) bool {
	seen := map[types.Type]bool{}
	var visit func(types.Type) bool
	visit = func(t types.Type) (found bool) {
		t = types.Unalias(t)
		if seen[t] {
			return false
		}
		seen[t] = true
		if n, ok := t.(*types.Named); ok {
			return n.Obj().Pkg() == l.cell.Pkg
		}
		if st, ok := t.(*types.Struct); ok {
			for f := range st.Fields() {
				found = found || !f.Exported() && f.Pkg() == l.cell.Pkg
			}
		}
		components(t, func(c types.Type) { found = found || visit(c) })
		return found
	}
	return visit(t)
}

// emulated reports whether the interface is one that the interpreter emulates: every
// interface with methods that no package declares.
func (l *lowerer) emulated(t types.Type) bool {
	iface, ok := t.Underlying().(*types.Interface)
	if !ok || iface.NumMethods() == 0 {
		return false
	}
	n, ok := types.Unalias(t).(*types.Named)
	return !ok || n.Obj().Pkg() == l.cell.Pkg
}

func isInterface(t types.Type) bool { return t != nil && types.IsInterface(t) }

// isAny reports whether the type is an interface without methods.
func isAny(t types.Type) bool {
	iface, ok := t.Underlying().(*types.Interface)
	return ok && iface.NumMethods() == 0
}
