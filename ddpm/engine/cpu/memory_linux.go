package cpu

import "syscall"

// adviseHugePages asks for 2 MB pages: an arena of hundreds of megabytes would
// miss the translation cache all the time. Refusal does no harm.
func adviseHugePages(b []byte) {
	const madvHugepage = 14
	if len(b) >= 4<<20 {
		_ = syscall.Madvise(b, madvHugepage)
	}
}
