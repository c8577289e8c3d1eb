//go:build ddpmcuda

package ddpm

import (
	"errors"
	"os"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda/cudnn"
	"ddpmlab/ddpm/engine/op"
)

// cuDNN has plans for every convolution with enough channels, in bfloat16, of the paper's CIFAR-10
// trainings, of first and second order.
func TestCUDNNPlans(t *testing.T) {
	if os.Getenv(cudnn.Env) == "" || cudnn.Forbidden() {
		t.Skip("run by `make test-cudnn`")
	}
	library, err := cudnn.Open()
	if err != nil {
		t.Fatal(err)
	}
	type job struct {
		conv      cudnn.Conv
		direction cudnn.Direction
	}
	planned := map[job]int{}
	without := 0
	for _, v := range []Variant{ADM(), GradPenalty(1e-6)} {
		spec, _, err := trainSpec(CIFAR10(), v, false)
		if err != nil {
			t.Fatal(err)
		}
		p, err := engine.Compile(spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Steps {
			var d cudnn.Direction
			o := s.Op
			x, w := o.Out, o.Out
			switch o.Kind {
			case op.KindConv:
				d, x, w = cudnn.Forward, o.In[0], o.In[1]
			case op.KindConvDX:
				d, w = cudnn.Data, o.In[0]
			case op.KindConvDW:
				d, x = cudnn.Filters, o.In[0]
			default:
				continue
			}
			for _, operands := range []cudnn.Type{cudnn.BFloat16, cudnn.Float32} {
				j := job{cudnn.Conv{
					N: x[0], H: x[1], W: x[2], C: x[3], K: w[3], R: w[0], S: w[1],
					Stride: o.Stride(), Pad: o.Padding(), PadX: o.PaddingX(), Type: operands,
				}, d}
				if _, done := planned[j]; done || min(j.conv.C, j.conv.K) < 16 {
					continue
				}
				plans, err := library.Plans(j.conv, d, cudnn.H100)
				switch {
				case operands == cudnn.Float32 && errors.Is(err, cudnn.ErrNone): // but ones that round it
					without++
				case err != nil:
					t.Error(err)
				default:
					planned[j] = len(plans)
				}
			}
		}
	}
	fewest := 1 << 30
	for _, n := range planned {
		fewest = min(fewest, n)
	}
	t.Logf("cuDNN %s has plans for %d convolutions, at least %d for each; in float32 none for %d", library.Version(), len(planned), fewest, without)
	if len(planned) < 100 {
		t.Errorf("%d convolutions, want those of the whole network", len(planned))
	}
}
