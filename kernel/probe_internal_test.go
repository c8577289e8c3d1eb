package kernel
import ("testing";"fmt";"strings")
func TestProbe(t *testing.T) {
	for _, cells := range [][]string{
		{"type S struct{ A int }\nfunc (s S) String() string { return \"S!\" }", "[]S{{1}}", "S{2}", "map[string]S{\"a\": {3}}", "var q any = S{4}", "q", "error(nil)", "var e error", "e"},
		{"func f() (int, error) { return 1, fmt.Errorf(\"bad\") }", "f()"},
		{"type E struct{}\nfunc (E) Error() string { return \"boom\" }", "E{}", "var e error = E{}\ne", "panic(E{})"},
		{"if true { return }\nfmt.Println(\"no\")", "x := 1\nfor { return }\ny := 2", "y"},
		{"defer fmt.Println(\"d1\")\ndefer func() { fmt.Println(\"d2\") }()\nfmt.Println(\"body\")\npanic(\"p\")"},
		{"xs := []int{1}\nfunc g(i int) int {\n\treturn xs[i]\n}", "defer g(9)\n1"},
		{"const k = 5\nk", "k * 2.5", "'a'", "1 << 3", "\"s\"", "nil", "len(\"abc\")", "int8(3)", "time.Second"},
		{"type T struct{ a int }", "func (t T) M() int { return t.a }\nT{3}.M()", "func (t *T) M2() { t.a++ }\nt := T{1}\nt.M2()\nt.a", "func (t T) M() string { return \"new\" }\nT{3}.M()"},
		{"for i := range 3 {\n\tgo func() { _ = i }()\n}", "ch := make(chan error, 1)\nch <- errors.New(\"x\")\n<-ch"},
		{"x, err := strconv.Atoi(\"1\")\ny, err := strconv.Atoi(\"z\")\nerr"},
		{"f := func(xs ...any) int { return len(xs) }\nf(1, \"a\", nil)", "plots := 3\nplots", "import \"ddpmlab/plots\"\nplots.Nope"},
		{"package main\nimport \"fmt\"\nfunc main() { fmt.Println(\"hi\") }", "main()"},
		{"lab := experiments.MustOpen\nvar v ddpm.Variant = ddpm.ADM()\nv"},
	} {
		g := newTest(t)
		for i, c := range cells {
			var got string
			var f *fault
			out := printed(t, func() { got, f = eval(t, g, i+1, c) })
			fmt.Printf("%q -> %s | out %q\n", c, got, out)
			if f != nil { fmt.Println("   FAULT", strings.Join(f.text(g.Line), "\n      ")) }
		}
	}
}
