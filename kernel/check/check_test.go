package check_test

import (
	"fmt"
	"go/token"
	"strings"
	"testing"

	"ddpmlab/kernel/check"
	"ddpmlab/kernel/symbols/export"
)

func newSession() *check.Session {
	return check.NewSession(token.NewFileSet(), export.NewImporter())
}

func run(t *testing.T, s *check.Session, n int, src string) string {
	t.Helper()
	c, errs := s.Check(n, src)
	if len(errs) > 0 {
		var msgs []string
		for _, e := range errs {
			msgs = append(msgs, e.Error())
		}
		return strings.Join(msgs, "\n")
	}
	var all []int
	for i := range c.Items {
		all = append(all, i)
	}
	c.Commit(all...)
	return ""
}

// TestMessages checks cells of one session, and what is said of them.
func TestMessages(t *testing.T) {
	s := newSession()
	for i, tt := range []struct{ src, want string }{
		{"x := 5\nfunc f(a int) string { return fmt.Sprint(a, x) }", ""},
		{"f(\"a\")\nx.foo()", "1:3: cannot use \"a\" (untyped string constant) as int value in argument to f\n2:3: x.foo undefined (type int has no field or method foo)"},
		{"type T struct{ A int }\nfunc (t *T) Inc() { t.A++ }\nt := &T{}\nt.Inc()", ""},
		{"func (t T) Get() int { return t.A }", ""},
		{"t.Get() + t.A", ""},
		{"t.Gte()", "1:3: t.Gte undefined (type *T has no field or method Gte); did you mean Get?"},
		{"x := \"s\"\nx + \"t\"", ""},
		{"x + 1", "1:1: invalid operation: x + 1 (mismatched types string and untyped int)"},
		{"y := z", "1:6: undefined: z"},
		{"y", "1:1: undefined: y"},
		{"a, err := 1, error(nil)\nb, err := 2, error(nil)\na + b", ""},
		{"unused := 1\nimport \"bytes\"\nfor i := range 3 { j := 2 }", ""},
		{"x := x + \"u\"", ""},
		{"x += \"v\"\nx := []string{x}\nx[0]", ""},
		{"x := \"s\"", ""},
		{"_ = w\nw := 1", "1:5: undefined: w is declared further down, at line 2"},
		{"g()\nv := 1\nfunc g() int { return v }", "1:1: g uses v, which is declared further down, at line 2"},
		{"func g() int { return v }\nv := 1\ng()", ""},
		{"x := )", "1:6: expected operand, found ')'"},
		{"1 + ", "1:4: expected operand, found 'EOF'"},
		{"x := 1\nf(x, // the rest\n\n", "2:5: expected operand, found 'EOF'"},
		{"func f() {\n\tx := 1\n", "2:8: expected '}', found 'EOF'"},
		{"import \"rand\"", "1:8: there is no package \"rand\" in cells; package rand is \"math/rand\", and need not be imported: write rand.Name"},
		{"}\n{", "1:1: expected statement, found '}'"},
		{"strngs.ToUpper(\"a\")", "1:1: undefined: strngs; did you mean strings?"},
		{"strings.ToUppr(\"a\")", "1:9: undefined: strings.ToUppr; did you mean ToUpper?"},
		{"import . \"math\"", "1:8: cells have no dot imports: import \"math\", and write math.Name"},
		{"func() { x := 3; _ = x }()", ""},
		{"len(x)", ""},
		{"len(x)\nx", "1:1: len(x) (value of type int) is not used"},
		{"defer fmt.Println()", ""},
		{"type L[T any] []T\nfunc (l L[T]) Len() int { return len(l) }", ""},
		{"func (l L[T]) Cap() int { return cap(l) }", "1:6: a method of L can only be declared in the cell that declares the type"},
		{"q := 1\nq := 2", "2:3: no new variables on left side of :="},
	} {
		if got := run(t, s, i+1, tt.src); got != tt.want {
			t.Errorf("%q: got\n%s\nwant\n%s", tt.src, got, tt.want)
		}
	}
}

// TestHints has cells that use what a notebook begins with before it is there, and lines of
// another language.
func TestHints(t *testing.T) {
	for src, want := range map[string]string{
		"lab.AllRuns()":                     `1:1: undefined: lab; first run lab := experiments.MustOpen("runs.db")`,
		"lab := 1\nlab.AllRuns()":           "2:5: lab.AllRuns undefined (type int has no field or method AllRuns)",
		"cfg.Seed = 2":                      "1:1: undefined: cfg; first run cfg := ddpm.Tour()",
		"x = 5":                             "1:1: undefined: x; x := declares it",
		"y := x\nx = 5":                     "1:6: undefined: x\n2:1: undefined: x; x := declares it",
		"x.y = 5":                           "1:1: undefined: x",
		"count := 1\ncounts = 2":            "2:1: undefined: counts; did you mean count?",
		"help(1)":                           "1:1: undefined: help; NAME? shows what NAME is, %help the commands",
		"import numpy as np":                `1:14: import path must be a string; packages import themselves when used, or by import "math"`,
		"import torch":                      `1:13: missing import path; packages import themselves when used, or by import "math"`,
		"def f(x):\n    return x":           "1:5: expected ';', found f; a function is func f(x float64) float64 { return 2 * x }",
		"for i in range(10):\n    print(i)": "1:7: expected '{', found in; a loop is for i := range 10 { }, or for _, x := range list { }",
		"x := 1\ns := 'hello'":              `2:6: illegal rune literal; a string is "in double quotes"`,
		"x := [1, 2, 3]":                    "1:8: unexpected comma; expecting ]; a list is []float64{1, 2, 3}",
		"x := map[[2]int]bool{{1, 2}: true": "1:34: missing ',' before newline in composite literal",
		"f([]int{1, 2}, []int{3, 4}[1] x)":  "1:31: missing ',' in argument list",
	} {
		if got := run(t, newSession(), 1, src); got != want {
			t.Errorf("%q: got\n%s\nwant\n%s", src, got, want)
		}
	}
	for _, name := range []string{"lab", "cfg", "runs"} {
		_, src, _ := strings.Cut(run(t, newSession(), 1, name), "; first run ")
		if got := run(t, newSession(), 1, src+"\n"+name); got != "" {
			t.Errorf("%q, which is to make %s: %s", src, name, got)
		}
	}
}

// TestUndo has cells fail that gave an earlier type a method.
func TestUndo(t *testing.T) {
	s := newSession()
	run(t, s, 1, "type T int\nfunc (T) Old() int { return 1 }\nvar v T")
	if got := run(t, s, 2, "func (T) M() {}\nfunc (T) Old() string { return \"\" }\nnothing"); got != "3:1: undefined: nothing" {
		t.Fatal(got)
	}
	if got := run(t, s, 3, "v.M()"); got == "" {
		t.Error("the method of a failed cell is there")
	}
	if got := run(t, s, 4, "v.Old() + 1"); got != "" {
		t.Error(got)
	}
}

// TestInternals checks what the package relies on in go/types: that one package can have
// one scope after the other, so that unexported fields of earlier cells can be named, and
// that a type can be given methods and lose them (TestUndo).
func TestInternals(t *testing.T) {
	s := newSession()
	for i, src := range []string{"type P struct{ a, b int }", "p := P{1, 2}", "type P struct{ s string }\nq := P{\"s\"}", "p.a + len(q.s)"} {
		if got := run(t, s, i+1, src); got != "" {
			t.Errorf("%q: %s", src, got)
		}
	}
}

// TestImports reads what every package declares.
func TestImports(t *testing.T) {
	im := export.NewImporter()
	for _, path := range export.Paths() {
		p, err := im.Import(path)
		if err != nil || p.Path() != path || !p.Complete() {
			t.Errorf("import %q: %v, %v", path, p, err)
		}
	}
	if _, err := im.Import("example.org/x"); err == nil {
		t.Error("no error about a package that is not there")
	}
}

func BenchmarkCheck(b *testing.B) {
	s := newSession()
	for i := range 2000 {
		c, errs := s.Check(i, fmt.Sprintf("x%d := %d", i, i))
		if errs != nil {
			b.Fatal(errs)
		}
		c.Commit(0)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, errs := s.Check(1, "1+1"); errs != nil {
			b.Fatal(errs)
		}
	}
}
