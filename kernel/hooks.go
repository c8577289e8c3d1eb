package kernel

import (
	"context"
	"go/ast"
	"reflect"
	"sync"
	"time"

	"ddpmlab/kernel/lower"

	"github.com/cosmos72/gomacro/base"
	"github.com/cosmos72/gomacro/fast"
	"github.com/cosmos72/gomacro/gls"
	xr "github.com/cosmos72/gomacro/xreflect"
)

// task is what runs on behalf of one cell: the cell itself and its goroutines, which may
// outlive it. It ends when the cell's context does.
type task struct {
	ctx  context.Context
	file string // name of the cell's source

	mu   sync.Mutex
	runs map[*fast.Run]bool // interpreter states of its goroutines

	watched sync.Once

	deferred []func() // calls for the cell's end

	undoMu sync.Mutex
	undoFn func() // forgets what was declared by statements that have not run
}

func (t *task) setUndo(f func()) {
	t.undoMu.Lock()
	defer t.undoMu.Unlock()
	t.undoFn = f
}

// undo undoes once: a cell that was abandoned and comes back must not undo its successors.
func (t *task) undo() {
	t.undoMu.Lock()
	defer t.undoMu.Unlock()
	if t.undoFn != nil {
		t.undoFn()
	}
	t.undoFn = nil
}

func newTask(ctx context.Context, file string) *task {
	return &task{ctx: ctx, file: file, runs: map[*fast.Run]bool{}}
}

// attach lets interrupts reach the goroutine that run belongs to.
func (t *task) attach(run *fast.Run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runs[run] = true
}

func (t *task) detach(run *fast.Run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.runs, run)
	setAsync(run, base.SigNone)
}

// popDeferred returns the last call that the cell deferred to its end; nil: there is none.
func (t *task) popDeferred() func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.deferred)
	if n == 0 {
		return nil
	}
	f := t.deferred[n-1]
	t.deferred = t.deferred[:n-1]
	return f
}

// raise asks every goroutine of the task to stop where it is.
func (t *task) raise() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for run := range t.runs {
		setAsync(run, base.SigInterrupt)
	}
}

// watch stops the task's goroutines when its context ends, also after the cell itself has.
func (t *task) watch() {
	t.watched.Do(func() {
		context.AfterFunc(t.ctx, func() {
			for range 5000 {
				t.raise()
				time.Sleep(2 * time.Millisecond)
				t.mu.Lock()
				n := len(t.runs)
				t.mu.Unlock()
				if n == 0 {
					return
				}
			}
		})
	})
}

// setAsync sets the signal that gomacro looks for at its next jump. gomacro reads the
// byte without synchronisation, by design; the race detector need not know.
//
//go:norace
func setAsync(run *fast.Run, sig base.Signal) { run.Signals.Async = sig }

// returned is what a return statement of the cell itself panics with.
type returned struct{}

// stopped is what a hook panics with when its task has ended.
type stopped struct{}

// taskHere is the task of the calling goroutine. One that compiled code started, and that
// calls back into a cell, counts for the cell that runs.
func (g *gomacro) taskHere() *task {
	if t, ok := g.tasks.Load(gls.GoID()); ok {
		return t.(*task)
	}
	return g.current.Load()
}

// declareHooks declares what rewritten statements call (see package lower), and binds
// time.Sleep to one that can be stopped.
func (g *gomacro) declareHooks() {
	ir := g.ir
	vs, _ := ir.Eval("(func(f func(interface{})) { f(Interp()) })")
	g.self = vs[0].Interface().(func(func(any)))

	ir.DeclFunc(lower.Stop, func() <-chan struct{} { return g.taskHere().ctx.Done() })
	ir.DeclFunc(lower.Interrupt, func() { panic(stopped{}) })
	ir.DeclFunc(lower.Return, func() { panic(returned{}) })
	ir.DeclBuiltin(lower.Ready, same(g.ready, reflect.Chan))
	ir.DeclBuiltin(lower.Go, same(g.goFunc, reflect.Func))
	ir.DeclBuiltin(lower.Defer, same(g.deferFunc, reflect.Func))
	ir.DeclBuiltin(lower.Send, fast.Builtin{Compile: g.compileSend, ArgMin: 2, ArgMax: 2})
	ir.DeclBuiltin(lower.Elem, fast.Builtin{Compile: compileElem, ArgMin: 2, ArgMax: 2})
	g.declareInterfaces()

	ir.DeclFunc("Display", g.display)
	bind := func(path string) func(name string, f any) {
		imp := ir.ImportPackage("_", path)
		return func(name string, f any) { imp.Vals[imp.Binds[name].Desc.Index()] = xr.ValueOf(f) }
	}
	bind("time")("Sleep", g.sleep)
	g.bindPrinting(bind("fmt"))
}

// same makes a builtin whose result has its argument's type, and is computed by f if that
// type is of the given kind.
func same(f func(xr.Value) xr.Value, kind reflect.Kind) fast.Builtin {
	compile := func(c *fast.Comp, sym fast.Symbol, node *ast.CallExpr) *fast.Call {
		arg := c.Expr1(node.Args[0], nil)
		if arg.Type == nil || arg.Type.Kind() != kind {
			c.Errorf("expecting %s, found: %v <%v>", map[reflect.Kind]string{
				reflect.Chan: "channel", reflect.Func: "function",
			}[kind], node.Args[0], arg.Type)
		}
		return builtinCall(c, sym, f, []*fast.Expr{arg}, arg.Type)
	}
	return fast.Builtin{Compile: compile, ArgMin: 1, ArgMax: 1}
}

// builtinCall is the call of f, which must have one of the signatures gomacro's own
// builtins have.
func builtinCall(c *fast.Comp, sym fast.Symbol, f any, args []*fast.Expr, results ...xr.Type) *fast.Call {
	var in []xr.Type
	for _, a := range args {
		in = append(in, a.Type)
	}
	sym.Type = c.Universe.FuncOf(in, results, false)
	fun := &fast.Expr{Lit: fast.Lit{Type: sym.Type, Value: f}, Sym: &sym}
	return &fast.Call{Fun: fun, Args: args, OutTypes: results}
}

// ready waits until ch can be received from and returns a channel on which the received
// value, or the end of ch, is waiting.
func (g *gomacro) ready(ch xr.Value) xr.Value {
	rv := ch.ReflectValue()
	chosen, v, ok := reflect.Select([]reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: rv},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(g.taskHere().ctx.Done())},
	})
	if chosen == 1 {
		panic(stopped{})
	}
	out := reflect.MakeChan(reflect.ChanOf(reflect.BothDir, rv.Type().Elem()), 1)
	if ok {
		out.Send(v)
	}
	out.Close()
	return xr.MakeValue(out.Convert(rv.Type()))
}

func (g *gomacro) compileSend(c *fast.Comp, sym fast.Symbol, node *ast.CallExpr) *fast.Call {
	ch, v := sendArgs(c, node)
	return builtinCall(c, sym, g.send, []*fast.Expr{ch, v})
}

// compileElem compiles the second argument as a value to send to the first, a channel;
// gomacro does not convert constants in a select's cases.
func compileElem(c *fast.Comp, sym fast.Symbol, node *ast.CallExpr) *fast.Call {
	ch, v := sendArgs(c, node)
	second := func(_, v xr.Value) xr.Value { return v }
	return builtinCall(c, sym, second, []*fast.Expr{ch, v}, ch.Type.Elem())
}

func sendArgs(c *fast.Comp, node *ast.CallExpr) (ch, v *fast.Expr) {
	ch, v = c.Expr1(node.Args[0], nil), c.Expr1(node.Args[1], nil)
	if ch.Type == nil || ch.Type.Kind() != reflect.Chan || ch.Type.ChanDir()&reflect.SendDir == 0 {
		c.Errorf("cannot send to %v <%v>", node.Args[0], ch.Type)
	}
	elem := ch.Type.Elem()
	switch {
	case v.Const():
		v.ConstTo(elem)
	case v.Type == nil || !v.Type.AssignableTo(elem):
		c.Errorf("cannot use %v <%v> as <%v> in send", node.Args[1], v.Type, elem)
	default:
		v.To(c, elem)
	}
	return ch, v
}

func (g *gomacro) send(ch, v xr.Value) {
	rv, rx := ch.ReflectValue(), v.ReflectValue()
	if !rx.IsValid() {
		rx = reflect.Zero(rv.Type().Elem())
	}
	chosen, _, _ := reflect.Select([]reflect.SelectCase{
		{Dir: reflect.SelectSend, Chan: rv, Send: rx},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(g.taskHere().ctx.Done())},
	})
	if chosen == 1 {
		panic(stopped{})
	}
}

// sleep is time.Sleep that ends with the task.
func (g *gomacro) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.taskHere().ctx.Done():
		panic(stopped{})
	}
}

// goFunc wraps the function of a go statement: the new goroutine belongs to the task of
// the one that starts it, and its panic is printed, not fatal.
func (g *gomacro) goFunc(f xr.Value) xr.Value {
	t := g.taskHere()
	t.watch()
	fn := f.ReflectValue()
	wrapped := reflect.MakeFunc(fn.Type(), func(args []reflect.Value) (results []reflect.Value) {
		goid := gls.GoID()
		g.tasks.Store(goid, t)
		defer g.tasks.Delete(goid)
		run := g.runHere()
		t.attach(run)
		defer t.detach(run)
		defer func() {
			if e := recover(); e != nil {
				g.goroutinePanicked(t, run, e)
				for i := range fn.Type().NumOut() {
					results = append(results, reflect.Zero(fn.Type().Out(i)))
				}
			}
		}()
		if fn.Type().IsVariadic() {
			return fn.CallSlice(args)
		}
		return fn.Call(args)
	})
	return xr.MakeValue(wrapped)
}

// deferFunc makes of a function one that is called, with the arguments of now, when the
// cell ends.
func (g *gomacro) deferFunc(f xr.Value) xr.Value {
	t := g.taskHere()
	fn := f.ReflectValue()
	return xr.MakeValue(reflect.MakeFunc(fn.Type(), func(args []reflect.Value) (results []reflect.Value) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.deferred = append(t.deferred, func() {
			if fn.Type().IsVariadic() {
				fn.CallSlice(args)
			} else {
				fn.Call(args)
			}
		})
		for i := range fn.Type().NumOut() {
			results = append(results, reflect.Zero(fn.Type().Out(i)))
		}
		return results
	}))
}
