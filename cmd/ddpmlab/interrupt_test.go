package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pressed is an error output that sends this process SIGINT, as Ctrl-C does, once the
// text occurs in what is written to it.
type pressed struct {
	at   string
	mu   sync.Mutex
	text strings.Builder
	done bool
}

func (p *pressed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.text.Write(b)
	if !p.done && strings.Contains(p.text.String(), p.at) {
		p.done = true
		return n, syscall.Kill(syscall.Getpid(), syscall.SIGINT)
	}
	return n, err
}

// Ctrl-C keeps the run and says how to go on; going on ends it.
func TestInterruptAndResume(t *testing.T) {
	db := filepath.Join(t.TempDir(), "a.db")
	do := func(errs *pressed, line ...string) (code int, out string) {
		t.Helper()
		var b strings.Builder
		code = run(t.Context(), append(line, "--db", db), world{out: &b, err: errs, env: os.Getenv})
		return code, b.String()
	}
	errs := &pressed{at: "it/s"} // the first step is done
	code, out := do(errs, "train", "--iterations", "100", "--batch", "4", "--set", "eval_samples=0",
		"--set", "model.channels=8", "--set", "model.head_channels=8")
	if code != exitInterrupted || !regexp.MustCompile(`(?m)^status +interrupted`).MatchString(out) {
		t.Fatalf("exit code %d, want %d; it said %s%s", code, exitInterrupted, out, errs.text.String())
	}
	said := regexp.MustCompile("(?m)^ddpmlab: training interrupted after [1-9][0-9]* of 100 steps; the run is kept, " +
		"and `ddpmlab train --resume ([0-9A-Z]{26}) --db (.*)` goes on with it$").FindStringSubmatch(errs.text.String())
	if said == nil || said[2] != db || strings.Contains(errs.text.String(), "context canceled") {
		t.Fatalf("it said %s", errs.text.String())
	}

	if code, out := do(&pressed{at: "never"}, "train", "--resume", said[1]); code != exitOK {
		t.Fatalf("exit code %d: %s", code, out)
	}
	_, out = do(&pressed{at: "never"}, "runs", "list", "--json")
	var runs []struct {
		ID, Status string
		Step       int
	}
	if err := json.Unmarshal([]byte(out), &runs); err != nil {
		t.Fatal(err)
	}
	if len(runs) != 1 || runs[0].ID != said[1] || runs[0].Status != "finished" || runs[0].Step != 100 {
		t.Errorf("got %v, want the one run %s, finished at step 100", runs, said[1])
	}
}

// killed runs the program as a process of its own and kills it, as kill -9 does, once the
// text occurs in its error output.
func killed(t *testing.T, at string, line ...string) {
	t.Helper()
	cmd := exec.Command("ddpmlab", line...)
	errs, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for buf := make([]byte, 256); !strings.Contains(text.String(), at); {
		n, err := errs.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			t.Fatalf("it ended before it could be killed: %s", text.String())
		}
	}
	time.Sleep(150 * time.Millisecond) // what was recorded is on disk within 50
	cmd.Process.Kill()
	if cmd.Wait(); cmd.ProcessState.Exited() {
		t.Fatalf("it ended before it was killed: %s", text.String())
	}
}

// A run whose process was killed goes on from its last checkpoint. Without one it does
// not begin anew unasked, and says what there is to do.
func TestKillAndResume(t *testing.T) {
	for _, tt := range []struct{ name, every string }{{"with a checkpoint", "1"}, {"without", "700"}} {
		t.Run(tt.name, func(t *testing.T) {
			db := filepath.Join(t.TempDir(), "a.db")
			do := func(line ...string) (code int, out, errs string) {
				var o, e strings.Builder
				code = run(t.Context(), append(line, "--db", db), world{out: &o, err: &e, env: os.Getenv})
				return code, o.String(), e.String()
			}
			type listed struct {
				ID, Status string
				Step       int
			}
			list := func() (runs []listed) {
				_, out, _ := do("runs", "list", "--json")
				if err := json.Unmarshal([]byte(out), &runs); err != nil {
					t.Fatal(err)
				}
				return runs
			}
			killed(t, "it/s", "train", "--iterations", "600", "--batch", "4", "--set", "eval_samples=0", "--checkpoints", tt.every,
				"--set", "model.channels=8", "--set", "model.head_channels=8", "--db", db)
			runs := list()
			if len(runs) != 1 || runs[0].Status != "crashed" || runs[0].Step < 1 {
				t.Fatalf("got %v, want one crashed run", runs)
			}
			id := runs[0].ID
			code, out, errs := do("train", "--resume", id[:20])
			if tt.every == "1" {
				if code != exitOK {
					t.Fatalf("exit code %d: %s%s", code, out, errs)
				}
				if runs = list(); len(runs) != 1 || runs[0] != (listed{id, "finished", 600}) {
					t.Errorf("got %v, want the run finished", runs)
				}
				return
			}
			want := regexp.MustCompile("(?m)^ddpmlab: checkpoint is not here: run " + id + " \\(ADM\\) crashed at step [0-9]+, before its first one, " +
				"so nothing of it can be continued; `ddpmlab train --resume " + id[:20] + " --db " + regexp.QuoteMeta(db) + " --rerun` trains it anew$")
			if code != exitFailed || !want.MatchString(errs) {
				t.Errorf("exit code %d, it said %s", code, errs)
			}
			if again := list(); !slices.Equal(again, runs) {
				t.Errorf("got %v, want the runs as they were", again)
			}
			if code, _, errs := do("train", "--resume", id, "--rerun"); code != exitOK {
				t.Fatalf("exit code %d: %s", code, errs)
			}
			if runs = list(); len(runs) != 2 || runs[0].Status != "crashed" || runs[1].Status != "finished" || runs[1].Step != 600 {
				t.Errorf("got %v, want the crashed run and a finished one", runs)
			}
		})
	}
}
