package experiments

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// A database between machines is refused, with what to do; one that a single machine uses
// may be allowed, and local disks are.
func TestNetwork(t *testing.T) {
	nfs := func(dir string) uint32 {
		if dir == "/home/me" {
			return 0x6969
		}
		return 0xef53 // ext4
	}
	err := checkNetwork("/home/me/runs.db", nfs)
	if !errors.Is(err, ErrNetwork) || !strings.Contains(err.Error(), "it is on NFS") || !strings.Contains(err.Error(), envNetwork+"=1") {
		t.Errorf("got %v, want ErrNetwork with its cure", err)
	}
	if err := checkNetwork("/scratch/runs.db", nfs); err != nil {
		t.Errorf("on a local disk: %v", err)
	}
	t.Setenv(envNetwork, "1")
	if err := checkNetwork("/home/me/runs.db", nfs); err != nil {
		t.Errorf("allowed: %v", err)
	}
	if _, err := os.Stat("/proc/self"); err == nil && systemNumber("/proc") != 0x9fa0 {
		t.Errorf("/proc: got %#x, want 0x9fa0", systemNumber("/proc"))
	}
}
