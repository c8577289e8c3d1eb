package check

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
)

// suggest is the end of the checker's message about a name that there is not: a hint, or
// the nearest that there is.
func (s *Session) suggest(c *Cell, p *parsed, e types.Error) string {
	if !strings.Contains(e.Msg, "undefined") || strings.Contains(e.Msg, "but does have") || strings.Contains(e.Msg, "(but have ") {
		return ""
	}
	if sel := selectorAt(p.file, e.Pos); sel != nil {
		return Suggestion(sel.Sel.Name, s.membersOf(c.Info, sel.X))
	}
	name, ok := strings.CutPrefix(e.Msg, "undefined: ")
	if !ok {
		return ""
	}
	if hint := nameHint(name); hint != "" {
		return hint
	}
	names := slices.Concat(
		slices.Collect(maps.Keys(s.live)), slices.Collect(maps.Keys(s.imported)), slices.Collect(maps.Keys(p.declared)),
		types.Universe.Names())
	if p.qualifiers[name] {
		names = append(names, slices.Collect(maps.Keys(s.byName))...)
	}
	near := Suggestion(name, slices.DeleteFunc(names, func(n string) bool { return n == name }))
	if near == "" && assigned(p.file, name, e.Pos) {
		return "; " + name + " := declares it"
	}
	return near
}

// selectorAt is the selector whose last part is at pos.
func selectorAt(root ast.Node, pos token.Pos) (found *ast.SelectorExpr) {
	ast.Inspect(root, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Pos() == pos {
			found = sel
		}
		return found == nil
	})
	return found
}

// membersOf is the names that can follow the expression and a dot.
func (s *Session) membersOf(info *types.Info, x ast.Expr) []string {
	if id, ok := x.(*ast.Ident); ok {
		if pkg, ok := info.Uses[id].(*types.PkgName); ok {
			return exportedNames(pkg.Imported())
		}
	}
	var names []string
	if t := info.TypeOf(x); t != nil {
		for _, m := range Members(t, s.pkg) {
			names = append(names, m.Name())
		}
	}
	return names
}

func exportedNames(p *types.Package) []string {
	return slices.DeleteFunc(p.Scope().Names(), func(n string) bool { return !token.IsExported(n) })
}

// Members lists the fields and methods that a selector on a value of type t can name from
// package pkg, promoted ones included, by name.
func Members(t types.Type, pkg *types.Package) []types.Object {
	names := map[string]bool{}
	seen := map[types.Type]bool{}
	var collect func(types.Type)
	collect = func(t types.Type) {
		if p, ok := t.Underlying().(*types.Pointer); ok {
			t = p.Elem()
		}
		if seen[t] {
			return
		}
		seen[t] = true
		if named, ok := types.Unalias(t).(*types.Named); ok {
			for m := range named.Methods() {
				names[m.Name()] = true
			}
		}
		switch u := t.Underlying().(type) {
		case *types.Struct:
			for f := range u.Fields() {
				names[f.Name()] = true
				if f.Embedded() {
					collect(f.Type())
				}
			}
		case *types.Interface:
			for m := range u.Methods() {
				names[m.Name()] = true
			}
		}
	}
	collect(t)
	var out []types.Object
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if obj, _, _ := types.LookupFieldOrMethod(t, true, pkg, name); obj != nil && (obj.Exported() || obj.Pkg() == pkg) {
			out = append(out, obj)
		}
	}
	return out
}

// Suggestion is the end of a message about an unknown name: the nearest of the names, if
// one is near. Of several, one of the same length is likelier.
func Suggestion(name string, names []string) string {
	slices.Sort(names)
	best, least := "", min((len(name)+5)/4, len(name))
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < least || d == least && best != "" && len(n) == len(name) && len(best) != len(name) {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is how many letters are to be inserted, deleted, replaced, or swapped with
// their neighbour to make b of a.
func distance(a, b string) int {
	var before, above []int // the table's last two rows
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			replaced := above[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
