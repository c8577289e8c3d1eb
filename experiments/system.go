package experiments

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// Keys of the series that tell what a training takes of its machine, sampled with each
// heartbeat by its goroutine.
const (
	MetricCPU    = "system.cpu_percent" // processor time of the process; 100 is one core
	MetricMemory = "system.memory_mb"   // resident memory of the process, 10^6 bytes
)

// usage is what a process has used so far.
type usage struct {
	at     time.Time
	cpu    time.Duration
	memory int64 // bytes, resident
}

// readUsage reads this process's usage, and false where the system does not say (not
// Linux).
func readUsage(now time.Time) (usage, bool) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return usage{}, false
	}
	// "pid (name) state ppid ...": the name may hold anything; utime and stime are fields
	// 14 and 15, in hundredths of a second, rss is 24, in pages.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 22 {
		return usage{}, false
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	pages, err3 := strconv.ParseInt(fields[21], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return usage{}, false
	}
	return usage{now, time.Duration(user+system) * 10 * time.Millisecond, pages * int64(os.Getpagesize())}, true
}

// sample records what the process used since before, at the step that the training is at.
func (a *session) sample(before usage) usage {
	now, ok := readUsage(a.store.now())
	step := a.step.Load()
	if !ok || step == 0 || before.at.IsZero() {
		return now
	}
	if d := now.at.Sub(before.at); d > 0 {
		a.record(step, MetricCPU, "", 100*float64(now.cpu-before.cpu)/float64(d))
	}
	a.record(step, MetricMemory, "", float64(now.memory)/1e6)
	return now
}
