// Package cudrv is what lets one binary run with and without an NVIDIA driver: it
// has libcuda's entry points as jumps that are filled with dlopen when the program
// starts, and the few calls that gorgonia.org/cu lacks (launches with packed
// arguments of any size, stream capture, graphs).
//
// gorgonia.org/cu is used as it is. To build it wants cuda.h and -lcuda: include has
// the header, written for this purpose, and lib an empty libcuda.a; `make cuda`
// points cgo at them. Nothing of NVIDIA's is needed to build, nor to start.
//
// DDPMLAB_LIBCUDA names another library than libcuda.so.1, as the tests do with the
// fake driver. All but this file has the build tag ddpmcuda.
package cudrv
