package check

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
)

// Declares finds for each object of the package's scope the item that declares it.
func (c *Cell) Declares() map[types.Object]int {
	by := map[types.Object]int{}
	for i, it := range c.Items {
		switch n := it.Node.(type) {
		case *ast.FuncDecl:
			if obj := c.Info.Defs[n.Name]; obj != nil {
				by[obj] = i
			}
		case *ast.GenDecl:
			for _, id := range declaredBy(n) {
				if obj := c.Info.Defs[id]; obj != nil {
					by[obj] = i
				}
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, l := range n.Lhs {
					if id, ok := l.(*ast.Ident); ok && slices.Contains(it.Names, id.Name) {
						if obj := c.Info.Defs[id]; obj != nil {
							by[obj] = i
						}
					}
				}
			}
		}
	}
	return by
}

// Mentions lists the items of this cell that declare what node mentions.
func (c *Cell) Mentions(node ast.Node, declares map[types.Object]int) (items []int) {
	ast.Inspect(node, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if obj := c.Info.Uses[id]; obj != nil {
				if i, ok := declares[obj]; ok && !slices.Contains(items, i) {
					items = append(items, i)
				}
			}
		}
		return true
	})
	return items
}

// Variables lists, for each item that is a function, the items that declare the variables
// it depends on, by itself or through the functions it mentions.
func (c *Cell) Variables(declares map[types.Object]int) map[int][]int {
	mentions := map[int][]int{}
	for i, it := range c.Items {
		if fn, ok := it.Node.(*ast.FuncDecl); ok {
			mentions[i] = c.Mentions(fn, declares)
		}
	}
	out := map[int][]int{}
	for i := range mentions {
		seen := map[int]bool{i: true}
		var visit func(int)
		visit = func(f int) {
			for _, j := range mentions[f] {
				if seen[j] {
					continue
				}
				seen[j] = true
				switch n := c.Items[j].Node.(type) {
				case *ast.FuncDecl:
					visit(j)
				case *ast.GenDecl:
					if n.Tok == token.VAR {
						out[i] = append(out[i], j)
					}
				default:
					out[i] = append(out[i], j)
				}
			}
		}
		visit(i)
	}
	return out
}

// checkOrder reports what go/types cannot see, to which variables of a file have no order:
// a use of a variable above its declaration.
func checkOrder(c *Cell, _ *parsed, report func(token.Pos, string, ...any)) {
	declares := c.Declares()
	behind := c.Variables(declares)
	line := func(i int) int { return c.Fset.Position(c.Items[i].Node.Pos()).Line }
	for i, it := range c.Items {
		switch n := it.Node.(type) {
		case *ast.FuncDecl:
			continue
		case *ast.GenDecl:
			if n.Tok != token.VAR {
				continue
			}
		}
		ast.Inspect(it.Node, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			j, ok := declares[c.Info.Uses[id]]
			if !ok {
				return true
			}
			if _, isFunc := c.Items[j].Node.(*ast.FuncDecl); isFunc {
				for _, v := range behind[j] {
					if v > i {
						report(id.Pos(), "%s uses %s, which is declared further down, at line %d", id.Name, c.Items[v].Names[0], line(v))
						break
					}
				}
			} else if _, isVar := c.Info.Uses[id].(*types.Var); isVar && j > i {
				report(id.Pos(), "undefined: %s is declared further down, at line %d", id.Name, line(j))
			}
			return true
		})
	}
}
