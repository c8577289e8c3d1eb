package kernel

import (
	"cmp"
	"fmt"
	"go/token"
	"reflect"
	"slices"
	"strings"

	"ddpmlab/internal/render"

	xr "github.com/cosmos72/gomacro/xreflect"
)

// recordLimit is how many rows of a slice or map are shown.
const recordLimit = 100

// tableOf shows a slice of structs or of maps, or a map, as a table; nil for all else,
// and for an empty one.
func tableOf(v value) *render.Table {
	x := v.V
	switch {
	case !x.IsValid():
		return nil
	case x.Kind() == reflect.Map:
		return mapTable(x)
	case x.Kind() != reflect.Slice && x.Kind() != reflect.Array, x.Len() == 0:
		return nil
	}
	elem := x.Type().Elem()
	if elem.Kind() == reflect.Pointer {
		elem = elem.Elem()
	}
	switch {
	case saysItself(value{V: reflect.Zero(elem)}):
		return nil
	case elem.Kind() == reflect.Struct:
		return structTable(x, elem)
	case elem.Kind() == reflect.Map && elem.Key().Kind() == reflect.String:
		return mapsTable(x)
	}
	return nil
}

// structTable has a column for each exported field, and for each field of a type that a
// cell declared.
func structTable(x reflect.Value, elem reflect.Type) *render.Table {
	var fields []int
	t := &render.Table{}
	for i := range elem.NumField() {
		f := elem.Field(i)
		name, private := strings.CutPrefix(f.Name, xr.StrGensymPrivate)
		name = strings.TrimPrefix(name, xr.StrGensymAnonymous)
		if f.PkgPath != "" || !private && !token.IsExported(name) {
			continue
		}
		fields = append(fields, i)
		t.Columns = append(t.Columns, render.Column{Name: name, Right: isNumber(f.Type)})
	}
	if len(fields) == 0 {
		return nil
	}
	for i := range limited(t, x.Len()) {
		row := x.Index(i)
		if row.Kind() == reflect.Pointer {
			if row.IsNil() {
				t.Add("<nil>")
				continue
			}
			row = row.Elem()
		}
		var cells []string
		for _, f := range fields {
			cells = append(cells, cellText(row.Field(f)))
		}
		t.Add(cells...)
	}
	return t
}

// mapsTable has a column for each key that any of the maps has.
func mapsTable(x reflect.Value) *render.Table {
	names := map[string]bool{}
	right := true
	for i := range x.Len() {
		for _, key := range x.Index(i).MapKeys() {
			names[key.String()] = true
			right = right && isNumber(x.Index(i).MapIndex(key).Type())
		}
	}
	if len(names) == 0 {
		return nil
	}
	t := &render.Table{}
	for _, name := range sortedKeys(names) {
		t.Columns = append(t.Columns, render.Column{Name: name, Right: right})
	}
	for i := range limited(t, x.Len()) {
		var cells []string
		for _, c := range t.Columns {
			v := x.Index(i).MapIndex(reflect.ValueOf(c.Name).Convert(x.Type().Elem().Key()))
			if !v.IsValid() {
				cells = append(cells, "")
				continue
			}
			cells = append(cells, cellText(v))
		}
		t.Add(cells...)
	}
	return t
}

func sortedKeys(m map[string]bool) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// mapTable has a row for each key, sorted.
func mapTable(x reflect.Value) *render.Table {
	if x.Len() == 0 {
		return nil
	}
	keys := x.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		switch {
		case a.CanInt():
			return cmp.Compare(a.Int(), b.Int())
		case a.CanUint():
			return cmp.Compare(a.Uint(), b.Uint())
		case a.CanFloat():
			return cmp.Compare(a.Float(), b.Float())
		}
		return strings.Compare(cellText(a), cellText(b))
	})
	t := &render.Table{Columns: []render.Column{
		{Name: "key", Right: isNumber(x.Type().Key())}, {Name: "value", Right: isNumber(x.Type().Elem())},
	}}
	for i := range limited(t, len(keys)) {
		t.Add(cellText(keys[i]), cellText(x.MapIndex(keys[i])))
	}
	return t
}

// limited is how many of n rows are shown; a note says that there are more.
func limited(t *render.Table, n int) int {
	if n > recordLimit {
		t.Notes = append(t.Notes, fmt.Sprintf("%d more rows", n-recordLimit))
		return recordLimit
	}
	return n
}

func isNumber(t reflect.Type) bool {
	v := reflect.Zero(t)
	return v.CanInt() || v.CanUint() || v.CanFloat()
}

// cellText is a value in a table's cell, on one line.
func cellText(v reflect.Value) string {
	if !v.CanInterface() {
		return fmt.Sprint(v)
	}
	return strings.ReplaceAll(textOf(value{V: v}), "\n", " ")
}
