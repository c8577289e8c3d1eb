package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"ddpmlab/kernel/crash"
)

// capture takes over file descriptors 1 and 2 of the process, so that whatever writes to
// them (goroutines, C code, child processes) reaches the notebook.
type capture struct {
	streams []*stream
	saved   *os.File // the process's own standard error: logs and crashes
	ended   chan struct{}
	wake    *os.File     // closing it ends the reading
	uncrash func() error // ends the redirection of crash reports
}

// startCapture redirects both descriptors; emit gets what is written to them, in order
// (as far as the system tells it between the two), in pieces that do not split a
// character. Crash reports go to the saved standard error.
func startCapture(emit func(name, text string)) (*capture, error) {
	fd, err := syscall.Dup(2)
	if err != nil {
		return nil, fmt.Errorf("save standard error: %w", err)
	}
	syscall.CloseOnExec(fd)
	c := &capture{saved: os.NewFile(uintptr(fd), "stderr"), ended: make(chan struct{})}
	sleep, wake, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("capture output: %w", err)
	}
	c.wake = wake
	for i, name := range []string{"stdout", "stderr"} {
		s, err := newStream(i+1, name, emit)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("capture %s: %w", name, err), c.restore())
		}
		c.streams = append(c.streams, s)
	}
	c.uncrash, err = crash.Redirect(c.streams[1].r, c.saved)
	if err != nil {
		return nil, errors.Join(err, c.restore())
	}
	go func() {
		defer close(c.ended)
		defer sleep.Close()
		readStreams(c.streams, sleep)
	}()
	return c, nil
}

// flush returns when everything written before it has been emitted. It does nothing on
// nil, a kernel whose output is left alone.
func (c *capture) flush() {
	if c == nil {
		return
	}
	for _, s := range c.streams {
		s.flush()
	}
}

// stop gives the descriptors back.
func (c *capture) stop() error {
	if c == nil {
		return nil
	}
	c.flush()
	err := c.restore()
	c.wake.Close()
	<-c.ended
	return errors.Join(err, c.uncrash(), c.saved.Close())
}

func (c *capture) restore() error {
	var errs []error
	for _, s := range c.streams {
		errs = append(errs, dup2(s.old, s.fd), syscall.Close(s.old), s.w.Close())
	}
	return errors.Join(errs...)
}

// stream is one captured descriptor.
type stream struct {
	name string
	fd   int
	old  int // a duplicate of what the descriptor was
	r, w *os.File
	emit func(name, text string)
	mark []byte // what flush writes; no program prints it by chance
	held []byte // read, not emitted yet: the beginning of a mark or of a character

	flushMu  sync.Mutex
	flushing atomic.Bool
	passed   chan struct{} // receives when a mark was read
}

func newStream(fd int, name string, emit func(string, string)) (*stream, error) {
	old, err := syscall.Dup(fd)
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(old)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if err := dup2(int(w.Fd()), fd); err != nil {
		return nil, err
	}
	return &stream{
		name: name, fd: fd, old: old, r: r, w: w, emit: emit,
		mark: []byte("\x00" + newID() + "\x00"), passed: make(chan struct{}, 1),
	}, nil
}

// take handles what was read.
func (s *stream) take(data []byte) {
	text := append(s.held, data...)
	for {
		i := bytes.Index(text, s.mark)
		if i < 0 {
			break
		}
		s.send(text[:i])
		text = text[i+len(s.mark):]
		select {
		case s.passed <- struct{}{}:
		default:
		}
	}
	n := s.complete(text)
	s.send(text[:n])
	s.held = bytes.Clone(text[n:])
}

// complete is how many bytes of text can be emitted now: not the beginning of a mark, nor
// of a character.
func (s *stream) complete(text []byte) int {
	if i := bytes.LastIndexByte(text, 0); i >= 0 && bytes.HasPrefix(s.mark, text[i:]) {
		return i
	}
	for i := len(text) - 1; i >= 0 && i >= len(text)-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				return i
			}
			break
		}
	}
	return len(text)
}

func (s *stream) send(text []byte) {
	if len(text) > 0 {
		s.emit(s.name, string(bytes.ToValidUTF8(text, []byte("\uFFFD"))))
	}
}

// flushTimeout bounds a flush: a child process that fills the pipe must not stop a reply.
const flushTimeout = 5 * time.Second

func (s *stream) flush() {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	s.flushing.Store(true)
	defer s.flushing.Store(false)
	select {
	case <-s.passed: // of a flush that timed out
	default:
	}
	if _, err := s.w.Write(s.mark); err != nil {
		return
	}
	select {
	case <-s.passed:
	case <-time.After(flushTimeout):
	}
}
