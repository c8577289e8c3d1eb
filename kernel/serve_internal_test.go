package kernel

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// bench is a kernel in this process, without captured output, and a client.
type bench struct {
	t    *testing.T
	k    *kernel
	c    connection
	cl   *client
	done chan error
	log  *testLog

	answers map[string]*answer // by request
}

func newBench(t *testing.T) *bench {
	t.Helper()
	c, err := newConnection()
	if err != nil {
		t.Fatal(err)
	}
	return newBenchAt(t, c)
}

// newBenchAt is newBench with the kernel listening at c.
func newBenchAt(t *testing.T, c connection) *bench {
	t.Helper()
	k, err := newKernel(c)
	if err != nil {
		t.Fatal(err)
	}
	log := &testLog{t: t}
	k.logger = log
	b := &bench{t: t, k: k, c: c, log: log, done: make(chan error, 1), answers: map[string]*answer{}}
	go func() { b.done <- k.run(context.Background()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if b.cl, err = connect(ctx, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.cl.close()
		k.shutdown()
		if err := <-b.done; err != nil {
			t.Error(err)
		}
	})
	return b
}

// testLog is a kernel's log in a test.
type testLog struct {
	t  *testing.T
	mu sync.Mutex
	b  strings.Builder
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Logf("%s", p)
	return l.b.Write(p)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// answer is what a request led to.
type answer struct {
	reply   map[string]any
	outputs []string         // message types, statuses left out
	content []map[string]any // of outputs
	idle    bool
}

// send sends a request on the shell socket.
func (b *bench) send(typ string, content any) string {
	b.t.Helper()
	id, err := b.cl.send(b.cl.shell, typ, content)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// wait collects what the request led to.
func (b *bench) wait(id string) answer {
	b.t.Helper()
	return b.collect(id, func(a *answer) bool { return a.reply != nil && a.idle })
}

// idle is wait for what has no reply.
func (b *bench) idle(id string) answer {
	b.t.Helper()
	return b.collect(id, func(a *answer) bool { return a.idle })
}

func (b *bench) collect(id string, done func(*answer) bool) answer {
	b.t.Helper()
	of := func(m *message) *answer {
		if b.answers[m.Parent.ID] == nil {
			b.answers[m.Parent.ID] = &answer{}
		}
		return b.answers[m.Parent.ID]
	}
	timeout := time.After(time.Minute) // of a machine that does much else
	for b.answers[id] == nil || !done(b.answers[id]) {
		select {
		case m := <-b.cl.replies:
			of(m).reply = jsonOf(b.t, m)
			if want := strings.Replace(m.Parent.Type, "_request", "_reply", 1); m.Header.Type != want {
				b.t.Errorf("reply of type %s, want %s", m.Header.Type, want)
			}
		case m := <-b.cl.outputs:
			a := of(m)
			if m.Header.Type != "status" {
				a.outputs = append(a.outputs, m.Header.Type)
				a.content = append(a.content, jsonOf(b.t, m))
			}
			a.idle = a.idle || isIdle(m)
		case <-timeout:
			b.t.Fatalf("no answer; so far: %+v", b.answers[id])
		}
	}
	return *b.answers[id]
}

func (b *bench) ask(typ string, content any) answer {
	b.t.Helper()
	return b.wait(b.send(typ, content))
}

func (b *bench) execute(code string) answer {
	b.t.Helper()
	return b.ask("execute_request", map[string]any{"code": code})
}

// text is the text/plain of the answer's execute_result, or of the first output.
func (a answer) text() string {
	for i, typ := range a.outputs {
		if typ == "execute_result" || typ == "display_data" {
			data, _ := a.content[i]["data"].(map[string]any)
			s, _ := data["text/plain"].(string)
			return s
		}
	}
	return ""
}

func TestKernelInfo(t *testing.T) {
	b := newBench(t)
	got := b.ask("kernel_info_request", nil).reply
	if got["status"] != "ok" || got["protocol_version"] != "5.5" || got["implementation"] != "ddpmlab" {
		t.Errorf("got %v", got)
	}
	// what front ends go by: JupyterLab and VS Code by the names of the language and of its
	// modes, to highlight; nbconvert by the lexer and the exporter, and all by the extension
	want := map[string]any{
		"name": "go", "version": strings.TrimPrefix(runtime.Version(), "go"), "mimetype": "text/x-go", "file_extension": ".go",
		"pygments_lexer": "go", "codemirror_mode": "go", "nbconvert_exporter": "script",
	}
	if l, _ := got["language_info"].(map[string]any); !maps.Equal(l, want) {
		t.Errorf("language_info %v, want %v", l, want)
	}
}

func TestExecute(t *testing.T) {
	b := newBench(t)
	a := b.execute("x := 20")
	if a.reply["status"] != "ok" || a.reply["execution_count"] != 1.0 || fmt.Sprint(a.outputs) != "[execute_input]" {
		t.Errorf("first cell: %v %v", a.reply, a.outputs)
	}
	a = b.execute("x + 22")
	if a.text() != "42" || a.content[len(a.content)-1]["execution_count"] != 2.0 {
		t.Errorf("second cell: %v", a.content)
	}

	a = b.ask("execute_request", map[string]any{"code": "x + 1", "silent": true})
	if a.reply["execution_count"] != 2.0 || len(a.outputs) != 0 {
		t.Errorf("silent cell: %v %v", a.reply, a.outputs)
	}
	a = b.ask("execute_request", map[string]any{"code": "x + 2", "store_history": false})
	if a.reply["execution_count"] != 2.0 || a.text() != "22" {
		t.Errorf("cell without history: %v %v", a.reply, a.content)
	}

	a = b.ask("execute_request", map[string]any{"code": "", "user_expressions": map[string]string{"good": "x * 2", "bad": "nothing"}})
	exprs := a.reply["user_expressions"].(map[string]any)
	good, bad := exprs["good"].(map[string]any), exprs["bad"].(map[string]any)
	if good["status"] != "ok" || good["data"].(map[string]any)["text/plain"] != "40" {
		t.Errorf("good expression: %v", good)
	}
	if bad["status"] != "error" || bad["evalue"] != "undefined: nothing" {
		t.Errorf("bad expression: %v", bad)
	}
}

func TestExecuteError(t *testing.T) {
	b := newBench(t)
	b.execute("y := 1")
	a := b.execute("\ny / (y - 1)")
	want := []any{"cell 2, line 2: panic: integer divide by zero", "    2 | y / (y - 1)"}
	if fmt.Sprint(a.reply["traceback"]) != fmt.Sprint(want) || a.reply["status"] != "error" || a.reply["ename"] != "panic" {
		t.Errorf("reply %v, want traceback %v", a.reply, want)
	}
	if fmt.Sprint(a.outputs) != "[execute_input error]" || fmt.Sprint(a.content[1]["traceback"]) != fmt.Sprint(want) {
		t.Errorf("outputs %v %v", a.outputs, a.content)
	}
}

// TestValues shows values of several kinds, from compiled code.
func TestValues(t *testing.T) {
	b := newBench(t)
	b.execute(`import (
	"ddpmlab/kerneltest"
	"errors"
)`)
	tests := []struct {
		src   string
		types string // of what is shown
		text  string // beginning
		err   string
	}{
		{"kerneltest.Table()", "text/html text/latex text/markdown text/plain", "a", ""},
		{"kerneltest.Both(true)", "text/html text/latex text/markdown text/plain", "a", ""},
		{"kerneltest.Both(false)", "", "", "cell %d, line 1: error: no table today"},
		{"\nerrors.New(\"e\")", "", "", "cell %d, line 2: error: e"},
		{"errors.New(\"e\");", "", "", "cell %d, line 1: error: e"},
		{"error(nil)", "", "", ""},
		{"nil", "", "", ""},
		{"[]float64{1.5}", "text/plain", "[1.5]", ""},
		{"func(i int) int { return i }", "text/plain", "func(i int) int", ""},
		{"make(chan int)", "text/plain", "chan int", ""},
		{"new(float64)", "text/plain", "*float64", ""},
		{"&[]int{1}", "text/plain", "&[1]", ""},
		{"var none *float64\nnone", "text/plain", "<nil>", ""},
		{"kerneltest.Source(ctx)", "text/plain", `%d "kerneltest.Source(ctx)" after`, ""},
		{"x := 1\nkerneltest.Fail()", "", "", "cell %d, line 2: error: no run called x; see lab.AllRuns()"},
	}
	for _, tt := range tests {
		a := b.execute(tt.src)
		n := int(a.reply["execution_count"].(float64))
		fill := func(s string) string { return strings.ReplaceAll(s, "%d", fmt.Sprint(n)) }
		if tt.err != "" {
			lines, _ := a.reply["traceback"].([]any)
			if len(lines) == 0 || lines[0] != fill(tt.err) || strings.Contains(fmt.Sprint(lines), "compiled code") {
				t.Errorf("%s: got %v, want %q", tt.src, a.reply, fill(tt.err))
			}
			continue
		}
		if a.reply["status"] != "ok" || !strings.HasPrefix(a.text(), fill(tt.text)) {
			t.Errorf("%s: got %v %q, want %q", tt.src, a.reply, a.text(), fill(tt.text))
		}
		got := ""
		if len(a.content) > 1 {
			data := a.content[1]["data"].(map[string]any)
			for _, mime := range []string{"text/html", "text/latex", "text/markdown", "text/plain"} {
				if _, ok := data[mime]; ok {
					got += " " + mime
				}
			}
		}
		if strings.TrimSpace(got) != tt.types {
			t.Errorf("%s: shown as %s, want %s", tt.src, got, tt.types)
		}
	}
}

// TestDisplay trains: the progress and the curve are one display each, updated, and end
// with the last state.
func TestDisplay(t *testing.T) {
	b := newBench(t)
	a := b.execute("import \"ddpmlab/kerneltest\"\nkerneltest.Train(ctx, 700)")
	if a.text() != "700" && a.reply["status"] != "ok" {
		t.Fatalf("reply %v", a.reply)
	}
	displays := map[string]bool{}
	updates := 0
	var lastText string
	svg, png, last := 0, 0, false
	for i, typ := range a.outputs {
		if !strings.HasSuffix(typ, "display_data") {
			continue
		}
		c := a.content[i]
		id := c["transient"].(map[string]any)["display_id"].(string)
		if typ == "display_data" {
			displays[id] = true
		} else {
			updates++
			if !displays[id] {
				t.Errorf("update of %s before its display", id)
			}
		}
		data := c["data"].(map[string]any)
		if _, ok := data["image/svg+xml"]; ok {
			svg++
			s, _ := data["image/png"].(string)
			if last = strings.HasPrefix(s, "iVBOR"); last {
				png++
			}
		} else {
			lastText = data["text/plain"].(string)
		}
	}
	if len(displays) != 2 || updates < 3 || svg < 2 {
		t.Errorf("%d displays, %d updates, %d SVG", len(displays), updates, svg)
	}
	if png != 1 || !last { // it costs too much while training
		t.Errorf("%d curves with a PNG, want the last one only", png)
	}
	if updates > 30 {
		t.Errorf("%d updates in less than a second: not throttled", updates)
	}
	if !strings.Contains(lastText, "700/700") || !strings.Contains(lastText, "done") {
		t.Errorf("last progress is %q", lastText)
	}
}

func TestQueueAborted(t *testing.T) {
	b := newBench(t)
	b.execute("import \"time\"")
	ids := []string{
		b.send("execute_request", map[string]any{"code": "time.Sleep(100*time.Millisecond)\npanic(1)"}),
		b.send("execute_request", map[string]any{"code": "1"}),
		b.send("kernel_info_request", nil),
	}
	time.Sleep(50 * time.Millisecond)
	var got []string
	for _, id := range ids {
		got = append(got, b.wait(id).reply["status"].(string))
	}
	if fmt.Sprint(got) != "[error aborted ok]" {
		t.Errorf("statuses %v", got)
	}
	ids = []string{
		b.send("execute_request", map[string]any{"code": "time.Sleep(100*time.Millisecond)\npanic(1)", "stop_on_error": false}),
		b.send("execute_request", map[string]any{"code": "1"}),
	}
	if a, c := b.wait(ids[0]), b.wait(ids[1]); a.reply["status"] != "error" || c.reply["status"] != "ok" {
		t.Errorf("without stop_on_error: %v, %v", a.reply, c.reply)
	}
}

func TestOtherRequests(t *testing.T) {
	b := newBench(t)
	b.execute("import \"strings\"")
	b.execute("größe := 3")
	b.execute("größe")
	tests := []struct {
		typ     string
		content map[string]any
		want    string
	}{
		{"complete_request", map[string]any{"code": "é := strings.ToU", "cursor_pos": 16}, "map[cursor_end:16 cursor_start:13 matches:[ToUpper ToUpperSpecial] metadata:map[] status:ok]"},
		{"complete_request", map[string]any{"code": "nothing.", "cursor_pos": 99}, "map[cursor_end:8 cursor_start:8 matches:[] metadata:map[] status:ok]"},
		{"inspect_request", map[string]any{"code": "1 + größe", "cursor_pos": 6, "detail_level": 0}, "map[data:map[text/plain:var größe int\n\ndeclared in cell 2, line 1] found:true metadata:map[] status:ok]"},
		{"inspect_request", map[string]any{"code": "none", "cursor_pos": 1}, "map[data:map[] found:false metadata:map[] status:ok]"},
		{"is_complete_request", map[string]any{"code": "for {"}, "map[indent:\t status:incomplete]"},
		{"is_complete_request", map[string]any{"code": "1"}, "map[status:complete]"},
		{"comm_info_request", map[string]any{}, "map[comms:map[] status:ok]"},
		{"history_request", map[string]any{"hist_access_type": "tail", "n": 2}, "map[history:[[1 2 größe := 3] [1 3 größe]] status:ok]"},
		{"history_request", map[string]any{"hist_access_type": "tail", "n": 1, "output": true}, "map[history:[[1 3 [größe 3]]] status:ok]"},
		{"history_request", map[string]any{"hist_access_type": "range", "start": 1, "stop": 2}, "map[history:[[1 1 import \"strings\"]] status:ok]"},
		{"history_request", map[string]any{"hist_access_type": "search", "pattern": "gr*", "n": 5}, "map[history:[[1 2 größe := 3] [1 3 größe]] status:ok]"},
	}
	for _, tt := range tests {
		if got := fmt.Sprint(b.ask(tt.typ, tt.content).reply); got != tt.want {
			t.Errorf("%s %v:\ngot  %s\nwant %s", tt.typ, tt.content, got, tt.want)
		}
	}
	if a := b.execute("1"); a.reply["execution_count"] != 4.0 {
		t.Errorf("requests changed the count: %v", a.reply)
	}
}

// TestBusy runs a cell that would never end, while control and heartbeat answer, and
// interrupts it by message.
func TestBusy(t *testing.T) {
	b := newBench(t)
	b.execute("kept := 41")
	for _, code := range []string{"for {}", "<-ctx.Done()"} {
		id := b.send("execute_request", map[string]any{"code": code})
		time.Sleep(20 * time.Millisecond)

		info, err := b.cl.send(b.cl.control, "kernel_info_request", map[string]any{})
		if err != nil {
			t.Fatal(err)
		}
		if a := b.wait(info); a.reply["status"] != "ok" {
			t.Errorf("kernel_info on control: %v", a.reply)
		}
		for typ, want := range map[string]string{"complete_request": "[kept]", "inspect_request": "var kept int"} {
			ask, err := b.cl.send(b.cl.control, typ, map[string]any{"code": "kept", "cursor_pos": 4})
			if err != nil {
				t.Fatal(err)
			}
			if a := b.wait(ask); !strings.Contains(fmt.Sprint(a.reply), want) {
				t.Errorf("%s on control: %v", typ, a.reply)
			}
		}
		hb, err := dial(t.Context(), b.c, b.c.Heartbeat, req, "")
		if err != nil {
			t.Fatal(err)
		}
		hb.write([][]byte{{}, []byte("ping")})
		if f, err := hb.read(); err != nil || string(f[1]) != "ping" {
			t.Errorf("heartbeat: %q, %v", f, err)
		}
		hb.Close()

		begun := time.Now()
		stop, err := b.cl.send(b.cl.control, "interrupt_request", map[string]any{})
		if err != nil {
			t.Fatal(err)
		}
		a := b.wait(id)
		if a.reply["status"] != "error" || a.reply["ename"] != "interrupted" {
			t.Errorf("%s: reply %v, want interrupted", code, a.reply)
		}
		if d := time.Since(begun); d > time.Second {
			t.Errorf("%s: interrupted after %v", code, d)
		}
		_ = stop
		if a := b.execute("kept + 1"); a.text() != "42" {
			t.Errorf("after %s: %v", code, a.reply)
		}
	}
}

func TestShutdown(t *testing.T) {
	for _, code := range []string{"1", "for {}", "import \"time\"\ntime.Sleep(time.Hour)"} {
		t.Run(code, func(t *testing.T) {
			b := newBench(t)
			b.send("execute_request", map[string]any{"code": code})
			time.Sleep(20 * time.Millisecond)
			begun := time.Now()
			id, err := b.cl.send(b.cl.control, "shutdown_request", map[string]any{"restart": true})
			if err != nil {
				t.Fatal(err)
			}
			if a := b.wait(id); a.reply["restart"] != true || a.reply["status"] != "ok" {
				t.Errorf("reply %v", a.reply)
			}
			err = <-b.done
			b.done <- err // for the clean-up
			if d := time.Since(begun); err != nil || d > 3*time.Second {
				t.Errorf("ended after %v: %v", d, err)
			}
		})
	}
}

// TestUninvited sends twice whatever a kernel is not to obey: nothing comes of it, it is
// logged once, and the kernel goes on.
func TestUninvited(t *testing.T) {
	b := newBench(t)
	const code = `{"code": "x := 1"}`
	forged := func(key string) [][]byte {
		f, err := newSession(key).encode(nil, "execute_request", nil, json.RawMessage(code))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	signed := func(parts ...string) [][]byte {
		f := [][]byte{delimiter, nil}
		for _, p := range parts {
			f = append(f, []byte(p))
		}
		f[1] = b.k.session.sign(f[2:])
		return f
	}
	once := signed(`{"msg_id": "1", "msg_type": "kernel_info_request"}`, "{}", "{}", "{}")
	long := []byte{flagLong, 0, 0, 0, 0, maxMessage >> 24, 0, 0, 1}
	peers := []struct {
		name string
		send func(z *zmtp)
		want string // in the log
	}{
		{"another key", func(z *zmtp) { z.write(forged("guessed")) }, "a wrong signature"},
		{"no signature", func(z *zmtp) { f := forged(b.c.Key); f[1] = nil; z.write(f) }, "a wrong signature"},
		{"other content", func(z *zmtp) { f := forged(b.c.Key); f[5] = []byte(`{"code": "y := 1"}`); z.write(f) }, "a wrong signature"},
		{"no message", func(z *zmtp) { z.write([][]byte{[]byte("nonsense")}) }, "too few frames"},
		{"replay", func(z *zmtp) { z.write(once, once) }, "received before"},
		{"header", func(z *zmtp) { z.write(signed("{", "{}", "{}", code)) }, "message header: "},
		{"parent", func(z *zmtp) { z.write(signed("{}", "[", "{}", code)) }, "message parent header: "},
		{"content", func(z *zmtp) { z.write(signed("{}", "{}", "{}", "{")) }, "is not JSON"},
		{"type", func(z *zmtp) { z.write(signed(`{"msg_type": "execute_it"}`, "{}", "{}", code)) }, `no answer to messages of type "execute_it"`},
		{"oversized", func(z *zmtp) { z.conn.Write(long) }, "message is longer than"},
	}
	for _, p := range peers {
		for range 2 {
			z, err := dial(t.Context(), b.c, b.c.Shell, dealer, "")
			if err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
			p.send(z)
			z.conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
			if got, err := z.read(); err == nil && p.name != "replay" {
				t.Errorf("%s: answered with %q", p.name, got)
			}
			z.Close()
		}
	}
	network, address := b.c.address(b.c.Control)
	for _, h := range badHandshakes {
		conn, err := net.Dial(network, address)
		if err != nil {
			t.Fatalf("%s: %v", h.name, err)
		}
		conn.Write([]byte(h.sent))
		io.Copy(io.Discard, conn) // until the kernel has had enough
		conn.Close()
	}
	if a := b.ask("execute_request", "not an object"); a.reply["status"] != "error" {
		t.Errorf("content that is no object: %v", a.reply)
	}
	if a := b.execute("x"); a.reply["ename"] != compileError {
		t.Errorf("a message was obeyed: %v", a.reply)
	}
	if a := b.execute("40 + 2"); a.text() != "42" {
		t.Errorf("afterwards: %v %v", a.reply, a.content)
	}
	all := b.log.String()
	lines := strings.Count(all, "\n")
	said := map[string]bool{"a client of the ROUTER socket was disconnected: it does not speak ZeroMQ 3": true}
	for _, p := range peers {
		said[p.want] = true
	}
	for what := range said {
		if n := strings.Count(all, what); n != 1 {
			t.Errorf("%q was logged %d times, want once", what, n)
		}
	}
	if lines != len(said) || strings.Count(all, "(said once)\n") != lines {
		t.Errorf("%d lines were logged, want %d:\n%s", lines, len(said), all)
	}
}

// TestListens looks at all sockets of a kernel's process: it listens where its connection
// file says, and nowhere else.
func TestListens(t *testing.T) {
	p, err := startKernel(filepath.Join(t.TempDir(), "a.ipynb"), nil)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := connect(t.Context(), p.connection)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop(cl)
	pid := p.cmd.Process.Pid
	own := map[string]bool{} // sockets' inodes
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || files == nil {
		t.Skip("this system does not list a process's files in /proc")
	}
	for _, f := range files {
		if to, err := os.Readlink(f); err == nil {
			own[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	var got, want []string
	for _, protocol := range []string{"tcp", "tcp6", "udp", "udp6"} {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, protocol))
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(string(table)) {
			f := strings.Fields(l) // 1 the local address, 3 the state, 9 the inode
			const listening, unconnected = "0A", "07"
			if len(f) > 9 && own[f[9]] && (f[3] == listening || f[3] == unconnected) {
				got = append(got, protocol+" "+f[1])
			}
		}
	}
	for _, port := range p.connection.ports() {
		want = append(want, fmt.Sprintf("tcp %08X:%04X", binary.NativeEndian.Uint32([]byte{127, 0, 0, 1}), port.port))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("listens at %q, want %q", got, want)
	}
}

// TestIPC talks to a kernel by files, which are gone when it has ended.
func TestIPC(t *testing.T) {
	c, err := newConnection()
	if err != nil {
		t.Fatal(err)
	}
	c.Transport, c.IP = "ipc", filepath.Join(t.TempDir(), "kernel")
	sockets := func() int {
		files, err := filepath.Glob(c.IP + "-*")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	t.Run("session", func(t *testing.T) {
		b := newBenchAt(t, c)
		if a := b.execute("40 + 2"); a.text() != "42" {
			t.Errorf("got %v", a.reply)
		}
		if n := sockets(); n != 5 {
			t.Errorf("%d sockets, want 5", n)
		}
	})
	if n := sockets(); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

// TestIdleInterrupt stops what an earlier cell left running.
func TestIdleInterrupt(t *testing.T) {
	b := newBench(t)
	b.execute("old := ctx\nimport \"time\"")
	if a := b.execute("old.Err() == nil"); a.text() != "true" {
		t.Errorf("a context ended with its cell: %v", a.content)
	}
	b.k.interrupt()
	if a := b.execute("old.Err() == nil"); a.text() != "false" {
		t.Errorf("an interrupt while idle left the old context: %v", a.content)
	}
	if a := b.execute("ctx.Err() == nil"); a.text() != "true" {
		t.Errorf("the next cell's context: %v", a.content)
	}
}

// TestOrphan ends the process that started a kernel.
func TestOrphan(t *testing.T) {
	if testing.Short() {
		t.Skip("takes over 2 s")
	}
	c, err := newConnection()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "connection.json")
	if err := c.write(file); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command("sh", "-c", `"$0" kernel serve -f "$1" 2>/dev/null & sleep 60`, self, file)
	parent.Env = append(os.Environ(), "JPY_PARENT_PID=1")
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cl, err := connect(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	if _, err := cl.send(cl.shell, "execute_request", map[string]any{"code": "for {}"}); err != nil {
		t.Fatal(err)
	}
	parent.Process.Kill()
	parent.Wait()
	select {
	case <-cl.lost:
	case <-ctx.Done():
		t.Error("the kernel goes on without its parent")
	}
}
