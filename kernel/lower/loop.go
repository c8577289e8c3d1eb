package lower

import (
	"go/ast"
	"go/token"
	"go/types"
)

// forStmt rewrites a loop. Each iteration has variables of its own where that can be seen:
// where a function captures one or its address is taken. Such a one is copied at the
// beginning of each iteration and back at its end.
func (l *lowerer) forStmt(s *ast.ForStmt, label string) ast.Stmt {
	var vars []types.Object
	if a, ok := s.Init.(*ast.AssignStmt); ok && a.Tok == token.DEFINE {
		for _, x := range a.Lhs {
			if obj := l.info.Defs[x.(*ast.Ident)]; obj != nil && l.captured(s.Body, obj) {
				vars = append(vars, obj)
			}
			for _, n := range []ast.Node{s.Cond, s.Post} {
				if obj := l.info.Defs[x.(*ast.Ident)]; n != nil && obj != nil && l.captured(n, obj) {
					l.refuse(n.Pos(), "capture a loop's variable in its condition")
				}
			}
		}
	}
	hidden := map[types.Object]string{}
	for _, v := range vars {
		hidden[v] = l.temp(v.Name())
		l.renamed[v] = hidden[v]
	}
	out := &ast.ForStmt{For: s.For}
	out.Init = l.stmt(s.Init)
	out.Cond = l.expr(s.Cond)
	out.Post = l.stmt(s.Post)
	for _, v := range vars {
		delete(l.renamed, v)
	}
	back := func(pos token.Pos) (list []ast.Stmt) {
		for _, v := range vars {
			list = append(list, l.assign(pos, l.ident(hidden[v], pos), l.ident(v.Name(), pos)))
		}
		return list
	}
	lp := &loop{label: label, isLoop: true}
	if vars != nil {
		lp.restore = back
	}
	l.within(lp, func() { out.Body = l.block(s.Body) })
	if vars != nil {
		var copies []ast.Stmt
		for _, v := range vars {
			copies = append(copies, l.define(s.Body.Lbrace, v.Name(), l.ident(hidden[v], s.Body.Lbrace)))
		}
		// The body is a block of its own: it may declare the same name.
		out.Body = &ast.BlockStmt{Lbrace: s.Body.Lbrace, List: append(append(copies, out.Body), back(s.Body.Rbrace)...), Rbrace: s.Body.Rbrace}
	}
	return out
}

// captured reports whether more than one iteration's variable could be told apart: node
// has a function that mentions obj, or takes its address.
func (l *lowerer) captured(node ast.Node, obj types.Object) (found bool) {
	mentions := func(n ast.Node) (yes bool) {
		ast.Inspect(n, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && l.info.Uses[id] == obj {
				yes = true
			}
			return !yes
		})
		return yes
	}
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			found = found || mentions(n.Body)
		case *ast.UnaryExpr:
			found = found || n.Op == token.AND && mentions(n.X)
		case *ast.SliceExpr: // of an array
			found = found || mentions(n.X)
		case *ast.SelectorExpr: // a method with a pointer receiver takes the address
			if sel := l.info.Selections[n]; sel != nil && sel.Kind() == types.MethodVal {
				found = found || mentions(n.X)
			}
		}
		return !found
	})
	return found
}

// rangeStmt rewrites a range statement.
func (l *lowerer) rangeStmt(s *ast.RangeStmt, label string) ast.Stmt {
	for _, x := range []ast.Expr{s.Key, s.Value} {
		if x != nil && l.foldedField(x) != nil {
			l.refuse(x.Pos(), "range with a field by which a type contains itself; use :=")
		}
	}
	t := l.typeOf(s.X)
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if u.Info()&types.IsInteger != 0 {
			return l.rangeInt(s, label)
		}
	case *types.Signature:
		l.refuse(s.X.Pos(), "range over a function; call it with a function literal")
		return nil
	case *types.Chan:
		return l.rangeChan(s, label)
	case *types.Pointer:
		if s.Value == nil { // the array is not looked at, and may be nil
			l.refuse(s.X.Pos(), "range over the indexes of a pointer to an array")
		}
	}
	out := &ast.RangeStmt{For: s.For, Tok: s.Tok, TokPos: s.TokPos, X: l.expr(s.X)}
	var copies []ast.Stmt
	place := func(x ast.Expr) ast.Expr {
		id, ok := x.(*ast.Ident)
		switch {
		case x == nil:
			return nil
		case ok && s.Tok == token.DEFINE && id.Name != "_":
			if obj := l.info.Defs[id]; obj != nil && l.captured(s.Body, obj) {
				name := l.temp(id.Name)
				copies = append(copies, l.define(s.Body.Lbrace, id.Name, l.ident(name, s.Body.Lbrace)))
				return l.ident(name, id.Pos())
			}
			return l.ident(id.Name, id.Pos())
		case ok:
			return l.identOrBlank(id)
		}
		if isInterface(l.typeOf(x)) {
			l.refuse(x.Pos(), "range with values that become interfaces; use :=")
		}
		return l.expr(x)
	}
	out.Key, out.Value = place(s.Key), place(s.Value)
	l.within(&loop{label: label, isLoop: true}, func() { out.Body = l.block(s.Body) })
	if copies != nil {
		out.Body = &ast.BlockStmt{Lbrace: s.Body.Lbrace, List: append(copies, out.Body), Rbrace: s.Body.Rbrace}
	}
	return out
}

// rangeInt is for i := range n as a loop that counts.
func (l *lowerer) rangeInt(s *ast.RangeStmt, label string) ast.Stmt {
	pos := s.Pos()
	t := l.typeOf(s.X)
	id, _ := s.Key.(*ast.Ident)
	if s.Key != nil && (id == nil || id.Name != "_") {
		t = l.typeOf(s.Key)
		if id != nil && s.Tok == token.DEFINE {
			t = l.info.Defs[id].Type()
		}
	}
	i, n := l.temp("i"), l.temp("n")
	limit := l.expr(s.X)
	if v := l.info.Types[s.X].Value; v != nil {
		limit = l.constant(v, t, s.X.Pos())
	}
	typed := func(x ast.Expr) ast.Expr { return l.call(l.typ(t, pos), pos, x) }
	out := &ast.ForStmt{
		For:  s.For,
		Init: &ast.AssignStmt{Lhs: []ast.Expr{l.ident(i, pos), l.ident(n, pos)}, TokPos: pos, Tok: token.DEFINE, Rhs: []ast.Expr{typed(l.intLit(0, pos)), typed(limit)}},
		Cond: &ast.BinaryExpr{X: l.ident(i, pos), OpPos: pos, Op: token.LSS, Y: l.ident(n, pos)},
		Post: &ast.IncDecStmt{X: l.ident(i, pos), TokPos: pos, Tok: token.INC},
	}
	var first []ast.Stmt
	switch {
	case s.Key == nil, id != nil && id.Name == "_":
	case s.Tok == token.DEFINE:
		first = []ast.Stmt{l.define(s.Body.Lbrace, id.Name, l.ident(i, pos))}
	default:
		first = []ast.Stmt{l.assign(s.Body.Lbrace, l.expr(s.Key), l.ident(i, pos))}
	}
	l.within(&loop{label: label, isLoop: true}, func() { out.Body = l.block(s.Body) })
	if first != nil {
		out.Body = &ast.BlockStmt{Lbrace: s.Body.Lbrace, List: append(first, out.Body), Rbrace: s.Body.Rbrace}
	}
	return out
}

// rangeChan is a range over a channel as a loop of receives that can be stopped.
func (l *lowerer) rangeChan(s *ast.RangeStmt, label string) ast.Stmt {
	pos := s.Pos()
	ch, ok := l.temp("ch"), l.temp("ok")
	receive := &ast.AssignStmt{
		Lhs: []ast.Expr{l.ident("_", pos), l.ident(ok, pos)}, TokPos: pos, Tok: token.DEFINE,
		Rhs: []ast.Expr{&ast.UnaryExpr{OpPos: pos, Op: token.ARROW, X: l.hook(Ready, pos, l.ident(ch, pos))}},
	}
	body := []ast.Stmt{receive}
	if id, isIdent := s.Key.(*ast.Ident); s.Key != nil && !(isIdent && id.Name == "_") {
		if s.Tok == token.DEFINE {
			receive.Lhs[0] = l.ident(id.Name, id.Pos())
		} else {
			elem := l.typeOf(s.X).Underlying().(*types.Chan).Elem()
			if !types.Identical(elem, l.typeOf(s.Key)) {
				l.refuse(s.Key.Pos(), "range over a channel with values that become interfaces; use :=")
			}
			receive.Lhs[0], receive.Tok = l.expr(s.Key), token.ASSIGN
			body = []ast.Stmt{l.declareVar(ok, types.Typ[types.Bool], nil, pos), receive}
		}
	}
	body = append(body, &ast.IfStmt{
		If: pos, Cond: &ast.UnaryExpr{OpPos: pos, Op: token.NOT, X: l.ident(ok, pos)},
		Body: &ast.BlockStmt{Lbrace: pos, Rbrace: pos, List: []ast.Stmt{&ast.BranchStmt{TokPos: pos, Tok: token.BREAK}}},
	})
	l.within(&loop{label: label, isLoop: true}, func() { body = append(body, l.block(s.Body)) })
	return &ast.ForStmt{
		For: pos, Init: l.define(pos, ch, l.expr(s.X)),
		Body: &ast.BlockStmt{Lbrace: s.Body.Lbrace, List: body, Rbrace: s.Body.Rbrace},
	}
}
