package check

import (
	"fmt"
	"go/types"
	"reflect"
	"unsafe"
)

// Two things that the session needs of go/types have no exported way. Both go through
// fields that are found by name, and init refuses to start when they are not there;
// TestInternals checks that they do what is relied on.
var (
	scopeField   = field[types.Package]("scope", reflect.TypeFor[*types.Scope]())
	methodsField = field[types.Named]("methods", reflect.TypeFor[[]*types.Func]())
)

// field is the offset of T's field of that name and type.
func field[T any](name string, typ reflect.Type) uintptr {
	f, ok := reflect.TypeFor[T]().FieldByName(name)
	if !ok || f.Type != typ {
		panic(fmt.Sprintf("kernel/check: %v has no field %s %v in this release of Go", reflect.TypeFor[T](), name, typ))
	}
	return f.Offset
}

// setScope gives the package another scope. One package must serve all cells, because
// go/types compares packages by pointer; and each cell must have a scope of its own,
// because an object cannot be taken out of one.
func setScope(p *types.Package, scope *types.Scope) {
	*(**types.Scope)(unsafe.Add(unsafe.Pointer(p), scopeField)) = scope
}

// methodsOf is the list of a type's own methods. A cell may add to the methods of a type
// of an earlier one, or replace one, and what it did must be undone if it fails.
func methodsOf(t *types.Named) *[]*types.Func {
	return (*[]*types.Func)(unsafe.Add(unsafe.Pointer(t), methodsField))
}
