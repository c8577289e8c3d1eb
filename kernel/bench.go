package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Candidate is a kernel that Bench can measure.
type Candidate struct {
	Name   string
	Argv   []string // as Options.KernelArgv
	Signal bool     // it is interrupted by SIGINT, not by a message
	// Code of its language: a cheap expression, a loop without end, and one that prints 10
	// MB in 10,000 lines.
	Add, Spin, Print string
}

// This is this program as a Candidate.
func This() Candidate {
	return Candidate{
		Name: "ddpmlab", Add: "1+1", Spin: "for {}",
		Print: "line := strings.Repeat(\"x\", 999)\nfor i := 0; i < 10000; i++ { fmt.Println(line) }",
	}
}

// Gophernotes is stock gophernotes, the file program, as a Candidate.
func Gophernotes(program string) Candidate {
	c := This()
	c.Name, c.Signal, c.Argv = "gophernotes", true, []string{"env"}
	for name, value := range gophernotesEnv {
		c.Argv = append(c.Argv, name+"="+value)
	}
	c.Argv = append(c.Argv, program, "{connection_file}")
	c.Print = "import (\n\"fmt\"\n\"strings\"\n)\n" + c.Print
	return c
}

// IPykernel is the kernel of that Python interpreter as a Candidate.
func IPykernel(python string) Candidate {
	return Candidate{
		Name: "ipykernel", Argv: []string{python, "-m", "ipykernel_launcher", "-f", "{connection_file}"}, Signal: true,
		Add: "1+1", Spin: "while True: pass", Print: "line = 'x' * 999\nfor i in range(10000): print(line)",
	}
}

// Measured is what Bench measured of a kernel. Times are in seconds.
type Measured struct {
	Kernel    string    `json:"kernel"`
	Start     []float64 `json:"start_s"`      // from the process's start to its first kernel_info_reply
	Cell      []float64 `json:"cell_s"`       // round trips of a cell, sorted
	Growth    int64     `json:"growth_bytes"` // of its memory over the last 10,000 of them
	Print     []float64 `json:"print_s"`      // 10 MB of output, to its last byte at the client
	Interrupt []float64 `json:"interrupt_s"`  // from the request to the cell's reply
	Failure   string    `json:"failure,omitempty"`
}

// Quantile is the q-quantile of the values, 0 of none.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// cells of Bench: the first of them are left out of the growth of memory.
const (
	warmCells   = 100
	firstCells  = 1_000
	growthCells = 10_000
)

// Bench measures a kernel as a client sees it: it starts it as often as starts says, times
// 11,000 cells and watches its memory over the last 10,000, has it print 10 MB, and
// interrupts five loops. What the kernel fails at is in Measured.Failure.
func Bench(ctx context.Context, c Candidate, starts int) (Measured, error) {
	m := Measured{Kernel: c.Name}
	var p *process
	var cl *client
	for n := range max(1, starts) {
		if n > 0 {
			if err := p.stop(cl); err != nil {
				return m, err
			}
		}
		var took time.Duration
		var err error
		if p, cl, took, err = startMeasured(ctx, c.Argv); err != nil {
			return m, fmt.Errorf("%s: %w", c.Name, err)
		}
		m.Start = append(m.Start, took.Seconds())
	}
	defer func() { p.stop(cl) }()
	b := &benchClient{ctx: ctx, p: p, cl: cl}
	for range warmCells {
		b.cell(c.Add)
	}
	var before int64
	for n := range firstCells + growthCells {
		if n == firstCells {
			before = residentBytes(p.cmd.Process.Pid)
		}
		took := b.cell(c.Add)
		if b.err != nil {
			break
		}
		m.Cell = append(m.Cell, took.Seconds())
	}
	slices.Sort(m.Cell)
	m.Growth = residentBytes(p.cmd.Process.Pid) - before
	for range 3 {
		took, printed := b.print(c.Print)
		if b.err == nil && printed != 10_000_000 {
			b.err = fmt.Errorf("of 10,000,000 bytes of output %d arrived", printed)
		}
		if b.err == nil {
			m.Print = append(m.Print, took.Seconds())
		}
	}
	for range 5 {
		if took, ok := b.interrupt(c.Spin, c.Signal); ok {
			m.Interrupt = append(m.Interrupt, took.Seconds())
		}
	}
	if b.err != nil {
		m.Failure = b.err.Error()
	}
	return m, ctx.Err()
}

func startMeasured(ctx context.Context, argv []string) (*process, *client, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	begun := time.Now()
	p, err := startKernel(filepath.Join(os.TempDir(), "bench.ipynb"), argv)
	if err != nil {
		return nil, nil, 0, err
	}
	cl, err := connect(ctx, p.connection)
	if err != nil {
		p.kill()
		return nil, nil, 0, fmt.Errorf("%w: %s", err, p.lastWords())
	}
	return p, cl, cl.answered.Sub(begun), nil
}

// benchClient executes cells one after another; after its first failure it does nothing.
type benchClient struct {
	ctx context.Context
	p   *process
	cl  *client
	err error

	printed int // bytes of standard output
}

func (b *benchClient) cell(code string) time.Duration {
	if b.err != nil {
		return 0
	}
	begun := time.Now()
	id := b.send(code)
	b.wait(id)
	return time.Since(begun)
}

func (b *benchClient) send(code string) string {
	id, err := b.cl.send(b.cl.shell, "execute_request", map[string]any{
		"code": code, "silent": false, "store_history": true, "user_expressions": map[string]any{},
		"allow_stdin": false, "stop_on_error": true,
	})
	if err != nil {
		b.err = err
	}
	return id
}

// print runs a cell and counts the bytes that it writes to its standard output.
func (b *benchClient) print(code string) (took time.Duration, printed int) {
	b.printed = 0
	took = b.cell(code)
	return took, b.printed
}

// wait returns when the cell's reply and its idle status have come.
func (b *benchClient) wait(id string) {
	replied, idle := false, false
	timeout := time.After(15 * time.Second)
	for b.err == nil && (!replied || !idle) {
		select {
		case m := <-b.cl.outputs:
			if m.Header.Type == "stream" {
				var s struct{ Text string }
				b.err = json.Unmarshal(m.Content, &s)
				b.printed += len(s.Text)
			}
			idle = idle || m.Parent.ID == id && isIdle(m)
		case m := <-b.cl.replies:
			replied = replied || m.Parent.ID == id
		case <-b.p.ended:
			b.err = errors.New("the kernel ended")
		case b.err = <-b.cl.lost:
		case <-timeout:
			b.err = errors.New("no answer in 15 s")
		case <-b.ctx.Done():
			b.err = b.ctx.Err()
		}
	}
}

func (b *benchClient) interrupt(code string, signal bool) (time.Duration, bool) {
	if b.err != nil {
		return 0, false
	}
	id := b.send(code)
	time.Sleep(200 * time.Millisecond)
	begun := time.Now()
	if signal {
		b.err = b.p.cmd.Process.Signal(os.Interrupt)
	} else {
		_, b.err = b.cl.send(b.cl.control, "interrupt_request", map[string]any{})
	}
	b.wait(id)
	if b.err != nil && (b.p.dead() || b.ctx.Err() == nil) {
		b.err = fmt.Errorf("interrupted: %w", b.err)
	}
	return time.Since(begun), b.err == nil
}

// residentBytes is a process's memory, 0 where the system does not say.
func residentBytes(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}
