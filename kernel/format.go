package kernel

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
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
	fmt.Fprintf(f, fmt.FormatString(f, verb), b.g.mirror(b.v, b.t, true).Interface())
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
		if b.v.Kind() == reflect.Pointer && b.v.IsNil() {
			return "<nil>", true
		}
		if f, ok := b.g.methodOf(b.t, m.name); ok {
			return f.Call([]reflect.Value{pointerTo(b.v, b.t)})[0].String(), true
		}
	}
	return "", false
}

// goSyntax is the value as %#v prints it.
func (b *boxed) goSyntax() string {
	m := b.g.mirror(b.v, b.t, false)
	s := fmt.Sprintf("%#v", m.Interface())
	return strings.Replace(s, m.Type().String(), typeText(b.t), 1)
}

// mirror is the value as fmt should see it: fields have the names the cell gave them, and
// what has methods to print it with is in a box. A pointer at the top is followed, as fmt
// does; below it prints as an address.
func (g *gomacro) mirror(v reflect.Value, t xr.Type, top bool) reflect.Value {
	switch {
	case t.Kind() == reflect.Interface || xr.IsEmulatedInterface(t):
		inner, it := dynamic(xr.MakeValue(v), t)
		switch {
		case !inner.IsValid():
			return reflect.Zero(reflect.TypeFor[any]())
		case it != nil:
			return reflect.ValueOf(g.box(inner, it).any()).Convert(reflect.TypeFor[any]())
		}
		return inner.Convert(reflect.TypeFor[any]())
	case !top && g.prints(t):
		return reflect.ValueOf(g.box(v, t).any()).Convert(reflect.TypeFor[any]())
	case !g.differs(t, top):
		return v
	}
	to := g.mirrorType(t, top)
	switch t.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return reflect.Zero(to)
		}
		p := reflect.New(to.Elem())
		p.Elem().Set(g.mirror(v.Elem(), t.Elem(), false))
		return p
	case reflect.Struct:
		out := reflect.New(to).Elem()
		for i := range to.NumField() {
			f := out.Field(i)
			if !f.CanSet() {
				f = reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
			}
			f.Set(g.mirror(readable(v.Field(i)), t.Field(i).Type, false))
		}
		return out
	case reflect.Slice:
		if v.IsNil() {
			return reflect.Zero(to)
		}
		out := reflect.MakeSlice(to, v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(g.mirror(v.Index(i), t.Elem(), false))
		}
		return out
	case reflect.Array:
		out := reflect.New(to).Elem()
		for i := range v.Len() {
			out.Index(i).Set(g.mirror(v.Index(i), t.Elem(), false))
		}
		return out
	case reflect.Map:
		if v.IsNil() {
			return reflect.Zero(to)
		}
		out := reflect.MakeMap(to)
		for iter := v.MapRange(); iter.Next(); {
			out.SetMapIndex(g.mirror(iter.Key(), t.Key(), false), g.mirror(iter.Value(), t.Elem(), false))
		}
		return out
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
func (g *gomacro) differs(t xr.Type, top bool) bool {
	switch t.Kind() {
	case reflect.Interface:
		return t.NumMethod() > 0
	case reflect.Pointer:
		if xr.IsEmulatedInterface(t) || !top && g.prints(t) {
			return true
		}
		return top && g.differs(t.Elem(), false)
	case reflect.Struct:
		if !top && g.prints(t) {
			return true
		}
		if !declaredInCell(t) {
			return false
		}
		for i := range t.NumField() {
			if t.Field(i).Name != t.ReflectType().Field(i).Name || g.differs(t.Field(i).Type, false) {
				return true
			}
		}
		return false
	case reflect.Slice, reflect.Array:
		return !top && g.prints(t) || g.differs(t.Elem(), false)
	case reflect.Map:
		return !top && g.prints(t) || g.differs(t.Key(), false) || g.differs(t.Elem(), false)
	}
	return !top && g.prints(t)
}

// mirrorType is the type of a mirror.
func (g *gomacro) mirrorType(t xr.Type, top bool) reflect.Type {
	switch {
	case t.Kind() == reflect.Interface || xr.IsEmulatedInterface(t), !top && g.prints(t):
		return reflect.TypeFor[any]()
	case !g.differs(t, top):
		return t.ReflectType()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return reflect.PointerTo(g.mirrorType(t.Elem(), false))
	case reflect.Slice:
		return reflect.SliceOf(g.mirrorType(t.Elem(), false))
	case reflect.Array:
		return reflect.ArrayOf(t.Len(), g.mirrorType(t.Elem(), false))
	case reflect.Map:
		return reflect.MapOf(g.mirrorType(t.Key(), false), g.mirrorType(t.Elem(), false))
	case reflect.Struct:
		var fields []reflect.StructField
		for i := range t.NumField() {
			f := t.Field(i)
			sf := reflect.StructField{Name: f.Name, Type: g.mirrorType(f.Type, false)}
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
