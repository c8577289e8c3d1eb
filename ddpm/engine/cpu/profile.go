package cpu

/*
#include <stdlib.h>
#include "kernels.h"
*/
import "C"

import (
	"context"
	"fmt"
	"unsafe"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/op"
)

// StepTime is what one step of a program took.
type StepTime struct {
	Kernel  string  // the C kernel
	What    string  // the operation it belongs to, as Explain names it
	Seconds float64 // mean of the runs
	Flops   float64 // multiplications and additions of the operation done directly; 0 where it is bound by memory
	Bytes   float64 // of its operands
}

// Profile runs e, a program of this package, the given number of times, and returns
// the mean time of each of its steps, waiting for the slowest thread included.
func Profile(ctx context.Context, e engine.Exec, runs int) ([]StepTime, error) {
	x, ok := e.(*exec)
	if !ok || runs < 1 {
		return nil, fmt.Errorf("profile %d runs of a %T: want 1 or more of a program of the cpu device", runs, e)
	}
	nanos := (*C.int64_t)(C.calloc(C.size_t(max(1, len(x.plan.steps))), 8))
	defer C.free(unsafe.Pointer(nanos))
	x.job.run.nanos = nanos
	defer func() { x.job.run.nanos = nil }()
	for range runs {
		if err := x.Run(ctx); err != nil {
			return nil, err
		}
	}
	times := make([]StepTime, len(x.plan.steps))
	for i, n := range unsafe.Slice(nanos, len(times)) {
		s := x.plan.steps[i]
		times[i] = StepTime{s.kernel.String(), s.what, float64(n) / float64(runs) / 1e9, s.flops, float64(s.bytes())}
	}
	return times, nil
}

// flopsOf counts the multiplications and additions of a product done directly.
func flopsOf(o *op.Op) float64 {
	switch o.Kind {
	case op.KindConv:
		return 2 * float64(size(o.Out)) * float64(size(o.In[1])/o.Out[3])
	case op.KindConvDX:
		return 2 * float64(size(o.In[1])) * float64(size(o.In[0])/o.In[1][3])
	case op.KindConvDW:
		return 2 * float64(size(o.In[1])) * float64(size(o.Out)/o.In[1][3])
	case op.KindMatMul:
		k := o.In[0][2]
		if o.TransA() {
			k = o.In[0][1]
		}
		return 2 * float64(size(o.Out)) * float64(k)
	case op.KindAttention:
		return 2 * attentionProduct(o)
	case op.KindAttentionDX, op.KindAttentionJVP:
		return 5 * attentionProduct(o)
	case op.KindAttentionDX2:
		return 10 * attentionProduct(o)
	}
	return 0
}

// attentionProduct counts those of one product of Q and K, for all heads.
func attentionProduct(o *op.Op) float64 {
	s := o.In[0]
	return 2 * float64(s[0]*s[1]*s[1]*s[2]/3)
}
