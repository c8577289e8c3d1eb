package kernel

import (
	"context"
	"fmt"
	"go/token"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ddpmlab/kernel/symbols"
)

func newTest(t *testing.T) *gomacro {
	t.Helper()
	g, err := newGomacro()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// eval runs a cell and returns its last values as text.
func eval(t *testing.T, g *gomacro, n int, src string) (string, *fault) {
	t.Helper()
	vs, f := g.Eval(t.Context(), source{Number: n, Source: src})
	b, err := showResult(vs)
	if err != nil {
		return err.Error(), f
	}
	return b.String(), f
}

func TestEval(t *testing.T) {
	tests := []struct {
		name  string
		cells []string
		want  string
	}{
		{"arithmetic", []string{"1+1"}, "2"},
		{"state", []string{"x := 5", "y := x*2", "y"}, "10"},
		{"redefined variable", []string{"x := 5", `x := "s"`, "x"}, "s"},
		{"redefined type", []string{"type T struct{ A int }", "type T struct{ B string }", `T{B: "b"}`}, "{b}"},
		{"redefined function", []string{"func f() int { return 1 }\nfunc g() int { return f() }", "func f() int { return 2 }", "g()"}, "2"},
		{"import twice", []string{`import "math"`, `import "math"`, "math.Pi"}, "3.141592653589793"},
		{"import group", []string{"import (\n\"strings\"\nm \"math\"\n)", `strings.Repeat("a", int(m.Abs(-3)))`}, "aaa"},
		{"new in the standard library", []string{"import (\"io\"\n\"strings\")\nb, _ := io.ReadAll(strings.NewReader(\"all\"))", "string(b)"}, "all"},
		{"atomic types", []string{"import \"sync/atomic\"\nvar n atomic.Int64\nn.Add(3)", "n.Load()"}, "3"},
		{"used before declared", []string{"y := later()\nfunc later() int { return kind(5) }\nfunc kind(i int) int { return i }", "y"}, "5"},
		{"type used before declared", []string{"p := P{3}\ntype P struct{ A int }", "p.A"}, "3"},
		{"semicolon hides", []string{"5;"}, ""},
		{"comment only", []string{"// nothing"}, ""},
		{"package clause", []string{"package main", "1"}, "1"},
		{"printing shows nothing more", []string{"import \"fmt\"\nfmt.Print()"}, ""},
		{"two values", []string{"func two() (int, string) { return 3, \"c\" }", "two()"}, "3 c"},
		{"stringer of a cell", []string{"type L int\nfunc (l L) String() string { return \"L!\" }", "L(3)"}, "L!"},
		{"context", []string{"ctx.Err() == nil"}, "true"},
		{"context redeclared", []string{"ctx := 3", "ctx.Err() == nil"}, "true"},
		{"channel", []string{"c := make(chan int, 3)\nc <- 1; c <- 2; close(c)\ns := 0\nfor v := range c { s += v }", "v, ok := <-c", "s*10+v", "ok"}, "false"},
		{"range over channel, assigned", []string{"c := make(chan string, 2)\nc <- \"a\"; c <- \"b\"; close(c)\nvar v, all string\nouter: for v = range c { if v == \"x\" { continue outer }; all += v }", "all"}, "ab"},
		{"range over others", []string{"n := 0\nfor i := range []int{5, 6} { n += i }\nfor _, v := range [2]int{5, 6} { n += v }\nfor k := range map[int]bool{7: true} { n += k }\nfor range \"aé\" { n++ }", "n"}, "21"},
		{"select", []string{"c, d := make(chan int, 1), make(chan string)", "r := \"\"\nselect {\ncase c <- 42:\n r = \"sent\"\ncase <-d:\n}", "r", "select {\ncase v := <-c:\n r = \"got\"\n _ = v\ndefault:\n r = \"none\"\n}", "r"}, "got"},
		{"goroutines", []string{"import \"sync\"\nvar wg sync.WaitGroup\nvar mu sync.Mutex\nn := 0\nfor i := 0; i < 50; i++ { wg.Add(1); go func(k int) { defer wg.Done(); mu.Lock(); n += k; mu.Unlock() }(i) }\nwg.Wait()", "n"}, "1225"},
		{"goroutine of a method", []string{"import \"sync\"\nvar wg sync.WaitGroup\nwg.Add(1)\ngo wg.Done()\nwg.Wait()", "7"}, "7"},
		{"type assertion", []string{"var q interface{} = 3", "q.(int)"}, "3"},
		{"user implements interface", []string{"import \"fmt\"\nn := 0\ntype W struct{}\nfunc (w W) Write(p []byte) (int, error) { n += len(p); return len(p), nil }\nfmt.Fprintf(W{}, \"hello\")", "n"}, "5"},
		{"function literal", []string{"n := 1\nfunc() { n++ }()\nfunc(k int) interface{} { n += k; return n }(40)"}, "42"},
		{"method beside function literal", []string{"type T int\nfunc (t T) Twice() int { return int(t) * 2 }\nfunc() int { return T(21).Twice() }()"}, "42"},
		{"gonum", []string{"import \"gonum.org/v1/gonum/stat\"", "stat.Mean([]float64{1, 2, 6}, nil)"}, "3"},
		{"plot", []string{"import \"gonum.org/v1/plot\"\np := plot.New()\np.Title.Text = \"t\"", "p.Title.Text"}, "t"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newTest(t)
			var got string
			for i, c := range tt.cells {
				var f *fault
				if got, f = eval(t, g, i+1, c); f != nil {
					t.Fatalf("cell %d %q: %s", i+1, c, strings.Join(f.text(g.Line), "\n"))
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q, of %q", got, tt.want, tt.cells)
			}
		})
	}
}

func TestFault(t *testing.T) {
	const deep = "a := []int{1, 2}\nfunc g(i int) int {\n\tb := 1\n\treturn a[i+b]\n}\nfunc h() int {\n\treturn g(3)\n}\n"
	tests := []struct {
		name, src, want string
	}{
		{"syntax", "x := 1\n\ny := }", "cell 1, line 3:6: syntax error: expected statement, found '}'\n    3 | y := }\n      |      ^"},
		{"generic type", "x := 1\ntype T[K any] struct{}", "cell 1, line 2:7: compile error: cells cannot do this yet: declare a generic type; write T for the types you need"},
		{"generic function", "func f[K, V any](k K) {}", "cell 1, line 1:7: compile error: cells cannot do this yet: declare a generic function; write f for the types you need"},
		{"undefined", "x := 1\nx + nothing", "cell 1, line 2:5: compile error: undefined: nothing\n    2 | x + nothing\n      |     ^"},
		{"undefined in a literal", "x := 1\nfunc() {\n\tnothing()\n}()", "cell 1, line 3:2: compile error: undefined: nothing\n    3 | \tnothing()\n      | \t^"},
		{"undefined in a function", "func f() int {\n\n\treturn nothing\n}", "cell 1, line 3:9: compile error: undefined: nothing\n    3 | \treturn nothing\n      | \t       ^"},
		{"unknown import", "\nimport \"example.org/x\"", "cell 1, line 2:8: compile error: package \"example.org/x\" is not part of this kernel; it has: "},
		{"unknown import of a known name", "import \"ddpmlab/kernel\"", "cell 1, line 1:8: compile error: there is no package \"ddpmlab/kernel\" in cells; package kernel is \"ddpmlab/kernel/cells\", and need not be imported: write kernel.Name"},
		{"interpreter's own packages", "import \"github.com/cosmos72/gomacro/fast\"", "cell 1, line 1:8: compile error: package \"github.com/cosmos72/gomacro/fast\" is not part of this kernel"},
		{"panic", "x := 0\n\nprintln(1 / x)", "cell 1, line 3: panic: integer divide by zero\n    3 | println(1 / x)"},
		{"panic with a value", "panic(\"why\")", "cell 1, line 1: panic: why"},
		{"log.Fatal", "log.SetFlags(0)\nlog.Fatal(\"why\")", "cell 1, line 2: panic: why\n    2 | log.Fatal(\"why\")\nin compiled code:\n      log.Panic (log.go:"},
		{"nil pointer", "var p *int\n*p", "cell 1, line 2: panic: nil pointer dereference\n"},
		{"field of a nil pointer", "type T struct{ A int }\nvar p *T\np.A", "cell 1, line 3: panic: nil pointer dereference\n"},
		{"panic in functions", deep + "h()", "cell 1, line 4: panic: slice index out of range\n    4 | \treturn a[i+b]\n" +
			"called from cell 1, line 7:\n    7 | \treturn g(3)\ncalled from cell 1, line 9:\n    9 | h()"},
		{"panic in a block", "xs := []int{1}\nif true {\n\tfor i := 0; i < 3; i++ {\n\t\t_ = xs[i]\n\t}\n}", "cell 1, line 4: panic: slice index out of range\n    4 | \t\t_ = xs[i]"},
		{"panic in compiled code", "import \"strings\"\nstrings.Repeat(\"a\", -1)", "cell 1, line 2: panic: strings: negative Repeat count\n    2 | strings.Repeat(\"a\", -1)\nin compiled code:\n      strings.Repeat (strings.go:"},
		{"nothing runs before a syntax error", "panic(1)\n)", "cell 1, line 2:1: syntax error"},
		{"nothing runs before a compile error", "panic(1)\nnothing", "cell 1, line 2:1: compile error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newTest(t)
			_, f := eval(t, g, 1, tt.src)
			if f == nil {
				t.Fatalf("no fault of %q", tt.src)
			}
			if got := strings.Join(f.text(g.Line), "\n"); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s\nof\n%s", got, tt.want, tt.src)
			}
			if got, f := eval(t, g, 2, "40 + 2"); got != "42" || f != nil {
				t.Errorf("next cell: %q, %v", got, f)
			}
		})
	}
}

// TestMisspelt has cells name what is not there.
func TestMisspelt(t *testing.T) {
	g := newTest(t)
	eval(t, g, 1, "import (\"ddpmlab/ddpm\"; \"ddpmlab/experiments\"; \"ddpmlab/plots\"; \"strings\")\n"+
		"var lab *experiments.Lab\ntype P struct{ A int }\nfunc (p P) Norm() int { return 1 }\nvar p P\nfunc f(n int) {}")
	for _, tt := range []struct{ src, want string }{
		{"ddpm.Adm()", "undefined: ddpm.Adm (but have ADM)"},
		{"x := ddpm.Adm", "undefined: ddpm.Adm (but have ADM)"},
		{"var x ddpm.Adm", "undefined: ddpm.Adm (but have ADM)"},
		{"plots.Nope()", "undefined: plots.Nope"},
		{"lab.Rusn()", "lab.Rusn undefined (type *experiments.Lab has no field or method Rusn); did you mean Runs?"},
		{"lab.Rusn", "lab.Rusn undefined (type *experiments.Lab has no field or method Rusn); did you mean Runs?"},
		{"p.Nrom()", "p.Nrom undefined (type P has no field or method Nrom); did you mean Norm?"},
		{"p.B", "p.B undefined (type P has no field or method B)"},
		{"strings.NewReader(\"a\").Lne()", "strings.NewReader(\"a\").Lne undefined (type *strings.Reader has no field or method Lne); did you mean Len?"},
		{"func h() { v := P{}; v.Nrom() }", "v.Nrom undefined (type P has no field or method Nrom); did you mean Norm?"},
		{"nope.X()", "undefined: nope"},
		{"f(1, 2)", "too many arguments in call to f\n\thave (number, number)\n\twant (int)"},
	} {
		_, f := eval(t, g, 2, tt.src)
		if f == nil || f.Name != compileError || f.Message != tt.want {
			t.Errorf("%s: got %+v, want %q", tt.src, f, tt.want)
		}
	}
}

// TestFailedCell checks what a cell leaves that fails: what came before the failure.
func TestFailedCell(t *testing.T) {
	g := newTest(t)
	const fails = "undefined: "
	for i, tt := range []struct{ src, want string }{
		{"x, s := 1, \"s\"\nfunc f() int { return x }", ""},
		{"x := \"other\"\nfunc f() string { return x }\ntype T int\nnothing", fails + "nothing"}, // does not compile
		{"x + f()", "2"},
		{"T(1)", fails + "T"},
		{"y := 5\ns := 1 / (x - 1)\nz := 6", "integer divide by zero"}, // fails as it runs
		{"s", "s"},
		{"y", "5"},
		{"z", fails + "z"},
		{"x = 7\nx := []int{1 / (x - 7)}\nx", "integer divide by zero"},
		{"x", "7"},
		{"for i := range 5 { _ = i }", ""},
		{"var after []int", ""}, // gomacro would run the loop's beginning with this
		{"after", "[]"},
	} {
		got, f := eval(t, g, i+1, tt.src)
		if f != nil {
			got = f.Message
		}
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.src, got, tt.want)
		}
	}
}

// TestFaultElsewhere has a cell fail in a function of an earlier one.
func TestFaultElsewhere(t *testing.T) {
	g := newTest(t)
	eval(t, g, 1, "func f(i int) int {\n\treturn 1 / i\n}")
	_, f := eval(t, g, 2, "\nf(0)")
	want := "cell 1, line 2: panic: integer divide by zero\n    2 | \treturn 1 / i\ncalled from cell 2, line 2:\n    2 | f(0)"
	if got := strings.Join(f.text(g.Line), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestForgets runs many cells: the source of those whose code cannot fail later is not kept.
func TestForgets(t *testing.T) {
	g := newTest(t)
	eval(t, g, 1, "zero := 0\nfunc f() int {\n\treturn 1 / zero\n}")
	kept := func() (files, cells int) {
		g.fset.Iterate(func(*token.File) bool { files++; return true })
		g.cells.Range(func(any, any) bool { cells++; return true })
		return files, cells
	}
	files, cells := kept()
	n := 1
	for range 20 {
		for _, src := range []string{"x := 1\nx + 1", "1 / zero", "nothing", "x := )", "func g[T any]() {}"} {
			n++
			eval(t, g, n, src)
			g.Eval(t.Context(), source{Number: n, Source: src, Aside: true})
		}
	}
	if f, c := kept(); f > files || c > cells+2 { // the last cell's, and that of expressions aside
		t.Errorf("%d cells left %d files and %d sources", n-1, f-files, c-cells)
	}
	_, f := eval(t, g, n+1, "\nf()")
	want := fmt.Sprintf("cell 1, line 3: panic: integer divide by zero\n    3 | \treturn 1 / zero\ncalled from cell %d, line 2:\n    2 | f()", n+1)
	if got := strings.Join(f.text(g.Line), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestInterrupt stops each kind of cell after each other kind, and finds the session whole.
func TestInterrupt(t *testing.T) {
	kinds := []string{
		"for {}",
		"spin()",
		"time.Sleep(time.Hour)",
		"<-never",
		"never <- 1",
		"select {}",
		"select { case v := <-never: _ = v; case never <- 2: }",
		"for v := range never { _ = v }",
		"func() { for range never { } }();",
		"sort.Slice(big, func(i, j int) bool { for {} })",
		"func() { defer func() { recover() }(); for {} }();",
		"<-ctx.Done(); for {}",
		"go func() { for { n++ } }()\nfor {}",
	}
	g := newTest(t)
	eval(t, g, 1, "import (\"sort\"; \"time\")\nnever := make(chan int)\nbig := []int{3, 1, 2}\nn := 0\nfunc spin() { for i := 0; ; i++ { inner(i) } }\nfunc inner(i int) int { return i + 1 }\nkept := 41")
	for i := range kinds {
		for _, step := range []int{1, 5} {
			src := kinds[i*step%len(kinds)]
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			begun := time.Now()
			_, f := g.Eval(ctx, source{Number: 2, Source: src})
			cancel()
			if f == nil || !f.Interrupted || f.Message != wasInterrupted {
				t.Fatalf("%s: %+v, want an interruption", src, f)
			}
			if d := time.Since(begun); d > time.Second {
				t.Errorf("%s: stopped after %v", src, d)
			}
			if got, f := eval(t, g, 3, "kept + 1"); got != "42" || f != nil {
				t.Fatalf("after %s: kept + 1 = %q, %+v", src, got, f)
			}
		}
	}
}

// TestAbandon leaves a call behind that nothing can stop.
func TestAbandon(t *testing.T) {
	g := newTest(t)
	g.grace = 300 * time.Millisecond
	eval(t, g, 1, "import \"sync\"\nvar mu sync.Mutex\nmu.Lock()\nkept := 41")
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, f := g.Eval(ctx, source{Number: 2, Source: "mu.Lock()"})
		cancel()
		if f == nil || !f.Interrupted || !strings.Contains(f.Message, "abandoned") {
			t.Fatalf("got %+v, want that the cell was abandoned", f)
		}
		if got, f := eval(t, g, 3, "kept + 1"); got != "42" || f != nil {
			t.Fatalf("kept + 1 = %q, %+v", got, f)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, f := g.Eval(ctx, source{Number: 4, Source: "func( { for {} }"}); f == nil {
			t.Error("a cell that is no Go was run")
		}
		if _, f := g.Eval(ctx, source{Number: 4, Source: "for {}"}); f == nil || f.Message != wasInterrupted {
			t.Errorf("for {}: %+v, want an interruption", f)
		}
		cancel()
	}
}

// TestBackground interrupts a cell whose goroutines go on, and checks that they do not.
func TestBackground(t *testing.T) {
	g := newTest(t)
	eval(t, g, 1, "import (\"sync/atomic\"; \"time\")\nvar n atomic.Int64")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, f := g.Eval(ctx, source{Number: 2, Source: "go func() { for { n.Add(1) } }()\ntime.Sleep(5*time.Millisecond)"}); f != nil {
		t.Fatal(f)
	}
	if _, f := eval(t, g, 3, "for n.Load() == 0 { time.Sleep(time.Millisecond) }"); f != nil {
		t.Fatal(f)
	}
	cancel()
	stopped, _ := eval(t, g, 4, "a := n.Load()\ntime.Sleep(50*time.Millisecond)\nb := n.Load()\ntime.Sleep(20*time.Millisecond)\nb == n.Load()")
	if stopped != "true" {
		t.Error("the goroutine goes on after its cell's context ended")
	}
}

func TestGoroutinePanic(t *testing.T) {
	g := newTest(t)
	if _, f := eval(t, g, 1, "import \"time\"\ngo func(s string) { panic(s) }(\"oops\")\ntime.Sleep(5*time.Millisecond)"); f != nil {
		t.Fatal(f)
	}
	if got, f := eval(t, g, 2, "40 + 2"); got != "42" || f != nil {
		t.Errorf("next cell: %q, %v", got, f)
	}
}

// TestEnvironment checks that starting the interpreter leaves no trace in the
// environment: child processes need it.
func TestEnvironment(t *testing.T) {
	before := os.Environ()
	newTest(t)
	if after := os.Environ(); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("environment was %q, is %q", before, after)
	}
	out, err := exec.Command("go", "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "go version") {
		t.Errorf("go version: %q, %v", out, err)
	}
}

// TestImports imports everything there is.
func TestImports(t *testing.T) {
	g := newTest(t)
	for i, path := range symbols.Paths() {
		if _, f := eval(t, g, i+1, fmt.Sprintf("import p%d %q", i, path)); f != nil {
			t.Errorf("import %q: %s", path, strings.Join(f.text(g.Line), "\n"))
		}
	}
}

func TestComplete(t *testing.T) {
	g := newTest(t)
	eval(t, g, 1, "import \"strings\"\nvar reader strings.Reader\ntype point struct{ Xcoord, Ycoord int }\npt := point{}\nalphabet := 1")
	tests := []struct {
		src  string // | is the cursor
		want string
	}{
		{"alph|", "alphabet"},
		{"x := alph| + 1", "alphabet"},
		{"strings.ToU|", "ToUpper ToUpperSpecial"},
		{"pt.X|", "Xcoord"},
		{"reader.Siz|", "Size"},
		{"func|", "func"},
		{"nothing.X|", ""},
		{"f().X|", ""},
		{"math.Cb|", "Cbrt"},
		{"ddpm.Tour().See|", "Seed"},
		{"q := pt\nif true {\n\tr := q\n\tr.Y|", "Ycoord"},
		{"func f(rd *strings.Reader) {\n\trd.Rea|", "Read ReadAt ReadByte ReadRune"},
		{"strings.NewReader(\"a\").Le|", "Len"},
		{"import \"gonum.org/v1/gonum/st|", "gonum.org/v1/gonum/stat gonum.org/v1/gonum/stat/distuv"},
		{"local := 1\nloc|", "local"},
		{"Interp|", ""},
		{"|", ""},
	}
	for _, tt := range tests {
		pos := strings.IndexByte(tt.src, '|')
		src := tt.src[:pos] + tt.src[pos+1:]
		names, start := g.Complete(src, pos)
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.src, got, tt.want)
		}
		if strings.ContainsAny(src[start:pos], ". +") && !strings.Contains(src, "import") {
			t.Errorf("%q: completes %q", tt.src, src[start:pos])
		}
	}
}

func TestInspect(t *testing.T) {
	g := newTest(t)
	eval(t, g, 1, "import \"strings\"\nvar reader *strings.Reader\ntype point struct{ X int }\nfunc (p point) Norm(k float64) float64 { return 1 }\npt := point{}\n// add adds.\n//\n// It is exact.\nfunc add(a, b int) int { return a + b }\nconst k = 3")
	tests := []struct {
		src, want string
	}{
		{"ad|d(1, 2)", "func add(a int, b int) int\n\nadd adds.\n\nIt is exact.\n\ndeclared in cell 1, line 9"},
		{"strings|", "package strings // import \"strings\"\n\nPackage strings implements simple functions to manipulate UTF-8 encoded strings."},
		{"strings.Repea|t(", "func strings.Repeat(s string, count int) string\n\nRepeat returns a new string consisting of count copies of the string s."},
		{"pt|", "var pt point\n\ndeclared in cell 1, line 5"},
		{"pt.X|", "field pt.X int"},
		{"pt.Norm|", "func pt.Norm(k float64) float64\n\ndeclared in cell 1, line 4"},
		{"reader.Len|", "func reader.Len() int\n\nLen returns the number of bytes of the unread portion of the"},
		{"k|", "const k = 3\n\ndeclared in cell 1, line 10"},
		{"point|", "type point struct {\n\tX int\n}\nfunc (point) Norm(k float64) float64\n\ndeclared in cell 1, line 3"},
		{"ddpm.Config|", "type ddpm.Config struct {\n"},
		{"ddpm.Tour().Seed|", "field ddpm.Tour().Seed uint64\n\n"},
		{"q := pt\nfor i := range 3 {\n\tq.Nor|m(", "func q.Norm(k float64) float64\n\n"},
		{"nothing|", ""},
		{"strings.Nothing|", ""},
		{"pt.Nothing|", ""},
		{"len|", "func len // built in"},
		{"|", ""},
	}
	for _, tt := range tests {
		pos := strings.IndexByte(tt.src, '|')
		got := g.Inspect(tt.src[:pos]+tt.src[pos+1:], pos, 1)
		if got != tt.want && !(tt.want != "" && strings.HasPrefix(got, tt.want)) {
			t.Errorf("%q: got %q, want %q", tt.src, got, tt.want)
		}
	}
	brief, full := g.Inspect("add", 1, 0), g.Inspect("add", 1, 1)
	if !strings.Contains(brief, "add adds.") || strings.Contains(brief, "exact") || !strings.Contains(full, "exact") {
		t.Errorf("detail 0 %q, detail 1 %q", brief, full)
	}
}

func TestCompleteness(t *testing.T) {
	tests := []struct{ src, status, indent string }{
		{"x := 1", "complete", ""},
		{"for {", "incomplete", "\t"},
		{"f := func() {\n\tif true {", "incomplete", "\t\t"},
		{"x := 1 +", "incomplete", ""},
		{"s := `raw", "incomplete", ""},
		{"/* comment", "incomplete", ""},
		{"x := )", "invalid", ""},
		{"s := \"open", "invalid", ""},
		{"x := := 1", "invalid", ""},
		{"i++", "complete", ""},
		{"func() { i++ }()", "complete", ""},
		{"", "complete", ""},
	}
	for _, tt := range tests {
		status, indent := completeness(tt.src)
		if status != tt.status || indent != tt.indent {
			t.Errorf("%q: got %s %q, want %s %q", tt.src, status, indent, tt.status, tt.indent)
		}
	}
}
