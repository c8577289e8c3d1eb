package kernel

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"ddpmlab/kernel/display"
	"ddpmlab/kernel/symbols"

	"github.com/cosmos72/gomacro/fast"
	"github.com/cosmos72/gomacro/go/scanner"
	xr "github.com/cosmos72/gomacro/xreflect"
)

// Kinds of faults, as the notebook names them.
const (
	syntaxError  = "syntax error"
	compileError = "compile error"
	panicError   = "panic"
	valueError   = "error"
	interrupt    = "interrupted"
)

const wasInterrupted = "the cell was interrupted"

// messager is a panic value that is a message to the user, not an accident: it is shown
// with the cell's line and without a stack.
type messager interface{ CellMessage() string }

// text is the fault as lines for the notebook: what and where, the source line, and who
// called it.
func (f *fault) text(source func(place) string) []string {
	var lines []string
	head := f.Name + ": " + f.Message
	if f.Line > 0 {
		head = place{f.Cell, f.Line}.String() + ": " + head
	}
	lines = append(lines, strings.Split(head, "\n")...)
	mark := func(p place) {
		if s := source(p); s != "" {
			lines = append(lines, fmt.Sprintf("%5d | %s", p.Line, s))
		}
	}
	if f.Line > 0 {
		mark(place{f.Cell, f.Line})
	}
	for _, p := range f.Trace {
		lines = append(lines, "called from "+p.String()+":")
		mark(p)
	}
	if len(f.Stack) > 0 {
		lines = append(lines, "in compiled code:")
		for _, s := range f.Stack {
			lines = append(lines, "      "+s)
		}
	}
	return lines
}

// String names the place to the user. Cell 0 is an expression beside the cells.
func (p place) String() string {
	if p.Cell == 0 {
		return fmt.Sprintf("line %d", p.Line)
	}
	return fmt.Sprintf("cell %d, line %d", p.Cell, p.Line)
}

// Line returns a line of an earlier cell or the current one, without line end.
func (g *gomacro) Line(p place) string {
	rec := g.record(fileName(p.Cell))
	if p.Line < 1 || p.Line > len(rec.lines) {
		return ""
	}
	return rec.lines[p.Line-1]
}

func (g *gomacro) at(p token.Position) place {
	if _, ok := g.cells.Load(p.Filename); !ok {
		return place{}
	}
	return place{g.record(p.Filename).number, p.Line}
}

func (g *gomacro) position(node ast.Node) place {
	return g.at(g.ir.Comp.Globals.Fileset.Position(node.Pos()))
}

// syntaxFault makes a fault of a parser's error list: all errors, the first one's place.
func (g *gomacro) syntaxFault(file string, err error) *fault {
	f := &fault{Name: syntaxError, Message: err.Error(), Cell: g.record(file).number}
	var list scanner.ErrorList
	if !errors.As(err, &list) || len(list) == 0 {
		return f
	}
	f.Line = list[0].Pos.Line
	var msgs []string
	for i, e := range list {
		msg := e.Msg
		if i > 0 {
			msg = fmt.Sprintf("line %d: %s", e.Pos.Line, e.Msg)
		}
		if i == 5 {
			msgs = append(msgs, "and more")
			break
		}
		msgs = append(msgs, msg)
	}
	f.Message = strings.Join(msgs, "\n")
	if generic.MatchString(g.Line(place{f.Cell, f.Line})) {
		f.Message += " (not supported in cells: generics)"
	}
	return f
}

// generic is a line that begins with a declaration with type parameters.
var generic = regexp.MustCompile(`^\s*(?:type|func)\s+\w+\[\s*\w+(?:\s*,\s*\w+)*\s+[\w~*\[]`)

// compilerPosition is how gomacro begins its messages.
var compilerPosition = regexp.MustCompile(`^(In\[\d+\]):(\d+)(?::\d+)?: `)

// compileFault makes a fault of what gomacro's compiler panicked with.
func (g *gomacro) compileFault(file string, node ast.Node, e any) *fault {
	msg := fmt.Sprint(e)
	p := g.position(node)
	if m := compilerPosition.FindStringSubmatch(msg); m != nil && m[1] == file {
		if line, err := strconv.Atoi(m[2]); err == nil && line > 0 {
			p.Line = line
		}
		msg = msg[len(m[0]):]
	}
	msg = g.explain(node, msg)
	return &fault{Name: compileError, Message: msg, Cell: g.record(file).number, Line: p.Line}
}

// runFault makes a fault of what a running statement panicked with.
func (g *gomacro) runFault(ctx context.Context, file string, node ast.Node, run *fast.Run, e any) *fault {
	trace := g.trace(run, node)
	f := &fault{Cell: trace[0].Cell, Line: trace[0].Line, Trace: trace[1:]}
	message, isMessage := e.(messager)
	switch {
	case ctx.Err() != nil:
		f.Name, f.Interrupted, f.Trace = interrupt, true, nil
		f.Message = wasInterrupted
		if isMessage {
			f.Message = message.CellMessage()
		}
	case isMessage:
		f.Name, f.Message = valueError, message.CellMessage()
	default:
		f.Name, f.Message = panicError, panicMessage(e)
		f.Stack = compiledStack()
	}
	return f
}

// interruptedBefore is the fault of a cell that was stopped before the statement node.
func (g *gomacro) interruptedBefore(node ast.Node) *fault {
	p := g.position(node)
	return &fault{Name: interrupt, Message: wasInterrupted, Cell: p.Cell, Line: p.Line, Interrupted: true}
}

// errorFault is the fault of a cell whose last value is a non-nil error.
func errorFault(p place, err error) *fault {
	f := &fault{Name: valueError, Message: err.Error(), Cell: p.Cell, Line: p.Line}
	if m, ok := err.(messager); ok {
		f.Message = m.CellMessage()
	}
	return f
}

func panicMessage(e any) string {
	switch e := e.(type) {
	case *reflect.ValueError:
		if e.Kind == reflect.Invalid { // gomacro dereferences by reflection
			return "nil pointer dereference"
		}
		return e.Error()
	case runtime.Error:
		return strings.TrimPrefix(e.Error(), "runtime error: ")
	case error:
		return e.Error()
	case string:
		return strings.TrimPrefix(e, "reflect: ") // gomacro indexes by reflection
	case xr.Value:
		return fmt.Sprint(e.ReflectValue())
	}
	return fmt.Sprintf("%v", e)
}

// trace lists the lines of cells that are being executed, innermost first: at least one,
// the statement node's own.
func (g *gomacro) trace(run *fast.Run, node ast.Node) []place {
	var places []place
	fset := g.ir.Comp.Globals.Fileset
	for env, n := run.CurrEnv, 0; env != nil && n < 20; n++ {
		if env == g.env && env.Code == nil {
			break // an expression of the cell: its place is the node's
		}
		if env.IP < len(env.DebugPos) {
			if p := g.at(fset.Position(env.DebugPos[env.IP])); p.Line > 0 {
				places = append(places, p)
			}
		}
		fn := env // the body of the function that env is a block of
		for fn.Caller == nil && fn.Outer != nil && fn != g.env {
			fn = fn.Outer
		}
		if fn == g.env {
			break
		}
		env = fn.Caller
	}
	if len(places) == 0 || g.env.Code == nil {
		places = append(places, g.position(node))
	}
	return slices.Compact(places)
}

// goroutinePanicked prints the panic of a goroutine that a cell started.
func (g *gomacro) goroutinePanicked(t *task, run *fast.Run, e any) {
	defer resetRun(run)
	if t.ctx.Err() != nil {
		return // stopped, as asked
	}
	msg := panicMessage(e)
	if m, ok := e.(messager); ok {
		msg = m.CellMessage()
	}
	fmt.Fprintf(os.Stderr, "panic in a goroutine of %s: %s\n", t.file, msg)
}

// compiledStack lists the frames of compiled code below the panic that is being
// recovered, without the runtime, reflection and the interpreter.
func compiledStack() []string {
	pc := make([]uintptr, 64)
	frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc)])
	var out []string
	for {
		fr, more := frames.Next()
		fn := fr.Function
		switch {
		case fn == "", strings.HasPrefix(fn, "runtime."), strings.HasPrefix(fn, "reflect."),
			strings.HasPrefix(fn, "ddpmlab/kernel."), strings.HasPrefix(fn, "github.com/cosmos72/"):
		default:
			file := fr.File[strings.LastIndexByte(fr.File, '/')+1:]
			out = append(out, fmt.Sprintf("%s (%s:%d)", fn, file, fr.Line))
		}
		if !more || len(out) == 8 {
			return out
		}
	}
}

// checkImports answers for packages that are not there: gomacro would call the go command.
func (g *gomacro) checkImports(file string, node ast.Node) *fault {
	decl, ok := node.(*ast.GenDecl)
	if !ok || decl.Tok != token.IMPORT {
		return nil
	}
	for _, s := range decl.Specs {
		spec, ok := s.(*ast.ImportSpec)
		if !ok {
			continue
		}
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil || !symbols.Has(path) {
			return &fault{
				Name: compileError, Cell: g.record(file).number, Line: g.position(spec).Line,
				Message: fmt.Sprintf("package %q is not part of this kernel; it has: %s and the standard library",
					path, strings.Join(symbols.Main(), ", ")),
			}
		}
	}
	return nil
}

// values turns the interpreter's values into the kernel's.
func (g *gomacro) values(vs []xr.Value, ts []xr.Type, at place) []value {
	var out []value
	for i, v := range vs {
		val := value{V: v.ReflectValue(), At: at}
		if i < len(ts) && ts[i] != nil {
			val.Type = ts[i].String()
			val.Converted = g.convert(v, ts[i])
		}
		out = append(out, val)
	}
	return out
}

// shown are the interfaces that decide how a value is shown, as nil pointers.
var shown = append([]any{(*error)(nil), (*fmt.Stringer)(nil)}, display.Interfaces()...)

// convert makes of a value whose type was declared in a cell what it can be shown by; of
// a pointer also what its target can be.
func (g *gomacro) convert(v xr.Value, t xr.Type) (converted []any) {
	if !v.IsValid() || t.Kind() == reflect.Interface {
		return nil
	}
	for _, target := range shown {
		if c := g.convertTo(target, v, t); c != nil {
			converted = append(converted, c)
		}
	}
	if t.Kind() == reflect.Pointer && t.Elem().Named() && !v.IsNil() {
		converted = append(converted, g.convert(v.Elem(), t.Elem())...)
	}
	return converted
}

// convertTo converts to the interface that target is a nil pointer to; nil when it cannot.
func (g *gomacro) convertTo(target any, v xr.Value, t xr.Type) (converted any) {
	defer func() {
		if recover() != nil {
			converted = nil
		}
	}()
	it := g.ir.TypeOf(target).Elem()
	if v.Type().Implements(reflect.TypeOf(target).Elem()) || !t.Implements(it) {
		return nil
	}
	if conv := g.ir.Comp.Converter(t, it); conv != nil {
		return conv(v).Interface()
	}
	return nil
}
