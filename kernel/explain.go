package kernel

import (
	"fmt"
	"go/ast"
	"go/token"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/cosmos72/gomacro/fast"
	xr "github.com/cosmos72/gomacro/xreflect"
)

var (
	// noMember is how gomacro says that a.b is nothing: as the function of a call it takes
	// it for a type.
	noMember = regexp.MustCompile(`^(?:not a type: |not a package: |invalid qualified type, |type \S+ has no field or method |package \S+ "\S+" has no symbol )`)
	// noPackage is what it says of a.b() when a is a variable.
	noPackage = regexp.MustCompile(`^not a package: "\w+" in (\w+)\.(\w+)$`)
	// noName is what it says of a.b() when a is nothing.
	noName = regexp.MustCompile(`^undefined "(\w+)" in .*`)
	// rangeInteger is how it refuses to range over one.
	rangeInteger = regexp.MustCompile(`^cannot range over .* <u?int\d*>$`)
	// nodeKind is the kind of a syntax node, which says nothing to the user.
	nodeKind = regexp.MustCompile(` <\*ast\.\w+>`)
)

// explain words the compiler's message about node as its user needs it.
func (g *gomacro) explain(node ast.Node, msg string) string {
	msg = nodeKind.ReplaceAllString(msg, "")
	msg = strings.ReplaceAll(msg, "untyped.Lit", "an untyped constant")
	if noMember.MatchString(msg) {
		if s := g.missingMember(node, msg); s != "" {
			return s
		}
	}
	if rangeInteger.MatchString(msg) {
		return msg + " (not supported in cells: range over integers; write for i := 0; i < 3; i++)"
	}
	msg = noPackage.ReplaceAllString(msg, "$1 has no field or method $2")
	return noName.ReplaceAllString(msg, "undefined identifier: $1")
}

// missingMember finds the first a.b in node that the compiler complains of, where a is
// known and has no b, and says so; "" when there is none, as where a is a function's own
// variable.
func (g *gomacro) missingMember(node ast.Node, complaint string) (msg string) {
	ast.Inspect(node, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && msg == "" && strings.Contains(complaint, sel.Sel.Name) {
			msg = g.missing(sel)
		}
		return msg == ""
	})
	return msg
}

// missing says that the selector's operand has no such member; "" when it has, or when
// the operand is not known.
func (g *gomacro) missing(sel *ast.SelectorExpr) (msg string) {
	defer func() {
		if recover() != nil { // gomacro's lookups panic on what they do not know
			msg = ""
		}
	}()
	name := sel.Sel.Name
	var t xr.Type
	operand := "it"
	if id, ok := sel.X.(*ast.Ident); ok {
		operand = id.Name
		sym := g.ir.Comp.TryResolve(id.Name)
		if sym == nil {
			return ""
		}
		if imp, ok := sym.Bind.Value.(*fast.Import); ok && sym.Bind.Const() {
			if imp.Binds[name] != nil || imp.Types[name] != nil {
				return ""
			}
			return fmt.Sprintf("package %s has no %s", imp.Name, name) + suggestion(name, packageNames(imp))
		}
		t = sym.Bind.Type
	} else {
		expr, e := g.tryCompile(sel.X)
		if e != nil || expr == nil || expr.NumOut() != 1 {
			return ""
		}
		t = expr.Type
	}
	fields, methods := members(t)
	what := "field or method"
	if len(fields) == 0 {
		what = "method"
	}
	if elem := pointed(t); elem != nil {
		_, isField, _, isMethod, err := g.ir.Comp.TryLookupFieldOrMethod(elem, name)
		if err != nil || isField || isMethod {
			return ""
		}
	}
	typ := strings.TrimPrefix(typeName(t), "main.")
	if operand == "it" {
		return fmt.Sprintf("type %s has no %s %s", typ, what, name) + suggestion(name, append(fields, methods...))
	}
	return fmt.Sprintf("%s has no %s %s (type %s)", operand, what, name, typ) + suggestion(name, append(fields, methods...))
}

// pointed is the type behind a pointer, else the type itself.
func pointed(t xr.Type) xr.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// folders is what gomacro writes before a package's name in a type.
var folders = regexp.MustCompile(`(?:[\w.-]+/)+`)

// typeName is the type as a cell would write it.
func typeName(t xr.Type) string {
	s := folders.ReplaceAllString(t.String(), "")
	return strings.ReplaceAll(s, "*main.", "*")
}

// packageNames is what a package exports.
func packageNames(imp *fast.Import) []string {
	var names []string
	for n := range imp.Binds {
		names = append(names, n)
	}
	for n := range imp.Types {
		names = append(names, n)
	}
	return names
}

// members is the names of a type's exported fields and methods.
func members(t xr.Type) (fields, methods []string) {
	elem := pointed(t)
	if elem.Kind() == reflect.Struct {
		for i := range elem.NumField() {
			if f := elem.Field(i); token.IsExported(f.Name) || f.Pkg == nil || f.Pkg.Path() == "main" {
				fields = append(fields, f.Name)
			}
		}
	}
	if elem.Named() { // methods a cell declared are known to gomacro only
		for i := range elem.NumMethod() {
			methods = append(methods, elem.Method(i).Name)
		}
	}
	rt := elem.ReflectType()
	if rt.Kind() != reflect.Interface {
		rt = reflect.PointerTo(rt)
	}
	for i := range rt.NumMethod() {
		methods = append(methods, rt.Method(i).Name)
	}
	return fields, methods
}

// suggestion is the end of a message about an unknown name: the nearest of the names, if
// one is near. Of several, one of the same length is likelier.
func suggestion(name string, names []string) string {
	slices.Sort(names)
	best, least := "", min((len(name)+2)/3+1, len(name))
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
