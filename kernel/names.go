package kernel

import (
	"go/types"
	"reflect"
	"strings"
)

// named is a name that a cell declared.
type named struct{ Name, Type, Value string }

// valueLimit is how many characters of a value Names gives.
const valueLimit = 60

// Names lists what cells have declared: variables, constants, functions and types.
func (g *gomacro) Names() []named {
	var list []named
	for _, obj := range g.session.Declared() {
		n := named{Name: obj.Name(), Type: types.TypeString(obj.Type(), asInCell)}
		switch obj := obj.(type) {
		case *types.TypeName:
			n.Type, n.Value = "type", types.TypeString(obj.Type().Underlying(), asInCell)
		case *types.Const:
			n.Value = obj.Val().String()
		case *types.Var:
			n.Value = g.valueText(obj)
		}
		if r := []rune(n.Value); len(r) > valueLimit {
			n.Value = string(r[:valueLimit-1]) + "…"
		}
		list = append(list, n)
	}
	return list
}

// valueText is the variable's value on a line; "" where it cannot be had.
func (g *gomacro) valueText(obj *types.Var) (text string) {
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	g.mu.Lock()
	v, b := g.ir.ValueOf(obj.Name()), g.ir.Comp.Binds[obj.Name()]
	g.mu.Unlock()
	if !v.IsValid() || b == nil || v.Kind() == reflect.Func {
		return ""
	}
	return strings.ReplaceAll(textOf(g.shown(v, b.Type, obj.Type(), place{})), "\n", " ")
}

// reset replaces the interpreter by a new one and stops what cells left running.
func (k *kernel) reset() error {
	in, err := newGomacro()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if old, ok := k.in.(*gomacro); ok {
		close(old.worker.jobs) // its goroutine ends
	}
	k.in = in
	k.sources = nil
	k.background.cancel(errInterrupted)
	k.background = newGeneration()
	return nil
}

// language is the interpreter of now.
func (k *kernel) language() interpreter {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.in
}
