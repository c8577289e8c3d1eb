package kernel

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"
)

// capture takes over file descriptors 1 and 2 of the process, so that whatever writes to
// them (goroutines, C code, child processes) reaches the notebook.
type capture struct {
	streams []*stream
	saved   *os.File // the process's own standard error: logs and crashes
}

// startCapture redirects both descriptors; emit gets what is written to them, in order,
// in pieces that do not split a character. Crash reports go to the saved standard error,
// because after a crash nobody reads the pipe.
func startCapture(emit func(name, text string)) (*capture, error) {
	c := &capture{}
	fd, err := syscall.Dup(2)
	if err != nil {
		return nil, fmt.Errorf("save standard error: %w", err)
	}
	syscall.CloseOnExec(fd)
	c.saved = os.NewFile(uintptr(fd), "stderr")
	if err := debug.SetCrashOutput(c.saved, debug.CrashOptions{}); err != nil {
		return nil, fmt.Errorf("set crash output: %w", err)
	}
	for fd, name := range map[int]string{1: "stdout", 2: "stderr"} {
		s, err := newStream(fd, name, emit)
		if err != nil {
			c.stop()
			return nil, fmt.Errorf("capture %s: %w", name, err)
		}
		c.streams = append(c.streams, s)
	}
	return c, nil
}

// flush returns when everything written before it has been emitted.
func (c *capture) flush() {
	if c == nil {
		return
	}
	for _, s := range c.streams {
		s.flush()
	}
}

// stop gives the descriptors back.
func (c *capture) stop() {
	if c == nil {
		return
	}
	for _, s := range c.streams {
		s.stop()
	}
	debug.SetCrashOutput(nil, debug.CrashOptions{})
	c.saved.Close()
}

// stream is one captured descriptor.
type stream struct {
	name string
	fd   int
	old  int // a duplicate of what the descriptor was
	r, w *os.File
	emit func(name, text string)
	mark []byte // what flush writes; no program prints it by chance

	flushMu sync.Mutex
	passed  chan struct{} // receives when a mark was read
	ended   chan struct{}
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
	s := &stream{
		name: name, fd: fd, old: old, r: r, w: w, emit: emit,
		mark:   []byte("\x00" + newID() + "\x00"),
		passed: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	go s.read()
	return s, nil
}

func (s *stream) read() {
	defer close(s.ended)
	buf := make([]byte, 64<<10)
	var held []byte // read, not emitted yet: the beginning of a mark or of a character
	for {
		n, err := s.r.Read(buf)
		text := append(held, buf[:n]...)
		for {
			i := bytes.Index(text, s.mark)
			if i < 0 {
				break
			}
			s.send(text[:i])
			text = text[i+len(s.mark):]
			s.passed <- struct{}{}
		}
		keep := len(text) - s.complete(text)
		if err != nil {
			keep = 0
		}
		s.send(text[:len(text)-keep])
		held = bytes.Clone(text[len(text)-keep:])
		if err != nil {
			return
		}
	}
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
	select {
	case <-s.passed: // of a flush that timed out
	default:
	}
	if _, err := s.w.Write(s.mark); err != nil {
		return
	}
	select {
	case <-s.passed:
	case <-s.ended:
	case <-time.After(flushTimeout):
	}
}

func (s *stream) stop() {
	s.flush()
	dup2(s.old, s.fd)
	syscall.Close(s.old)
	s.w.Close()
	select {
	case <-s.ended:
	case <-time.After(time.Second): // a child process holds the pipe
	}
	s.r.Close()
}
