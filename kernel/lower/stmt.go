package lower

import (
	"go/ast"
	"go/token"
	"go/types"
)

// loop is a statement that break or continue can name.
type loop struct {
	label   string
	isLoop  bool
	restore func(pos token.Pos) []ast.Stmt // what to do before a continue
}

func (l *lowerer) block(b *ast.BlockStmt) *ast.BlockStmt {
	if b == nil {
		return nil
	}
	return &ast.BlockStmt{Lbrace: b.Lbrace, List: l.stmts(b.List), Rbrace: b.Rbrace}
}

func (l *lowerer) stmts(list []ast.Stmt) (out []ast.Stmt) {
	for _, s := range list {
		if s := l.stmt(s); s != nil {
			out = append(out, s)
		}
	}
	return out
}

// stmt rewrites a statement; nil if nothing is left of it.
func (l *lowerer) stmt(s ast.Stmt) ast.Stmt { return l.labeled(s, "") }

func (l *lowerer) labeled(s ast.Stmt, label string) ast.Stmt {
	switch s := s.(type) {
	case nil:
		return nil
	case *ast.EmptyStmt:
		return nil
	case *ast.ExprStmt:
		return &ast.ExprStmt{X: l.expr(s.X)}
	case *ast.BlockStmt:
		return l.block(s)
	case *ast.IncDecStmt:
		return &ast.IncDecStmt{X: l.expr(s.X), TokPos: s.TokPos, Tok: s.Tok}
	case *ast.SendStmt:
		elem := l.typeOf(s.Chan).Underlying().(*types.Chan).Elem()
		return &ast.ExprStmt{X: l.hook(Send, s.Pos(), l.expr(s.Chan), l.conv(s.Value, elem))}
	case *ast.GoStmt:
		return l.goStmt(s)
	case *ast.DeferStmt:
		return l.deferStmt(s)
	case *ast.AssignStmt:
		return l.assignment(s)
	case *ast.DeclStmt:
		return l.localDecl(s.Decl.(*ast.GenDecl))
	case *ast.ReturnStmt:
		return l.returnStmt(s)
	case *ast.BranchStmt:
		return l.branch(s)
	case *ast.LabeledStmt:
		inner := l.labeled(s.Stmt, s.Label.Name)
		if inner == nil {
			inner = &ast.EmptyStmt{Semicolon: s.Colon, Implicit: true}
		}
		if b, ok := inner.(*ast.BlockStmt); ok && b.List != nil { // the rewriting put declarations before it
			if _, ok := s.Stmt.(*ast.BlockStmt); !ok {
				last := len(b.List) - 1
				b.List[last] = &ast.LabeledStmt{Label: s.Label, Colon: s.Colon, Stmt: b.List[last]}
				return b
			}
		}
		return &ast.LabeledStmt{Label: s.Label, Colon: s.Colon, Stmt: inner}
	case *ast.IfStmt:
		return &ast.IfStmt{If: s.If, Init: l.stmt(s.Init), Cond: l.expr(s.Cond), Body: l.block(s.Body), Else: l.stmt(s.Else)}
	case *ast.SwitchStmt:
		return l.switchStmt(s, label)
	case *ast.TypeSwitchStmt:
		return l.typeSwitch(s, label)
	case *ast.SelectStmt:
		return l.selectStmt(s, label)
	case *ast.ForStmt:
		return l.forStmt(s, label)
	case *ast.RangeStmt:
		return l.rangeStmt(s, label)
	}
	l.refuse(s.Pos(), "run this statement")
	return nil
}

// within rewrites with a loop or switch around.
func (l *lowerer) within(lp *loop, f func()) {
	l.loops = append(l.loops, lp)
	f()
	l.loops = l.loops[:len(l.loops)-1]
}

func (l *lowerer) assignment(s *ast.AssignStmt) ast.Stmt {
	out := &ast.AssignStmt{TokPos: s.TokPos, Tok: s.Tok}
	for _, x := range s.Lhs {
		if id, ok := x.(*ast.Ident); ok {
			if id.Name == "_" {
				out.Lhs = append(out.Lhs, l.ident("_", id.Pos()))
				continue
			}
			out.Lhs = append(out.Lhs, l.identifier(id))
			continue
		}
		out.Lhs = append(out.Lhs, l.place(x))
	}
	assigned := func(i int) types.Type { // the type wanted of the i-th value
		if id, ok := s.Lhs[i].(*ast.Ident); ok && (id.Name == "_" || s.Tok == token.DEFINE && l.info.Defs[id] != nil) {
			return nil
		}
		return l.info.TypeOf(s.Lhs[i])
	}
	if len(s.Lhs) == len(s.Rhs) {
		for i, x := range s.Rhs {
			v := l.conv(x, assigned(i))
			if s.Tok != token.ASSIGN && s.Tok != token.DEFINE && (s.Tok == token.SHL_ASSIGN || s.Tok == token.SHR_ASSIGN) {
				if b, ok := l.typeOf(x).Underlying().(*types.Basic); ok && b.Info()&types.IsUnsigned == 0 && l.info.Types[x].Value == nil {
					v = l.unsigned(x)
				}
			}
			out.Rhs = append(out.Rhs, l.stored(v, x, l.foldedField(s.Lhs[i])))
		}
		return out
	}
	out.Rhs = []ast.Expr{l.expr(s.Rhs[0])}
	t, ok := l.info.TypeOf(s.Rhs[0]).(*types.Tuple)
	if !ok {
		return out
	}
	converts := false
	for i := range min(t.Len(), len(s.Lhs)) {
		to := assigned(i)
		converts = converts || to != nil && isInterface(to) && !types.Identical(to, t.At(i).Type()) || l.foldedField(s.Lhs[i]) != nil
	}
	switch {
	case !converts:
	case s.Tok == token.DEFINE || len(s.Rhs) != 1 || t.Len() != len(s.Lhs):
		l.refuse(s.Pos(), "assign one of several results to an interface with :=; declare the other names with var, and use =")
	default: // a, b = g(): { t0, t1 := g(); a, b = t0, t1 }
		names := l.held(t, s.Pos())
		first := &ast.AssignStmt{Lhs: names, TokPos: s.TokPos, Tok: token.DEFINE, Rhs: out.Rhs}
		second := &ast.AssignStmt{TokPos: s.TokPos, Tok: s.Tok}
		for i, n := range names {
			if id, ok := s.Lhs[i].(*ast.Ident); ok && id.Name == "_" { // the interpreter fails at it
				continue
			}
			second.Lhs = append(second.Lhs, out.Lhs[i])
			second.Rhs = append(second.Rhs, l.stored(l.conv(n, assigned(i)), n, l.foldedField(s.Lhs[i])))
		}
		return &ast.BlockStmt{Lbrace: s.Pos(), List: []ast.Stmt{first, second}, Rbrace: s.End()}
	}
	return out
}

func (l *lowerer) varDecl(d *ast.GenDecl) *ast.GenDecl {
	out := &ast.GenDecl{TokPos: d.TokPos, Tok: token.VAR}
	for _, s := range d.Specs {
		spec := s.(*ast.ValueSpec)
		vs := &ast.ValueSpec{}
		var typ types.Type
		if spec.Type != nil {
			typ = l.info.TypeOf(spec.Type)
			vs.Type = l.typ(typ, spec.Type.Pos())
		}
		for _, id := range spec.Names {
			vs.Names = append(vs.Names, l.ident(id.Name, id.Pos()))
		}
		if len(spec.Values) == len(spec.Names) {
			for _, x := range spec.Values {
				vs.Values = append(vs.Values, l.conv(x, typ))
			}
		} else if len(spec.Values) == 1 {
			if t, ok := l.info.TypeOf(spec.Values[0]).(*types.Tuple); ok && typ != nil {
				for v := range t.Variables() {
					if isInterface(typ) && !types.Identical(typ, v.Type()) {
						l.refuse(spec.Pos(), "assign one of several results to an interface; use := first")
					}
				}
			}
			vs.Values = l.exprs(spec.Values)
		}
		out.Specs = append(out.Specs, vs)
	}
	return out
}

// localDecl rewrites a declaration in a function or block.
func (l *lowerer) localDecl(d *ast.GenDecl) ast.Stmt {
	switch d.Tok {
	case token.VAR:
		return &ast.DeclStmt{Decl: l.varDecl(d)}
	case token.TYPE:
		var list []ast.Spec
		for _, s := range d.Specs {
			spec := s.(*ast.TypeSpec)
			if obj := l.info.Defs[spec.Name]; obj != nil {
				l.local[obj] = true
			}
			if n, ok := l.typeSpec(spec).(*ast.GenDecl); ok {
				list = append(list, n.Specs...)
			}
		}
		if list == nil {
			return nil
		}
		return &ast.DeclStmt{Decl: &ast.GenDecl{TokPos: d.TokPos, Tok: token.TYPE, Specs: list}}
	}
	return nil // constants: their uses become their values
}

func (l *lowerer) goStmt(s *ast.GoStmt) ast.Stmt {
	call := s.Call
	if l.info.Types[call.Fun].IsBuiltin() {
		l.refuse(s.Pos(), "start a goroutine with a predeclared function; write go func() { ... }()")
		return nil
	}
	out, ok := l.expr(call).(*ast.CallExpr)
	if !ok {
		return nil
	}
	out.Fun = l.hook(Go, call.Pos(), out.Fun)
	return &ast.GoStmt{Go: s.Go, Call: out}
}

// deferStmt rewrites a defer statement. At the top level it is the cell that is to end.
func (l *lowerer) deferStmt(s *ast.DeferStmt) ast.Stmt {
	call := s.Call
	builtin := l.info.Types[call.Fun].IsBuiltin()
	if l.inFunc {
		out, ok := l.expr(call).(*ast.CallExpr)
		if !ok {
			l.refuse(s.Pos(), "defer this; write defer func() { ... }()")
			return nil
		}
		return &ast.DeferStmt{Defer: s.Defer, Call: out}
	}
	lit, isLiteral := ast.Unparen(call.Fun).(*ast.FuncLit)
	fn := l.callee(call.Fun)
	switch {
	case builtin:
		l.refuse(s.Pos(), "defer a predeclared function to the cell's end; write defer func() { ... }()")
	case isLiteral && recovers(lit.Body):
		l.refuse(s.Pos(), "recover at the cell's end; put what may panic in a function, and defer there")
	case !isLiteral && fn == nil && !l.fromPackage(l.typeOf(call.Fun)), fn != nil && fn.Pkg() == l.cell.Pkg: // it may recover
		l.refuse(s.Pos(), "defer a cell's own function to the cell's end; write defer func() { ... }()")
	default:
		if out, ok := l.expr(call).(*ast.CallExpr); ok {
			out.Fun = l.hook(Defer, call.Pos(), out.Fun)
			return &ast.ExprStmt{X: out}
		}
	}
	return nil
}

// fromPackage reports whether a package declares the type.
func (l *lowerer) fromPackage(t types.Type) bool {
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Pkg() != l.cell.Pkg
}

// recovers reports whether a function's own code calls recover.
func recovers(body ast.Node) (found bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "recover" {
				found = true
			}
		}
		return true
	})
	return found
}

func (l *lowerer) returnStmt(s *ast.ReturnStmt) ast.Stmt {
	if !l.inFunc {
		return &ast.ExprStmt{X: l.hook(Return, s.Pos())}
	}
	out := &ast.ReturnStmt{Return: s.Return}
	if len(s.Results) == l.results.Len() {
		for i, x := range s.Results {
			out.Results = append(out.Results, l.conv(x, l.results.At(i).Type()))
		}
		return out
	}
	if len(s.Results) == 1 {
		if t, ok := l.info.TypeOf(s.Results[0]).(*types.Tuple); ok && l.spread(t, l.results, false) { // return g()
			names := l.held(t, s.Pos())
			inner := &ast.ReturnStmt{Return: s.Pos()}
			for i, n := range names {
				inner.Results = append(inner.Results, l.conv(n, l.results.At(i).Type()))
			}
			out.Results = []ast.Expr{l.holding(names, t, l.results, inner, l.expr(s.Results[0]), s.Pos())}
			return out
		}
	}
	out.Results = l.exprs(s.Results)
	return out
}

func (l *lowerer) branch(s *ast.BranchStmt) ast.Stmt {
	out := &ast.BranchStmt{TokPos: s.TokPos, Tok: s.Tok, Label: s.Label}
	switch s.Tok {
	case token.GOTO:
		l.refuse(s.Pos(), "goto")
	case token.CONTINUE:
		for i := len(l.loops) - 1; i >= 0; i-- {
			lp := l.loops[i]
			if s.Label != nil && lp.label != s.Label.Name || s.Label == nil && !lp.isLoop {
				continue
			}
			if lp.restore != nil {
				return &ast.BlockStmt{Lbrace: s.Pos(), List: append(lp.restore(s.Pos()), out), Rbrace: s.Pos()}
			}
			break
		}
	}
	return out
}

// switchStmt rewrites a switch. One that compares interfaces becomes one of conditions.
func (l *lowerer) switchStmt(s *ast.SwitchStmt, label string) ast.Stmt {
	out := &ast.SwitchStmt{Switch: s.Switch, Init: l.stmt(s.Init), Body: &ast.BlockStmt{Lbrace: s.Body.Lbrace, Rbrace: s.Body.Rbrace}}
	compare := false
	var tag types.Type
	if s.Tag != nil {
		tag = l.typeOf(s.Tag)
		compare = isInterface(tag) || l.holdsInterface(tag)
		for _, c := range s.Body.List {
			for _, x := range c.(*ast.CaseClause).List {
				compare = compare || isInterface(l.info.TypeOf(x))
			}
		}
	}
	name := l.temp("tag")
	if s.Tag != nil && !compare {
		out.Tag = l.expr(s.Tag)
	}
	any := types.Universe.Lookup("any").Type()
	l.within(&loop{label: label}, func() {
		for _, clause := range s.Body.List {
			c := clause.(*ast.CaseClause)
			cc := &ast.CaseClause{Case: c.Case, Colon: c.Colon}
			for _, x := range c.List {
				switch {
				case !compare:
					cc.List = append(cc.List, l.expr(x))
				case isNil(l.info.TypeOf(x)):
					cc.List = append(cc.List, &ast.BinaryExpr{X: l.ident(name, x.Pos()), OpPos: x.Pos(), Op: token.EQL, Y: l.ident("nil", x.Pos())})
				default:
					cc.List = append(cc.List, l.hook(Equal, x.Pos(), l.ident(name, x.Pos()), l.conv(x, any)))
				}
			}
			cc.Body = l.stmts(c.Body)
			out.Body.List = append(out.Body.List, cc)
		}
	})
	if !compare {
		return out
	}
	init := out.Init
	out.Init = nil
	block := &ast.BlockStmt{Lbrace: s.Pos(), Rbrace: s.Body.Rbrace}
	if init != nil {
		block.List = append(block.List, init)
	}
	block.List = append(block.List, l.declareVar(name, any, l.conv(s.Tag, any), s.Pos()), out)
	return block
}

// declareVar is var name T = x.
func (l *lowerer) declareVar(name string, t types.Type, x ast.Expr, pos token.Pos) ast.Stmt {
	vs := &ast.ValueSpec{Names: []*ast.Ident{l.ident(name, pos)}, Type: l.typ(t, pos)}
	if x != nil {
		vs.Values = []ast.Expr{x}
	}
	return &ast.DeclStmt{Decl: &ast.GenDecl{TokPos: pos, Tok: token.VAR, Specs: []ast.Spec{vs}}}
}

// typeSwitch rewrites a type switch as assertions that find the clause's number, and a
// switch on that.
func (l *lowerer) typeSwitch(s *ast.TypeSwitchStmt, label string) ast.Stmt {
	var x ast.Expr
	name := ""
	switch a := s.Assign.(type) {
	case *ast.AssignStmt:
		name = a.Lhs[0].(*ast.Ident).Name
		x = ast.Unparen(a.Rhs[0]).(*ast.TypeAssertExpr).X
	case *ast.ExprStmt:
		x = ast.Unparen(a.X).(*ast.TypeAssertExpr).X
	}
	pos := s.Pos()
	value, clause := l.temp("x"), l.temp("clause")
	block := &ast.BlockStmt{Lbrace: pos, Rbrace: s.Body.Rbrace}
	if init := l.stmt(s.Init); init != nil {
		block.List = append(block.List, init)
	}
	block.List = append(block.List,
		l.declareVar(value, l.typeOf(x), l.expr(x), pos),
		l.define(pos, clause, &ast.UnaryExpr{OpPos: pos, Op: token.SUB, X: l.intLit(1, pos)}))
	find := &ast.SwitchStmt{Switch: pos, Body: &ast.BlockStmt{Lbrace: pos, Rbrace: pos}}
	out := &ast.SwitchStmt{Switch: s.Switch, Tag: l.ident(clause, pos), Body: &ast.BlockStmt{Lbrace: s.Body.Lbrace, Rbrace: s.Body.Rbrace}}
	l.within(&loop{label: label}, func() {
		for i, stmt := range s.Body.List {
			c := stmt.(*ast.CaseClause)
			cc := &ast.CaseClause{Case: c.Case, Colon: c.Colon}
			if c.List != nil {
				found := &ast.CaseClause{Case: c.Case, Colon: c.Colon, Body: []ast.Stmt{
					l.assign(c.Pos(), l.ident(clause, c.Pos()), l.intLit(int64(i), c.Pos())),
				}}
				for _, t := range c.List {
					if l.info.Types[t].IsNil() {
						found.List = append(found.List, &ast.BinaryExpr{X: l.ident(value, t.Pos()), OpPos: t.Pos(), Op: token.EQL, Y: l.ident("nil", t.Pos())})
					} else {
						found.List = append(found.List, l.test(Is, t.Pos(), l.ident(value, t.Pos()), l.typ(l.info.TypeOf(t), t.Pos())))
					}
				}
				find.Body.List = append(find.Body.List, found)
				cc.List = []ast.Expr{l.intLit(int64(i), c.Pos())}
			}
			if name != "" {
				var v ast.Expr = l.ident(value, c.Pos())
				if len(c.List) == 1 && !l.info.Types[c.List[0]].IsNil() {
					v = l.test(As, c.Pos(), v, l.typ(l.info.TypeOf(c.List[0]), c.Pos()))
				}
				cc.Body = append(cc.Body, l.define(c.Pos(), name, v))
			}
			cc.Body = append(cc.Body, l.stmts(c.Body)...)
			out.Body.List = append(out.Body.List, cc)
		}
	})
	block.List = append(block.List, find, out)
	return block
}

// selectStmt rewrites a select; one that can block gets a case for the stop button.
func (l *lowerer) selectStmt(s *ast.SelectStmt, label string) ast.Stmt {
	out := &ast.SelectStmt{Select: s.Select, Body: &ast.BlockStmt{Lbrace: s.Body.Lbrace, Rbrace: s.Body.Rbrace}}
	blocks := true
	l.within(&loop{label: label}, func() {
		for _, stmt := range s.Body.List {
			c := stmt.(*ast.CommClause)
			cc := &ast.CommClause{Case: c.Case, Colon: c.Colon}
			switch comm := c.Comm.(type) {
			case nil:
				blocks = false
			case *ast.SendStmt:
				ch := l.expr(comm.Chan)
				elem := l.typeOf(comm.Chan).Underlying().(*types.Chan).Elem()
				cc.Comm = &ast.SendStmt{Chan: ch, Arrow: comm.Arrow, Value: l.hook(Elem, comm.Pos(), ch, l.conv(comm.Value, elem))}
			case *ast.ExprStmt:
				cc.Comm = &ast.ExprStmt{X: l.receive(comm.X)}
			case *ast.AssignStmt:
				if comm.Tok == token.ASSIGN {
					elem := l.typeOf(ast.Unparen(comm.Rhs[0]).(*ast.UnaryExpr).X).Underlying().(*types.Chan).Elem()
					if to := l.info.TypeOf(comm.Lhs[0]); to != nil && !types.Identical(to, elem) {
						l.refuse(comm.Pos(), "receive into an interface in a select; use :=")
					}
				}
				a := &ast.AssignStmt{TokPos: comm.TokPos, Tok: comm.Tok, Rhs: []ast.Expr{l.receive(comm.Rhs[0])}}
				for _, x := range comm.Lhs {
					if l.foldedField(x) != nil {
						l.refuse(x.Pos(), "receive into a field by which a type contains itself; use :=")
					}
					if id, ok := x.(*ast.Ident); ok {
						a.Lhs = append(a.Lhs, l.identOrBlank(id))
					} else {
						a.Lhs = append(a.Lhs, l.expr(x))
					}
				}
				cc.Comm = a
			}
			cc.Body = l.stmts(c.Body)
			out.Body.List = append(out.Body.List, cc)
		}
	})
	if blocks {
		pos := s.Pos()
		out.Body.List = append(out.Body.List, &ast.CommClause{
			Case: pos, Colon: pos,
			Comm: &ast.ExprStmt{X: &ast.UnaryExpr{OpPos: pos, Op: token.ARROW, X: l.hook(Stop, pos)}},
			Body: []ast.Stmt{&ast.ExprStmt{X: l.hook(Interrupt, pos)}},
		})
	}
	return out
}

func (l *lowerer) identOrBlank(id *ast.Ident) ast.Expr {
	if id.Name == "_" {
		return l.ident("_", id.Pos())
	}
	return l.identifier(id)
}

// receive is a select case's receive, which stays one.
func (l *lowerer) receive(x ast.Expr) ast.Expr {
	u := ast.Unparen(x).(*ast.UnaryExpr)
	return &ast.UnaryExpr{OpPos: u.OpPos, Op: token.ARROW, X: l.expr(u.X)}
}
