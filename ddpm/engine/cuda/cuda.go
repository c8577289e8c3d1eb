// Package cuda runs programs on an NVIDIA GPU.
//
// Loading a program lowers it (fuse.go, lower*.go) to a flat list of kernel launches
// over an arena with static offsets, which the first run records as a CUDA graph and
// every run launches as a whole (exec.go). Kernels are in package kernels, the way to
// the driver in package cudrv. Tensors have the layouts of the cpu device. They
// are float32, and so are products, or in a program's precision: tensor cores then
// multiply bfloat16 and add up in float32 (tensor.h), and what only such products and
// the layers between them read is bfloat16 in memory too (narrow.go).
//
// Results of these kernels depend on the shapes alone, not on the GPU: a sum is cut into
// parts by its shape, and parts are added in a fixed order.
//
// Convolutions are computed by cuDNN where it is installed, faster and right (library.go),
// in a program's precision and in the same order each time.
//
// The GPU is in programs built with the tag ddpmcuda (`make cuda`). Others have New
// and Inspect too, which say so.
package cuda

import "fmt"

// DriverWanted is the oldest version of CUDA that a driver may speak, as the driver
// counts it; drivers from 580 on do. Older ones refuse the kernels' machine code.
const DriverWanted = 13000

// Report is what is there to run on.
type Report struct {
	Built   bool     // whether this program can use a GPU at all
	Library string   // path of the driver's library
	Version int      // of CUDA, as the driver counts it: 13000 is 13.0
	Missing int      // driver calls that this program knows and the driver does not
	Devices []Device // in the driver's order
	Err     error    // why there is nothing to run on; nil if there is
}

// String is the library and what CUDA it speaks.
func (r Report) String() string {
	s := fmt.Sprintf("%s, CUDA %s", r.Library, versionText(r.Version))
	if r.Missing > 0 {
		s += fmt.Sprintf(", without %d calls that are never made", r.Missing)
	}
	return s
}

// versionText is a version of CUDA as people write it.
func versionText(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// FakeName is the name of the GPU that the test double of the driver has.
const FakeName = "fake device"

// Device is one GPU.
type Device struct {
	Name            string
	Major, Minor    int   // compute capability
	Multiprocessors int   // streaming multiprocessors
	Total           int64 // memory, in bytes
	Free            int64 // of it, in bytes
}

// String is one line, such as "NVIDIA H100 80GB HBM3, compute capability 9.0, 132
// multiprocessors, 84.9 of 85.5 GB free".
func (d Device) String() string {
	return fmt.Sprintf("%s, compute capability %d.%d, %d multiprocessors, %.1f of %.1f GB free",
		d.Name, d.Major, d.Minor, d.Multiprocessors, float64(d.Free)/1e9, float64(d.Total)/1e9)
}
