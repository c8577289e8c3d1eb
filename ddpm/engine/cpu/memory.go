package cpu

import (
	"fmt"
	"syscall"
	"unsafe"
)

// cacheLine is the alignment of everything the kernels touch, in floats.
const cacheLine = 16

// alignUp rounds a number of floats up to whole cache lines.
func alignUp(n int) int { return (n + cacheLine - 1) / cacheLine * cacheLine }

// memory is zeroed memory outside the Go heap: kernels keep pointers into it
// between calls, and the garbage collector has nothing to look at.
type memory struct {
	bytes  []byte
	floats []float32
}

func newMemory(floats int) (*memory, error) {
	size := max(1, floats) * 4
	// The system would hand out more than there is, and end the process when it is used.
	if free, ok := availableMemory(); ok && size > free {
		return nil, fmt.Errorf("%.1f GB of memory are needed and %.1f GB are free; %s", gb(size), gb(free), takeLess)
	}
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("allocate %.1f GB: %w; %s", gb(size), err, takeLess)
	}
	adviseHugePages(b)
	return &memory{b, unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), max(1, floats))}, nil
}

// takeLess is what can be done about it.
const takeLess = "set micro_batch, or lower batch, model.channels or model.size"

func gb(bytes int) float64 { return float64(bytes) / 1e9 }

func (m *memory) at(i int) *float32 { return &m.floats[i] }

func (m *memory) close() error {
	if m.bytes == nil {
		return nil
	}
	b := m.bytes
	m.bytes, m.floats = nil, nil
	return syscall.Munmap(b)
}
