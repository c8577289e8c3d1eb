//go:build darwin || freebsd || netbsd || openbsd

package kernel

import "syscall"

// dup2 makes file descriptor to a copy of from.
func dup2(from, to int) error { return syscall.Dup2(from, to) }
