package kernel

import (
	"errors"
	"fmt"
	"go/ast"
	"go/types"
	"maps"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"weak"

	"ddpmlab/kernel/display"
	"ddpmlab/kernel/lower"
	"ddpmlab/kernel/symbols"

	"github.com/cosmos72/gomacro/fast"
	xr "github.com/cosmos72/gomacro/xreflect"
)

// Interfaces. To gomacro's values a type that a cell declares is the type it is made of:
// in an any, a Celsius is a float64, and an error of a cell's type is a proxy struct. So
// that type assertions, comparisons and printing are Go's, package lower makes every
// conversion to an interface a call of a hook, and an any holds such a value in a box.

// boxed is a value of a type that a cell declared, with that type. Equal values of one
// type share one box, so that anys are compared as pointers.
type boxed struct {
	g *gomacro
	v reflect.Value // a copy
	t xr.Type
}

// boxedError is the box of a value whose type is an error.
type boxedError boxed

func (b *boxedError) Error() string                 { return (*boxed)(b).String() }
func (b *boxedError) Format(f fmt.State, verb rune) { (*boxed)(b).Format(f, verb) }
func (b *boxedError) MarshalJSON() ([]byte, error)  { return (*boxed)(b).MarshalJSON() }

// unbox is the box that an any holds; nil if it holds none.
func unbox(x any) *boxed {
	switch b := x.(type) {
	case *boxed:
		return b
	case *boxedError:
		return (*boxed)(b)
	}
	return nil
}

// Render is the value in the forms that its methods give; zero when it has none of them.
func (b *boxed) Render() (d display.Data) {
	if b.v.Kind() == reflect.Pointer && b.v.IsNil() {
		return d
	}
	d.Data, d.Metadata = display.MIMEMap{}, display.MIMEMap{}
	for _, target := range display.Interfaces() {
		if !b.g.implements(b.t, target) {
			continue
		}
		forms := display.Of(b.g.proxy(b.v, b.t, b.g.typeOf(target)).Interface())
		maps.Copy(d.Data, forms.Data)
		maps.Copy(d.Metadata, forms.Metadata)
	}
	return d
}

func (b *boxedError) Render() display.Data { return (*boxed)(b).Render() }

// any is the box as what an any holds.
func (b *boxed) any() any {
	if b.g.implements(b.t, (*error)(nil)) {
		return (*boxedError)(b)
	}
	return b
}

// pointer is a pointer to a copy of the value, as what an any holds; nil if the value is a
// pointer itself, or an interface.
func (b *boxed) pointer() any {
	if b == nil || b.t.Kind() == reflect.Pointer || b.t.Kind() == reflect.Interface {
		return nil
	}
	p := reflect.New(b.v.Type())
	p.Elem().Set(b.v)
	b.g.mu.Lock()
	t := b.g.ir.Comp.Universe.PtrTo(b.t)
	b.g.mu.Unlock()
	return (&boxed{g: b.g, v: p, t: t}).any()
}

// boxKey finds a box.
type boxKey struct {
	typ string
	v   any
}

// boxes are the boxes of comparable values that are in use.
type boxes struct {
	mu sync.Mutex
	m  map[boxKey]weak.Pointer[boxed]
}

// box puts a value of a cell's type into an any.
func (g *gomacro) box(v reflect.Value, t xr.Type) *boxed {
	v = concrete(v, t)
	own := reflect.New(v.Type()).Elem()
	own.Set(v)
	b := &boxed{g: g, v: own, t: t}
	if !own.Comparable() || !own.CanInterface() {
		return b
	}
	key := boxKey{t.String(), own.Interface()}
	g.boxes.mu.Lock()
	defer g.boxes.mu.Unlock()
	if old := g.boxes.m[key].Value(); old != nil {
		return old
	}
	if g.boxes.m == nil {
		g.boxes.m = map[boxKey]weak.Pointer[boxed]{}
	}
	g.boxes.m[key] = weak.Make(b)
	runtime.AddCleanup(b, func(key boxKey) {
		g.boxes.mu.Lock()
		defer g.boxes.mu.Unlock()
		if g.boxes.m[key].Value() == nil {
			delete(g.boxes.m, key)
		}
	}, key)
	return b
}

// dynamic is the value that an interface value of the static type holds, and its type if a
// cell declared that; an invalid value if it holds none.
func dynamic(x xr.Value, static xr.Type) (reflect.Value, xr.Type) {
	v := x.ReflectValue()
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() && static != nil && xr.IsEmulatedInterface(static) {
		return reflect.Value{}, nil
	}
	if v.CanInterface() {
		switch b := v.Interface().(type) {
		case *boxed:
			return b.v, b.t
		case *boxedError:
			return b.v, b.t
		}
	}
	// Emulated interfaces and proxies are pointers to a struct that begins with a header.
	if v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().Kind() == reflect.Struct && v.Elem().NumField() > 0 {
		if f := v.Elem().Field(0); f.CanInterface() {
			if h, ok := f.Interface().(xr.InterfaceHeader); ok {
				inner := h.Value().ReflectValue()
				for inner.Kind() == reflect.Interface {
					inner = inner.Elem()
				}
				t := h.Type()
				if inner.IsValid() && t != nil && !declaredInCell(t) {
					t = nil
				}
				return inner, t
			}
		}
	}
	return v, nil
}

// declaredInCell reports whether gomacro's type mentions one that a cell declared, or a
// struct with unexported fields, which gomacro gives names that begin with a mark.
func declaredInCell(t xr.Type) bool {
	return namedInCell(t) || strings.Contains(t.ReflectType().String(), "𒀸")
}

func namedInCell(t xr.Type) bool { return strings.Contains(t.String(), "main.") }

// declareInterfaces declares the hooks.
func (g *gomacro) declareInterfaces() {
	ir := g.ir
	ir.DeclBuiltin(lower.Any, fast.Builtin{Compile: g.compileAny, ArgMin: 1, ArgMax: 1})
	ir.DeclBuiltin(lower.Is, fast.Builtin{Compile: g.asserting(g.is), ArgMin: 2, ArgMax: 2})
	ir.DeclBuiltin(lower.As, fast.Builtin{Compile: g.asserting(g.as), ArgMin: 2, ArgMax: 2})
	ir.DeclBuiltin(lower.Must, fast.Builtin{Compile: g.asserting(g.must), ArgMin: 2, ArgMax: 2})
	ir.DeclBuiltin(lower.Iface, fast.Builtin{Compile: g.asserting(g.iface), ArgMin: 2, ArgMax: 2})
	ir.DeclFunc(lower.Method, g.method)
	ir.DeclBuiltin(lower.Clear, fast.Builtin{Compile: compileClear, ArgMin: 1, ArgMax: 1})
	ir.DeclFunc(lower.Equal, func(a, b any) bool { return a == b })
	ir.DeclFunc(lower.Recovered, recovered)
	ir.DeclFunc(lower.Chain, g.chain)
	ir.DeclFunc(lower.IsError, g.isError)
	ir.DeclBuiltin(lower.Fold, fast.Builtin{Compile: compileFold, ArgMin: 1, ArgMax: 1})
	ir.DeclBuiltin(lower.Unfold, fast.Builtin{Compile: g.asserting(unfold), ArgMin: 2, ArgMax: 2})
	ir.DeclBuiltin(lower.Field, fast.Builtin{Compile: g.compileField, ArgMin: 3, ArgMax: 3})
}

// compileFold compiles the conversion of a reference to an any that holds just that.
func compileFold(c *fast.Comp, sym fast.Symbol, node *ast.CallExpr) *fast.Call {
	arg := c.Expr1(node.Args[0], nil)
	fold := func(x xr.Value) xr.Value {
		v := x.ReflectValue()
		for v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if !v.IsValid() || v.IsNil() {
			return xr.MakeValue(reflect.Zero(reflect.TypeFor[any]()))
		}
		return xr.MakeValue(v.Convert(reflect.TypeFor[any]()))
	}
	return builtinCall(c, sym, fold, []*fast.Expr{arg}, c.TypeOfInterface())
}

// unfold is what an any holds that a reference was folded into.
func unfold(_ *fast.Comp, _, to xr.Type) (xr.Type, func(xr.Value) reflect.Value) {
	return to, func(x xr.Value) reflect.Value { return unfolded(x.ReflectValue()) }
}

// unfolded is invalid for a nil reference.
func unfolded(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v
}

// compileField notes the type of what a folded field holds, for printing.
func (g *gomacro) compileField(c *fast.Comp, sym fast.Symbol, node *ast.CallExpr) *fast.Call {
	name, index := c.Expr1(node.Args[0], nil), c.Expr1(node.Args[1], nil)
	name.ConstTo(name.DefaultType())
	index.ConstTo(index.DefaultType())
	g.folded.Store(fieldKey{name.Value.(string), index.Value.(int)}, c.Type(node.Args[2]))
	return builtinCall(c, sym, func(x xr.Value) xr.Value { return x }, []*fast.Expr{index}, index.Type)
}

// fieldKey is a field of a cell's type.
type fieldKey struct {
	typ   string
	index int
}

// foldedType is the type of what field i of the struct type holds if it is folded, else nil.
func (g *gomacro) foldedType(t xr.Type, i int) xr.Type {
	if f, ok := g.folded.Load(fieldKey{strings.TrimPrefix(t.String(), "main."), i}); ok {
		return f.(xr.Type)
	}
	return nil
}

// part is a field of a struct, and its type.
func (g *gomacro) part(v reflect.Value, t xr.Type, i int) (reflect.Value, xr.Type) {
	f := readable(v.Field(i))
	real := g.foldedType(t, i)
	if real == nil {
		return f, t.Field(i).Type
	}
	if f = unfolded(f); !f.IsValid() {
		f = reflect.Zero(real.ReflectType())
	}
	return f, real
}

// compileAny compiles the conversion of a value of a cell's type, or of an interface that
// may hold one, to any.
func (g *gomacro) compileAny(c *fast.Comp, sym fast.Symbol, node *ast.CallExpr) *fast.Call {
	arg := c.Expr1(node.Args[0], nil)
	if arg.Untyped() {
		arg.ConstTo(arg.DefaultType())
	}
	t := arg.Type
	toAny := func(x xr.Value) xr.Value {
		if t.Kind() != reflect.Interface && !xr.IsEmulatedInterface(t) {
			return anyValue(g.box(x.ReflectValue(), t))
		}
		v, vt := dynamic(x, t)
		switch {
		case !v.IsValid():
			return xr.MakeValue(reflect.Zero(reflect.TypeFor[any]()))
		case vt != nil:
			return anyValue(g.box(v, vt))
		}
		return xr.MakeValue(v.Convert(reflect.TypeFor[any]()))
	}
	return builtinCall(c, sym, toAny, []*fast.Expr{arg}, c.TypeOfInterface())
}

func anyValue(b *boxed) xr.Value {
	return xr.MakeValue(reflect.ValueOf(b.any()).Convert(reflect.TypeFor[any]()))
}

// asserting compiles a hook whose second argument is a type, and which returns a pointer.
func (g *gomacro) asserting(f func(c *fast.Comp, from, to xr.Type) (xr.Type, func(xr.Value) reflect.Value)) func(*fast.Comp, fast.Symbol, *ast.CallExpr) *fast.Call {
	return func(c *fast.Comp, sym fast.Symbol, node *ast.CallExpr) *fast.Call {
		arg := c.Expr1(node.Args[0], nil)
		result, fun := f(c, arg.Type, c.Type(node.Args[1]))
		point := func(x xr.Value) xr.Value {
			v := fun(x)
			p := reflect.New(result.ReflectType())
			if v.IsValid() {
				p.Elem().Set(v)
			}
			return xr.MakeValue(p)
		}
		return builtinCall(c, sym, point, []*fast.Expr{arg}, c.Universe.PtrTo(result))
	}
}

func (g *gomacro) is(c *fast.Comp, from, to xr.Type) (xr.Type, func(xr.Value) reflect.Value) {
	return c.TypeOfBool(), func(x xr.Value) reflect.Value {
		v, t := dynamic(x, from)
		return reflect.ValueOf(g.holds(v, t, to))
	}
}

func (g *gomacro) as(_ *fast.Comp, from, to xr.Type) (xr.Type, func(xr.Value) reflect.Value) {
	return to, func(x xr.Value) reflect.Value {
		v, t := dynamic(x, from)
		if !g.holds(v, t, to) {
			return reflect.Value{}
		}
		return g.converted(v, t, to)
	}
}

func (g *gomacro) must(_ *fast.Comp, from, to xr.Type) (xr.Type, func(xr.Value) reflect.Value) {
	return to, func(x xr.Value) reflect.Value {
		v, t := dynamic(x, from)
		if !g.holds(v, t, to) {
			panic(g.assertionError(v, t, from, to))
		}
		return g.converted(v, t, to)
	}
}

// holds reports whether the value v of type t, or of its own type if t is nil, is of type
// to or implements it.
func (g *gomacro) holds(v reflect.Value, t, to xr.Type) bool {
	if !v.IsValid() {
		return false
	}
	if to.Kind() != reflect.Interface {
		if t != nil {
			return t.IdenticalTo(to)
		}
		return v.Type() == to.ReflectType() && !declaredInCell(to)
	}
	if to.NumMethod() == 0 {
		return true
	}
	if t == nil && !xr.IsEmulatedInterface(to) {
		return v.Type().Implements(to.ReflectType())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if t == nil {
		t = g.ir.Comp.Universe.FromReflectType(v.Type())
	}
	return t.Implements(to)
}

// converted is the value as type to, which it holds.
func (g *gomacro) converted(v reflect.Value, t, to xr.Type) reflect.Value {
	switch {
	case to.Kind() != reflect.Interface:
		return v
	case to.NumMethod() == 0:
		if t != nil {
			return reflect.ValueOf(g.box(v, t).any())
		}
		return v
	case !xr.IsEmulatedInterface(to):
		if t == nil {
			return v
		}
		return g.proxy(v, t, to)
	}
	g.mu.Lock()
	if t == nil {
		t = g.ir.Comp.Universe.FromReflectType(v.Type())
	}
	conv := g.ir.Comp.Converter(t, to)
	g.mu.Unlock()
	if conv == nil {
		return v
	}
	return conv(xr.MakeValue(v)).ReflectValue()
}

func (g *gomacro) iface(_ *fast.Comp, from, to xr.Type) (xr.Type, func(xr.Value) reflect.Value) {
	return to, func(x xr.Value) reflect.Value { return g.proxy(x.ReflectValue(), from, to) }
}

// method makes f, a func(*T, ...), the method of a cell's type for compiled code.
func (g *gomacro) method(typ, name string, f any) {
	g.methods.Store(typ+"."+name, reflect.ValueOf(f))
}

// methodOf is a method of a cell's type as a function of a pointer to it; false if it has
// none of that name.
func (g *gomacro) methodOf(t xr.Type, name string) (reflect.Value, bool) {
	if t == nil {
		return reflect.Value{}, false
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	f, ok := g.methods.Load(strings.TrimPrefix(t.String(), "main.") + "." + name)
	if !ok {
		return reflect.Value{}, false
	}
	return f.(reflect.Value), true
}

// pointer is the receiver for methodOf's function.
func pointerTo(v reflect.Value, t xr.Type) reflect.Value {
	if t.Kind() == reflect.Pointer {
		return v
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

// proxy is a value of a cell's type as the interface of a package: a struct of symbols' that
// has the methods and calls the cell's.
func (g *gomacro) proxy(v reflect.Value, t, to xr.Type) reflect.Value {
	typ := g.proxyType(to)
	p := reflect.New(typ)
	recv := pointerTo(v, t)
	p.Elem().Field(0).Set(reflect.ValueOf(xr.MakeInterfaceHeader(xr.MakeValue(v), t)))
	for i := 1; i < typ.NumField(); i++ {
		f, ok := g.methodOf(t, strings.TrimSuffix(typ.Field(i).Name, "_"))
		if !ok {
			panic(fmt.Sprintf("%s has no method %s", g.typeText(t), typ.Field(i).Name))
		}
		p.Elem().Field(i).Set(reflect.MakeFunc(typ.Field(i).Type, func(args []reflect.Value) []reflect.Value {
			args = append([]reflect.Value{recv}, args[1:]...)
			if f.Type().IsVariadic() {
				return f.CallSlice(args)
			}
			return f.Call(args)
		}))
	}
	return p.Convert(to.ReflectType())
}

// proxyType is the struct that proxies of an interface are made of.
func (g *gomacro) proxyType(to xr.Type) reflect.Type {
	g.mu.Lock()
	defer g.mu.Unlock()
	if path := to.ReflectType().PkgPath(); symbols.Has(path) && g.ir.Comp.KnownImports[path] == nil {
		g.ir.ImportPackage("_", path)
	}
	return g.ir.Comp.InterfaceProxy(to)
}

// typeError is a failed type assertion's panic, a runtime.Error as Go's own.
type typeError struct{ msg string }

func (e *typeError) Error() string { return e.msg }
func (e *typeError) RuntimeError() {}

func (g *gomacro) assertionError(v reflect.Value, t, from, to xr.Type) error {
	source := "interface {}"
	if from.NumMethod() > 0 {
		source = g.typeText(from)
	}
	have := "nil"
	switch {
	case t != nil:
		have = g.typeText(t)
	case v.IsValid():
		have = v.Type().String()
	}
	if to.Kind() == reflect.Interface && v.IsValid() {
		return &typeError{fmt.Sprintf("interface conversion: %s is not %s", have, g.typeText(to))}
	}
	return &typeError{fmt.Sprintf("interface conversion: %s is %s, not %s", source, have, g.typeText(to))}
}

// typeText is a type as Go writes it in messages.
func (g *gomacro) typeText(t xr.Type) string {
	if !namedInCell(t) && t.Kind() != reflect.Interface && !xr.IsEmulatedInterface(t) {
		return g.mirrorType(t, mode{plain: true}).String()
	}
	return goTypeName(t.String())
}

func compileClear(c *fast.Comp, sym fast.Symbol, node *ast.CallExpr) *fast.Call {
	arg := c.Expr1(node.Args[0], nil)
	return builtinCall(c, sym, func(x xr.Value) { x.ReflectValue().Clear() }, []*fast.Expr{arg})
}

// recovered is what recover returned as Go would have it: gomacro does by reflection what
// compiled code does itself, and reflection panics with other values.
func recovered(r any) any {
	if v, ok := r.(xr.Value); ok {
		r = v.ReflectValue().Interface()
	}
	if msg, ok := r.(string); ok && strings.HasPrefix(msg, "reflect: ") {
		return &typeError{"runtime error: " + strings.Replace(strings.TrimPrefix(msg, "reflect: "), "slice index", "index", 1)}
	}
	if e, ok := r.(*reflect.ValueError); ok && e.Kind == reflect.Invalid {
		return &typeError{"runtime error: invalid memory address or nil pointer dereference"}
	}
	return r
}

// chain is an error and all that it wraps, in the order of errors.As.
func (g *gomacro) chain(err error) []error {
	if err == nil {
		return nil
	}
	out := []error{err}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return append(out, g.chain(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			out = append(out, g.chain(inner)...)
		}
	}
	if v, t := dynamic(xr.ValueOf(err), nil); t != nil {
		if f, ok := g.methodOf(t, "Unwrap"); ok {
			switch inner := f.Call([]reflect.Value{pointerTo(v, t)})[0].Interface().(type) {
			case error:
				out = append(out, g.chain(inner)...)
			case []error:
				for _, e := range inner {
					out = append(out, g.chain(e)...)
				}
			}
		}
	}
	return out
}

// isError is errors.Is, for errors of cells' types too.
func (g *gomacro) isError(err, target error) bool {
	if err == nil || target == nil {
		return err == target
	}
	if errors.Is(err, target) {
		return true
	}
	tv, tt := dynamic(xr.ValueOf(target), nil)
	if tt != nil && !tv.Comparable() {
		return false
	}
	for _, e := range g.chain(err) {
		v, t := dynamic(xr.ValueOf(e), nil)
		if t != nil && tt != nil && t.IdenticalTo(tt) && v.Comparable() && v.Equal(tv) || e == target {
			return true
		}
		if f, ok := g.methodOf(t, "Is"); ok {
			if is, _ := f.Call([]reflect.Value{pointerTo(v, t), reflect.ValueOf(&target).Elem()})[0].Interface().(bool); is {
				return true
			}
		}
	}
	return false
}

// shown is a cell's value, ready to be displayed.
func (g *gomacro) shown(x xr.Value, xt xr.Type, static types.Type, at place) value {
	val := value{V: x.ReflectValue(), Type: types.TypeString(static, (*types.Package).Name), At: at}
	if !val.V.IsValid() {
		return val
	}
	var t xr.Type // of the value, if a cell declared that
	if types.IsInterface(static) {
		var v reflect.Value
		if v, t = dynamic(x, nil); v.IsValid() {
			val.V = v
		}
	} else if xt != nil && declaredInCell(xt) {
		t = xt
	}
	if t == nil {
		return val
	}
	val.Converted = g.box(val.V, t).any()
	return val
}

// typeOf is the interface that target, a nil pointer, points to.
func (g *gomacro) typeOf(target any) xr.Type {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ir.TypeOf(target).Elem()
}

// implements reports whether a cell's type has the methods of the interface that target
// points to.
func (g *gomacro) implements(t xr.Type, target any) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return t.Implements(g.ir.TypeOf(target).Elem())
}
