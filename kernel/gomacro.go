package kernel

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/token"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cosmos72/gomacro/base"
	"github.com/cosmos72/gomacro/fast"
	"github.com/cosmos72/gomacro/gls"
	"github.com/cosmos72/gomacro/go/parser"
	xr "github.com/cosmos72/gomacro/xreflect"
)

// gomacro is the interpreter of github.com/cosmos72/gomacro, at the version gophernotes
// v0.7.5 pins. All evaluation is on one goroutine of its own (see worker), because
// gomacro looks up its run-time state by goroutine: with New and Eval on different ones,
// an interrupt would miss function bodies.
type gomacro struct {
	mu          sync.Mutex // guards ir's compile-time tables
	ir          *fast.Interp
	env         *fast.Env             // the cells' global variables
	answer      *rangeAnswer          // of the range hook
	predeclared map[string]*fast.Bind // what is declared before any cell
	self        func(func(any))       // interpreted; hands over a *fast.Interp of the calling goroutine

	worker  *worker
	tasks   sync.Map             // goroutine id -> *task
	current atomic.Pointer[task] // of the cell that runs, or ran last
	cells   sync.Map             // file name -> *cellRec
	grace   time.Duration        // how long an interrupted cell may take to end
}

// shutdownGrace is how long a running cell may take to end when the kernel is to: clients
// kill it after five seconds.
const shutdownGrace = 3 * time.Second

// cellRec is what error messages need to know of a cell.
type cellRec struct {
	number int
	lines  []string
}

// fileName is the name under which the interpreter knows a cell.
func fileName(number int) string { return fmt.Sprintf("In[%d]", number) }

// record is what is known of the cell with that file name; of none when there is none.
func (g *gomacro) record(file string) *cellRec {
	if rec, ok := g.cells.Load(file); ok {
		return rec.(*cellRec)
	}
	return &cellRec{}
}

// startMu serialises newGomacro: it changes the process's environment for a moment.
var startMu sync.Mutex

// newGomacro starts an interpreter.
func newGomacro() (g *gomacro, err error) {
	g = &gomacro{grace: 5 * time.Second}
	g.worker = g.newWorker(func() {
		defer func() {
			if e := recover(); e != nil {
				err = fmt.Errorf("start the interpreter: %v", e)
			}
		}()
		g.start()
	})
	g.worker.wait()
	return g, err
}

// start makes the interpreter. gomacro would ask the Go installation for packages' export
// data, and cannot read today's: without a GOROOT it falls back on reflection. The
// environment is restored at once, since child processes (`go version`) need it; from
// then on an empty importer, which knows no package, has the same effect.
func (g *gomacro) start() {
	startMu.Lock()
	defer startMu.Unlock()
	oldRoot := build.Default.GOROOT
	oldEnv, had := os.LookupEnv("GOROOT")
	build.Default.GOROOT = ""
	os.Setenv("GOROOT", "/nonexistent")
	defer func() {
		build.Default.GOROOT = oldRoot
		if had {
			os.Setenv("GOROOT", oldEnv)
		} else {
			os.Unsetenv("GOROOT")
		}
	}()

	g.ir = fast.New()
	g.ir.Comp.Universe.Importer = &xr.Importer{}
	globals := &g.ir.Comp.Globals
	globals.Stderr = io.Discard // warnings of redefinitions, which are normal in cells
	globals.Options &^= base.OptModuleImport
	g.env = g.ir.PrepareEnv()
	g.declareHooks()
	g.predeclared = maps.Clone(g.ir.Comp.Binds)
}

// Eval runs the cell: parsed and compiled as a whole, so that an error in it runs nothing,
// then run statement by statement.
func (g *gomacro) Eval(ctx context.Context, c source) ([]value, *fault) {
	if c.Aside {
		c.Number = 0
	}
	file := fileName(c.Number)
	g.cells.Store(file, &cellRec{number: c.Number, lines: strings.Split(c.Source, "\n")})

	nodes, f := g.parse(file, c.Source)
	if f != nil {
		return nil, f
	}
	t := newTask(ctx, file)
	g.current.Store(t)
	var values []value
	var flt *fault
	w := g.worker
	w.do(func() {
		g.tasks.Store(w.goid, t)
		defer g.tasks.Delete(w.goid)
		values, flt = g.run(ctx, t, nodes, c.Source)
	})
	if g.await(ctx, t, w) {
		return values, flt
	}
	return nil, &fault{
		Name: interrupt, Cell: c.Number, Interrupted: true,
		Message: wasAbandoned,
	}
}

const wasAbandoned = "the cell was abandoned: it is inside a call that cannot be interrupted, which may go on in the background"

// await waits for the worker, and interrupts it when ctx ends. It returns false when the
// worker had to be abandoned; a new one has then taken its place.
func (g *gomacro) await(ctx context.Context, t *task, w *worker) bool {
	select {
	case <-w.idle:
		return true
	case <-ctx.Done():
	}
	// The signal is repeated: gomacro drops one that comes between two statements, and a
	// cell's own recover can catch it.
	grace := g.grace
	if errors.Is(context.Cause(ctx), errShutdown) {
		grace = min(grace, shutdownGrace)
	}
	deadline := time.After(grace)
	giveUp := givenUp(ctx)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		t.raise()
		select {
		case <-w.idle:
			return true
		case <-tick.C:
			continue
		case <-deadline:
		case <-giveUp:
		}
		g.takeOver(t)
		return false
	}
}

// parse reads the cell. Positions are in g's file set under the cell's file name.
func (g *gomacro) parse(file, src string) ([]ast.Node, *fault) {
	var p parser.Parser
	p.Configure(0, '~')
	p.Init(g.ir.Comp.Globals.Fileset, file, 0, []byte(wrapLiterals(src)))
	nodes, err := p.Parse()
	if err != nil {
		return nil, g.syntaxFault(file, err)
	}
	return slices.DeleteFunc(nodes, func(n ast.Node) bool {
		decl, ok := n.(*ast.GenDecl)
		return ok && decl.Tok == token.PACKAGE // a cell is in no package of its own
	}), nil
}

// run compiles the nodes, then runs them, on the worker's goroutine, and returns the
// values of the last one if it is an expression. Names that a failed cell declared but
// did not come to are as they were before.
func (g *gomacro) run(ctx context.Context, t *task, nodes []ast.Node, src string) (values []value, f *fault) {
	g.bindContext(ctx)
	steps, f := g.compile(t, g.order(nodes))
	if f != nil {
		return nil, f
	}
	for i, s := range steps {
		t.setUndo(func() { g.restore(s.before) })
		if ctx.Err() != nil {
			t.undo()
			return nil, g.interruptedBefore(s.node)
		}
		results, f := g.execute(ctx, t, s)
		if f != nil {
			t.undo()
			return nil, f
		}
		if i == len(steps)-1 && s.node == nodes[len(nodes)-1] && isExpr(s.node) {
			values = g.values(results, s.types, g.position(s.node))
			if quiet(src) || prints(s.node) {
				values = errorsOnly(values)
			}
		}
	}
	if ctx.Err() != nil && len(steps) > 0 { // a recover of the cell's own caught it
		return nil, g.interruptedBefore(steps[len(steps)-1].node)
	}
	return values, nil
}

// step is a compiled statement of a cell.
type step struct {
	node   ast.Node
	run    func(*fast.Env) (xr.Value, []xr.Value) // nil: a declaration without code
	types  []xr.Type                              // of what run returns
	before names                                  // the session's names before the statement
}

// names are a session's names.
type names struct {
	binds map[string]*fast.Bind
	types map[string]xr.Type
}

// compile rewrites the statements so that they can be stopped and compiles them, all
// before any is run: a cell with an error anywhere does nothing, and gomacro's type
// tables, which are not safe for concurrent use, rest while the cell's goroutines run.
func (g *gomacro) compile(t *task, nodes []ast.Node) (steps []step, f *fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ir.PrepareEnv() // tells the compiler which variables must stay where they are
	for _, node := range nodes {
		s := step{node: node, before: names{maps.Clone(g.ir.Comp.Binds), maps.Clone(g.ir.Comp.Types)}}
		steps = append(steps, s)
		if f = g.compileStep(t, &steps[len(steps)-1]); f != nil {
			g.ir.Comp.Binds, g.ir.Comp.Types = steps[0].before.binds, steps[0].before.types
			return nil, f
		}
	}
	return steps, nil
}

func (g *gomacro) compileStep(t *task, s *step) (f *fault) {
	defer func() {
		if e := recover(); e != nil {
			f = g.compileFault(t.file, s.node, e)
		}
	}()
	if f := g.checkImports(t.file, s.node); f != nil {
		return f
	}
	expr := newRewriter(s.node).compile(g)
	if expr == nil {
		return nil
	}
	if expr.Untyped() {
		expr.ConstTo(expr.DefaultType())
	}
	s.run = expr.AsXV(fast.COptKeepUntyped)
	if s.types = expr.Types; len(s.types) == 0 && expr.Type != nil {
		s.types = []xr.Type{expr.Type}
	}
	return nil
}

func (g *gomacro) restore(n names) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ir.Comp.Binds, g.ir.Comp.Types = n.binds, n.types
}

// execute runs a compiled statement. This is fast.Interp.RunExpr, except that the
// interpreter's call stack is still there when a panic is examined.
func (g *gomacro) execute(ctx context.Context, t *task, s step) (vs []xr.Value, f *fault) {
	if s.run == nil {
		return nil, nil
	}
	env := g.ir.PrepareEnv()
	env.Code, env.DebugPos, env.IP = nil, nil, 0 // an expression sets none: see trace
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
		f = g.runFault(ctx, t.file, s.node, run, recover())
		resetRun(run)
	}()
	v, more := s.run(env)
	ended = true
	switch {
	case len(more) > 0:
		vs = more
	case v != fast.None:
		vs = []xr.Value{v}
	}
	return vs, nil
}

// resetRun clears what a panic leaves behind in the interpreter's run-time state.
func resetRun(run *fast.Run) {
	run.Signals = base.Signals{}
	run.ExecFlags = 0
	run.Interrupt = nil
	run.CurrEnv = nil
	run.InstallDefer = nil
	run.DeferOfFun = nil
	run.PanicFun = nil
	run.Panic = nil
}

// bindContext binds ctx for the coming cell. An earlier cell may have declared the name
// as something else.
func (g *gomacro) bindContext(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := g.ir.ValueOf("ctx"); v.IsValid() && v.CanSet() && v.Type() == reflect.TypeFor[context.Context]() {
		v.Set(xr.ValueOf(&ctx).Elem())
		return
	}
	t := g.ir.TypeOf((*context.Context)(nil)).Elem()
	g.ir.DeclVar("ctx", t, ctx)
}

// order returns the nodes in the order they are run: as written, except that functions
// and types the cell declares further down come before what uses them.
func (g *gomacro) order(nodes []ast.Node) []ast.Node {
	later := map[string]int{} // name -> node that declares it
	for i, n := range nodes {
		for _, name := range hoistable(n) {
			later[name] = i
		}
	}
	done := make([]bool, len(nodes))
	var out []ast.Node
	var visit func(i int)
	visit = func(i int) {
		if done[i] {
			return
		}
		done[i] = true
		ast.Inspect(nodes[i], func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				if j, ok := later[id.Name]; ok && j > i {
					visit(j)
				}
			}
			return true
		})
		out = append(out, nodes[i])
	}
	for i := range nodes {
		visit(i)
	}
	return out
}

// hoistable is the names a node declares that may be used above it in the cell.
func hoistable(n ast.Node) []string {
	switch n := n.(type) {
	case *ast.FuncDecl:
		if n.Recv == nil {
			return []string{n.Name.Name}
		}
	case *ast.GenDecl:
		var names []string
		for _, s := range n.Specs {
			if ts, ok := s.(*ast.TypeSpec); ok && n.Tok == token.TYPE {
				names = append(names, ts.Name.Name)
			}
		}
		return names
	}
	return nil
}

func isExpr(n ast.Node) bool {
	switch n.(type) {
	case ast.Expr, *ast.ExprStmt:
		return true
	}
	return false
}

// quiet reports whether the source ends in a semicolon, which hides the last value.
func quiet(src string) bool {
	return strings.HasSuffix(strings.TrimRight(src, " \t\r\n"), ";")
}

// prints reports whether the expression is a call of fmt's printing functions, whose
// result, a number of bytes, nobody wants to see.
func prints(n ast.Node) bool {
	if s, ok := n.(*ast.ExprStmt); ok {
		n = s.X
	}
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "fmt" && (strings.HasPrefix(sel.Sel.Name, "Print") || strings.HasPrefix(sel.Sel.Name, "Fprint"))
}

// errorsOnly keeps the values that are errors: a hidden value still fails the cell when
// it is one.
func errorsOnly(vs []value) []value {
	var out []value
	for _, v := range vs {
		if v.Type == "error" {
			out = append(out, v)
		}
	}
	return out
}

// runHere returns the interpreter's state of the calling goroutine.
func (g *gomacro) runHere() (run *fast.Run) {
	g.self(func(ir any) { run = ir.(*fast.Interp).PrepareEnv().Run })
	return run
}

// takeOver leaves the stuck worker behind, with the task t, and starts another on the
// same session.
func (g *gomacro) takeOver(t *task) {
	t.undo()
	close(g.worker.jobs)
	g.worker = g.newWorker(func() { g.env.Run = g.runHere() })
	g.worker.wait()
}

// worker is the goroutine that evaluates cells.
type worker struct {
	goid uintptr
	jobs chan func()
	idle chan struct{} // receives after each job
}

// newWorker starts a worker with its first job.
func (g *gomacro) newWorker(first func()) *worker {
	w := &worker{jobs: make(chan func(), 1), idle: make(chan struct{}, 1)}
	w.jobs <- first
	go func() {
		w.goid = gls.GoID()
		for job := range w.jobs {
			job()
			w.idle <- struct{}{}
		}
	}()
	return w
}

func (w *worker) do(job func()) { w.jobs <- job }
func (w *worker) wait()         { <-w.idle }
