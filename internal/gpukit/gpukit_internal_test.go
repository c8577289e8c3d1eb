package gpukit

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A report keeps the phases in their order, a phase's last result, and what it says.
func TestReport(t *testing.T) {
	r := &Report{GPU: "a GPU", Driver: "libcuda.so.1, CUDA 13.0", Program: "v1"}
	for _, x := range []Result{
		{Command: Speed, Phase: "steps", Verdict: Fail, Summary: "too slow"},
		{Command: Check, Phase: "graph", Verdict: Pass, Summary: "the same bits"},
		{Command: Speed, Phase: "steps", Verdict: Pass, Summary: "fast", Tables: []*Table{{"times", []string{"work", "ms"}, [][]string{{"step", "21.00"}}}, {"none", nil, nil}}},
	} {
		r.put(x)
	}
	path := filepath.Join(t.TempDir(), ReportFile)
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	read, err := ReadReport(path)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, table := range read.Rendered() {
		text.WriteString(table.String() + "\n")
	}
	at := 0
	for _, want := range []string{"a GPU; driver libcuda.so.1, CUDA 13.0; ddpmlab v1", "graph", "PASS", "the same bits", "steps", "fast", "times", "21.00"} {
		i := strings.Index(text.String()[at:], want)
		if i < 0 {
			t.Fatalf("no %q after %d in:\n%s", want, at, text.String())
		}
		at += i
	}
	if strings.Contains(text.String(), "too slow") || strings.Contains(text.String(), Unmeasured) {
		t.Errorf("an old result, or a note on a GPU's report:\n%s", text.String())
	}
	if r.Fake = true; !strings.Contains(r.Note(), Unmeasured) {
		t.Errorf("the note on a report of the test double is %q", r.Note())
	}
}

func TestReadReportRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	for _, tt := range []struct{ text, want string }{
		{"PASS", "is no report of the GPU kit"}, {"{}", "it names no GPU"}, {"[]", "is no report"},
	} {
		if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadReport(path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q", tt.text, err, tt.want)
		}
	}
	if _, err := ReadReport(path + "x"); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestOnly(t *testing.T) {
	p, err := Options{Command: Speed, Only: []string{"samples", "plan"}}.phases()
	if err != nil || len(p) != 2 || p[0].name != "plan" {
		t.Errorf("phases %v, error %v", p, err)
	}
	if _, err := (Options{Command: Speed, Only: []string{"graph"}}).phases(); err == nil || !strings.Contains(err.Error(), "speed has no phase \"graph\"; there are plan, ") {
		t.Errorf("error %v", err)
	}
	for _, command := range []string{Check, Speed} {
		var sum time.Duration
		all, _ := Options{Command: command}.phases()
		for _, p := range all {
			sum += p.limit
		}
		if sum > 600*time.Second {
			t.Errorf("the phases of %s may take %v, want ten minutes", command, sum)
		}
	}
}

// A phase that says something and then crashes, hangs or is silent has failed, with what it
// said kept.
func TestStart(t *testing.T) {
	for _, tt := range []struct{ name, script, verdict, summary string }{
		{"good", `echo '{"verdict":"PASS","summary":"a"}'; echo '{"verdict":"PASS","summary":"all"}'`, Pass, "all"},
		{"skipped", `echo '{"verdict":"SKIP","summary":"not there"}'`, Skip, "not there"},
		{"failed", `echo '{"verdict":"FAIL","summary":"wrong"}'; echo more >&2; exit 1`, Fail, "wrong"},
		{"crash", `echo '{"verdict":"PASS","summary":"half"}'; echo 'SIGSEGV: bad' >&2; exit 2`, Fail, "SIGSEGV: bad"},
		{"hang", `echo '{"verdict":"PASS","summary":"half"}'; sleep 60`, Fail, "; half"},
		{"silent", `:`, Fail, "it ended without a result"},
		{"garbage", `echo hello`, Fail, `said "hello`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var kept []Result
			o := Options{Dir: t.TempDir(), Self: []string{"sh", "-c", tt.script}, Python: "python3"}
			x := o.start(context.Background(), phase{Check, "doctor", time.Second, nil}, func(x Result) error {
				kept = append(kept, x)
				return nil
			})
			if x.Verdict != tt.verdict || !strings.Contains(x.Summary, tt.summary) || x.Phase != "doctor" {
				t.Errorf("got %s %q, want %s %q", x.Verdict, x.Summary, tt.verdict, tt.summary)
			}
			if len(kept) == 0 || kept[len(kept)-1].Summary != x.Summary || len(kept) > 1 && kept[0].Verdict != Fail {
				t.Errorf("kept %+v; want what was said as cut off, then the result", kept)
			}
		})
	}
}

// Phases have a cache in common even where the user has none.
func TestCache(t *testing.T) {
	for _, tt := range []struct{ home, want string }{{t.TempDir(), "cache "}, {"", "cache /"}} {
		t.Setenv("HOME", tt.home)
		t.Setenv("XDG_CACHE_HOME", "")
		o := Options{Dir: t.TempDir(), Self: []string{"sh", "-c", `echo '{"verdict":"PASS","summary":"cache '$XDG_CACHE_HOME' ends"}'`}, Python: "python3"}
		x := o.start(context.Background(), phase{Check, "doctor", time.Second, nil}, func(Result) error { return nil })
		if x.Verdict != Pass || !strings.HasPrefix(x.Summary, tt.want) || tt.home == "" && x.Summary != "cache "+o.Dir+"/cache ends" {
			t.Errorf("home %q: %s %q, want %q", tt.home, x.Verdict, x.Summary, tt.want)
		}
	}
}

// compute-sanitizer is believed by its summary alone.
func TestSanitizer(t *testing.T) {
	for _, tt := range []struct{ name, script, verdict, want string }{
		{"clean", `echo "========= ERROR SUMMARY: 0 errors"`, Pass, "memcheck finds nothing; racecheck finds nothing"},
		{"errors", `echo "========= ERROR SUMMARY: 3 errors"; exit 1`, Fail, "memcheck finds 3 errors"},
		{"refused", `echo "Unable to attach"; exit 1`, Skip, "memcheck did not run: Unable to attach"},
		{"failed", `echo "========= ERROR SUMMARY: 0 errors"; exit 1`, Fail, "fail under it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "compute-sanitizer"), []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			x := &trial{Options: Options{Dir: dir, Self: []string{"true"}}, result: Result{Verdict: Pass}}
			if err := sanitizer(t.Context(), x); err != nil {
				x.fail("%v", err)
			}
			if x.result.Verdict != tt.verdict || !strings.Contains(x.result.Summary, tt.want) {
				t.Errorf("got %s %q, want %s %q", x.result.Verdict, x.result.Summary, tt.verdict, tt.want)
			}
		})
	}
}

// Every kernel is of a class, by the first prefix that fits.
func TestClasses(t *testing.T) {
	for kernel, want := range map[string]string{
		"conv_dw_bf16_64": "convolutions", "cudnn_conv_dx": "convolutions by cuDNN", "transpose_narrow": "what cuDNN wants",
		"product_nt": "products of matrices", "norm_act_grad": "normalisation", "norm_check": "update", "softmax_grad": "attention",
		"concat": classes[len(classes)-1].class,
	} {
		if got := classOf(kernel); got != want {
			t.Errorf("%s is of %q, want %q", kernel, got, want)
		}
	}
}
