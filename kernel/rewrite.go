package kernel

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strings"

	"ddpmlab/kernel/symbols"

	"github.com/cosmos72/gomacro/fast"
	"golang.org/x/tools/go/ast/astutil"
)

// Names of the hooks (see hooks.go). No cell can write them.
const (
	hookPrefix    = "<"
	hookReady     = "<ready>"
	hookSend      = "<send>"
	hookStop      = "<stop>"
	hookInterrupt = "<interrupt>"
	hookElem      = "<elem>"
	hookGo        = "<go>"
	hookRange     = "<range>"
	hookChan      = "<chan>"
	hookOK        = "<ok>"
)

// rewriter changes a statement so that the stop button reaches what gomacro cannot
// interrupt, and so that a panic in a goroutine does not end the kernel:
//
//	<-ch                     <-ready(ch)
//	ch <- v                  send(ch, v)
//	select { ... }           select { ...; case <-stop(): interrupt() }     without default
//	case ch <- v:            case ch <- elem(ch, v):
//	go f(x)                  go go(f)(x)
//	for v := range ch { B }  for c := ch; ; { v, ok := <-ready(c); if !ok { break }; B }
//
// Only the type tells whether the last is about a channel, and gomacro knows it only
// while it compiles: the range hook stops the compilation, keeps the answer in
// gomacro.answer, and the statement is compiled again.
type rewriter struct {
	root   ast.Node
	ranges map[*ast.CallExpr]*ast.RangeStmt // range hook -> its statement
}

// rangeAnswer is what the range hook found out.
type rangeAnswer struct {
	call    *ast.CallExpr
	channel bool
}

// newRewriter rewrites the statement node, in place.
func newRewriter(node ast.Node) *rewriter {
	rw := &rewriter{ranges: map[*ast.CallExpr]*ast.RangeStmt{}}
	inSelect := map[ast.Node]bool{} // the communications of select's cases stay
	pre := func(c *astutil.Cursor) bool {
		if clause, ok := c.Node().(*ast.CommClause); ok {
			inSelect[communication(clause.Comm)] = true
		}
		return true
	}
	post := func(c *astutil.Cursor) bool {
		if inSelect[c.Node()] {
			if n, ok := c.Node().(*ast.SendStmt); ok {
				n.Value = hook(hookElem, n.Pos(), n.Chan, n.Value)
			}
			return true
		}
		switch n := c.Node().(type) {
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				n.X = hook(hookReady, n.Pos(), n.X)
			}
		case *ast.SendStmt:
			c.Replace(&ast.ExprStmt{X: hook(hookSend, n.Pos(), n.Chan, n.Value)})
		case *ast.SelectStmt:
			addStopCase(n)
		case *ast.GoStmt:
			if id, ok := n.Call.Fun.(*ast.Ident); !ok || !builtins[id.Name] {
				n.Call.Fun = hook(hookGo, n.Call.Pos(), n.Call.Fun)
			}
		case *ast.RangeStmt:
			call := hook(hookRange, n.X.Pos(), n.X)
			n.X = call
			rw.ranges[call] = n
		}
		return true
	}
	rw.root = astutil.Apply(node, pre, post)
	return rw
}

// communication is the node of a select case's communication that would otherwise be
// rewritten: its receive expression or its send statement.
func communication(comm ast.Stmt) ast.Node {
	var x ast.Expr
	switch s := comm.(type) {
	case *ast.ExprStmt:
		x = s.X
	case *ast.AssignStmt:
		if len(s.Rhs) == 1 {
			x = s.Rhs[0]
		}
	case *ast.SendStmt:
		return s
	}
	return ast.Unparen(x)
}

// builtins cannot be function values; as goroutines they cannot block either.
var builtins = map[string]bool{
	"append": true, "cap": true, "clear": true, "close": true, "complex": true, "copy": true,
	"delete": true, "imag": true, "len": true, "make": true, "max": true, "min": true, "new": true,
	"panic": true, "print": true, "println": true, "real": true, "recover": true,
}

// compile compiles the statement, asking as often as needed what its range statements
// are about, and loading the tables of packages whose interfaces it makes. It panics as
// fast.Interp.CompileNode does.
func (rw *rewriter) compile(g *gomacro) *fast.Expr {
	for {
		expr, e := g.tryCompile(rw.root)
		switch {
		case e == nil:
			return expr
		case g.answer != nil:
			rw.resolve(*g.answer)
		case !g.loadProxy(e):
			panic(g.realError(rw.root, e))
		}
	}
}

// tryCompile compiles the node and returns what was panicked with. Code that a failure
// left half compiled is thrown away: gomacro would run it with its next declaration.
func (g *gomacro) tryCompile(node ast.Node) (expr *fast.Expr, e any) {
	g.answer = nil
	defer func() {
		if e = recover(); e != nil {
			c := g.ir.Comp
			c.Code.Clear()
			c.Loop, c.Func, c.Labels, c.FuncMaker = nil, nil, nil, nil
		}
	}()
	return g.ir.CompileNode(node), nil
}

// resolve puts a range statement into its final form.
func (rw *rewriter) resolve(answer rangeAnswer) {
	stmt := rw.ranges[answer.call]
	if !answer.channel {
		stmt.X = answer.call.Args[0]
		return
	}
	rw.root = astutil.Apply(rw.root, nil, func(c *astutil.Cursor) bool {
		if c.Node() == stmt {
			c.Replace(receiveLoop(stmt, answer.call.Args[0]))
		}
		return true
	})
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

// realError is the error behind e. Of a function literal that is called where it stands
// gomacro says only that it is no type.
func (g *gomacro) realError(node ast.Node, e any) any {
	if !strings.Contains(fmt.Sprint(e), "unimplemented type: func") {
		return e
	}
	ast.Inspect(node, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if lit, ok := ast.Unparen(call.Fun).(*ast.FuncLit); ok {
				if _, inner := g.tryCompile(lit); inner != nil {
					e = inner
				}
			}
		}
		return true
	})
	return e
}

// receiveLoop is the range statement over channel ch as a loop of receives.
func receiveLoop(n *ast.RangeStmt, ch ast.Expr) *ast.ForStmt {
	pos := n.Pos()
	channel, ok := ast.NewIdent(hookChan), ast.NewIdent(hookOK)
	var v ast.Expr = ast.NewIdent("_")
	if n.Key != nil {
		v = n.Key
	}
	receive := &ast.AssignStmt{
		Lhs: []ast.Expr{v, ok}, TokPos: pos, Tok: token.DEFINE,
		Rhs: []ast.Expr{&ast.UnaryExpr{OpPos: pos, Op: token.ARROW, X: hook(hookReady, pos, channel)}},
	}
	body := []ast.Stmt{receive}
	if n.Key != nil && n.Tok == token.ASSIGN {
		receive.Tok = token.ASSIGN
		decl := &ast.GenDecl{TokPos: pos, Tok: token.VAR, Specs: []ast.Spec{
			&ast.ValueSpec{Names: []*ast.Ident{ast.NewIdent(hookOK)}, Type: ast.NewIdent("bool")},
		}}
		body = []ast.Stmt{&ast.DeclStmt{Decl: decl}, receive}
	}
	body = append(body, &ast.IfStmt{
		If: pos, Cond: &ast.UnaryExpr{OpPos: pos, Op: token.NOT, X: ok},
		Body: &ast.BlockStmt{Lbrace: pos, Rbrace: pos, List: []ast.Stmt{
			&ast.BranchStmt{TokPos: pos, Tok: token.BREAK},
		}},
	}, n.Body)
	return &ast.ForStmt{
		For:  pos,
		Init: &ast.AssignStmt{Lhs: []ast.Expr{channel}, TokPos: pos, Tok: token.DEFINE, Rhs: []ast.Expr{ch}},
		Body: &ast.BlockStmt{Lbrace: n.Body.Lbrace, Rbrace: n.Body.Rbrace, List: body},
	}
}

// addStopCase gives a select statement that can block a case for the stop button.
func addStopCase(n *ast.SelectStmt) {
	for _, clause := range n.Body.List {
		if clause.(*ast.CommClause).Comm == nil {
			return // default: never blocks
		}
	}
	pos := n.Pos()
	n.Body.List = append(n.Body.List, &ast.CommClause{
		Case: pos, Colon: pos,
		Comm: &ast.ExprStmt{X: &ast.UnaryExpr{OpPos: pos, Op: token.ARROW, X: hook(hookStop, pos)}},
		Body: []ast.Stmt{&ast.ExprStmt{X: hook(hookInterrupt, pos)}},
	})
}

// hook is a call of a hook at the given position.
func hook(name string, pos token.Pos, args ...ast.Expr) *ast.CallExpr {
	return &ast.CallExpr{Fun: &ast.Ident{NamePos: pos, Name: name}, Lparen: pos, Args: args, Rparen: pos}
}
