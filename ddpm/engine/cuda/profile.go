package cuda

import "slices"

// Options are ways of running programs that tests and measurements want. None but Own
// changes a number.
type Options struct {
	Direct   bool     // launch kernels one by one, not as a graph
	Separate bool     // give every buffer an allocation of its own
	Profile  *Profile // add up the times of kernels, which are launched one by one
	Own      bool     // compute convolutions by kernels of our own, never by cuDNN

	Log func(line string) // tells what the user should know; nil: on standard error
}

// Profile is the time that kernels take, measured by events in the stream: the gaps between
// launches count, which a graph has less of.
type Profile struct {
	Kernels map[string]*KernelTime // by name
}

// KernelTime is the sum over the launches of one kernel.
type KernelTime struct {
	Name     string
	Launches int
	Seconds  float64
	Flops    float64 // of products; 0 for all else
	Bytes    float64 // of operands, each counted once a launch
}

// Times is the kernels, the one that took longest first.
func (p *Profile) Times() []KernelTime {
	var all []KernelTime
	for _, t := range p.Kernels {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b KernelTime) int {
		switch {
		case a.Seconds > b.Seconds:
			return -1
		case a.Seconds < b.Seconds:
			return 1
		}
		return 0
	})
	return all
}

// Kernel is a kernel as the driver has loaded it.
type Kernel struct {
	Name      string
	Registers int // a thread
	Local     int // bytes of local memory a thread: what does not fit registers
	Shared    int // bytes of static shared memory a block
}

// Convolution is how one of a program is computed.
type Convolution struct {
	Name      string
	Own       float64 // seconds by our own kernel
	Seconds   float64 // by the fastest plan of cuDNN; 0 if there is none
	Engine    int64   // that plan's, as cuDNN counts
	Workspace int64   // its, in bytes
	Used      bool    // whether the plan is used
}

// Numbers is what a run of a program takes, by its plan; of one that trains an iteration of a
// loop, but for the few bytes of what is drawn and kept.
type Numbers struct {
	Operations int     // of the program
	Launches   int     // of kernels
	Flops      float64 // of products
	Bytes      float64 // of the operands of all launches, each counted once a launch
	Arena      int     // bytes for what is computed
}

// Peak is what a GPU's data sheet promises.
type Peak struct {
	Name          string
	TFlops        float64 // a second in bfloat16, without sparsity
	TFlopsFloat32 float64 // a second in float32, without tensor cores
	TBytes        float64 // a second from memory
}

// Peaks are those of the SXM modules (NVIDIA, H100 and H200 data sheets).
var Peaks = []Peak{{"H100", 989, 67, 3.35}, {"H200", 989, 67, 4.8}}

// Roofline is the least time that n can take on p, in seconds: that of the products, or
// of memory if that is longer.
func (p Peak) Roofline(n Numbers, bfloat16 bool) float64 {
	flops := p.TFlopsFloat32
	if bfloat16 {
		flops = p.TFlops
	}
	return max(n.Flops/flops, n.Bytes/p.TBytes) / 1e12
}
