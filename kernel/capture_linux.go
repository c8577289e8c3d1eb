package kernel

import (
	"errors"
	"os"
	"syscall"
	"time"

	"ddpmlab/kernel/crash"
)

// dup2 makes file descriptor to a copy of from. Linux on arm64 has no dup2 call.
func dup2(from, to int) error { return syscall.Dup3(from, to, 0) }

// readStreams reads the streams until the other end of stop is closed. epoll names the
// descriptors in the order in which they became readable, and so keeps what a program
// writes to standard output and standard error in turn in its order; Go's poller does not.
func readStreams(streams []*stream, stop *os.File) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		readSeparately(streams, stop)
		return
	}
	defer syscall.Close(ep)
	byFD := map[int32]*stream{}
	watch := func(f *os.File) int32 {
		fd := int32(f.Fd())
		err = errors.Join(err, syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, int(fd), &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: fd}))
		return fd
	}
	for _, s := range streams {
		byFD[watch(s.r)] = s
	}
	watch(stop)
	if err != nil {
		readSeparately(streams, stop)
		return
	}
	buf := make([]byte, 64<<10)
	events := make([]syscall.EpollEvent, 8)
	for {
		n, err := syscall.EpollWait(ep, events, -1)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			s := byFD[e.Fd]
			if s == nil {
				return
			}
			if s.fd == 2 && !s.flushing.Load() {
				time.Sleep(crash.Pause)
			}
			n, err := syscall.Read(int(e.Fd), buf)
			if n > 0 {
				s.take(buf[:n])
			}
			if n == 0 && err == nil { // no writer is left
				syscall.EpollCtl(ep, syscall.EPOLL_CTL_DEL, int(e.Fd), nil)
			}
		}
	}
}
