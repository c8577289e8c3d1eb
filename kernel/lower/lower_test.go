package lower_test

import (
	"go/token"
	"strings"
	"testing"

	"ddpmlab/kernel/check"
	"ddpmlab/kernel/lower"
	"ddpmlab/kernel/symbols/export"
)

// TestRefused has cells that the checker accepts and the interpreter would run wrongly or
// not at all.
func TestRefused(t *testing.T) {
	const decls = "type T struct{ A int }\nfunc (t T) MarshalJSON() ([]byte, error) { return nil, nil }\n" +
		"type Node struct{ next *Node }\ntype I interface{ M() }\nvar n Node\nvar t T\n"
	for _, tt := range []struct{ src, want string }{
		{"func F[K any](k K) {}", "1:7: declare a generic function"},
		{"x := 1\ntype G[K any] struct{}", "2:7: declare a generic type"},
		{"slices.Sort([]int{1})", "1:1: call generic functions (slices.Sort)"},
		{"var p atomic.Pointer[int]", "use the generic type atomic.Pointer[int]"},
		{"func f() {\nL:\n\tgoto L\n}", "3:2: goto"},
		{"for range func(yield func() bool) {} {}", "1:11: range over a function"},
		{"type A struct{ *B }\ntype B struct{ a A }", "2:6: declare types that contain each other (B and A)"},
		{"reflect.TypeOf(t)", "1:16: pass a T to reflect.TypeOf"},
		{"json.Marshal(t)", "1:14: pass a T to encoding/json.Marshal: it would not see the method MarshalJSON"},
		{"type U struct{ b int }\njson.Marshal(U{})", "2:14: pass a U to encoding/json.Marshal: it would see the field b"},
		{"fmt.Println(n)\nfunc (n *Node) Len() int { return 0 }", ""},
		{"type V struct{ v [2]*V }\nfmt.Println(V{})", "2:13: make an interface of, or print, a value of a type that contains itself (V)"},
		{"type V struct{ v [2]*V }\nfunc (v *V) Len() int { return 0 }", "2:13: declare methods of a type that contains itself"},
		{"&n.next", "1:1: take the address of next, by which a type contains itself"},
		{"for _, n.next = range []*Node{} {}", "1:8: range with a field by which a type contains itself"},
		{"type L []*W\nfunc (l *L) add() {}\ntype W struct{ l L }\nvar w W\nw.l.add()", "5:1: call add, which takes an address, on a field"},
		{"type J struct{ Kids []*J }\njson.Marshal(J{})", ""},
		{"type J struct{ Kids []*J }\njson.Unmarshal(nil, &J{})", "2:21: pass a *J to encoding/json.Unmarshal: it would not see the type of Kids"},
		{"defer func() { recover() }()", "1:1: recover at the cell's end"},
		{"[2]int([]int{1, 2})", "1:1: convert a slice to an array"},
		{"struct{ e error }{} == struct{ e error }{}", "compare values that hold interfaces"},
		{"func f() error { type L struct{ error }; return L{} }", "use L, which a function declares, as interface error; declare it outside"},
		{"func f(w io.Writer)", "1:1: declare a function without a body"},
		{"type R struct{ io.Reader }\nvar r R\nf := r.Read", "3:6: take a method of an embedded interface as a value"},
		{"for i := 0; func() bool { return i < 3 }(); i++ {}", "1:13: capture a loop's variable in its condition"},
		{"m := map[int]any{}\nfor _, m[0] = range []int{1} {}", "2:8: range with values that become interfaces; use :="},
		{"var a any\nfor a = range make(chan int) {}", "2:5: range over a channel with values that become interfaces; use :="},
		{"type C interface{ ~int }", "1:6: declare a constraint for generic code"},
		{"go println()", "1:1: start a goroutine with a predeclared function"},
		{"import \"unsafe\"\nunsafe.Pointer(&t)", "2:1: use unsafe.Pointer"},
		{"fmt.Println(t, unsafeName(1))\nfunc unsafeName(i int) any { return t }", ""},
	} {
		s, names := check.NewSession(token.NewFileSet(), export.NewImporter()), lower.NewNames()
		c, errs := s.Check(1, decls)
		if errs != nil {
			t.Fatal(errs)
		}
		if _, errs = lower.Cell(c, names); errs != nil {
			t.Fatal(errs)
		}
		c.Commit(0, 1, 2, 3, 4, 5)
		c, errs = s.Check(2, tt.src)
		if errs != nil {
			t.Errorf("%s: does not check: %v", tt.src, errs)
			continue
		}
		var got string
		if _, errs = lower.Cell(c, names); errs != nil {
			got = errs[0].Error()
		}
		place, reason, _ := strings.Cut(tt.want, ": ")
		if tt.want == "" && got != "" || tt.want != "" && (!strings.Contains(got, "cells cannot do this yet: ") ||
			!strings.HasPrefix(strings.Replace(got, "cells cannot do this yet: ", "", 1), tt.want) && !(reason == "" && strings.Contains(got, place))) {
			t.Errorf("%s: got %q, want %q", tt.src, got, tt.want)
		}
	}
}
