package lower

import (
	"go/ast"
	"go/token"
	"go/types"
	"strconv"
)

// Circles. The interpreter finds no methods on a type that it meets inside itself, and does
// not know types that contain each other. So a field that closes such a circle is an any to
// it: what is stored there is folded, what is read unfolded. Only fields that hold a
// reference are (pointers, slices, maps, channels, functions): a change of what they refer
// to needs no field to be written back.

// fold marks the fields of the type that lead back to it.
func (l *lowerer) fold(t *types.Named) {
	st, ok := t.Underlying().(*types.Struct)
	if !ok {
		return
	}
	for f := range st.Fields() {
		switch f.Type().Underlying().(type) {
		case *types.Pointer, *types.Slice, *types.Map, *types.Chan, *types.Signature:
			if !f.Embedded() && l.reaches(f.Type(), t) {
				l.names.folded[f] = true
			}
		}
	}
}

// reaches reports whether the type is made of to.
func (l *lowerer) reaches(from types.Type, to *types.Named) (found bool) {
	seen := map[types.Type]bool{}
	var visit func(types.Type)
	visit = func(t types.Type) {
		t = types.Unalias(t)
		if found = found || t == to; found || seen[t] {
			return
		}
		seen[t] = true
		if n, ok := t.(*types.Named); ok && n.Obj().Pkg() != l.cell.Pkg {
			return
		}
		components(t.Underlying(), visit)
	}
	visit(from)
	return found
}

// parts calls f for the types that the interpreter sees an unnamed type made of.
func (l *lowerer) parts(t types.Type, f func(types.Type)) {
	st, ok := t.(*types.Struct)
	if !ok {
		components(t, f)
		return
	}
	for v := range st.Fields() {
		if !l.names.folded[v] {
			f(v.Type())
		}
	}
}

// foldedField is the folded field that an expression names; nil: it names none.
func (l *lowerer) foldedField(x ast.Expr) *types.Var {
	sel, ok := ast.Unparen(x).(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	s := l.info.Selections[sel]
	if s == nil || s.Kind() != types.FieldVal {
		return nil
	}
	if v, ok := s.Obj().(*types.Var); ok && l.names.folded[v] {
		return v
	}
	return nil
}

// place rewrites what is assigned to.
func (l *lowerer) place(x ast.Expr) ast.Expr {
	if l.foldedField(x) == nil {
		return l.expr(x)
	}
	return l.unfolded(ast.Unparen(x).(*ast.SelectorExpr))
}

// stored is the rewritten value of x as it is stored in the field, or variable, v.
func (l *lowerer) stored(value ast.Expr, x ast.Expr, v *types.Var) ast.Expr {
	if v == nil || !l.names.folded[v] || isNil(l.info.TypeOf(x)) {
		return value
	}
	return l.hook(Fold, x.Pos(), value)
}

// foldedTypes tells the evaluator what the fields of a declared type hold.
func (l *lowerer) foldedTypes(obj *types.TypeName) {
	st, ok := obj.Type().Underlying().(*types.Struct)
	if !ok {
		return
	}
	pos := obj.Pos()
	for i := range st.NumFields() {
		if f := st.Field(i); l.names.folded[f] {
			name := &ast.BasicLit{ValuePos: pos, Kind: token.STRING, Value: strconv.Quote(l.typeName(obj))}
			l.step(&ast.ExprStmt{X: l.hook(Field, pos, name, l.intLit(int64(i), pos), l.typ(f.Type(), pos))}, -1)
		}
	}
}

// typeDecls declares the cell's types, each after those it is made of.
func (l *lowerer) typeDecls(done []bool) {
	type declaration struct {
		item int
		spec *ast.TypeSpec
	}
	var order []*types.TypeName
	specs := map[types.Object]declaration{}
	for i, it := range l.cell.Items {
		if !isDecl(it.Node, token.TYPE) {
			continue
		}
		done[i] = true
		for _, s := range it.Node.(*ast.GenDecl).Specs {
			spec := s.(*ast.TypeSpec)
			if obj, ok := l.info.Defs[spec.Name].(*types.TypeName); ok {
				order = append(order, obj)
				specs[obj] = declaration{i, spec}
				if n, ok := obj.Type().(*types.Named); ok && !obj.IsAlias() {
					l.fold(n)
				}
			}
		}
	}
	declared := map[types.Object]bool{}
	var declare func(obj *types.TypeName)
	declare = func(obj *types.TypeName) {
		d, ok := specs[obj]
		if !ok || declared[obj] {
			return
		}
		declared[obj] = true
		var visit func(types.Type)
		visit = func(t types.Type) {
			if n, ok := types.Unalias(t).(*types.Named); ok {
				declare(n.Obj())
				return
			}
			l.parts(types.Unalias(t), visit)
		}
		l.parts(obj.Type().Underlying(), visit)
		l.typeDecl(d.spec, d.item)
	}
	for _, obj := range order {
		declare(obj)
	}
	if len(l.errs) > 0 {
		return
	}
	for _, obj := range order {
		if n, ok := obj.Type().(*types.Named); ok && !obj.IsAlias() && n.TypeParams() == nil {
			l.foldedTypes(obj)
		}
	}
}
