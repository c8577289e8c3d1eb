package cpu

/*
#cgo LDFLAGS: -lm
#include <stdlib.h>
#include "kernels.h"

static int64_t step_scratch(const struct cpu_isa *isa, const struct cpu_step *s) { return isa->scratch(s); }
*/
import "C"

import (
	"context"
	"fmt"
	"sync"
	"unsafe"
)

// kernel is the number of a C kernel. What its operands are is said beside the kernel.
type kernel int32

const (
	kWinoWeights     kernel = C.CPU_wino_weights
	kWinoForward     kernel = C.CPU_wino_forward
	kWinoDW          kernel = C.CPU_wino_dw
	kWinoDWOut       kernel = C.CPU_wino_dw_out
	kWinoDWSmall     kernel = C.CPU_wino_dw_small
	kBF16Weights     kernel = C.CPU_bf16_weights
	kBF16Conv        kernel = C.CPU_bf16_conv
	kBF16ConvDW      kernel = C.CPU_bf16_conv_dw
	kBF16Attention   kernel = C.CPU_bf16_attention
	kBF16AttentionDX kernel = C.CPU_bf16_attention_dx
	kGemm            kernel = C.CPU_gemm
	kSumSlabs        kernel = C.CPU_sum_slabs
	kConvCols        kernel = C.CPU_conv_cols
	kConvColsDX      kernel = C.CPU_conv_cols_dx
	kConvColsDW      kernel = C.CPU_conv_cols_dw
	kFlipWeights     kernel = C.CPU_flip_weights
	kConvPanels      kernel = C.CPU_conv_panels
	kPackWeights     kernel = C.CPU_pack_weights
	kMaxPool         kernel = C.CPU_max_pool
	kMeanPool        kernel = C.CPU_mean_pool
	kResize          kernel = C.CPU_resize
	kNormStats       kernel = C.CPU_norm_stats
	kNorm            kernel = C.CPU_norm
	kNormGrad        kernel = C.CPU_norm_grad
	kNormGrad2       kernel = C.CPU_norm_grad2
	kNormAct         kernel = C.CPU_norm_act
	kNormActGrad     kernel = C.CPU_norm_act_grad
	kNormActGrad2    kernel = C.CPU_norm_act_grad2
	kAdd             kernel = C.CPU_add
	kMul             kernel = C.CPU_mul
	kScale           kernel = C.CPU_scale
	kAddConst        kernel = C.CPU_add_const
	kPower           kernel = C.CPU_power
	kLogFloor        kernel = C.CPU_log_floor
	kLogSlope        kernel = C.CPU_log_slope
	kFill            kernel = C.CPU_fill
	kReLU            kernel = C.CPU_relu
	kReLUGrad        kernel = C.CPU_relu_grad
	kSigmoid         kernel = C.CPU_sigmoid
	kSiLU            kernel = C.CPU_silu
	kSiLUGrad        kernel = C.CPU_silu_grad
	kSiLUGrad2       kernel = C.CPU_silu_grad2
	kAttention       kernel = C.CPU_attention
	kAttentionDX     kernel = C.CPU_attention_dx
	kAttentionJVP    kernel = C.CPU_attention_jvp
	kAttentionDX2    kernel = C.CPU_attention_dx2
	kSoftmax         kernel = C.CPU_softmax
	kSoftmaxGrad     kernel = C.CPU_softmax_grad
	kLogSoftmax      kernel = C.CPU_log_softmax
	kCopy            kernel = C.CPU_copy
	kPool            kernel = C.CPU_pool
	kBroadcast       kernel = C.CPU_broadcast
	kSum             kernel = C.CPU_sum
	kTimeEmbedding   kernel = C.CPU_time_embedding
	kDropout         kernel = C.CPU_dropout
	kAdamW           kernel = C.CPU_adamw
	kSumSquares      kernel = C.CPU_sum_squares
)

// String is the kernel's name in the C sources.
func (k kernel) String() string { return C.GoString(C.cpu_kernel_name(C.int32_t(k))) }

// isa is the kernels compiled for one instruction set.
type isa struct {
	c       *C.struct_cpu_isa
	name    string
	rows    int  // rows of a GEMM panel, and tiles of a Winograd panel
	columns int  // of a strip of packed weights
	tiles   bool // whether it multiplies bf16 tiles fast
}

// findISA returns the named instance, or the best this machine has if name is empty.
func findISA(name string) (*isa, error) {
	cname := C.CString(name)
	defer C.free(unsafe.Pointer(cname))
	c := C.cpu_find_isa(cname)
	if c == nil {
		return nil, fmt.Errorf("this machine does not run instruction set %q; use amx, avx512, avx2 or baseline, or unset DDPMLAB_CPU", name)
	}
	return &isa{c: c, name: C.GoString(c.name), rows: int(c.rows), columns: int(c.columns), tiles: c.tiles != 0}, nil
}

// call is a step as C sees it, with operands at their final places; nil ones are
// not there.
type call struct {
	kernel kernel
	parts  int
	p      []*float32
	d      []int
	f      []float32
}

// job is a list of calls, ready to run any number of times.
type job struct {
	run     *C.struct_cpu_run
	steps   []C.struct_cpu_step // C memory
	threads int
	scratch *memory
	each    int // floats of scratch a thread

	wake    chan struct{} // one token calls one worker to a run; nil before the first run
	working sync.WaitGroup
	watch   watch
}

// newJob copies calls to C memory and makes the threads' scratch.
func newJob(in *isa, threads int, calls []call) (*job, error) {
	n := C.size_t(max(1, len(calls)))
	j := &job{run: (*C.struct_cpu_run)(C.calloc(1, C.sizeof_struct_cpu_run)), threads: threads}
	steps := (*C.struct_cpu_step)(C.calloc(n, C.sizeof_struct_cpu_step))
	j.run.isa, j.run.steps, j.run.count = in.c, steps, C.int64_t(len(calls))
	j.run.counters = (*C.struct_cpu_counter)(C.calloc(n, C.sizeof_struct_cpu_counter))
	j.steps = unsafe.Slice(steps, len(calls))
	for i, c := range calls {
		s := &j.steps[i]
		if len(c.p) > len(s.p) || len(c.d) > len(s.d) || len(c.f) > len(s.f) {
			panic(fmt.Sprintf("cpu: %v has %d operands, %d sizes, %d numbers: more than a step holds", c.kernel, len(c.p), len(c.d), len(c.f)))
		}
		s.kernel, s.parts = C.int32_t(c.kernel), C.int32_t(c.parts)
		for k, p := range c.p {
			s.p[k] = (*C.float)(p)
		}
		for k, d := range c.d {
			s.d[k] = C.int64_t(d)
		}
		for k, f := range c.f {
			s.f[k] = C.float(f)
		}
		j.each = max(j.each, int(C.step_scratch(in.c, s)))
	}
	j.each = alignUp(j.each)
	var err error
	if j.scratch, err = newMemory(j.each * threads); err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

// execute runs the calls in order, each on all threads. It returns ctx.Err() as
// soon as every thread has finished the part it is at when ctx is cancelled. Runs
// after the first allocate nothing, as long as they have the same ctx.
func (j *job) execute(ctx context.Context) error {
	if j.wake == nil {
		j.startWorkers()
	}
	j.watch.set(ctx, j.run)
	C.cpu_reset(j.run)
	if err := ctx.Err(); err != nil { // a cancellation from here on finds the flag reset
		return err
	}
	j.working.Add(j.threads - 1)
	for range j.threads - 1 {
		j.wake <- struct{}{}
	}
	j.work(0)
	j.working.Wait()
	return ctx.Err()
}

// startWorkers starts the goroutines beside the caller's, which live until close. They
// share nothing with other jobs, so that several may run at a time.
func (j *job) startWorkers() {
	j.wake = make(chan struct{}, j.threads)
	for t := 1; t < j.threads; t++ {
		go func() {
			for range j.wake {
				j.work(t)
				j.working.Done()
			}
		}()
	}
}

func (j *job) work(thread int) {
	C.cpu_work(j.run, (*C.float)(j.scratch.at(thread*j.each)), C.int(btoi(thread == 0)))
}

// watch cancels a run when its context ends. It is kept from run to run, as contexts are.
type watch struct {
	done   <-chan struct{} // of the context that is watched
	forget func() bool
	told   chan struct{} // closed once the run has been cancelled
}

// set watches ctx, and nothing else any more.
func (w *watch) set(ctx context.Context, run *C.struct_cpu_run) {
	if ctx.Done() == w.done {
		return
	}
	w.end()
	if w.done = ctx.Done(); w.done == nil {
		return
	}
	told := make(chan struct{})
	w.told, w.forget = told, context.AfterFunc(ctx, func() {
		C.cpu_cancel(run)
		close(told)
	})
}

// end stops watching, for good when it returns: nothing touches the run.
func (w *watch) end() {
	if w.forget != nil && !w.forget() {
		<-w.told
	}
	*w = watch{}
}

func (j *job) close() {
	if j.run == nil {
		return
	}
	j.watch.end()
	if j.wake != nil {
		close(j.wake) // no run is under way, so no worker touches what is freed
	}
	C.free(unsafe.Pointer(j.run.steps))
	C.free(unsafe.Pointer(j.run.counters))
	C.free(unsafe.Pointer(j.run))
	j.run, j.steps = nil, nil
	if j.scratch != nil {
		j.scratch.close()
	}
}

// setFloats changes the numbers of step i.
func (j *job) setFloats(i int, f ...float64) {
	for k, v := range f {
		j.steps[i].f[k] = C.float(v)
	}
}
