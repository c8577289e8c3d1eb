package kernel

import (
	"maps"
	"slices"
	"strings"

	"github.com/cosmos72/gomacro/fast"
)

// named is a name that a cell declared.
type named struct{ Name, Type, Value string }

// valueLimit is how many characters of a value Names gives.
const valueLimit = 60

// Names lists what cells have declared: variables, constants, functions and types.
func (g *gomacro) Names() []named {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []named
	for _, name := range slices.Sorted(maps.Keys(g.ir.Comp.Binds)) {
		b := g.ir.Comp.Binds[name]
		if g.predeclared[name] == b || b.Type == nil || strings.HasPrefix(name, hookPrefix) || name == "ctx" {
			continue
		}
		if _, isImport := b.Value.(*fast.Import); isImport {
			continue
		}
		list = append(list, named{name, b.Type.String(), g.valueText(name, b)})
	}
	for _, name := range slices.Sorted(maps.Keys(g.ir.Comp.Types)) {
		list = append(list, named{name, "type", g.ir.Comp.Types[name].Kind().String()})
	}
	return list
}

func (g *gomacro) valueText(name string, b *fast.Bind) (text string) {
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	if b.Desc.Class() == fast.FuncBind {
		return ""
	}
	v := g.ir.ValueOf(name)
	if !v.IsValid() {
		return ""
	}
	text = strings.ReplaceAll(textOf(value{V: v.ReflectValue()}), "\n", " ")
	if r := []rune(text); len(r) > valueLimit {
		text = string(r[:valueLimit-1]) + "…"
	}
	return text
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
