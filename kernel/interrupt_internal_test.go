package kernel

import (
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stoppable are kinds of code that runs for ever. One that shows something is interrupted
// when it has shown the text.
var stoppable = []struct{ name, code, shows string }{
	{"loop", "for { n++ }", ""},
	{"nested functions", "spin()", ""},
	{"sleep", "time.Sleep(time.Hour)", ""},
	{"receive", "<-never", ""},
	{"select", "select {}", ""},
	{"goroutine", "go func() { for { n++ } }()\nselect {}", ""},
	{"input", `kernel.Input(ctx, "? ")`, ""},
	{"SQL", `db.QueryRowContext(ctx, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c").Scan(&n)`, ""},
	{"lab.SQL", "lab.SQL(ctx, `WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c`)", ""},
	{"%sql", "%sql WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c", ""},
	{"start of a training", "lab.Train(ctx, cfg, ddpm.GradPenalty(1e-6))", ""},
	{"training", "lab.Train(ctx, cfg, ddpm.ADM())", " it/s"},
	{"evaluation", "lab.Train(ctx, evaluated, ddpm.ADM())", "iteration"},
	{"checkpoints", "lab.Train(ctx, saved, ddpm.ADM())", "samples at step 2"},
	{"sampling", "lab.Samples(ctx, run, 2000, 1000)", ""},
	{"foreign call", "wg.Wait()\nfor { n++ }", ""},
}

// everyPair is a walk over n things in which each comes after each, itself included.
func everyPair(n int) (walk []int) {
	for i := range n {
		walk = append(walk, i)
		for j := i + 1; j < n; j++ {
			walk = append(walk, i, j)
		}
	}
	return append(walk, 0)
}

// TestInterruptEachAfterEach interrupts every kind of cell after every other kind.
func TestInterruptEachAfterEach(t *testing.T) {
	if testing.Short() {
		t.Skip("takes over 2 s")
	}
	db := filepath.Join(t.TempDir(), "runs.db")
	t.Setenv("DDPMLAB_DB", db)
	b := newBench(t)
	b.stdin()
	a := b.execute(fmt.Sprintf(`import (
	"database/sql"
	"sync"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
)
lab := experiments.MustOpen(%q)
cfg := ddpm.Tour()
cfg.Iterations = 2
cfg.EvalSamples = 4
run := lab.Train(ctx, cfg, ddpm.ADM())
cfg.Iterations = 100000
cfg.EvalFirst = 0
evaluated, saved := cfg, cfg
evaluated.EvalFirst, evaluated.EvalSamples, evaluated.SamplingSteps = 1, 5000, 1000
saved.EvalFirst, saved.EvalEvery, saved.EvalSamples, saved.SamplingSteps = 1, 1, 2, 1
db, err := sql.Open("sqlite3", %[1]q)
var wg sync.WaitGroup
wg.Add(1)
never := make(chan int)
n := 0
kept := 41
func inner(i int) { n += i }
func spin() { for i := 0; ; i++ { inner(i) } }
`, db))
	if a.reply["status"] != "ok" {
		t.Fatal(a.reply["traceback"])
	}
	trained := 0
	took := map[string][]float64{} // by kind, in seconds
	interrupt := func(kind int) {
		k := stoppable[kind]
		id := b.send("execute_request", map[string]any{"code": k.code, "allow_stdin": true})
		if k.shows != "" {
			b.collect(id, func(a *answer) bool {
				n := len(a.content)
				return a.reply != nil || n > 0 && strings.Contains(fmt.Sprint(a.content[n-1]), k.shows)
			})
		}
		time.Sleep(20 * time.Millisecond)
		if k.name == "evaluation" || k.name == "sampling" { // into its loop, which shows nothing for long
			time.Sleep(100 * time.Millisecond)
		}
		begun := time.Now()
		if _, err := b.cl.send(b.cl.control, "interrupt_request", map[string]any{}); err != nil {
			t.Fatal(err)
		}
		foreign := k.name == "foreign call"
		if foreign { // the user has waited long enough
			time.Sleep(100 * time.Millisecond)
			b.k.mu.Lock()
			b.k.running.asked = begun.Add(-2 * impatience)
			b.k.mu.Unlock()
			b.k.interrupt()
		}
		a := b.wait(id)
		took[k.name] = append(took[k.name], time.Since(begun).Seconds())
		said := fmt.Sprint(a.reply["evalue"])
		if a.reply["ename"] != "interrupted" || strings.Contains(said, "abandoned") != foreign || strings.Contains(said, "context canceled") {
			t.Fatalf("%s: %v", k.name, a.reply)
		}
		if strings.Contains(k.code, "lab.Train") {
			isKept := strings.Contains(said, " steps are done and kept")
			if isKept {
				trained++
			}
			if !isKept && (k.shows != "" || !strings.Contains(said, "there is no run")) {
				t.Fatalf("%s: %s", k.name, said)
			}
		}
		if a := b.execute("kept + 1"); a.text() != "42" {
			t.Fatalf("after %s: %v", k.name, a.reply)
		}
	}
	for _, kind := range everyPair(len(stoppable)) {
		interrupt(kind)
	}

	for kind, times := range took {
		median, worst := Quantile(times, 0.5), Quantile(times, 1)
		t.Logf("%s: stopped after %.3f s, at worst %.3f s", kind, median, worst)
		if median > 0.5 { // at worst other tests have the processors
			t.Errorf("%s: stopped after %.3f s, want 0.5 s", kind, median)
		}
	}

	// what was given up does not go on when the call returns after all
	b.execute("wg.Done()\ntime.Sleep(100 * time.Millisecond)")
	before := b.execute("n").text()
	cpu := processorTime()
	time.Sleep(200 * time.Millisecond)
	if spent := processorTime() - cpu; spent > 100*time.Millisecond {
		t.Errorf("in 200 ms without a cell %v of processor time were spent", spent)
	}
	if after := b.execute("n").text(); after != before {
		t.Errorf("n went from %s to %s: something goes on", before, after)
	}
	if got := strings.Count(b.execute("lab.AllRuns()").text(), "interrupted"); got != trained {
		t.Errorf("%d interrupted runs were kept, want %d", got, trained)
	}
}

// TestInterruptStart interrupts trainings of a network of 57 million weights while they are
// compiled and planned, which takes seconds.
func TestInterruptStart(t *testing.T) {
	if testing.Short() {
		t.Skip("takes over 2 s")
	}
	b := newBench(t)
	photos := t.TempDir()
	f, err := os.Create(filepath.Join(photos, "a.png"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(png.Encode(f, image.NewGray(image.Rect(0, 0, 32, 32))), f.Close()); err != nil {
		t.Fatal(err)
	}
	a := b.execute(fmt.Sprintf("lab := experiments.MustOpen(%q)\ncfg, err := ddpm.CIFAR10().On(%q)\ncfg.Batch = 1\nerr",
		filepath.Join(t.TempDir(), "runs.db"), photos))
	if a.reply["status"] != "ok" || a.text() != "" {
		t.Fatal(a.reply, a.text())
	}
	var took []float64
	for _, ms := range []time.Duration{50, 150, 300, 500, 700} {
		id := b.send("execute_request", map[string]any{"code": "lab.Train(ctx, cfg, ddpm.GradPenalty(1e-6))"})
		time.Sleep(ms * time.Millisecond)
		begun := time.Now()
		if _, err := b.cl.send(b.cl.control, "interrupt_request", map[string]any{}); err != nil {
			t.Fatal(err)
		}
		a := b.wait(id)
		took = append(took, time.Since(begun).Seconds())
		if a.reply["ename"] != "interrupted" || !strings.Contains(fmt.Sprint(a.reply["evalue"]), "before its first step") {
			t.Errorf("after %d ms: %v", ms, a.reply)
		}
	}
	t.Logf("stopped after %.3f s", took)
	if median := Quantile(took, 0.5); median > 0.5 { // at worst other tests have the processors
		t.Errorf("stopped after %.3f s, want 0.5 s", median)
	}
}

// TestImpatience interrupts a second time what does not stop.
func TestImpatience(t *testing.T) {
	b := newBench(t)
	b.execute("import \"sync\"\nvar mu sync.Mutex\nmu.Lock()")
	id := b.send("execute_request", map[string]any{"code": "mu.Lock()"})
	time.Sleep(20 * time.Millisecond)
	begun := time.Now()
	b.k.interrupt()
	b.k.interrupt() // the same key struck twice
	time.Sleep(impatience + 10*time.Millisecond)
	b.k.interrupt()
	b.k.interrupt()
	if a := b.wait(id); !strings.Contains(fmt.Sprint(a.reply["evalue"]), "abandoned") {
		t.Errorf("reply %v", a.reply)
	}
	if took := time.Since(begun); took < impatience || took > impatience+time.Second {
		t.Errorf("given up after %v", took)
	}
	if a := b.execute("1 + 1"); a.text() != "2" {
		t.Errorf("afterwards: %v", a.reply)
	}
}

// TestSignal interrupts by SIGINT, as front ends do with kernels in signal mode.
func TestSignal(t *testing.T) {
	p, err := startKernel(filepath.Join(t.TempDir(), "a.ipynb"), nil)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := connect(t.Context(), p.connection)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop(cl)
	b := &bench{t: t, cl: cl, c: p.connection, answers: map[string]*answer{}}
	for _, code := range []string{"for {}", "select {}"} {
		id := b.send("execute_request", map[string]any{"code": code})
		time.Sleep(50 * time.Millisecond)
		if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if a := b.wait(id); a.reply["ename"] != "interrupted" {
			t.Errorf("%s: %v", code, a.reply)
		}
	}
	if a := b.execute("40 + 2"); a.text() != "42" {
		t.Errorf("afterwards: %v", a.reply)
	}
}

// TestControlRunsCells sends cells by the control socket, too: they run one at a time.
func TestControlRunsCells(t *testing.T) {
	b := newBench(t)
	b.execute("import \"time\"\nx := 0")
	var ids []string
	for i := range 6 {
		z := b.cl.shell
		if i%2 == 1 {
			z = b.cl.control
		}
		id, err := b.cl.send(z, "execute_request", map[string]any{"code": "y := x\ntime.Sleep(5*time.Millisecond)\nx = y + 1"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		b.wait(id)
	}
	if a := b.execute("x"); a.text() != "6" {
		t.Errorf("x is %s after 6 cells that add 1", a.text())
	}
}
