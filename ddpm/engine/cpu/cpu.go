// Package cpu runs programs on the processor: C kernels for every operation, and
// an executor that plans memory and drives the kernels on goroutines.
//
// The kernels are one template in GCC vector extensions (*.h), compiled once for
// each instruction set (avx512_amd64.c, avx2_amd64.c, baseline.c) and picked when
// the program starts; there is no dependency but the C library. Loading a program
// fuses and lowers it (fuse.go, lower*.go) to a flat list of C steps over an arena
// with static offsets (package arena). Running it is one call into C for each thread
// (run.c).
//
// Results do not depend on the number of threads: a step is cut into parts by its
// shape alone, and partial sums are added in a fixed order.
package cpu

import (
	"fmt"
	"os"
	"runtime"

	"ddpmlab/ddpm/engine"
)

type device struct {
	isa     *isa
	threads int
	keep    bool // compute nothing twice to save memory; for tests
	imitate bool // take bfloat16 where the processor has no tiles; for tests
}

// New returns the processor as a device that runs on the given number of
// threads, or on all processors if that is 0. The environment variable
// DDPMLAB_CPU (amx, avx512, avx2, baseline) overrides the choice of instruction set;
// it is an error if the machine does not have it.
func New(threads int) (engine.Device, error) {
	if threads < 0 || threads > 1024 {
		return nil, fmt.Errorf("%d threads: want 1 to 1024, or 0 for all processors", threads)
	}
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	in, err := findISA(os.Getenv("DDPMLAB_CPU"))
	if err != nil {
		return nil, err
	}
	return &device{isa: in, threads: threads}, nil
}

// BFloat16 tells whether d, a device of this package, multiplies bfloat16 fast.
func BFloat16(d engine.Device) bool {
	c, ok := d.(*device)
	return ok && c.isa.tiles
}

// Name tells instruction set and threads.
func (d *device) Name() string {
	if d.threads == 1 {
		return fmt.Sprintf("cpu %s 1 thread", d.isa.name)
	}
	return fmt.Sprintf("cpu %s %d threads", d.isa.name, d.threads)
}

// NewState makes the flat arrays for n parameters.
func (d *device) NewState(n int) (engine.State, error) {
	s, err := newState(d, n)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Load lowers p for this machine.
func (d *device) Load(p *engine.Program, s engine.State) (engine.Exec, error) {
	st, ok := s.(*state)
	if !ok {
		return nil, fmt.Errorf("load: a state of type %T is not of device %s", s, d.Name())
	}
	if st.n != p.ParamLen {
		return nil, fmt.Errorf("load: the state has %d parameters, the program %d", st.n, p.ParamLen)
	}
	if p.Precision != engine.Float32 && !d.isa.tiles && !d.imitate {
		return nil, fmt.Errorf("load: products in bfloat16 pay only on a processor with tiles for them (AMX: Intel's Xeons since 2023, under Linux), which %s has not; train and sample with precision \"\"", d.Name())
	}
	e, err := load(d, p, st)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Close does nothing: states and programs hold all memory.
func (d *device) Close() error { return nil }
