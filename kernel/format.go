package kernel

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"sort"
	"strings"
	"unsafe"

	xr "github.com/cosmos72/gomacro/xreflect"
)

// String is the value as fmt.Sprint prints it.
func (b *boxed) String() string { return fmt.Sprintf("%v", b) }

// MarshalJSON encodes the value without its box.
func (b *boxed) MarshalJSON() ([]byte, error) { return json.Marshal(b.v.Interface()) }

// Format prints the value as Go prints one of its type.
func (b *boxed) Format(f fmt.State, verb rune) {
	if strings.ContainsRune("vsxXq", verb) && !f.Flag('#') || verb == 'q' {
		if s, ok := b.text(); ok {
			fmt.Fprintf(f, fmt.FormatString(f, verb), s)
			return
		}
	}
	if verb == 'v' && f.Flag('#') {
		io.WriteString(f, b.goSyntax())
		return
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), b.g.mirror(b.v, b.t, mode{top: true}).Interface())
}

// text is what the value's Error or String method returns, if it has one.
func (b *boxed) text() (s string, ok bool) {
	for _, m := range []struct {
		name   string
		target any
	}{{"Error", (*error)(nil)}, {"String", (*fmt.Stringer)(nil)}} {
		if !b.g.implements(b.t, m.target) {
			continue
		}
		if b.v.Kind() == reflect.Pointer && b.v.IsNil() { // its method may cope with it
			defer func() {
				if e := recover(); e != nil {
					if _, interrupted := e.(stopped); interrupted {
						panic(e)
					}
					s, ok = "<nil>", true
				}
			}()
		}
		if f, ok := b.g.methodOf(b.t, m.name); ok {
			return f.Call([]reflect.Value{pointerTo(b.v, b.t)})[0].String(), true
		}
	}
	return "", false
}

// goSyntax is the value as %#v prints it.
func (b *boxed) goSyntax() string {
	var out strings.Builder
	b.g.writeGo(&out, b.v, b.t, true)
	return out.String()
}

// writeGo writes the value v of type t in Go syntax.
func (g *gomacro) writeGo(out *strings.Builder, v reflect.Value, t xr.Type, top bool) {
	v = concrete(v, t)
	list := func(n int, item func(i int)) {
		out.WriteString(g.typeText(t) + "{")
		for i := range n {
			if i > 0 {
				out.WriteString(", ")
			}
			item(i)
		}
		out.WriteString("}")
	}
	switch {
	case t.Kind() == reflect.Interface || xr.IsEmulatedInterface(t):
		inner, it := dynamic(xr.MakeValue(v), t)
		switch {
		case !inner.IsValid():
			out.WriteString(g.typeText(t) + "(nil)")
		case it != nil:
			g.writeGo(out, inner, it, false)
		default:
			fmt.Fprintf(out, "%#v", inner.Interface())
		}
	case (t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Func || t.Kind() == reflect.Chan) && v.IsNil():
		out.WriteString(g.typeText(t) + "(nil)")
	case t.Kind() == reflect.Pointer && top && !v.IsNil():
		out.WriteString("&")
		g.writeGo(out, v.Elem(), t.Elem(), false)
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Func, t.Kind() == reflect.Chan:
		text := "nil"
		if !v.IsNil() {
			text = fmt.Sprintf("%#x", v.Pointer())
		}
		fmt.Fprintf(out, "(%s)(%s)", g.typeText(t), text)
	case t.Kind() == reflect.Struct && declaredInCell(t):
		list(t.NumField(), func(i int) {
			out.WriteString(t.Field(i).Name + ":")
			f, ft := g.part(v, t, i)
			g.writeGo(out, f, ft, false)
		})
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		list(v.Len(), func(i int) { g.writeGo(out, v.Index(i), t.Elem(), false) })
	case t.Kind() == reflect.Map:
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return fmt.Sprint(keys[i]) < fmt.Sprint(keys[j]) })
		list(len(keys), func(i int) {
			g.writeGo(out, keys[i], t.Key(), false)
			out.WriteString(":")
			g.writeGo(out, v.MapIndex(keys[i]), t.Elem(), false)
		})
	default:
		fmt.Fprintf(out, "%#v", v.Interface())
	}
}

// mode is where in a value that is printed a part of it is.
type mode struct {
	top     bool // the value itself: what its methods print has been tried
	methods bool // methods print the part
	plain   bool // in an unexported field, where fmt calls no methods
	depth   int
}

func (m mode) inside() mode { return mode{methods: !m.plain, plain: m.plain, depth: m.depth + 1} }

// maxDepth is how deep the parts of a type are looked at that contains itself.
const maxDepth = 8

func (m mode) field(name string) mode {
	m.plain = m.plain || !isUpper(name)
	return m.inside()
}

// mirror is the value as fmt should see it: fields have the names the cell gave them, and
// what has methods to print it with is in a box. A pointer at the top is followed, as fmt
// does; below it prints as an address.
func (g *gomacro) mirror(v reflect.Value, t xr.Type, m mode) reflect.Value {
	v = concrete(v, t)
	switch {
	case t.Kind() == reflect.Interface || xr.IsEmulatedInterface(t):
		inner, it := dynamic(xr.MakeValue(v), t)
		switch {
		case !inner.IsValid():
			return reflect.Zero(reflect.TypeFor[any]())
		case it != nil && m.plain:
			return g.mirror(inner, it, mode{plain: true}).Convert(reflect.TypeFor[any]())
		case it != nil:
			return reflect.ValueOf(g.box(inner, it).any()).Convert(reflect.TypeFor[any]())
		}
		return inner.Convert(reflect.TypeFor[any]())
	case m.methods && g.prints(t):
		return reflect.ValueOf(g.box(v, t).any()).Convert(reflect.TypeFor[any]())
	case !g.differs(t, m):
		return v
	}
	to := g.mirrorType(t, m)
	switch t.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return reflect.Zero(to)
		}
		p := reflect.New(to.Elem())
		p.Elem().Set(g.mirror(v.Elem(), t.Elem(), m.inside()))
		return p
	case reflect.Struct:
		out := reflect.New(to).Elem()
		for i := range to.NumField() {
			f := out.Field(i)
			if !f.CanSet() {
				f = reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
			}
			x, xt := g.part(v, t, i)
			f.Set(g.mirror(x, xt, m.field(t.Field(i).Name)).Convert(f.Type()))
		}
		return out
	case reflect.Slice:
		if v.IsNil() {
			return reflect.Zero(to)
		}
		out := reflect.MakeSlice(to, v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(g.mirror(v.Index(i), t.Elem(), m.inside()))
		}
		return out
	case reflect.Array:
		out := reflect.New(to).Elem()
		for i := range v.Len() {
			out.Index(i).Set(g.mirror(v.Index(i), t.Elem(), m.inside()))
		}
		return out
	case reflect.Map:
		if v.IsNil() {
			return reflect.Zero(to)
		}
		out := reflect.MakeMap(to)
		for iter := v.MapRange(); iter.Next(); {
			out.SetMapIndex(g.mirror(iter.Key(), t.Key(), m.inside()), g.mirror(iter.Value(), t.Elem(), m.inside()))
		}
		return out
	}
	return v
}

// concrete is a value as one of its type: gomacro keeps one of a type that contains itself
// in an interface.
func concrete(v reflect.Value, t xr.Type) reflect.Value {
	for v.Kind() == reflect.Interface && t.Kind() != reflect.Interface && !xr.IsEmulatedInterface(t) && !v.IsNil() {
		v = v.Elem()
	}
	return v
}

// readable is a field that may be unexported.
func readable(v reflect.Value) reflect.Value {
	if v.CanInterface() {
		return v
	}
	if !v.CanAddr() {
		p := reflect.New(v.Type()).Elem()
		return p
	}
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}

// prints reports whether the type has methods of a cell that fmt prints it with.
func (g *gomacro) prints(t xr.Type) bool {
	return declaredInCell(t) && (g.implements(t, (*error)(nil)) || g.implements(t, (*fmt.Stringer)(nil)))
}

// differs reports whether the mirror of a type is another type.
func (g *gomacro) differs(t xr.Type, m mode) bool {
	if m.depth > maxDepth {
		return false
	}
	switch t.Kind() {
	case reflect.Interface:
		return t.NumMethod() > 0
	case reflect.Pointer:
		if xr.IsEmulatedInterface(t) || m.methods && g.prints(t) {
			return true
		}
		return m.top && g.differs(t.Elem(), m.inside())
	case reflect.Struct:
		if m.methods && g.prints(t) {
			return true
		}
		if !declaredInCell(t) {
			return false
		}
		for i := range t.NumField() {
			if t.Field(i).Name != t.ReflectType().Field(i).Name || g.foldedType(t, i) != nil || g.differs(t.Field(i).Type, m.field(t.Field(i).Name)) {
				return true
			}
		}
		return false
	case reflect.Slice, reflect.Array:
		return m.methods && g.prints(t) || g.differs(t.Elem(), m.inside())
	case reflect.Map:
		return m.methods && g.prints(t) || g.differs(t.Key(), m.inside()) || g.differs(t.Elem(), m.inside())
	}
	return m.methods && g.prints(t)
}

// mirrorType is the type of a mirror.
func (g *gomacro) mirrorType(t xr.Type, m mode) reflect.Type {
	switch {
	case t.Kind() == reflect.Interface || xr.IsEmulatedInterface(t), m.methods && g.prints(t):
		return reflect.TypeFor[any]()
	case !g.differs(t, m):
		return t.ReflectType()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return reflect.PointerTo(g.mirrorType(t.Elem(), m.inside()))
	case reflect.Slice:
		return reflect.SliceOf(g.mirrorType(t.Elem(), m.inside()))
	case reflect.Array:
		return reflect.ArrayOf(t.Len(), g.mirrorType(t.Elem(), m.inside()))
	case reflect.Map:
		return reflect.MapOf(g.mirrorType(t.Key(), m.inside()), g.mirrorType(t.Elem(), m.inside()))
	case reflect.Struct:
		var fields []reflect.StructField
		for i := range t.NumField() {
			f := t.Field(i)
			sf := reflect.StructField{Name: f.Name, Type: reflect.TypeFor[any]()} // of a folded field, whose type contains this one
			if g.foldedType(t, i) == nil {
				sf.Type = g.mirrorType(f.Type, m.field(f.Name))
			}
			if f.Name != "" && !isUpper(f.Name) {
				sf.PkgPath = "main"
			}
			fields = append(fields, sf)
		}
		return reflect.StructOf(fields)
	}
	return t.ReflectType()
}

func isUpper(name string) bool { return strings.ToUpper(name[:1]) == name[:1] && name[0] != '_' }

var (
	// redeclared is what package lower appends to the name of a type declared again.
	redeclared = regexp.MustCompile(`‹\d+›`)
	// folders is what gomacro writes before a package's name in a type.
	folders = regexp.MustCompile(`(?:[\w.-]+/)+`)
)

// goTypeName is gomacro's name of a type as Go writes it.
func goTypeName(s string) string {
	return folders.ReplaceAllString(redeclared.ReplaceAllString(s, ""), "")
}

// bindPrinting makes cells call fmt's functions by way of ones that know boxes.
func (g *gomacro) bindPrinting(set func(name string, f any)) {
	set("Print", func(a ...any) (int, error) { return fmt.Print(operands(a)...) })
	set("Sprint", func(a ...any) string { return fmt.Sprint(operands(a)...) })
	set("Fprint", func(w io.Writer, a ...any) (int, error) { return fmt.Fprint(w, operands(a)...) })
	set("Append", func(b []byte, a ...any) []byte { return fmt.Append(b, operands(a)...) })
	set("Printf", func(format string, a ...any) (int, error) {
		format, a = g.verbs(format, a)
		return fmt.Printf(format, a...)
	})
	set("Sprintf", func(format string, a ...any) string {
		format, a = g.verbs(format, a)
		return fmt.Sprintf(format, a...)
	})
	set("Fprintf", func(w io.Writer, format string, a ...any) (int, error) {
		format, a = g.verbs(format, a)
		return fmt.Fprintf(w, format, a...)
	})
	set("Appendf", func(b []byte, format string, a ...any) []byte {
		format, a = g.verbs(format, a)
		return fmt.Appendf(b, format, a...)
	})
	set("Errorf", func(format string, a ...any) error {
		format, a = g.verbs(format, a)
		return fmt.Errorf(format, a...)
	})
}

// operands are what Print prints, which puts spaces between operands unless one is a string.
func operands(a []any) []any {
	out := append([]any(nil), a...)
	for i, x := range out {
		if v, t := dynamic(xr.ValueOf(x), nil); t != nil && v.Kind() == reflect.String {
			out[i] = fmt.Sprint(x)
		}
	}
	return out
}

// verbs rewrites the verbs that fmt does not ask a Formatter for: %T and %p of boxes, and of
// proxies.
func (g *gomacro) verbs(format string, a []any) (string, []any) {
	if !strings.Contains(format, "T") && !strings.Contains(format, "p") {
		return format, a
	}
	out := append([]any(nil), a...)
	text := []byte(format)
	arg := 0
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			continue
		}
		for i++; i < len(text) && strings.IndexByte("+-# 0123456789.*", text[i]) >= 0; i++ {
			if text[i] == '*' {
				arg++
			}
		}
		switch {
		case i >= len(text) || text[i] == '[': // indexes are left alone
			return format, a
		case text[i] == '%':
			continue
		case (text[i] == 'T' || text[i] == 'p') && arg < len(a):
			if v, t := dynamic(xr.ValueOf(a[arg]), nil); t != nil {
				if text[i] == 'T' {
					text[i], out[arg] = 's', g.typeText(t)
				} else {
					out[arg] = v.Interface()
				}
			}
		}
		arg++
	}
	return string(text), out
}
