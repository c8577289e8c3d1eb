// Package crash saves the last words of a process that reads its own standard error from a
// pipe. When Go's runtime gives up (a fatal error, a panic, a crash in C) it stops all
// goroutines, those that read the pipe too, and writes why: the message would be lost with
// the pipe, and a report longer than the pipe would block the dying process for ever.
package crash

// #include "crash.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"
)

// Pause is how long a reader of the pipe waits when something has come, before it reads: if
// that was the beginning of a crash report, the reader has been stopped by then, and the
// message is still in the pipe.
const Pause = 500 * time.Microsecond

// Redirect makes a crash report, its message included, go to the file to, of a process
// whose file descriptor 2 is a pipe that is read from pipe. It holds until stop is called.
//
// A thread of C's, which the runtime does not stop, waits for the first byte of the
// report's copy (see debug.SetCrashOutput), gives the file descriptor back, and only then
// takes more of the copy. That goes through a socket with a buffer as small as can be, so
// that the process cannot end before the thread has come to run.
func Redirect(pipe, to *os.File) (stop func() error, err error) {
	syscall.ForkLock.RLock()
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(ends[0])
		syscall.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("redirect crash reports: %w", err)
	}
	report := os.NewFile(uintptr(ends[0]), "crash report")
	defer report.Close() // SetCrashOutput has its own copy
	err = errors.Join(
		syscall.SetsockoptInt(ends[0], syscall.SOL_SOCKET, syscall.SO_SNDBUF, 1),
		debug.SetCrashOutput(report, debug.CrashOptions{}),
	)
	if err == nil {
		if errno := C.crash_watch(C.int(ends[1]), C.int(pipe.Fd()), C.int(to.Fd())); errno != 0 {
			err = syscall.Errno(errno)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("redirect crash reports: %w", err), stopped(), syscall.Close(ends[1]))
	}
	return stopped, nil
}

// stopped closes the runtime's end of the socket, and with it ends the thread.
func stopped() error { return debug.SetCrashOutput(nil, debug.CrashOptions{}) }
