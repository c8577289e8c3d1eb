package cpu

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// adviseHugePages asks for 2 MB pages: an arena of hundreds of megabytes would
// miss the translation cache all the time. Refusal does no harm.
func adviseHugePages(b []byte) {
	const madvHugepage = 14
	if len(b) >= 4<<20 {
		_ = syscall.Madvise(b, madvHugepage)
	}
}

// availableMemory is how many bytes this process may still use: what the system can
// give without swapping, or what is left of its control group's limit if that is less.
func availableMemory() (bytes int, ok bool) {
	free, ok := numberAfter("/proc/meminfo", "MemAvailable:")
	free *= 1024
	const group = "/sys/fs/cgroup/memory."
	if most, limited := numberAfter(group+"max", ""); limited { // "max" is no number: no limit
		used, _ := numberAfter(group+"current", "")
		cache, _ := numberAfter(group+"stat", "inactive_file")
		if left := max(0, most-used+cache); !ok || left < free {
			return left, true
		}
	}
	return free, ok
}

// numberAfter reads the first number after a label in a file.
func numberAfter(path, label string) (n int, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	_, rest, found := bytes.Cut(text, []byte(label))
	fields := bytes.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, false
	}
	n, err = strconv.Atoi(string(fields[0]))
	return n, err == nil
}
