package experiments

import "syscall"

// systemNumber is the number of the file system that a folder is on, and 0 where it is not
// known.
func systemNumber(dir string) uint32 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0
	}
	return uint32(s.Type)
}
