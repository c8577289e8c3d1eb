//go:build darwin || freebsd || netbsd || openbsd

package kernel

import (
	"os"
	"syscall"
)

// dup2 makes file descriptor to a copy of from.
func dup2(from, to int) error { return syscall.Dup2(from, to) }

// readStreams reads the streams until the other end of stop is closed.
func readStreams(streams []*stream, stop *os.File) { readSeparately(streams, stop) }
