// Package gpukit is the acceptance test of the GPU: what a machine with one is asked when
// the program first meets it, correctness by [Check] and speed by [Speed].
//
// Each phase is a process of its own, so that one that crashes or hangs costs the others
// nothing, and says what it has found as it goes on. The report is written after every
// such word: what was measured before a cut is kept.
package gpukit

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ddpmlab/ddpm/engine/cuda"
)

// The two commands.
const (
	Check = "check" // correctness
	Speed = "speed"
)

// Verdicts of phases.
const (
	Pass = "PASS"
	Fail = "FAIL"
	Skip = "SKIP" // the machine lacks what the phase needs
)

// Result is what one phase has found.
type Result struct {
	Command string             `json:"command"`
	Phase   string             `json:"phase"`
	Verdict string             `json:"verdict"`
	Summary string             `json:"summary"`
	Started time.Time          `json:"started"`
	Seconds float64            `json:"seconds"`
	Numbers map[string]float64 `json:"numbers,omitempty"`
	Tables  []*Table           `json:"tables,omitempty"`
}

// Table is cells of text below a heading. The first column is words, the others numbers.
type Table struct {
	Caption string     `json:"caption"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

// Report is the results of both commands, in the order of the phases.
type Report struct {
	Program string   `json:"program"` // version and commit
	GPU     string   `json:"gpu"`
	Driver  string   `json:"driver"` // its library, and the CUDA that it speaks
	Fake    bool     `json:"fake"`   // whether that was the test double
	Small   bool     `json:"small"`  // whether the sizes were those of the test double
	Results []Result `json:"results"`
}

// ReportFile is the name of the report in its folder.
const ReportFile = "report.json"

// ReadReport reads a report.
func ReadReport(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s is no report of the GPU kit: %w", path, err)
	}
	if r.GPU == "" {
		return nil, fmt.Errorf("%s is no report of the GPU kit: it names no GPU", path)
	}
	return &r, nil
}

// write replaces the file as a whole.
func (r *Report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	part := path + ".part"
	if err := os.WriteFile(part, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// put adds a result in the order of the phases, in the place of an older one.
func (r *Report) put(x Result) {
	r.Results = slices.DeleteFunc(r.Results, func(o Result) bool { return o.Phase == x.Phase })
	r.Results = append(r.Results, x)
	slices.SortStableFunc(r.Results, func(a, b Result) int { return place(a.Phase) - place(b.Phase) })
}

// place is where the phase of that name is in the table, -1 if there is none.
func place(name string) int {
	return slices.IndexFunc(phases, func(p phase) bool { return p.name == name })
}

// Options say what to run and where.
type Options struct {
	Command string        // Check or Speed
	Only    []string      // phases; none: all of the command
	Dir     string        // where the report and what else is made go
	Small   bool          // sizes for the test double of the driver
	Python  string        // an interpreter; one without PyTorch leaves it out
	Limit   time.Duration // of all phases together
	Program string        // version and commit
	Self    []string      // the command that runs Phase
	Out     io.Writer     // a line for each phase
}

// Run runs the phases of a command. It fails when there is no GPU, or a phase has failed.
func Run(ctx context.Context, o Options) error {
	todo, err := o.phases()
	if err != nil {
		return err
	}
	gpu := cuda.Inspect()
	if gpu.Err != nil {
		return gpu.Err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(o.Dir, ReportFile)
	r, err := ReadReport(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r = &Report{}
	case err != nil:
		return err
	}
	if d := gpu.Devices[0]; r.GPU != d.Name || r.Small != o.Small {
		*r = Report{GPU: d.Name, Fake: d.Name == cuda.FakeName, Small: o.Small} // of another machine
	}
	r.Program, r.Driver = o.Program, gpu.String()
	ctx, stop := context.WithTimeout(ctx, o.Limit)
	defer stop()
	failed := 0
	for _, p := range todo {
		x := o.start(ctx, p, func(x Result) error {
			r.put(x)
			return r.write(path)
		})
		if x.Verdict == Fail {
			failed++
		}
		if _, err := fmt.Fprintf(o.Out, "%s  %-10s %6.1f s  %s\n", x.Verdict, x.Phase, x.Seconds, x.Summary); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d phases failed; %s has the details", failed, len(todo), path)
	}
	return nil
}

// phases are those that the options ask for.
func (o Options) phases() ([]phase, error) {
	var all []phase
	var names []string
	for _, p := range phases {
		if p.command == o.Command {
			names = append(names, p.name)
			if len(o.Only) == 0 || slices.Contains(o.Only, p.name) {
				all = append(all, p)
			}
		}
	}
	for _, name := range o.Only {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("%s has no phase %q; there are %s", o.Command, name, strings.Join(names, ", "))
		}
	}
	return all, nil
}

// start runs a phase as a process and keeps what it says.
func (o Options) start(ctx context.Context, p phase, keep func(Result) error) Result {
	x := Result{Command: o.Command, Phase: p.name, Started: time.Now()}
	limit := p.limit
	if o.Small { // on a processor that others may use
		limit *= 3
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	line := append(slices.Clone(o.Self), p.name, "--dir", o.Dir, "--python", o.Python)
	if o.Small {
		line = append(line, "--small")
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	if cache, err := os.UserCacheDir(); err != nil || os.MkdirAll(cache, 0o755) != nil {
		// Phases must find what others have: how convolutions are computed fastest.
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(o.absolute(), "cache"))
	}
	// All that it starts ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var said strings.Builder
	cmd.Stderr = &said
	begun := x
	begun.Verdict, begun.Summary = Fail, "cut off before it said anything"
	if err := keep(begun); err != nil {
		x.Verdict, x.Summary = Fail, err.Error()
		return x
	}
	err := o.follow(cmd, func(line []byte) error {
		was := x
		if err := json.Unmarshal(line, &x); err != nil {
			return fmt.Errorf("phase %s said %q: %w", p.name, line, err)
		}
		x.Command, x.Phase, x.Started, x.Seconds = was.Command, was.Phase, was.Started, time.Since(was.Started).Seconds()
		cut := x
		cut.Verdict, cut.Summary = Fail, "cut off; "+x.Summary
		return keep(cut)
	})
	x.Seconds = time.Since(x.Started).Seconds()
	switch {
	case ctx.Err() != nil:
		x.Verdict, x.Summary = Fail, strings.TrimSuffix(fmt.Sprintf("cut off after %.0f s; %s", x.Seconds, x.Summary), "; ")
	case err != nil && x.Verdict != Fail:
		x.Verdict, x.Summary = Fail, why([]byte(said.String()), err)
	case x.Verdict == "":
		x.Verdict, x.Summary = Fail, "it ended without a result"
	}
	if err := errors.Join(keep(x), o.log(p.name, said.String())); err != nil && x.Verdict != Fail {
		x.Verdict, x.Summary = Fail, err.Error()
	}
	return x
}

// absolute is the folder from the root, where that can be found.
func (o Options) absolute() string {
	if dir, err := filepath.Abs(o.Dir); err == nil {
		return dir
	}
	return o.Dir
}

// follow runs cmd and hands on each line of its output.
func (o Options) follow(cmd *exec.Cmd, take func(line []byte) error) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(out)
	var wrong error
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		wrong = errors.Join(wrong, take(line))
	}
	return errors.Join(cmd.Wait(), wrong)
}

// log keeps what a phase has said beside its result.
func (o Options) log(name, text string) error {
	if text == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(o.Dir, name+".log"), []byte(text), 0o644)
}

// why is the last thing that a program said before it failed.
func why(said []byte, err error) string { return cmp.Or(lastLine(string(said)), err.Error()) }

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// RunPhase runs one phase in this process. What it has found is printed, a line of JSON each
// time there is more.
func RunPhase(ctx context.Context, name string, o Options) error {
	i := place(name)
	if i < 0 {
		return fmt.Errorf("there is no phase %q", name)
	}
	t := &trial{Options: o, result: Result{Verdict: Pass, Numbers: map[string]float64{}}}
	err := phases[i].run(ctx, t)
	if err != nil {
		t.result.Verdict, t.result.Summary = Fail, err.Error()
	}
	return errors.Join(err, t.say())
}

// trial is a phase that runs.
type trial struct {
	Options
	result Result
}

// say prints what there is so far.
func (t *trial) say() error { return json.NewEncoder(t.Out).Encode(t.result) }

// sum says the result in a sentence.
func (t *trial) sum(format string, args ...any) { t.result.Summary = fmt.Sprintf(format, args...) }

// fail is sum of a phase that has failed.
func (t *trial) fail(format string, args ...any) {
	t.result.Verdict = Fail
	t.sum(format, args...)
}

// table adds a table, to be filled.
func (t *trial) table(caption string, columns ...string) *Table {
	x := &Table{Caption: caption, Columns: columns}
	t.result.Tables = append(t.result.Tables, x)
	return x
}

func (t *Table) add(cells ...string) { t.Rows = append(t.Rows, cells) }

// sized is small on the test double, else full.
func sized[T any](t *trial, full, small T) T {
	if t.Small {
		return small
	}
	return full
}
