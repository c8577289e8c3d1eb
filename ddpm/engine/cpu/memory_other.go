//go:build !linux

package cpu

func adviseHugePages([]byte) {}

func availableMemory() (bytes int, ok bool) { return 0, false }
