package kernel

import (
	"context"
	"errors"
	"go/ast"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// shell runs a command with the user's own environment. What it prints is shown as it
// comes; an interrupt ends it and its children.
func (c *cellRun) shell(ctx context.Context, p part, command string) *fault {
	if command == "" {
		return c.fail(p, "a command is missing: !ls")
	}
	c.k.capture.flush()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 200 * time.Millisecond // of what it left behind and that holds the pipes
	out, err := &shellWriter{c: c, name: "stdout"}, &shellWriter{c: c, name: "stderr"}
	cmd.Stdout, cmd.Stderr = out, err
	failure := cmd.Run()
	out.flush()
	err.flush()
	switch {
	case ctx.Err() != nil:
		return &fault{Name: interrupt, Message: wasInterrupted, Cell: c.number, Line: p.line, Interrupted: true}
	case errors.Is(failure, exec.ErrWaitDelay):
		return nil // it left something running
	case failure != nil:
		return c.fail(p, "%v", failure)
	}
	return nil
}

// shellWriter publishes what a command prints, without splitting characters.
type shellWriter struct {
	c    *cellRun
	name string
	mu   sync.Mutex
	s    stream // for complete and held
}

func (w *shellWriter) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.s.held = append(w.s.held, data...)
	n := w.s.complete(w.s.held)
	w.publish(w.s.held[:n])
	w.s.held = w.s.held[n:]
	return len(data), nil
}

func (w *shellWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.publish(w.s.held)
}

func (w *shellWriter) publish(text []byte) {
	k := w.c.k
	s := stream{name: w.name, emit: func(name, text string) {
		k.iopub.wait(outputLimit)
		k.publish(w.c.h.r.message, "stream", map[string]any{"name": name, "text": text})
	}}
	s.send(text)
}

// processorTime is what this process has used of all processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func isCall(e ast.Expr) bool {
	_, ok := e.(*ast.CallExpr)
	return ok
}
