package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"ddpmlab/kernel/history"
)

// Serve runs a kernel on the sockets that the connection file names, until a client asks
// it to shut down (it returns nil) or ctx ends. It takes over the process's standard
// output and error for the notebook meanwhile, and SIGINT interrupts the running cell.
func Serve(ctx context.Context, connectionFile string) error {
	c, err := readConnection(connectionFile)
	if err != nil {
		return err
	}
	k, err := newKernel(c)
	if err != nil {
		return err
	}
	k.openHistory(os.Getenv)
	k.capture, err = startCapture(k.stream)
	if err != nil {
		return errors.Join(err, k.close())
	}
	k.logger = k.capture.saved
	debug.SetMaxStack(maxStack)

	sigs := make(chan os.Signal, 1)
	signal.Notify(sigs, os.Interrupt)
	defer signal.Stop(sigs)
	go func() {
		for range sigs {
			k.interrupt()
		}
	}()
	if os.Getenv("JPY_PARENT_PID") != "" {
		go k.followParent()
	}
	return k.run(ctx)
}

// maxStack is how much memory a cell's recursion may take: an endless one ends the kernel,
// which cannot be prevented, before it has taken Go's usual 1 GB.
const maxStack = 256 << 20

// followParent shuts the kernel down when the process that started it is gone: nobody
// else would, and a training would go on for ever.
func (k *kernel) followParent() {
	parent := os.Getppid()
	for os.Getppid() == parent {
		select {
		case <-time.After(time.Second):
		case <-k.quit:
			return
		}
	}
	k.logf("the process that started the kernel has ended")
	k.shutdown()
}

// kernel is a running kernel.
type kernel struct {
	session *session
	in      interpreter
	capture *capture // nil: the process's output is left alone
	logger  io.Writer

	shell, control, stdin, iopub, heartbeat *socket

	requests chan request  // of the shell socket
	quit     chan struct{} // closed when a shutdown was asked for
	quitOnce sync.Once

	parent atomic.Pointer[message] // of output that comes now

	history *history.Store
	comms   comms
	input   input
	grumble grumbler

	mu         sync.Mutex
	count      int         // executions so far
	sources    []string    // of the cells executed so far
	running    *stopper    // of the running cell, nil when idle
	background *generation // parent of all cells' contexts
}

// request is a message and the socket it came by.
type request struct {
	*message
	from *socket
}

// newKernel starts the interpreter and opens the sockets.
func newKernel(c connection) (*kernel, error) {
	in, err := newGomacro()
	if err != nil {
		return nil, err
	}
	past, err := history.Open("", "")
	if err != nil {
		return nil, err
	}
	k := &kernel{
		session: newSession(c.Key), in: in, logger: os.Stderr, history: past,
		requests: make(chan request, 1<<12), quit: make(chan struct{}),
		background: newGeneration(),
	}
	open := func(s **socket, port int, typ socketType, receive func(*socket, *peer, [][]byte)) {
		if err == nil {
			*s, err = listen(c, port, typ, k.logf, func(p *peer, frames [][]byte) {
				k.mu.Lock() // *s is set by now
				sock := *s
				k.mu.Unlock()
				receive(sock, p, frames)
			})
		}
	}
	k.mu.Lock()
	open(&k.shell, c.Shell, router, k.receive)
	open(&k.control, c.Control, router, k.receive)
	open(&k.stdin, c.Stdin, router, k.receiveInput)
	open(&k.iopub, c.IOPub, xpub, k.subscribe)
	open(&k.heartbeat, c.Heartbeat, rep, func(s *socket, p *peer, frames [][]byte) { s.queue(p, frames) })
	k.mu.Unlock()
	if err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

// run answers requests until shutdown or the end of ctx.
func (k *kernel) run(ctx context.Context) error {
	k.publish(nil, "status", map[string]any{"execution_state": "starting"})
	var err error
	for {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-k.quit:
		case r := <-k.requests:
			k.handle(r)
			continue
		}
		break
	}
	k.capture.flush() // before the sockets close
	return errors.Join(err, k.close(), k.capture.stop())
}

func (k *kernel) close() error {
	k.background.cancel(errShutdown)
	errs := []error{k.history.Close()}
	for _, s := range []*socket{k.shell, k.control, k.stdin, k.iopub, k.heartbeat} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// receive takes a request in. Those of the control socket are answered here, on the
// goroutine of their connection, and so never wait for a cell, unless they run one.
func (k *kernel) receive(s *socket, p *peer, frames [][]byte) {
	m := k.decode(p, frames)
	if m == nil {
		return
	}
	r := request{m, s}
	if s == k.control && !runsCode[m.Header.Type] {
		k.handle(r)
		return
	}
	select {
	case k.requests <- r:
	case <-k.quit:
	}
}

// decode reads a peer's message; nil when it is to be dropped.
func (k *kernel) decode(p *peer, frames [][]byte) *message {
	m, err := k.session.decode(frames)
	if err != nil {
		k.complain(err.Error(), "dropped a message: %v", err)
		return nil
	}
	m.Route = [][]byte{[]byte(p.identity)}
	return m
}

// subscribe takes a subscriber's message in and welcomes it, so that a client knows when
// nothing will be lost any more (protocol 5.5).
func (k *kernel) subscribe(s *socket, p *peer, frames [][]byte) {
	if len(frames) != 1 || !p.subscription(frames[0]) {
		return
	}
	topic := string(frames[0][1:])
	welcome, err := k.session.encode([][]byte{[]byte(topic)}, "iopub_welcome", nil, map[string]any{"subscription": topic})
	if err != nil {
		k.logf("%v", err)
		return
	}
	s.queue(p, welcome)
}

// handle answers a request, between the status messages that say the kernel is at it.
func (k *kernel) handle(r request) {
	k.status(r.message, "busy")
	defer k.status(r.message, "idle")
	defer func() {
		if e := recover(); e != nil { // an accident of the kernel's own
			k.logf("%s: %v\n%s", r.Header.Type, e, debug.Stack())
			k.reply(r, map[string]any{
				"status": "error", "ename": "kernel error", "evalue": fmt.Sprint(e), "traceback": []string{fmt.Sprint(e)},
			})
		}
	}()
	answer, ok := handlers[r.Header.Type]
	if !ok {
		k.complain("type "+r.Header.Type, "no answer to messages of type %q", r.Header.Type)
		return
	}
	answer(k, r)
}

// shutdown stops the running cell and ends run once it has stopped, or has been given up.
func (k *kernel) shutdown() {
	k.quitOnce.Do(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		close(k.quit)
		k.background.cancel(errShutdown)
		if k.running != nil {
			k.running.cancel(errShutdown)
		}
	})
}

// reply answers a request on the socket it came by.
func (k *kernel) reply(r request, content any) {
	typ := r.Header.Type
	if n := len(typ) - len("_request"); n > 0 {
		typ = typ[:n] + "_reply"
	}
	if err := k.sendTo(r.from, r, typ, content); err != nil && !errors.Is(err, errGone) {
		k.logf("%v", err)
	}
}

var errGone = errors.New("the client is gone")

// sendTo sends a message to r's client on one of its sockets.
func (k *kernel) sendTo(s *socket, r request, typ string, content any) error {
	frames, err := k.session.encode(r.Route, typ, r.message, content)
	if err != nil {
		return err
	}
	if !s.send(string(r.Route[0]), frames[len(r.Route):]) {
		return errGone
	}
	return nil
}

// publish sends a message to all clients.
func (k *kernel) publish(parent *message, typ string, content any) {
	frames, err := k.session.encode([][]byte{[]byte("kernel." + typ)}, typ, parent, content)
	if err != nil {
		k.logf("%v", err)
		return
	}
	k.iopub.publish(frames)
}

func (k *kernel) status(parent *message, state string) {
	k.publish(parent, "status", map[string]any{"execution_state": state})
}

// outputLimit is how much output may wait for the fastest client, in bytes, before what
// makes it is held up.
const outputLimit = 8 << 20

// stream publishes captured output, as that of the cell that runs or ran last.
func (k *kernel) stream(name, text string) {
	k.iopub.wait(outputLimit)
	k.publish(k.parent.Load(), "stream", map[string]any{"name": name, "text": text})
}

// grumbler remembers what was complained about.
type grumbler struct {
	mu   sync.Mutex
	said map[string]bool
}

// complain logs what somebody else did wrong, once for each kind: nobody shall fill the
// log's disk.
func (k *kernel) complain(kind, format string, args ...any) {
	k.grumble.mu.Lock()
	defer k.grumble.mu.Unlock()
	if k.grumble.said[kind] || len(k.grumble.said) > 100 {
		return
	}
	if k.grumble.said == nil {
		k.grumble.said = map[string]bool{}
	}
	k.grumble.said[kind] = true
	k.logf(format+" (said once)", args...)
}

// logf writes to the kernel's log, the standard error it was started with.
func (k *kernel) logf(format string, args ...any) {
	fmt.Fprintf(k.logger, "%s ddpmlab kernel: %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
