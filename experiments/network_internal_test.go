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
	// statfs's numbers, as Linux's magic.h and the file systems' own headers have them.
	for number, network := range map[uint32]bool{
		0x6969: true, 0x517b: true, 0xff534d42: true, 0xfe534d42: true, 0x5346414f: true, 0x00c36400: true, 0x0bd00bd0: true, 0x47504653: true,
		0xef53: false, 0x58465342: false, 0x9123683e: false, 0x2fc12fc1: false, 0x01021994: false, 0x794c7630: false, 0x65735546: false,
	} {
		err := checkNetwork("/data/runs.db", func(string) uint32 { return number })
		if errors.Is(err, ErrNetwork) != network {
			t.Errorf("file system %#x: got %v, want refused %v", number, err, network)
		}
	}
	t.Setenv(envNetwork, "1")
	if err := checkNetwork("/home/me/runs.db", nfs); err != nil {
		t.Errorf("allowed: %v", err)
	}
	if _, err := os.Stat("/proc/self"); err == nil && systemNumber("/proc") != 0x9fa0 {
		t.Errorf("/proc: got %#x, want 0x9fa0", systemNumber("/proc"))
	}
}
