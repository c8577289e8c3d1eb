//go:build ddpmcuda

package cudrv

// #cgo CFLAGS: -I${SRCDIR}/include
// #cgo LDFLAGS: -ldl
// #include <cuda.h>
// #include "load.h"
//
// static CUresult launch(CUfunction f, unsigned *grid, unsigned *block, unsigned shared, CUstream stream, char *args,
//                        unsigned *offset, int n) {
//   void *p[64];
//   for (int i = 0; i < n; i++) p[i] = args + offset[i];
//   return cuLaunchKernel(f, grid[0], grid[1], grid[2], block[0], block[1], block[2], shared, stream, p, 0);
// }
//
// static CUresult upload(CUdeviceptr to, const char *from, size_t n) { return cuMemcpyHtoD(to, from, n); }
// static CUresult download(char *to, CUdeviceptr from, size_t n) { return cuMemcpyDtoH(to, from, n); }
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// Error is a result of a driver call that did not succeed.
type Error int

// OutOfMemory and NoDevice are results that callers tell apart.
const (
	OutOfMemory Error = C.CUDA_ERROR_OUT_OF_MEMORY
	NoDevice    Error = C.CUDA_ERROR_NO_DEVICE
)

// Error is the driver's name for the result.
func (e Error) Error() string {
	var name *C.char
	if C.cuGetErrorName(C.CUresult(e), &name) != 0 || name == nil {
		return fmt.Sprintf("CUDA error %d", int(e))
	}
	return C.GoString(name)
}

func check(r C.CUresult) error {
	if r != C.CUDA_SUCCESS {
		return Error(r)
	}
	return nil
}

// Library is the path of the driver's library, and how many of the entry points that
// the program may call it lacks. It fails if there is no library, or if the driver
// does not start.
func Library() (path string, missing int, err error) {
	s := C.cudrv_status()
	path = C.GoString(&s.library[0])
	switch {
	case path == "":
		return "", 0, errors.New(C.GoString(&s.error[0]))
	case s.init != 0:
		return path, int(s.missing), fmt.Errorf("cuInit: %w", Error(s.init))
	}
	return path, int(s.missing), nil
}

// Args are the arguments of a kernel, packed as C lays out its parameters.
type Args struct {
	bytes   []byte
	offsets []C.uint
}

// maxArgs is how many arguments a kernel may have; see launch.
const maxArgs = 64

// Put appends an argument.
func Put[T int32 | uint32 | int64 | uint64 | float32 | float64 | cu.DevicePtr](a *Args, v T) {
	size := int(unsafe.Sizeof(v))
	for len(a.bytes)%size != 0 {
		a.bytes = append(a.bytes, 0)
	}
	a.offsets = append(a.offsets, C.uint(len(a.bytes)))
	a.bytes = append(a.bytes, unsafe.Slice((*byte)(unsafe.Pointer(&v)), size)...)
}

// Layout returns where each argument starts, and where the last ends.
func (a *Args) Layout() []int {
	at := make([]int, 0, len(a.offsets)+1)
	for _, o := range a.offsets {
		at = append(at, int(o))
	}
	return append(at, len(a.bytes))
}

// Launch queues a kernel on a stream, or records it if the stream is capturing. The
// arguments are copied.
func Launch(f cu.Function, grid, block [3]int, shared int, s cu.Stream, a *Args) error {
	if len(a.offsets) == 0 || len(a.offsets) > maxArgs {
		return fmt.Errorf("launch with %d arguments, want 1 to %d", len(a.offsets), maxArgs)
	}
	var g, b [3]C.uint
	for i := range grid {
		g[i], b[i] = C.uint(grid[i]), C.uint(block[i])
	}
	return check(C.launch(function(f), &g[0], &b[0], C.uint(shared), stream(s),
		(*C.char)(unsafe.Pointer(&a.bytes[0])), &a.offsets[0], C.int(len(a.offsets))))
}

// AllowShared lets a kernel be launched with up to so many bytes of dynamic shared
// memory; without it the limit is 48 KB.
func AllowShared(f cu.Function, bytes int) error {
	return check(C.cuFuncSetAttribute(function(f), C.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, C.int(bytes)))
}

// Upload copies numbers to the GPU. gorgonia.org/cu's own copies take pointers of no
// type, and Go refuses those to memory that shares an object with other pointers.
func Upload[T byte | int32 | float32 | float64](to cu.DevicePtr, from []T) error {
	if len(from) == 0 {
		return nil
	}
	n := len(from) * int(unsafe.Sizeof(from[0]))
	return check(C.upload(C.CUdeviceptr(to), (*C.char)(unsafe.Pointer(&from[0])), C.size_t(n)))
}

// Download copies numbers from the GPU, when what was queued before is done.
func Download[T float32 | float64](to []T, from cu.DevicePtr) error {
	if len(to) == 0 {
		return nil
	}
	n := len(to) * int(unsafe.Sizeof(to[0]))
	return check(C.download((*C.char)(unsafe.Pointer(&to[0])), C.CUdeviceptr(from), C.size_t(n)))
}

// Event is a place in what is queued on a stream, with the time when it was reached.
type Event struct{ event C.CUevent }

// Record queues a new event on s. The caller closes it.
func Record(s cu.Stream) (*Event, error) {
	var e Event
	if err := check(C.cuEventCreate(&e.event, C.CU_EVENT_DEFAULT)); err != nil {
		return nil, fmt.Errorf("create event: %w", err)
	}
	if err := check(C.cuEventRecord(e.event, stream(s))); err != nil {
		return nil, errors.Join(fmt.Errorf("record event: %w", err), e.Close())
	}
	return &e, nil
}

// Since is how many seconds lie between two events that have been reached.
func (e *Event) Since(earlier *Event) (float64, error) {
	var ms C.float
	err := check(C.cuEventElapsedTime(&ms, earlier.event, e.event))
	return float64(ms) / 1e3, err
}

// Wait waits until it is reached.
func (e *Event) Wait() error { return check(C.cuEventSynchronize(e.event)) }

// Close frees the event.
func (e *Event) Close() error { return check(C.cuEventDestroy(e.event)) }

// Attributes is what a kernel takes: registers a thread, and bytes of local memory a thread
// and of static shared memory a block.
func Attributes(f cu.Function) (registers, local, shared int, err error) {
	for _, a := range []struct {
		of C.CUfunction_attribute
		to *int
	}{{C.CU_FUNC_ATTRIBUTE_NUM_REGS, &registers}, {C.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, &local}, {C.CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, &shared}} {
		var v C.int
		if err := check(C.cuFuncGetAttribute(&v, a.of, function(f))); err != nil {
			return 0, 0, 0, err
		}
		*a.to = int(v)
	}
	return registers, local, shared, nil
}

// Graph is a recorded sequence of launches, ready to be launched as a whole.
type Graph struct{ exec C.CUgraphExec }

// Capture records what f queues on s, without running it.
func Capture(s cu.Stream, f func() error) (*Graph, error) {
	if err := check(C.cuStreamBeginCapture(stream(s), C.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)); err != nil {
		return nil, fmt.Errorf("begin capture: %w", err)
	}
	failed := f()
	var g C.CUgraph
	if err := check(C.cuStreamEndCapture(stream(s), &g)); err != nil && failed == nil {
		failed = fmt.Errorf("end capture: %w", err)
	}
	if g == nil {
		return nil, failed
	}
	defer C.cuGraphDestroy(g)
	if failed != nil {
		return nil, failed
	}
	var e C.CUgraphExec
	if err := check(C.cuGraphInstantiateWithFlags(&e, g, 0)); err != nil {
		return nil, fmt.Errorf("instantiate graph: %w", err)
	}
	return &Graph{e}, nil
}

// Launch queues the graph on a stream.
func (g *Graph) Launch(s cu.Stream) error { return check(C.cuGraphLaunch(g.exec, stream(s))) }

// Close frees the graph, if there is one.
func (g *Graph) Close() error {
	if g == nil {
		return nil
	}
	return check(C.cuGraphExecDestroy(g.exec))
}

// StreamAddress is a stream as libraries know it.
func StreamAddress(s cu.Stream) uintptr { return uintptr(unsafe.Pointer(stream(s))) }

// function and stream read the handles, which have the same type in every package
// but not for Go.
func function(f cu.Function) C.CUfunction { return *(*C.CUfunction)(unsafe.Pointer(&f)) }
func stream(s cu.Stream) C.CUstream       { return *(*C.CUstream)(unsafe.Pointer(&s)) }
