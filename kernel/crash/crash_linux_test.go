package crash_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ddpmlab/kernel/crash"
)

// ends are ways in which a process ends, and what it says last.
var ends = []struct {
	name string
	end  func()
	want string
}{
	{"fatal error", func() { new(sync.Mutex).Unlock() }, "fatal error: sync: unlock of unlocked mutex\n\ngoroutine "},
	{"stack overflow", func() { debug.SetMaxStack(16 << 20); os.Exit(deep(0)) }, "runtime: goroutine stack exceeds "},
	{"panic", func() { panic("at the disco") }, "panic: at the disco"},
	{"signal", func() { syscall.Kill(os.Getpid(), syscall.SIGABRT); select {} }, "SIGABRT: abort\n"},
	{"exit", func() { os.Exit(2) }, ""},
}

// deep calls itself more often than any stack holds.
func deep(n int) int {
	if n < 0 {
		return 0
	}
	return deep(n+1) + n
}

// TestMain lets the test binary be a process that captures its own standard error, has many
// goroutines, and comes to one of the ends.
func TestMain(m *testing.M) {
	for _, e := range ends {
		if len(os.Args) == 2 && os.Args[1] == e.name {
			die(e.end)
		}
	}
	os.Exit(m.Run())
}

func die(end func()) {
	saved, err := syscall.Dup(2)
	must(err)
	r, w, err := os.Pipe()
	must(err)
	must(syscall.Dup3(int(w.Fd()), 2, 0))
	ep, err := syscall.EpollCreate1(0)
	must(err)
	fd := int(r.Fd())
	must(syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN}))
	go func() {
		for buf := make([]byte, 4096); ; {
			if n, _ := syscall.EpollWait(ep, make([]syscall.EpollEvent, 1), -1); n == 1 {
				time.Sleep(crash.Pause)
				syscall.Read(fd, buf)
			}
		}
	}()
	_, err = crash.Redirect(r, os.NewFile(uintptr(saved), "stderr"))
	must(err)
	for range 2000 { // their stacks are more than a pipe holds
		go func() { select {} }()
	}
	time.Sleep(10 * time.Millisecond)
	end()
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(9)
	}
}

func TestRedirect(t *testing.T) {
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], e.name)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != 2 || len(out) > 0 {
				t.Errorf("ended with %v, %s", err, out)
			}
			if got := stderr.String(); !strings.HasPrefix(got, e.want) || e.want == "" && got != "" {
				t.Errorf("its last words are %.300q, want %q", got, e.want)
			}
		})
	}
}

// TestStop redirects, stops and redirects again.
func TestStop(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for range 3 {
		stop, err := crash.Redirect(r, os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}
