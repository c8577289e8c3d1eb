package check

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// beginnings is how a notebook makes the names that its cells go on with. A cell that runs
// before the one that makes them, as after a restart, is told.
var beginnings = map[string]string{
	"lab":  `lab := experiments.MustOpen("runs.db")`,
	"cfg":  `cfg := ddpm.Tour()`,
	"runs": `runs := experiments.MustOpen("runs.db").AllRuns()`,
}

// foreignNames is what cells have in place of names of Python.
var foreignNames = map[string]string{
	"None": "Go has nil",
	"exit": "the front end's menu ends the kernel",
	"help": "NAME? shows what NAME is, %help the commands",
	"np":   "cells have gonum's floats, stat and mat",
	"plt":  "plots draws runs, plot anything: p := plot.New()",
	"quit": "the front end's menu ends the kernel",
	"str":  "fmt.Sprint(x) is x as text",
}

// foreignLines is what Go has in place of lines that it cannot read.
var foreignLines = []struct {
	line *regexp.Regexp
	hint string
}{
	{regexp.MustCompile(`^\s*(import|from) \w`), `packages import themselves when used, or by import "math"`},
	{regexp.MustCompile(`^\s*def \w`), "a function is func f(x float64) float64 { return 2 * x }"},
	{regexp.MustCompile(`^\s*for .* in .*:\s*$`), "a loop is for i := range 10 { }, or for _, x := range list { }"},
	{regexp.MustCompile(`^\s*while .*:\s*$`), "a loop is for x > 0 { }"},
	{regexp.MustCompile(`^\s*(if|elif|else)\b.*:\s*$`), "a condition is if x > 0 { } else { }"},
	{regexp.MustCompile(`'[^'\\]{2,}'`), `a string is "in double quotes"`},
	{regexp.MustCompile(`[=(,]\s*\[[^]]*,`), "a list is []float64{1, 2, 3}"},
}

// nameHint is the end of the message about a name that no cell has declared, where it is
// known what makes it, or what is in its place.
func nameHint(name string) string {
	if first := beginnings[name]; first != "" {
		return "; first run " + first
	}
	if hint := foreignNames[name]; hint != "" {
		return "; " + hint
	}
	return ""
}

// assigned reports whether the name at pos is one that an = gives a value.
func assigned(root ast.Node, name string, pos token.Pos) (found bool) {
	ast.Inspect(root, func(n ast.Node) bool {
		if st, ok := n.(*ast.AssignStmt); ok && st.Tok == token.ASSIGN {
			for _, l := range st.Lhs {
				id, ok := l.(*ast.Ident)
				found = found || ok && id.Name == name && id.Pos() == pos
			}
		}
		return !found
	})
	return found
}

// lineHint is the end of the message about a line that is not Go.
func lineHint(src string, line int) string {
	lines := strings.Split(src, "\n")
	if line > len(lines) {
		return ""
	}
	for _, f := range foreignLines {
		if f.line.MatchString(lines[line-1]) {
			return "; " + f.hint
		}
	}
	return ""
}
