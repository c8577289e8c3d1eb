package kernel

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func newTest(t *testing.T) *gomacro {
	t.Helper()
	g, err := newGomacro()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestExplore(t *testing.T) {
	g := newTest(t)
	n := 0
	do := func(src string) {
		n++
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		t0 := time.Now()
		vs, f := g.Eval(ctx, source{Number: n, Source: src})
		fmt.Printf("--- %q (%v)\n", src, time.Since(t0).Round(time.Microsecond*10))
		for _, v := range vs {
			fmt.Printf("   %v  %s %v\n", v.V, v.Type, v.Converted)
		}
		if f != nil {
			for _, l := range f.text(g.Line) {
				fmt.Println("  !", l)
			}
		}
	}
	do("1+1")
	do("x := 5\ny := x*2\ny")
	do(`import "fmt"
fmt.Println("hi", y)`)
	do("x := \"s\"\nx")
	do("for {}")
	do("x")
	do("func f() { for {} }\nf()")
	do("x")
	do("import \"time\"\ntime.Sleep(10*time.Second)")
	do("ch := make(chan int)\n<-ch")
	do("ch <- 1")
	do("select {}")
	do("for v := range ch { fmt.Println(v) }")
	do("select { case v := <-ch: v; case ch <- 1: }")
	do("a := []int{1,2}\nfunc g(i int) int {\n  b := 1\n  return a[i+b]\n}\nfunc h() int {\n\n return g(3) }\nh()")
	do("go func() { panic(\"bad\") }()\ntime.Sleep(20*time.Millisecond)")
	do("import \"nope/x\"")
	do("undefinedThing + 1")
	do("1 +\n+ }")
	do("later()\nfunc later() int { return 5 }")
	do("import \"errors\"\nerrors.New(\"oops\")")
	do("func two() (int, error) { return 3, errors.New(\"e\") }\ntwo()")
	do("type P struct{ A int }\nfunc (p P) String() string { return \"P!\" }\nP{3}")
	do("ctx.Err()")
	do("<-ctx.Done()\n7")
	do("for i, c := range \"aé\" { fmt.Println(i, string(c)) }\nm := map[string]int{\"a\":1}\nfor k, v := range m { fmt.Println(k, v) }")
	do("c2 := make(chan int, 3)\nc2 <- 1; c2 <- 2; close(c2)\ns := 0\nfor v := range c2 { s += v }\ns")
	do("v, ok := <-c2\nv, ok")
	do("import \"sync\"\nvar wg sync.WaitGroup\nn := 0\nvar mu sync.Mutex\nfor i := 0; i < 50; i++ { wg.Add(1); go func(k int) { defer wg.Done(); mu.Lock(); n += k; mu.Unlock() }(i) }\nwg.Wait()\nn")
	do("var m2 sync.Mutex\nm2.Lock()\nm2.Lock()")
	do("x")
	do("for {}")
	do("f()")
	do("func() { defer func() { fmt.Println(recover()) }(); panic(3) }()")
	do("import \"os\"\nos.Open(\"/nope\")")
	do("f := func(i int) int { return i }")
	do("if true {\n for i := 0; i < 3; i++ {\n   fmt.Println(a[i])\n  }\n}")
	do("import \"gonum.org/v1/plot\"\np := plot.New()\np.Title.Text = \"t\"\np.Title.Text")
	do("import \"sort\"\nsort.Slice(a, func(i, j int) bool { return a[i+9] > a[j] })")
	do("x;")
	do("")
	do("// only comment")
	do("var q any = 3\nq.(int)")
	do("package main\n")
	do("nil")
	do("var e error\ne")
	do("func() {}")
	do("3.0")
	do("import \"math\"\nmath.Pi")
	do("const k = 1<<40\nk")
}
