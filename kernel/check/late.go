package check

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
)

// lateMethods lets a cell declare methods of types that earlier cells declared. go/types
// knows methods only of types of the same file: it checks them as functions, whose first
// parameter is the receiver, and the types get the methods beforehand.
func (s *Session) lateMethods(c *Cell, p *parsed, report func(token.Pos, string, ...any)) {
	for i, decl := range p.file.Decls {
		d, ok := decl.(*ast.FuncDecl)
		if !ok || d.Recv == nil || len(d.Recv.List) != 1 {
			continue
		}
		id := receiverName(d.Recv.List[0].Type)
		if id == nil || p.declared[id.Name] {
			continue
		}
		if tn, ok := s.live[id.Name].(*types.TypeName); ok {
			if f := s.lateMethod(c, p, d, tn, report); f != nil {
				p.file.Decls[i] = f
			}
		}
	}
}

// receiverName is the identifier of a receiver's type.
func receiverName(t ast.Expr) *ast.Ident {
	switch t := ast.Unparen(t).(type) {
	case *ast.StarExpr:
		return receiverName(t.X)
	case *ast.IndexExpr:
		return receiverName(t.X)
	case *ast.IndexListExpr:
		return receiverName(t.X)
	case *ast.Ident:
		return t
	}
	return nil
}

// lateMethod gives the type tn the method d, and returns d as a function.
func (s *Session) lateMethod(c *Cell, p *parsed, d *ast.FuncDecl, tn *types.TypeName, report func(token.Pos, string, ...any)) *ast.FuncDecl {
	named, ok := tn.Type().(*types.Named)
	if !ok || named.TypeParams().Len() > 0 || types.IsInterface(named) {
		report(d.Recv.Pos(), "a method of %s can only be declared in the cell that declares the type", tn.Name())
		return nil
	}
	typ := &ast.FuncType{Func: d.Type.Func, Results: d.Type.Results, Params: &ast.FieldList{
		Opening: d.Type.Params.Opening, List: append(slices.Clone(d.Recv.List), d.Type.Params.List...), Closing: d.Type.Params.Closing,
	}}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	if err := types.CheckExpr(s.fset, s.pkg, token.NoPos, typ, info); err != nil {
		own := ""
		ast.Inspect(typ, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && p.declared[id.Name] {
				own = id.Name
			}
			return true
		})
		if e, ok := err.(types.Error); ok && own == "" {
			report(e.Pos, "%s", e.Msg)
		} else {
			report(d.Name.Pos(), "a method of %s, which an earlier cell declares, cannot have %s in its signature: declare that in a cell of its own, before", tn.Name(), own)
		}
		return nil
	}
	sig := info.Types[typ].Type.(*types.Signature)
	var params []*types.Var
	for i := 1; i < sig.Params().Len(); i++ {
		params = append(params, sig.Params().At(i))
	}
	if st, ok := named.Underlying().(*types.Struct); ok {
		for f := range st.Fields() {
			if f.Name() == d.Name.Name {
				report(d.Name.Pos(), "field and method with the same name %s", d.Name.Name)
				return nil
			}
		}
	}
	m := types.NewFunc(d.Name.Pos(), s.pkg, d.Name.Name,
		types.NewSignatureType(sig.Params().At(0), nil, nil, types.NewTuple(params...), sig.Results(), sig.Variadic()))
	c.Info.Defs[d.Name] = m

	methods := methodsOf(named)
	before := *methods
	c.undo = append(c.undo, func() { *methods = before })
	after := slices.DeleteFunc(slices.Clone(before), func(f *types.Func) bool { return f.Name() == m.Name() })
	*methods = append(after, m)
	return &ast.FuncDecl{Name: &ast.Ident{Name: "_", NamePos: d.Name.Pos()}, Type: typ, Body: d.Body}
}

// earlier lets a cell use a variable of an earlier cell, up to where it declares one of the
// same name, as in x := f(x). To go/types a name means one thing in the whole cell, so
// these mentions get another name while it checks; the functions returned restore them. A
// function literal would see the new variable when it runs: its mentions stay.
func (s *Session) earlier(p *parsed) (restore []func()) {
	declared := map[string]bool{}
	for _, it := range p.items {
		pending := func(name string) types.Object {
			if v, ok := s.live[name].(*types.Var); ok && p.variables[name] && !declared[name] {
				return v
			}
			return nil
		}
		local := localNames(it.Node)
		for _, part := range evaluated(it.Node) {
			ast.Inspect(part, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncLit:
					return false
				case *ast.Ident:
					old := pending(n.Name)
					if old == nil || local[n.Name] {
						return true
					}
					name := n.Name
					n.Name += "‹old›"
					if s.pkg.Scope().Lookup(n.Name) == nil {
						s.pkg.Scope().Insert(types.NewVar(old.Pos(), s.pkg, n.Name, old.Type()))
					}
					restore = append(restore, func() { n.Name = name })
				}
				return true
			})
		}
		for _, name := range it.Names {
			declared[name] = true
		}
	}
	return restore
}

// evaluated is what of an item is evaluated before it declares anything.
func evaluated(n ast.Node) (parts []ast.Node) {
	switch n := n.(type) {
	case *ast.FuncDecl:
	case *ast.GenDecl:
		for _, spec := range n.Specs {
			if vs, ok := spec.(*ast.ValueSpec); ok && n.Tok == token.VAR {
				for _, v := range vs.Values {
					parts = append(parts, v)
				}
			}
		}
	case *ast.AssignStmt:
		for _, v := range n.Rhs {
			parts = append(parts, v)
		}
		if n.Tok != token.DEFINE {
			for _, v := range n.Lhs {
				parts = append(parts, v)
			}
		}
	default:
		parts = append(parts, n)
	}
	return parts
}

// localNames is every name that a statement declares inside it, and, to be safe, every name
// that is a field's or a key's.
func localNames(n ast.Node) map[string]bool {
	names := map[string]bool{}
	add := func(xs ...ast.Expr) {
		for _, x := range xs {
			if id, ok := x.(*ast.Ident); ok {
				names[id.Name] = true
			}
		}
	}
	ast.Inspect(n, func(m ast.Node) bool {
		switch m := m.(type) {
		case *ast.AssignStmt:
			if m.Tok == token.DEFINE && m != n {
				add(m.Lhs...)
			}
		case *ast.RangeStmt:
			if m.Tok == token.DEFINE {
				add(m.Key, m.Value)
			}
		case *ast.ValueSpec:
			if _, ok := n.(*ast.GenDecl); !ok {
				for _, id := range m.Names {
					add(id)
				}
			}
		case *ast.Field:
			for _, id := range m.Names {
				add(id)
			}
		case *ast.KeyValueExpr:
			add(m.Key)
		case *ast.SelectorExpr:
			add(m.Sel)
		}
		return true
	})
	return names
}
