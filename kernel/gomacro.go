package kernel

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ddpmlab/kernel/check"
	"ddpmlab/kernel/lower"
	"ddpmlab/kernel/symbols"
	"ddpmlab/kernel/symbols/export"

	"github.com/cosmos72/gomacro/base"
	"github.com/cosmos72/gomacro/fast"
	"github.com/cosmos72/gomacro/gls"
	xr "github.com/cosmos72/gomacro/xreflect"
)

// gomacro is the interpreter of github.com/cosmos72/gomacro, at the version gophernotes
// v0.7.5 pins. All evaluation is on one goroutine of its own (see worker), because
// gomacro looks up its run-time state by goroutine: with New and Eval on different ones,
// an interrupt would miss function bodies.
type gomacro struct {
	session *check.Session // what the cells mean to the type checker
	names   *lower.Names
	imports *export.Importer

	mu      sync.Mutex // guards ir's compile-time tables
	ir      *fast.Interp
	env     *fast.Env // the cells' global variables
	fset    *token.FileSet
	boxes   boxes           // of values of cells' types
	folded  sync.Map        // fieldKey -> xr.Type, of what folded fields hold
	methods sync.Map        // of cells' types, as functions: "T.M" -> reflect.Value
	self    func(func(any)) // interpreted; hands over a *fast.Interp of the calling goroutine

	worker  *worker
	tasks   sync.Map             // goroutine id -> *task
	current atomic.Pointer[task] // of the cell that runs, or ran last
	cells   sync.Map             // file name -> *cellRec
	last    string               // file name of the last cell
	grace   time.Duration        // how long an interrupted cell may take to end
}

// shutdownGrace is how long a running cell may take to end when the kernel is to: clients
// kill it after five seconds.
const shutdownGrace = 3 * time.Second

// cellRec is what error messages need to know of a cell.
type cellRec struct {
	number  int
	lines   []string
	lasting bool // some of its code may run later
}

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
	g.fset = &globals.Fileset.FileSet
	g.imports = export.NewImporter()
	g.session = check.NewSession(g.fset, g.imports)
	g.names = lower.NewNames()
	g.declareHooks()
	g.predeclare()
}

// Eval runs the cell: checked, rewritten and compiled as a whole, so that an error in it
// runs nothing, then run statement by statement.
func (g *gomacro) Eval(ctx context.Context, c source) ([]value, *fault) {
	if c.Aside {
		c.Number = 0
	}
	g.forgetLast()
	file := check.FileName(c.Number)
	g.last = file
	rec := &cellRec{number: c.Number, lines: strings.Split(c.Source, "\n"), lasting: g.record(file).lasting}
	g.cells.Store(file, rec)

	g.session.Declare("ctx", typeIn(g.imports, "context", contextType))
	cell, errs := g.session.CheckUsing(c.Number, c.Source, c.Packages)
	if errs != nil {
		return nil, errorsFault(c.Number, errs)
	}
	program, errs := lower.Cell(cell, g.names)
	if errs != nil {
		cell.Drop()
		cell.Forget()
		return nil, errorsFault(c.Number, errs)
	}
	t := newTask(ctx, file)
	g.current.Store(t)
	var values []value
	var flt *fault
	w := g.worker
	w.do(func() {
		g.tasks.Store(w.goid, t)
		defer g.tasks.Delete(w.goid)
		values, flt = g.run(ctx, t, &running{cell: cell, program: program}, c.Source)
	})
	rec.lasting = rec.lasting || cell.Lasting()
	if g.await(ctx, t, w) {
		if !rec.lasting {
			cell.Forget()
		}
		return values, flt
	}
	rec.lasting = true
	return nil, &fault{
		Name: interrupt, Cell: c.Number, Interrupted: true,
		Message: wasAbandoned,
	}
}

// forgetLast drops the last cell's source, unless code of it may fail later: a session of
// many thousand cells does not grow by them.
func (g *gomacro) forgetLast() {
	if !g.record(g.last).lasting {
		g.cells.Delete(g.last)
	}
}

const wasAbandoned = "the cell was abandoned: it is inside a call that cannot be interrupted, which may go on in the background"

// typeIn is a type that the package of that path knows.
func typeIn(im *export.Importer, path string, find func(*types.Package) types.Type) func() types.Type {
	return func() types.Type {
		p, err := im.Import(path)
		if err != nil {
			panic(err) // the package is part of the binary
		}
		return find(p)
	}
}

// contextType is context.Context, the type of ctx in every cell.
func contextType(p *types.Package) types.Type { return p.Scope().Lookup("Context").Type() }

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

// running is a cell that is being run.
type running struct {
	cell    *check.Cell
	program *lower.Program
	steps   []step
	next    int // step that has not come to its end
}

// commit makes what the steps that have run declare part of the session.
func (r *running) commit() {
	var items []int
	for _, s := range r.steps[:r.next] {
		if s.item >= 0 {
			items = append(items, s.item)
		}
	}
	r.cell.Commit(items...)
}

// run compiles the cell, then runs it, on the worker's goroutine, and returns the values of
// its last statement if that is an expression. Names that a failed cell declared but did
// not come to are as they were before.
func (g *gomacro) run(ctx context.Context, t *task, r *running, src string) (values []value, f *fault) {
	g.bindContext(ctx)
	if f := g.compile(t, r); f != nil {
		r.cell.Drop()
		return nil, f
	}
	t.setUndo(func() { // an abandoned cell, or one that fails
		r.commit()
		if r.next < len(r.steps) {
			g.restore(r.steps[r.next].before)
		}
	})
	defer t.undo()
	results, f := g.steps(ctx, t, r)
	if f2 := g.runDeferred(ctx, t, r); f == nil {
		f = f2
	}
	if f != nil {
		return nil, f
	}
	if len(r.steps) == 0 || r.program.Last == nil {
		return nil, nil
	}
	values = g.values(results, r.steps[len(r.steps)-1].types, r.program, g.position(r.program.Last))
	if quiet(src) || prints(r.program.Last) {
		values = errorsOnly(values)
	}
	return values, nil
}

// steps runs the cell's statements, and returns the values of the last.
func (g *gomacro) steps(ctx context.Context, t *task, r *running) (results []xr.Value, f *fault) {
	for i, s := range r.steps {
		if ctx.Err() != nil {
			return nil, g.interruptedBefore(s.node)
		}
		vs, f := g.execute(ctx, t, s)
		if f == ended { // by a return statement
			r.program.Last = nil
			r.next = i + 1
			return nil, nil
		}
		if f != nil {
			return nil, f
		}
		results = vs
		r.next = i + 1
	}
	if ctx.Err() != nil && len(r.steps) > 0 { // a recover of the cell's own caught it
		return nil, g.interruptedBefore(r.steps[len(r.steps)-1].node)
	}
	return results, nil
}

// ended is no fault: a return statement has ended the cell.
var ended = &fault{}

// runDeferred calls what the cell deferred to its end, the last first.
func (g *gomacro) runDeferred(ctx context.Context, t *task, r *running) (f *fault) {
	for {
		call := t.popDeferred()
		if call == nil {
			return f
		}
		run := func(*fast.Env) (xr.Value, []xr.Value) { call(); return fast.None, nil }
		node := ast.Node(r.program.Steps[len(r.program.Steps)-1].Node)
		if _, f2 := g.execute(ctx, t, step{node: node, run: run}); f == nil && f2 != ended {
			f = f2
		}
	}
}

// step is a compiled statement of a cell.
type step struct {
	node   ast.Node
	item   int
	run    func(*fast.Env) (xr.Value, []xr.Value) // nil: a declaration without code
	types  []xr.Type                              // of what run returns
	before names                                  // the session's names before the statement
}

// names are a session's names.
type names struct {
	binds map[string]*fast.Bind
	types map[string]xr.Type
}

// compile compiles the statements, all before any is run: a cell with an error anywhere
// does nothing, and gomacro's type tables, which are not safe for concurrent use, rest
// while the cell's goroutines run.
func (g *gomacro) compile(t *task, r *running) (f *fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() {
		if e := recover(); e != nil {
			f = g.compileFault(t.file, nil, e)
		}
	}()
	for path, alias := range r.program.Imports {
		if g.ir.Comp.Binds[alias] == nil {
			g.ir.ImportPackage(fast.PackageName(alias), path)
		}
	}
	g.ir.PrepareEnv() // tells the compiler which variables must stay where they are
	for _, st := range r.program.Steps {
		s := step{node: st.Node, item: st.Item, before: names{maps.Clone(g.ir.Comp.Binds), maps.Clone(g.ir.Comp.Types)}}
		if st.Node == nil { // declares what only the checker needs to know
			s.node = r.cell.Items[st.Item].Node
			r.steps = append(r.steps, s)
			continue
		}
		if f = g.compileStep(t, &s); f != nil {
			first := s.before
			if len(r.steps) > 0 {
				first = r.steps[0].before
			}
			g.ir.Comp.Binds, g.ir.Comp.Types = first.binds, first.types
			return f
		}
		r.steps = append(r.steps, s)
	}
	return nil
}

func (g *gomacro) compileStep(t *task, s *step) (f *fault) {
	defer func() {
		if e := recover(); e != nil {
			f = g.compileFault(t.file, s.node, e)
		}
	}()
	expr, e := g.tryCompile(s.node)
	for e != nil && g.loadProxy(e) {
		expr, e = g.tryCompile(s.node)
	}
	if e != nil {
		return g.compileFault(t.file, s.node, e)
	}
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

// tryCompile compiles the node and returns what was panicked with. Code that a failure
// left half compiled is thrown away: gomacro would run it with its next declaration.
func (g *gomacro) tryCompile(node ast.Node) (expr *fast.Expr, e any) {
	defer func() {
		if e = recover(); e != nil {
			c := g.ir.Comp
			c.Code.Clear()
			c.Loop, c.Func, c.Labels, c.FuncMaker = nil, nil, nil, nil
		}
	}()
	return g.ir.CompileNode(node), nil
}

// proxyMessage is how gomacro says that it does not know how to make an interface's value.
var proxyMessage = regexp.MustCompile(`proxy not found for interface type <(.*)\.\w+>`)

// loadProxy loads the table of the package whose interface gomacro missed, if that is
// what e says: the cell did not import it, though what it calls did.
func (g *gomacro) loadProxy(e any) bool {
	m := proxyMessage.FindStringSubmatch(fmt.Sprint(e))
	if m == nil || !symbols.Has(m[1]) || g.ir.Comp.KnownImports[m[1]] != nil {
		return false
	}
	g.ir.ImportPackage("_", m[1])
	return true
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
	done := false
	defer func() {
		if done {
			run.CurrEnv = nil
			return
		}
		if e := recover(); e == any(returned{}) {
			f = ended
		} else {
			f = g.runFault(ctx, t.file, s.node, run, e)
		}
		resetRun(run)
	}()
	v, more := s.run(env)
	done = true
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

// quiet reports whether the source ends in a semicolon, which hides the last value.
func quiet(src string) bool {
	return strings.HasSuffix(strings.TrimRight(src, " \t\r\n"), ";")
}

// prints reports whether the expression is a call of fmt's printing functions, whose
// result, a number of bytes, nobody wants to see.
func prints(x ast.Expr) bool {
	call, ok := ast.Unparen(x).(*ast.CallExpr)
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
