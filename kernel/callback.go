package kernel

import (
	"context"
	"errors"
	"go/ast"
	"go/token"
	"go/types"
	"slices"

	"ddpmlab/internal/cell"
	"ddpmlab/kernel/check"
	"ddpmlab/kernel/display"
)

// Call runs f, compiled code that calls functions which cells left it, as Eval runs a
// cell.
func (g *gomacro) Call(ctx context.Context, f func()) (flt *fault) {
	t := newTask(ctx, check.FileName(0))
	g.current.Store(t)
	w := g.worker
	w.do(func() {
		g.tasks.Store(w.goid, t)
		defer g.tasks.Delete(w.goid)
		flt = g.call(ctx, t, f)
	})
	if g.await(ctx, t, w) {
		return flt
	}
	return &fault{Name: interrupt, Interrupted: true, Message: wasAbandoned}
}

func (g *gomacro) call(ctx context.Context, t *task, f func()) (flt *fault) {
	env := g.ir.PrepareEnv()
	env.Code, env.DebugPos, env.IP = nil, nil, 0
	run := env.Run
	t.attach(run)
	defer t.detach(run)
	run.CurrEnv = env
	ended := false
	defer func() {
		if ended {
			run.CurrEnv = nil
			return
		}
		flt = g.runFault(ctx, t.file, &ast.BadExpr{}, run, recover())
		flt.Trace = slices.DeleteFunc(flt.Trace, func(p place) bool { return p.Line == 0 }) // the BadExpr
		resetRun(run)
	}()
	f()
	ended = true
	return nil
}

// predeclare tells the type checker what cells find without declaring it.
func (g *gomacro) predeclare() {
	g.session.Provide("kernel", "ddpmlab/kernel/cells")
	g.session.Declare("Display", typeIn(g.imports, "ddpmlab/kernel/display", func(p *types.Package) types.Type {
		data := types.NewTuple(types.NewParam(token.NoPos, nil, "d", p.Scope().Lookup("Data").Type()))
		err := types.NewTuple(types.NewParam(token.NoPos, nil, "", types.Universe.Lookup("error").Type()))
		return types.NewSignatureType(nil, nil, nil, data, err, false)
	}))
}

// display is the function Display of gophernotes' cells: it shows under the cell that it
// is called from.
func (g *gomacro) display(d display.Data) error {
	h, ok := cell.HostOf(g.taskHere().ctx)
	if !ok {
		return errors.New("there is no notebook to display in")
	}
	h.Show("", false, d)
	return nil
}
