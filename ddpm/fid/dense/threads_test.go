package dense_test

import (
	"runtime"
	"testing"
)

// setThreads is GOMAXPROCS for the rest of the test.
func setThreads(t *testing.T, n int) {
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}
