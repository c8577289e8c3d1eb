package kernel

import (
	"cmp"
	"context"
	"fmt"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"strconv"
	"strings"
	"time"

	"ddpmlab/internal/render"
	"ddpmlab/kernel/check"
)

// magicError is the kind of fault of a line that is not Go.
const magicError = "command error"

// part is a piece of a cell: Go, or one line that is a command to the kernel.
type part struct {
	line   int    // of its beginning, from 1
	source string // Go with the lines before it left empty, so that its own lines keep their numbers
	magic  string // the command's line, "" for Go
}

// parts splits a cell. A line is a command when it begins with %, ! or $, or is a name
// with a question mark before or after it, where a Go statement could begin.
func parts(src string) []part {
	var list []part
	var code strings.Builder // the Go since the last command, after as many empty lines as came before
	first := 0
	flush := func() {
		if s := code.String(); strings.TrimSpace(s) != "" {
			list = append(list, part{line: first, source: strings.TrimRight(s, "\n")})
		}
	}
	lines := strings.Split(src, "\n")
	for i, l := range lines {
		if isMagic(l) && !openAt(code.String()) {
			flush()
			list = append(list, part{line: i + 1, magic: strings.TrimSpace(l)})
			code.Reset()
			code.WriteString(strings.Repeat("\n", i+1))
			first = 0
			continue
		}
		if first == 0 && strings.TrimSpace(l) != "" {
			first = i + 1
		}
		code.WriteString(l + "\n")
	}
	flush()
	return list
}

func isMagic(line string) bool {
	if line == "" {
		return false
	}
	if strings.ContainsRune("%!$?", rune(line[0])) {
		return true
	}
	name, ok := strings.CutSuffix(strings.TrimRight(line, " \t\r"), "?")
	return ok && assignable.MatchString(name)
}

// openAt reports whether Go source could not end here: in brackets, a string, a comment,
// or after an operator.
func openAt(src string) bool {
	fset := token.NewFileSet()
	var s scanner.Scanner
	open := false
	s.Init(fset.AddFile("", -1, len(src)), []byte(src), func(_ token.Position, msg string) {
		open = open || strings.Contains(msg, "not terminated")
	}, 0)
	depth, last := 0, token.SEMICOLON
	for {
		_, tok, _ := s.Scan()
		switch tok {
		case token.EOF:
			return open || depth > 0 || last.IsOperator() && last != token.SEMICOLON
		case token.LPAREN, token.LBRACE, token.LBRACK:
			depth++
		case token.RPAREN, token.RBRACE, token.RBRACK:
			depth--
		}
		last = tok
	}
}

// onlyGo is the cell with its commands left empty.
func onlyGo(src string) string {
	lines := strings.Split(src, "\n")
	for _, p := range parts(src) {
		if p.magic != "" {
			lines[p.line-1] = ""
		}
	}
	return strings.Join(lines, "\n")
}

// cellRun is one execution of a cell.
type cellRun struct {
	k      *kernel
	h      *host
	number int
	code   string
	aside  bool
}

// run runs the parts of the cell in order, up to the first that fails.
func (c *cellRun) run(ctx context.Context) (vs []value, f *fault) {
	list := parts(c.code)
	if len(list) == 0 {
		return c.eval(ctx, c.code)
	}
	for i, p := range list {
		if p.magic == "" {
			vs, f = c.eval(ctx, p.source)
		} else if p.magic == "%%time" || p.magic == "%time" && i < len(list)-1 {
			rest := *c
			rest.code = strings.Repeat("\n", p.line) + strings.Join(strings.Split(c.code, "\n")[p.line:], "\n")
			return c.timed(func() ([]value, *fault) { return rest.run(ctx) })
		} else {
			vs, f = c.command(ctx, p)
		}
		if f != nil {
			return nil, f
		}
	}
	return vs, nil
}

func (c *cellRun) eval(ctx context.Context, src string) ([]value, *fault) {
	return c.k.language().Eval(ctx, source{Number: c.number, Source: src, Aside: c.aside})
}

// line is a line of a cell for error messages; the running cell's as the user wrote it.
func (c *cellRun) line(p place) string {
	lines := strings.Split(c.code, "\n")
	if p.Cell == c.number && !c.aside && p.Line >= 1 && p.Line <= len(lines) {
		return lines[p.Line-1]
	}
	return c.k.language().Line(p)
}

// say prints as the cell.
func (c *cellRun) say(text string) {
	c.k.capture.flush()
	c.k.publish(c.h.r.message, "stream", map[string]any{"name": "stdout", "text": text})
}

// magic is a command of the kernel's.
type magic struct {
	name, args, help string
	run              func(c *cellRun, ctx context.Context, p part, arg string) ([]value, *fault)
}

// magics are the commands that begin with a percent sign.
var magics []magic

func init() {
	magics = []magic{
		{"time", "STATEMENT", "run the statement (alone on the first line: the whole cell) and say how long it took", (*cellRun).time},
		{"timeit", "STATEMENT", "run the statement many times and say how long one time takes", (*cellRun).timeit},
		{"who", "", "list the names that cells have declared", (*cellRun).who},
		{"reset", "", "forget all that cells have declared, and stop what they left running", (*cellRun).reset},
		{"cd", "FOLDER", "change the working directory", (*cellRun).cd},
		{"runs", "", "list the runs in runs.db", (*cellRun).runs},
		{"sql", "QUERY", "ask runs.db, which is only read, and show the answer as a table", (*cellRun).sql},
		{"help", "[NAME]", "show this list, or what NAME is", (*cellRun).help},
	}
}

// command runs a command's line.
func (c *cellRun) command(ctx context.Context, p part) ([]value, *fault) {
	switch p.magic[0] {
	case '!', '$':
		return nil, c.shell(ctx, p, strings.TrimSpace(p.magic[1:]))
	case '%':
	default:
		return c.help(ctx, p, strings.Trim(p.magic, "? \t"))
	}
	name, arg, _ := strings.Cut(p.magic[1:], " ")
	for _, m := range magics {
		if m.name == name {
			arg = strings.TrimSpace(arg)
			if arg == "" && m.args != "" && m.args[0] != '[' {
				return nil, c.fail(p, "%%%s needs its %s: %%%s %s", name, strings.ToLower(m.args), name, m.args)
			}
			return m.run(c, ctx, p, arg)
		}
	}
	var names []string
	for _, m := range magics {
		names = append(names, "%"+m.name)
	}
	cure := cmp.Or(check.Suggestion("%"+name, names), "; %help lists what there is")
	return nil, c.fail(p, "there is no command %%%s%s", name, cure)
}

func (c *cellRun) fail(p part, format string, args ...any) *fault {
	return &fault{Name: magicError, Message: fmt.Sprintf(format, args...), Cell: c.number, Line: p.line}
}

// at is source as it stands on the part's line, in its column if it is part of it.
func (p part) at(src string) string {
	column := max(strings.Index(p.magic, src), 0)
	return strings.Repeat("\n", p.line-1) + strings.Repeat(" ", column) + src
}

func (c *cellRun) time(ctx context.Context, p part, arg string) ([]value, *fault) {
	return c.timed(func() ([]value, *fault) { return c.eval(ctx, p.at(arg)) })
}

func (c *cellRun) timed(f func() ([]value, *fault)) ([]value, *fault) {
	cpu, begun := processorTime(), time.Now()
	vs, flt := f()
	wall, used := time.Since(begun), processorTime()-cpu
	if flt != nil && len(flt.Errors) > 0 { // nothing ran
		return nil, flt
	}
	c.say(fmt.Sprintf("time %v, of processors %v\n", wall.Round(10*time.Microsecond), used.Round(10*time.Microsecond)))
	return vs, flt
}

func (c *cellRun) timeit(ctx context.Context, p part, arg string) ([]value, *fault) {
	stmt := strings.TrimRight(arg, "; ")
	if e, err := parser.ParseExpr(stmt); err == nil && !isCall(e) {
		stmt = "_ = " + stmt
	}
	return c.eval(ctx, p.at("kernel.Timeit(ctx, func(n int) { for i := 0; i < n; i++ { "+stmt+" } })"))
}

func (c *cellRun) who(context.Context, part, string) ([]value, *fault) {
	t := &render.Table{Columns: render.Left("name", "type", "value")}
	for _, n := range c.k.language().Names() {
		t.Add(n.Name, n.Type, n.Value)
	}
	if len(t.Rows) == 0 {
		c.say("no cell has declared anything yet\n")
		return nil, nil
	}
	c.h.Show("", false, t)
	return nil, nil
}

func (c *cellRun) reset(_ context.Context, p part, _ string) ([]value, *fault) {
	if err := c.k.reset(); err != nil {
		return nil, c.fail(p, "%v", err)
	}
	return nil, nil
}

func (c *cellRun) cd(_ context.Context, p part, arg string) ([]value, *fault) {
	if rest, ok := strings.CutPrefix(arg, "~"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, c.fail(p, "%v", err)
		}
		arg = home + rest
	}
	if err := os.Chdir(arg); err != nil {
		return nil, c.fail(p, "%v", err)
	}
	return nil, nil
}

func (c *cellRun) runs(ctx context.Context, p part, _ string) ([]value, *fault) {
	return c.lab(ctx, p, "AllRuns()")
}

func (c *cellRun) sql(ctx context.Context, p part, arg string) ([]value, *fault) {
	return c.lab(ctx, p, "Store().SQL(ctx, "+strconv.Quote(arg)+")")
}

// lab asks the database of the experiments, through the interpreter: the kernel knows
// nothing of experiments itself. A cell may have given the package's name to something else.
func (c *cellRun) lab(ctx context.Context, p part, call string) ([]value, *fault) {
	return c.k.language().Eval(ctx, source{
		Number: c.number, Source: p.at(`experimentsOfKernel.MustOpen("runs.db").` + call), Aside: c.aside,
		Packages: map[string]string{"experimentsOfKernel": "ddpmlab/experiments"},
	})
}

func (c *cellRun) help(_ context.Context, p part, arg string) ([]value, *fault) {
	if arg != "" {
		text := c.k.language().Inspect(arg, len(arg), 1)
		if text == "" {
			return nil, c.fail(p, "%s is not known", arg)
		}
		c.h.Page(text)
		return nil, nil
	}
	var b strings.Builder
	for _, m := range magics {
		fmt.Fprintf(&b, "%-20s %s\n", "%"+m.name+" "+m.args, m.help)
	}
	fmt.Fprintf(&b, "%-20s %s\n", "!COMMAND, $COMMAND", "run a command of the shell's")
	fmt.Fprintf(&b, "%-20s %s\n", "NAME?, ?NAME", "show what NAME is")
	fmt.Fprintf(&b, "%-20s %s\n", "\\gamma", "then the tab key: the letter γ")
	b.WriteString("A semicolon at the cell's end hides its value. ctx is each cell's context; package kernel has more.\n")
	c.say(b.String())
	return nil, nil
}
