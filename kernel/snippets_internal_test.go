package kernel

import (
	"io"
	"os"
	"strings"
	"testing"
)

// snippets are what notebooks write, one thing each, with what Go prints.
var snippets = []struct {
	name  string
	cells []string
	want  string
}{
	{"closure", []string{`func mk() func() int { n:=0; return func() int { n++; return n } }
f:=mk(); f(); fmt.Println(f())`}, `2`},
	{"struct_method", []string{`type Pt struct{X,Y float64}
func (p *Pt) Scale(k float64){p.X*=k;p.Y*=k}
func (p Pt) Norm() float64 {return math.Hypot(p.X,p.Y)}
p:=Pt{3,4};p.Scale(2);fmt.Println(p.Norm())`}, `10`},
	{"var_redecl", []string{`vr := 1`, `vr := "s"
fmt.Println(vr)`}, `s`},
	{"type_redef", []string{`type TR struct{A int}`, `type TR struct{B string}
fmt.Println(TR{B:"x"})`}, `{x}`},
	{"func_redef_used_by_caller", []string{`func g1() int {return 1}
func h1() int {return g1()}`, `func g1() int {return 2}
fmt.Println(h1())`}, `2`},
	{"generic_func_def", []string{`func Map[T,U any](xs []T, f func(T) U) []U { r:=make([]U,0,len(xs)); for _,x:=range xs { r=append(r,f(x)) }; return r }
fmt.Println(Map([]int{1,2},func(i int) string {return fmt.Sprint(i*2)}))`}, `[2 4]`},
	{"generic_type_def", []string{`type Stack[T any] struct{ s []T }
func (s *Stack[T]) Push(x T){ s.s=append(s.s,x) }
var st Stack[int]; st.Push(3); fmt.Println(len(st.s))`}, `1`},
	{"lib_generic_slices", []string{`import "slices"
xs:=[]int{3,1,2}; slices.Sort(xs); fmt.Println(xs, slices.Max(xs))`}, `[1 2 3] 3`},
	{"lib_generic_maps_atomic", []string{`import "sync/atomic"
var ap atomic.Pointer[int]; v:=3; ap.Store(&v); fmt.Println(*ap.Load())`}, `3`},
	{"builtin_min_max_clear", []string{`fmt.Println(min(3,1,2),max(1.5,2))`}, `1 2`},
	{"range_int", []string{`s:=0; for i := range 5 { s+=i }; fmt.Println(s)`}, `10`},
	{"range_func", []string{`seq:=func(yield func(int) bool){ for i:=0;i<3;i++ { if !yield(i) {return} } }
for x := range seq { fmt.Print(x) }; fmt.Println()`}, `012`},
	{"loopvar_per_iter", []string{`var fs []func(); for i:=0;i<3;i++ { fs=append(fs,func(){fmt.Print(i)}) }; for _,f:=range fs { f() }; fmt.Println()`}, `012`},
	{"chan_select", []string{`c:=make(chan int,1); d:=make(chan string)
go func(){ c<-42 }()
select { case v:=<-c: fmt.Println(v); case <-d: fmt.Println("d"); case <-time.After(time.Second): fmt.Println("t") }`}, `42`},
	{"time_after", []string{`select { case <-time.After(10*time.Millisecond): fmt.Println("tick") }`}, `tick`},
	{"goroutine_waitgroup_mutex", []string{`var wg sync.WaitGroup; var mu sync.Mutex; n:=0
for i:=0;i<50;i++ { wg.Add(1); go func(){ defer wg.Done(); mu.Lock(); n++; mu.Unlock() }() }
wg.Wait(); fmt.Println(n)`}, `50`},
	{"defer_recover", []string{`func sf() (err error) { defer func(){ if r:=recover(); r!=nil { err=fmt.Errorf("rec: %v",r) } }(); panic("x") }
fmt.Println(sf())`}, `rec: x`},
	{"map_ops", []string{`m:=map[string][]int{"a":{1}}; m["b"]=append(m["b"],2,3); delete(m,"a"); v,ok:=m["a"]; fmt.Println(m,v,ok,len(m))`}, `map[b:[2 3]] [] false 1`},
	{"multi_value", []string{`func mv() (int,error){return 3,nil}
if n,err:=mv(); err==nil { fmt.Println(n) }`}, `3`},
	{"iota_typed_const", []string{`type Lv int
const ( A Lv = iota; B; C )
const KB float64 = 1<<10
fmt.Println(int(C),KB)`}, `2 1024`},
	{"stringer_on_interp_type", []string{`type Lw int
func (l Lw) String() string { return "L!" }
fmt.Println(Lw(1))`}, `L!`},
	{"embedded_struct", []string{`type Base struct{ID int}
func (b *Base) SetID(i int){b.ID=i}
type Der struct{ Base; Name string }
d:=Der{Name:"n"}; d.SetID(7); fmt.Println(d.ID)`}, `7`},
	{"anon_struct", []string{`rows:=[]struct{N string; V float64}{{"a",1},{"b",2}}; for _,r:=range rows { fmt.Print(r.N,r.V,";") }; fmt.Println()`}, `a1;b2;`},
	{"printf_verbs", []string{`fmt.Printf("%5.2f|%-6s|%+v|%T\n",3.14159,"ab",struct{X int}{1},[]float64{1})`}, ` 3.14|ab    |{X:1}|[]float64`},
	{"sort_interface_interp", []string{`type BL []string
func (b BL) Len() int {return len(b)}
func (b BL) Less(i,j int) bool {return len(b[i])<len(b[j])}
func (b BL) Swap(i,j int){b[i],b[j]=b[j],b[i]}
b:=BL{"ccc","a","bb"}; sort.Sort(b); fmt.Println(b)`}, `[a bb ccc]`},
	{"sort_slice", []string{`xs:=[]int{3,1,2}; sort.Slice(xs,func(i,j int) bool {return xs[i]>xs[j]}); fmt.Println(xs)`}, `[3 2 1]`},
	{"io_writer_interp_to_compiled", []string{`type CW struct{n int}
func (c *CW) Write(p []byte)(int,error){ c.n+=len(p); return len(p),nil }
cw:=&CW{}; fmt.Fprintf(cw,"hello %d",5); fmt.Println(cw.n)`}, `7`},
	{"error_wrap_is_as", []string{`var ErrX = errors.New("x")
e:=fmt.Errorf("ctx: %w",ErrX); fmt.Println(errors.Is(e,ErrX),errors.Unwrap(e)==ErrX)`}, `true true`},
	{"custom_error_as", []string{`type ME struct{c int}
func (m *ME) Error() string {return fmt.Sprint("me",m.c)}
var er error = fmt.Errorf("w: %w",&ME{3})
var me *ME
fmt.Println(errors.As(er,&me), me!=nil && me.c==3)`}, `true true`},
	{"labels_goto", []string{`i:=0
outer: for { for { i++; if i>3 { break outer }; continue outer } }
fmt.Println(i)`}, `4`},
	{"goto_stmt", []string{`func gt() int { i:=0
L: i++
if i<5 { goto L }
return i }
fmt.Println(gt())`}, `5`},
	{"type_switch", []string{`func ts(x interface{}) string { switch v:=x.(type) { case int: return fmt.Sprint("i",v); case []string: return "ss"; case error: return "e"; default: return "?" } }
fmt.Println(ts(1),ts([]string{}),ts(errors.New("")),ts(2.0))`}, `i1 ss e ?`},
	{"any_alias", []string{`var a any = 3; n, ok := a.(int); fmt.Println(n,ok)`}, `3 true`},
	{"variadic_spread", []string{`func sum(xs ...int) (t int) { for _,x:=range xs { t+=x }; return }
fmt.Println(sum([]int{1,2,3}...))`}, `6`},
	{"slice3_copy_append", []string{`a:=[]int{1,2,3,4}; b:=a[1:2:3]; b=append(b,9); fmt.Println(a,b,cap(b))`}, `[1 2 9 4] [2 9] 2`},
	{"array_2d", []string{`var g [3][4]float64; g[1][2]=5; fmt.Println(g[1], len(g))`}, `[0 0 5 0] 3`},
	{"json_struct_tags", []string{"type Cfg struct{ LR float64 `json:\"lr\"`; Steps int `json:\"steps\"` }\nvar c Cfg; json.Unmarshal([]byte(`{\"lr\":0.1,\"steps\":5}`),&c); bs,_:=json.Marshal(c); fmt.Println(string(bs))"}, `{"lr":0.1,"steps":5}`},
	{"context_cancel", []string{`ctx,cancel:=context.WithTimeout(context.Background(),10*time.Millisecond); defer cancel()
<-ctx.Done(); fmt.Println(ctx.Err())`}, `context deadline exceeded`},
	{"func_returning_iface", []string{`type Sh interface{ Area() float64 }
type Sq struct{s float64}
func (q Sq) Area() float64 {return q.s*q.s}
var shs []Sh; shs=append(shs,Sq{2}); t:=0.0; for _,s:=range shs { t+=s.Area() }; fmt.Println(t)`}, `4`},
	{"recursion", []string{`func fib(n int) int { if n<2 {return n}; return fib(n-1)+fib(n-2) }
fmt.Println(fib(15))`}, `610`},
	{"method_value_expr", []string{`var sb strings.Builder; w:=sb.WriteString; w("a"); w("b"); fmt.Println(sb.String(), strings.ToUpper("x"))`}, `ab X`},
	{"bit_ops_shift", []string{`x:=uint32(0xF0); fmt.Println(x>>4&0x3, x&^0x10, 1<<10)`}, `3 224 1024`},
	{"string_runes", []string{`for i,r:=range "aé" { fmt.Print(i,string(r)," ") }; fmt.Println(len([]rune("aé")))`}, `0a 1é 2`},
	{"complex", []string{`z:=complex(1,2); fmt.Println(real(z*z))`}, `-3`},
	{"http_handler_iface", []string{`type H struct{}
func (H) ServeHTTP(w http.ResponseWriter, r *http.Request){ fmt.Fprint(w,"hi") }
rec:=httptest.NewRecorder(); var hh http.Handler = H{}; hh.ServeHTTP(rec,httptest.NewRequest("GET","/",nil)); fmt.Println(rec.Body.String())`}, `hi`},
	{"embed_compiled_iface", []string{`type RW struct{ io.Reader; n int }
rw:=RW{Reader:strings.NewReader("abc")}; bs,_:=io.ReadAll(rw); fmt.Println(string(bs))`}, `abc`},
	{"unused_var_import_ok", []string{`unused:=5
import "bytes"
fmt.Println("ok")`}, `ok`},
	{"mixed_decl_stmt_order", []string{`fmt.Println(later())
func later() int {return 5}`}, `5`},
}

// refusedSnippets are those that cells cannot do yet.
var refusedSnippets = map[string]bool{
	"generic_func_def": true, "generic_type_def": true, "lib_generic_slices": true,
	"lib_generic_maps_atomic": true, "range_func": true, "goto_stmt": true,
}

// TestSnippets runs the snippets in one session: each gives what Go does, or is refused
// with a place and a reason.
func TestSnippets(t *testing.T) {
	g := newTest(t)
	n := 0
	right := 0
	for _, s := range snippets {
		var f *fault
		got := printed(t, func() {
			for _, c := range s.cells {
				n++
				if _, f = eval(t, g, n, c); f != nil {
					return
				}
			}
		})
		switch {
		case f == nil && strings.TrimSpace(got) == strings.TrimSpace(s.want):
			right++
			if refusedSnippets[s.name] {
				t.Errorf("%s runs: say so here and in the README", s.name)
			}
		case f == nil:
			t.Errorf("%s: printed %q, want %q", s.name, got, s.want)
		case !refusedSnippets[s.name] || f.Line == 0 || !strings.Contains(f.Message, "cells cannot do this yet: "):
			t.Errorf("%s: %s", s.name, strings.Join(f.text(g.Line), "\n"))
		}
	}
	t.Logf("%d of %d right, %d refused", right, len(snippets), len(refusedSnippets))
}

// printed is what f writes to the standard output.
func printed(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	out := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		r.Close()
		out <- string(b)
	}()
	f()
	os.Stdout = stdout
	w.Close()
	return <-out
}
