package main

import (
	"fmt"
	"go/types"
	"strings"
)

// proxied reports whether a proxy can be written for the interface: it has methods, all
// exported, that mention no internal package.
func proxied(iface *types.Interface) bool {
	if iface.NumMethods() == 0 {
		return false
	}
	for m := range iface.Methods() {
		if !m.Exported() || internal(m.Type()) {
			return false
		}
	}
	return true
}

// internal reports whether the type mentions a package that this module cannot import.
func internal(typ types.Type) bool {
	found := false
	types.TypeString(typ, func(p *types.Package) string {
		path := "/" + p.Path() + "/"
		if strings.Contains(path, "/vendor/") ||
			strings.Contains(path, "/internal/") && !strings.HasPrefix(path, "/ddpmlab/") {
			found = true
		}
		return p.Name()
	})
	return found
}

// proxy writes the struct that implements the interface for a type declared in a cell:
// the interpreter fills Object with the cell's value and each field with a function that
// takes the value first. The field order is the interface's method order, by name.
func (t *table) proxy(name string, iface *types.Interface) {
	proxy := "p_" + strings.NewReplacer("/", "_", ".", "_").Replace(t.pkg.Path()) + "_" + name
	t.proxies = append(t.proxies, fmt.Sprintf("%q: reflect.TypeFor[%s](),", name, proxy))

	fmt.Fprintf(&t.decls, "\n// %s lets a cell's type be a %s.\ntype %s struct {\n\tObject any\n", proxy, t.ref(name), proxy)
	for m := range iface.Methods() {
		params, _ := t.params(m.Signature(), "")
		if params != "" {
			params = ", " + params
		}
		fmt.Fprintf(&t.decls, "\t%s_ func(object any%s)%s\n", m.Name(), params, t.results(m.Signature()))
	}
	fmt.Fprint(&t.decls, "}\n")
	for m := range iface.Methods() {
		sig := m.Signature()
		params, args := t.params(sig, "...")
		ret := ""
		if sig.Results().Len() > 0 {
			ret = "return "
		}
		if args != "" {
			args = ", " + args
		}
		fmt.Fprintf(&t.decls, "\nfunc (p *%s) %s(%s)%s { %sp.%s_(p.Object%s) }\n",
			proxy, m.Name(), params, t.results(sig), ret, m.Name(), args)
	}
}

// params writes a parameter list with names of its own (a0, a1, ...), and the matching
// arguments. spread is what follows a variadic argument.
func (t *table) params(sig *types.Signature, spread string) (params, args string) {
	var p, a []string
	for i := range sig.Params().Len() {
		typ := sig.Params().At(i).Type()
		arg := fmt.Sprintf("a%d", i)
		if sig.Variadic() && i == sig.Params().Len()-1 {
			p = append(p, arg+" ..."+t.typeString(typ.(*types.Slice).Elem()))
			a = append(a, arg+spread)
			continue
		}
		p = append(p, arg+" "+t.typeString(typ))
		a = append(a, arg)
	}
	return strings.Join(p, ", "), strings.Join(a, ", ")
}

func (t *table) results(sig *types.Signature) string {
	var r []string
	for v := range sig.Results().Variables() {
		r = append(r, t.typeString(v.Type()))
	}
	switch len(r) {
	case 0:
		return ""
	case 1:
		return " " + r[0]
	}
	return " (" + strings.Join(r, ", ") + ")"
}

func (t *table) typeString(typ types.Type) string {
	return types.TypeString(typ, t.qualifier)
}
