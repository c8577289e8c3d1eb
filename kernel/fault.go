package kernel

import (
	"context"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"ddpmlab/kernel/check"
	"ddpmlab/kernel/lower"

	"github.com/cosmos72/gomacro/fast"
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
	mark := func(p place, column int) {
		s := source(p)
		if s == "" {
			return
		}
		lines = append(lines, fmt.Sprintf("%5d | %s", p.Line, s))
		if column > 0 && column <= len(s)+1 {
			lines = append(lines, "      | "+pointer(s[:column-1]))
		}
	}
	if len(f.Errors) > 0 {
		for i, e := range f.Errors {
			head := fmt.Sprintf("line %d:%d: ", e.Line, e.Column)
			if i == 0 {
				head = fmt.Sprintf("%s:%d: %s: ", place{f.Cell, e.Line}, e.Column, f.Name)
			}
			lines = append(lines, strings.Split(head+e.Message, "\n")...)
			mark(place{f.Cell, e.Line}, e.Column)
		}
		return lines
	}
	head := f.Name + ": " + f.Message
	if f.Line > 0 {
		head = place{f.Cell, f.Line}.String() + ": " + head
	}
	lines = append(lines, strings.Split(head, "\n")...)
	if f.Line > 0 {
		mark(place{f.Cell, f.Line}, 0)
	}
	for _, p := range f.Trace {
		lines = append(lines, "called from "+p.String()+":")
		mark(p, 0)
	}
	if len(f.Stack) > 0 {
		lines = append(lines, "in compiled code:")
		for _, s := range f.Stack {
			lines = append(lines, "      "+s)
		}
	}
	return lines
}

// pointer is a ^ below what follows before, which keeps its tabs.
func pointer(before string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, before) + "^"
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
	rec := g.record(check.FileName(p.Cell))
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
	return g.at(g.fset.Position(node.Pos()))
}

// errorsFault makes a fault of what the checker found.
func errorsFault(cell int, errs []check.Error) *fault {
	f := &fault{Name: compileError, Cell: cell, Line: errs[0].Line, Errors: errs}
	if errs[0].Syntax {
		f.Name = syntaxError
	}
	var msgs []string
	for i, e := range errs {
		if i == 0 {
			msgs = append(msgs, e.Message)
		} else {
			msgs = append(msgs, fmt.Sprintf("line %d:%d: %s", e.Line, e.Column, e.Message))
		}
	}
	f.Message = strings.Join(msgs, "\n")
	return f
}

// compilerPosition is how gomacro begins its messages.
var compilerPosition = regexp.MustCompile(`^\S+:\d+(?::\d+)?: `)

// compileFault makes a fault of what gomacro's compiler panicked with. The checker found
// nothing wrong with the cell: it is the interpreter that cannot do it.
func (g *gomacro) compileFault(file string, node ast.Node, e any) *fault {
	msg := fmt.Sprint(e)
	cell := g.record(file).number
	p := place{cell, 1}
	if node != nil {
		p = g.position(node)
	}
	if at := g.at(g.fset.Position(g.ir.Comp.Pos)); at.Cell == cell && at.Line > 0 {
		p = at
	}
	if m := compilerPosition.FindStringSubmatch(msg); m != nil {
		msg = msg[len(m[0]):]
	}
	msg = hookName.ReplaceAllString(nodeKind.ReplaceAllString(msg, ""), "")
	return &fault{Name: compileError, Message: "cells cannot do this yet: the interpreter says: " + msg, Cell: cell, Line: p.Line}
}

var (
	// nodeKind is the kind of a syntax node, which says nothing to the user.
	nodeKind = regexp.MustCompile(` <\*ast\.\w+>`)
	// hookName is a name that no cell can write.
	hookName = regexp.MustCompile(`‹\d+›|‹(\w+/)*|›`)
)

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
			f.Message = interruption(message.CellMessage())
		}
	case isMessage:
		f.Name, f.Message = valueError, message.CellMessage()
	default:
		f.Name, f.Message = panicError, panicMessage(e)
		f.Stack = compiledStack()
	}
	return f
}

// interruption is what a computation says of its end without the words of package context,
// which say nothing to the user.
func interruption(message string) string {
	words := context.Canceled.Error()
	message = strings.TrimSuffix(strings.ReplaceAll(message, ": "+words, ""), words)
	if strings.TrimSpace(message) == "" {
		return wasInterrupted
	}
	return message
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
	fset := g.fset
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

// values turns the interpreter's values into the kernel's.
func (g *gomacro) values(vs []xr.Value, ts []xr.Type, p *lower.Program, at place) []value {
	static := p.Values
	if p.Value != nil {
		static = []types.Type{p.Value}
	}
	var out []value
	for i, v := range vs {
		if i >= len(static) {
			break
		}
		var t xr.Type
		if i < len(ts) {
			t = ts[i]
		}
		out = append(out, g.shown(v, t, static[i], at))
	}
	return out
}
