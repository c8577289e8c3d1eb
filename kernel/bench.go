package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// BenchCode is a language's code for Bench.
type BenchCode struct {
	Add  string // a cheap expression, as 1+1
	Spin string // a loop without end
}

// Measured is what Bench measured of a kernel. Times are in seconds.
type Measured struct {
	Kernel    string    `json:"kernel"`
	Start     []float64 `json:"start_s"`     // from the process's start to its first kernel_info_reply
	Cell      []float64 `json:"cell_s"`      // round trips of a cell, sorted
	Interrupt []float64 `json:"interrupt_s"` // from the request to the cell's reply; empty: it died of it
	Growth    int64     `json:"growth_bytes"`
	Cells     int       `json:"growth_cells"` // cells executed meanwhile
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

// Bench measures a kernel as a client sees it: it starts it as often as starts says, times
// 1,000 cells, watches its memory over 10,000 more, and interrupts five loops, by SIGINT or
// by message. The command line is that of Options.KernelArgv. What a kernel fails at is in
// Measured.Failure.
func Bench(ctx context.Context, name string, argv []string, code BenchCode, starts int, signal bool) (Measured, error) {
	m := Measured{Kernel: name}
	for range starts {
		p, cl, took, err := startMeasured(ctx, argv)
		if err != nil {
			return m, fmt.Errorf("%s: %w", name, err)
		}
		m.Start = append(m.Start, took.Seconds())
		if err := p.stop(cl); err != nil {
			return m, err
		}
	}
	p, cl, _, err := startMeasured(ctx, argv)
	if err != nil {
		return m, fmt.Errorf("%s: %w", name, err)
	}
	defer p.stop(cl)
	b := &benchClient{ctx: ctx, p: p, cl: cl}
	for range 100 { // warm
		b.cell(code.Add)
	}
	for range 1000 {
		m.Cell = append(m.Cell, b.cell(code.Add).Seconds())
	}
	slices.Sort(m.Cell)
	before := residentBytes(p.cmd.Process.Pid)
	for m.Cells = 0; m.Cells < 10_000 && b.err == nil; m.Cells++ {
		b.cell(code.Add)
	}
	m.Growth = residentBytes(p.cmd.Process.Pid) - before
	for range 5 {
		if took, ok := b.interrupt(code.Spin, signal); ok {
			m.Interrupt = append(m.Interrupt, took.Seconds())
		}
	}
	if b.err != nil {
		m.Failure = b.err.Error()
	}
	return m, nil
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
	return p, cl, time.Since(begun), nil
}

// benchClient executes cells one after another; after its first failure it does nothing.
type benchClient struct {
	ctx context.Context
	p   *process
	cl  *client
	err error
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

// wait returns when the cell's reply and its idle status have come.
func (b *benchClient) wait(id string) {
	replied, idle := false, false
	timeout := time.After(15 * time.Second)
	for b.err == nil && (!replied || !idle) {
		select {
		case m := <-b.cl.outputs:
			idle = idle || m.Parent.ID == id && isIdle(m)
		case m := <-b.cl.replies:
			replied = replied || m.Parent.ID == id
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
