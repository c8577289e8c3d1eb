package kernel

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newProcess is a kernel in a process of its own, whose output is captured, and a client.
func newProcess(t *testing.T) *bench {
	t.Helper()
	p, err := startKernel(filepath.Join(t.TempDir(), "a.ipynb"), nil)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := connect(t.Context(), p.connection)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop(cl) })
	return &bench{t: t, cl: cl, c: p.connection, answers: map[string]*answer{}}
}

// TestMuchOutput prints 10 MB and updates a display 20,000 times: all arrives.
func TestMuchOutput(t *testing.T) {
	if testing.Short() {
		t.Skip("times what the race detector slows down")
	}
	b := newProcess(t)
	b.execute("import (\n\t\"fmt\"\n\t\"strings\"\n)\nline := strings.Repeat(\"x\", 99) + \"\\n\"")
	begun := time.Now()
	a := b.execute("fmt.Print(strings.Repeat(line, 100000))")
	took := time.Since(begun)
	if n := len(a.printed()); n != 10_000_000 {
		t.Errorf("%d bytes of 10 MB arrived", n)
	}
	if took > 2*time.Second { // 0.5 s on an idle machine
		t.Errorf("10 MB took %v", took)
	}
	t.Logf("10 MB in %v", took)

	a = b.execute("d := kernel.Show(ctx, 0)\nfor i := 1; i <= 20000; i++ { d.Update(ctx, i) }")
	n := 0
	for _, c := range a.content {
		if data, ok := c["data"].(map[string]any); ok {
			var got int
			if err := json.Unmarshal([]byte(data["text/plain"].(string)), &got); err != nil || got != n {
				t.Fatalf("update %d is %v", n, data)
			}
			n++
		}
	}
	if n != 20001 {
		t.Errorf("%d of 20,001 displays arrived", n)
	}
}

// TestOutputPlaces prints from a goroutine after its cell's end and from a child process.
func TestOutputPlaces(t *testing.T) {
	b := newProcess(t)
	id := b.send("execute_request", map[string]any{"code": "import (\n\t\"fmt\"\n\t\"time\"\n)\ngo func() { time.Sleep(100*time.Millisecond); fmt.Println(\"late\") }()"})
	b.wait(id)
	deadline := time.Now().Add(5 * time.Second)
	for !strings.Contains(b.answers[id].printed(), "late") && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
		b.ask("kernel_info_request", nil)
	}
	if got := b.answers[id].printed(); got != "late\n" {
		t.Errorf("the cell that has ended printed %q", got)
	}
}
