package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options are how RunNotebook runs a notebook. The zero value runs it with this program
// as the kernel and writes NAME.out.ipynb beside it.
type Options struct {
	// Out is the executed notebook's file; "" is NAME.out.ipynb beside the notebook.
	Out string
	// Inplace overwrites the notebook itself.
	Inplace bool
	// HTML also writes a page that needs nothing else: Out with the ending .html.
	HTML bool
	// Params are assignments Name=value, the value a Go expression, that are put into a
	// cell of their own after the one tagged parameters.
	Params []string
	// KernelArgv is the kernel's command line; {connection_file} stands for the file's
	// name. Empty: this program with the arguments kernel serve -f {connection_file}.
	KernelArgv []string
	// Progress is where the execution is shown, usually os.Stderr; nil shows nothing.
	Progress io.Writer
	// Interrupts delivers Ctrl-C: the first interrupts the running cell, the second ends
	// the kernel at once. nil: SIGINT of this process.
	Interrupts <-chan os.Signal
}

// ErrInterrupted is the error of a notebook whose execution was interrupted.
var ErrInterrupted = errors.New("interrupted")

// A CellError is the error of a notebook in which a cell failed.
type CellError struct {
	Notebook string
	Cell     int    // position among the notebook's code cells, from 1
	Message  string // of several lines, with the cell's line
}

// Error names the cell, and quotes the message's first line with the indented ones that
// continue it.
func (e *CellError) Error() string {
	text, rest, _ := strings.Cut(e.Message, "\n")
	for l := range strings.Lines(rest) {
		if !strings.HasPrefix(l, "\t") {
			break
		}
		text += " " + strings.TrimSpace(l)
	}
	return fmt.Sprintf("%s: code cell %d failed: %s", e.Notebook, e.Cell, text)
}

// RunNotebook executes the notebook's code cells in a kernel of its own and writes the
// executed notebook, whole also when a cell fails or the execution is interrupted. A cell
// tagged raises-exception may fail; after any other that fails no more are run, and the
// error is a *CellError. The end of ctx interrupts the running cell; ErrInterrupted is
// the error then, as it is after Ctrl-C.
func RunNotebook(ctx context.Context, path string, opt Options) error {
	nb, err := readNotebook(path)
	if err != nil {
		return err
	}
	if err := nb.inject(opt.Params); err != nil {
		return fmt.Errorf("notebook %s: %w", path, err)
	}
	out := opt.Out
	switch {
	case opt.Inplace && out != "":
		return errors.New("run notebook: give either an output file or in place, not both")
	case opt.Inplace:
		out = path
	case out == "":
		out = strings.TrimSuffix(path, filepath.Ext(path)) + ".out.ipynb"
	}
	if err := writable(out); err != nil {
		return fmt.Errorf("executed notebook: %w", err)
	}
	if opt.Interrupts == nil {
		sigs := make(chan os.Signal, 2)
		signal.Notify(sigs, os.Interrupt)
		defer signal.Stop(sigs)
		opt.Interrupts = sigs
	}

	r := &runner{nb: nb, path: path, opt: opt, console: newConsole(opt.Progress)}
	nb.clear()
	runErr := r.run(ctx)
	return errors.Join(runErr, r.write(out))
}

// writable says before the work whether its result can be written.
func writable(path string) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if pathErr, ok := errors.AsType[*os.PathError](err); ok { // without the temporary file's name
		return fmt.Errorf("folder %s cannot be written: %w; choose another place with --out FILE", dir, pathErr.Err)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// runner executes one notebook.
type runner struct {
	nb      *notebook
	path    string
	opt     Options
	console *console

	process     *process
	client      *client
	collector   *collector
	interrupted bool
	started     time.Time
}

func (r *runner) write(out string) error {
	b, err := r.nb.encode()
	if err == nil {
		err = writeFile(out, b)
	}
	if err != nil {
		return fmt.Errorf("write the executed notebook: %w", err)
	}
	r.console.line("wrote %s", out)
	if !r.opt.HTML {
		return nil
	}
	html := strings.TrimSuffix(out, filepath.Ext(out)) + ".html"
	b, err = r.nb.page(strings.TrimSuffix(filepath.Base(r.path), filepath.Ext(r.path)))
	if err == nil {
		err = writeFile(html, b)
	}
	if err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	r.console.line("wrote %s", html)
	return nil
}

// run starts the kernel, executes the cells, and ends it.
func (r *runner) run(ctx context.Context) (err error) {
	r.started = time.Now()
	r.process, err = startKernel(r.path, r.opt.KernelArgv)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.process.stop(r.client)) }()

	starting, cancel := context.WithTimeoutCause(ctx, 60*time.Second, errors.New("it does not answer"))
	defer cancel()
	go func() {
		select {
		case <-r.process.ended:
			cancel()
		case <-starting.Done():
		}
	}()
	r.client, err = connect(starting, r.process.connection)
	if err != nil {
		if r.process.dead() {
			return fmt.Errorf("the kernel ended while starting: %s", r.process.lastWords())
		}
		return fmt.Errorf("start the kernel: %w", err)
	}
	r.collector = newCollector(r.nb)
	r.collector.onText = r.console.text
	r.collector.onResult = r.console.result
	r.collector.onLive = r.console.report
	return r.cells(ctx)
}

// cells executes the code cells in order.
func (r *runner) cells(ctx context.Context) error {
	code := slices.DeleteFunc(slices.Clone(r.nb.cells), func(c *nbCell) bool { return c.Type != "code" })
	for i, c := range code {
		if strings.TrimSpace(c.Source) == "" {
			continue
		}
		begun := time.Now()
		r.console.line("[%d/%d] %s", i+1, len(code), firstLine(c.Source))
		failure, err := r.execute(ctx, c)
		r.console.end()
		if err != nil {
			return err
		}
		took := time.Since(begun).Round(100 * time.Millisecond)
		switch {
		case r.interrupted:
			r.console.line("interrupted")
			return fmt.Errorf("%s: code cell %d: %w", r.path, i+1, ErrInterrupted)
		case failure != "" && slices.Contains(c.Tags, "raises-exception"):
			r.console.line("%s\n[%d/%d] failed, as expected (%v)", failure, i+1, len(code), took)
		case failure != "":
			r.console.line("%s\n[%d/%d] failed (%v)", failure, i+1, len(code), took)
			return &CellError{Notebook: r.path, Cell: i + 1, Message: failure}
		case took >= time.Second:
			r.console.line("[%d/%d] done in %v", i+1, len(code), took)
		}
	}
	r.console.line("%s: %d cells in %v", r.path, len(code), time.Since(r.started).Round(100*time.Millisecond))
	return nil
}

// execute runs one cell and returns the failure's text, "" when there was none.
func (r *runner) execute(ctx context.Context, c *nbCell) (failure string, err error) {
	id, err := r.client.send(r.client.shell, "execute_request", map[string]any{
		"code": c.Source, "silent": false, "store_history": true, "user_expressions": map[string]any{},
		"allow_stdin": false, "stop_on_error": true,
	})
	if err != nil {
		return "", err
	}
	r.collector.cellOf[id] = c
	r.collector.onError = func(lines []string) { failure = strings.Join(lines, "\n") }
	replied, idle := false, false
	done := ctx.Done()
	for !replied || !idle {
		select {
		case m := <-r.client.outputs:
			r.collector.add(m)
			idle = idle || m.Parent.ID == id && isIdle(m)
		case m := <-r.client.replies:
			replied = replied || m.Parent.ID == id && m.Header.Type == "execute_reply"
		case <-r.client.lost:
			return "", r.died(c)
		case <-r.process.ended:
			return "", r.died(c)
		case <-done:
			done = nil
			r.interrupt()
		case <-r.opt.Interrupts:
			r.interrupt()
		}
	}
	return failure, nil
}

// interrupt stops the running cell, or the kernel when that was tried already.
func (r *runner) interrupt() {
	if r.interrupted {
		r.console.line("ending the kernel")
		r.process.kill()
		return
	}
	r.interrupted = true
	r.console.line("interrupting the cell; once more ends the kernel")
	if _, err := r.client.send(r.client.control, "interrupt_request", map[string]any{}); err != nil {
		r.process.kill()
	}
}

// died records in the cell that the kernel ended under it.
func (r *runner) died(c *nbCell) error {
	select {
	case <-r.process.ended:
	case <-time.After(time.Second):
		r.process.kill()
		<-r.process.ended
	}
	for len(r.client.outputs) > 0 {
		r.collector.add(<-r.client.outputs)
	}
	message := "the kernel ended"
	if r.interrupted {
		message = "the kernel was ended"
	} else if words := r.process.lastWords(); words != "" {
		message += ": " + words
	} else {
		message += ": " + r.process.cmd.ProcessState.String()
	}
	c.append(map[string]any{
		"output_type": "error", "ename": "kernel ended", "evalue": message, "traceback": strings.Split(message, "\n"),
	}, "")
	if r.interrupted {
		return fmt.Errorf("%s: %w", r.path, ErrInterrupted)
	}
	first, _, _ := strings.Cut(message, "\n")
	return fmt.Errorf("%s: %s", r.path, first)
}

// firstLine is the first line of code, shortened.
func firstLine(src string) string {
	for l := range strings.Lines(src) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "//") {
			continue
		}
		if l == "import (" {
			return "import"
		}
		if r := []rune(l); len(r) > 60 {
			return string(r[:60]) + "…"
		}
		return l
	}
	return ""
}

// process is a kernel as a child process, in a process group of its own, so that Ctrl-C
// in the terminal does not reach it.
type process struct {
	cmd        *exec.Cmd
	connection connection
	file       string        // connection file
	ended      chan struct{} // closed when the process has ended
	words      tail
}

func startKernel(notebook string, argv []string) (*process, error) {
	if len(argv) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		argv = []string{self, "kernel", "serve", "-f", "{connection_file}"}
	}
	c, err := newConnection()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ddpmlab-kernel-")
	if err != nil {
		return nil, fmt.Errorf("connection file: %w", err)
	}
	p := &process{connection: c, file: filepath.Join(dir, "connection.json"), ended: make(chan struct{})}
	if err := c.write(p.file); err != nil {
		return nil, errors.Join(fmt.Errorf("connection file: %w", err), os.RemoveAll(dir))
	}
	args := slices.Clone(argv)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "{connection_file}", p.file)
	}
	abs, err := filepath.Abs(notebook)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Dir = filepath.Dir(abs)
	p.cmd.Env = append(os.Environ(), "JPY_SESSION_NAME="+abs, "JPY_PARENT_PID="+strconv.Itoa(os.Getpid()), historyVariable+"=off")
	p.cmd.Stderr = &p.words
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the kernel: %w", err), os.RemoveAll(dir))
	}
	go func() {
		p.cmd.Wait()
		os.RemoveAll(dir)
		close(p.ended)
	}()
	return p, nil
}

func (p *process) dead() bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(200 * time.Millisecond):
		return false
	}
}

// kill ends the kernel and its children at once.
func (p *process) kill() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// stop asks the kernel to shut down, and ends it when it does not.
func (p *process) stop(cl *client) error {
	if cl != nil {
		cl.send(cl.control, "shutdown_request", map[string]any{"restart": false})
		select {
		case <-p.ended:
		case <-time.After(10 * time.Second):
		}
		defer cl.close()
	}
	select {
	case <-p.ended:
		return nil
	default:
	}
	p.kill()
	<-p.ended
	return nil
}

// lastWords is the end of what the kernel wrote to its standard error.
func (p *process) lastWords() string { return p.words.String() }

// tail keeps the end of what is written to it; once a crash report begins, that one's
// beginning.
type tail struct {
	mu      sync.Mutex
	b       []byte
	crashed bool
}

const tailSize = 4 << 10

var (
	// lastWords is how the Go runtime begins them.
	lastWords = regexp.MustCompile(`(?m)^(panic: |fatal error: |SIG[A-Z]+: |unexpected fault address |runtime: goroutine stack exceeds )`)
	// overflow is the report of a stack that cannot grow any more.
	overflow = regexp.MustCompile(`(?m)^(runtime: goroutine stack exceeds |fatal error: stack overflow)`)
)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if !t.crashed {
		if at := lastWords.FindIndex(t.b); at != nil {
			t.crashed = true
			t.b = t.b[at[0]:]
		}
	}
	if n := len(t.b) - tailSize; n > 0 {
		if t.crashed {
			t.b = t.b[:tailSize]
		} else {
			t.b = t.b[n:]
		}
	}
	return len(p), nil
}

// String is what was kept, of a crash report its first lines, of a stack overflow only
// that it was one.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.crashed && overflow.Match(t.b) {
		return "stack overflow"
	}
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	return strings.Join(lines[:min(len(lines), 20)], "\n")
}
