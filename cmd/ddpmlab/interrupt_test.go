package main

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
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
		code = run(t.Context(), append(line, "--db", db), world{out: &b, err: errs})
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
	if said == nil || said[2] != db {
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
