//go:build ddpmcuda

package cudnn

import (
	"errors"
	"fmt"
	"unsafe"
)

// Conv is a convolution of images of H by W pixels and C channels with K filters of R by
// S pixels, at a stride and with zeros around, as many on either side. Operands are
// bfloat16 and sums float32.
type Conv struct {
	N, H, W, C, K, R, S, Stride, Pad, PadX int
}

// out is the size of its images.
func (c Conv) out() (h, w int) {
	return (c.H+2*c.Pad-c.R)/c.Stride + 1, (c.W+2*c.PadX-c.S)/c.Stride + 1
}

// Direction is what is computed of a convolution.
type Direction int

const (
	Forward Direction = iota // its output
	Data                     // the gradient of its images
	Filters                  // the gradient of its filters
)

func (d Direction) String() string {
	return [...]string{"forward", "data gradient", "filter gradient"}[d]
}

// Plan is one way to compute a convolution.
type Plan struct {
	Workspace int64 // bytes of memory that it takes besides the operands
}

// Kinds of descriptors.
var (
	kindConvolution   = kind{1, "convolution"}
	kindConfiguration = kind{3, "engine configuration"}
	kindHeuristics    = kind{4, "heuristics"}
	kindPlan          = kind{5, "plan"}
	kindGraph         = kind{15, "graph"}
	kindTensor        = kind{17, "tensor"}
	kindDevice        = kind{38, "device properties"}
)

// operations are the kinds that compute, by direction: with the numbers of their
// attributes, of which the images, the filters and the output follow each other in an
// order of their own.
var operations = [...]struct {
	kind                                   kind
	alpha, beta, conv, filters, image, out int32
}{
	Forward: {kind{10, "forward convolution"}, 700, 701, 702, 703, 704, 705},
	Data:    {kind{12, "data gradient"}, 706, 707, 708, 709, 710, 711},
	Filters: {kind{11, "filter gradient"}, 712, 713, 714, 715, 716, 717},
}

// Values of enumerations, and attributes.
const (
	typeOfSums       dataType        = 0 // float32
	typeOfOperands   dataType        = 9 // bfloat16
	crossCorrelation convolutionMode = 1
	modeA            heuristicMode   = 3 // the best guess

	convComputeType = 100
	convMode        = 101
	convDilations   = 102
	convStrides     = 103
	convPadAfter    = 104
	convPadBefore   = 105
	convDims        = 106

	heuristicsMode    = 200
	heuristicsGraph   = 201
	heuristicsResults = 202
	heuristicsDevice  = 204

	planConfiguration = 401
	planWorkspace     = 402
	planDevice        = 407

	graphOperations = 801

	tensorAlignment  = 900
	tensorType       = 901
	tensorDimensions = 902
	tensorStrides    = 903
	tensorID         = 906

	deviceJSON = 2702
)

// most is how many ways are asked for.
const most = 64

// Plans returns the ways to compute c in direction d that the library can prepare, the
// one that it takes for the fastest first, on a GPU that it is given the properties of
// (JSON, see Device). No GPU needs to be there. Images lie as NHWC, filters as KRSC.
func (l *Library) Plans(c Conv, d Direction, device Device) ([]Plan, error) {
	s := &session{l: l}
	defer s.close()
	plans, err := s.plans(c, d, device)
	if err != nil {
		return nil, fmt.Errorf("%v of %+v: %w", d, c, err)
	}
	return plans, nil
}

func (s *session) plans(c Conv, d Direction, device Device) ([]Plan, error) {
	properties, err := s.descriptor(kindDevice, attribute{deviceJSON, device.json()})
	if err != nil {
		return nil, err
	}
	graph, err := s.graph(c, d)
	if err != nil {
		return nil, err
	}
	heuristics, err := s.descriptor(kindHeuristics, attribute{heuristicsGraph, graph}, attribute{heuristicsMode, modeA}, attribute{heuristicsDevice, properties})
	if err != nil {
		return nil, err
	}
	configurations, err := s.getDescriptors("configurations", heuristics, heuristicsResults, kindConfiguration, most)
	if err != nil {
		return nil, err
	}
	var plans []Plan
	var refused []error
	for _, c := range configurations {
		p, err := s.descriptor(kindPlan, attribute{planConfiguration, c}, attribute{planDevice, properties})
		if err != nil {
			refused = append(refused, err)
			continue
		}
		size, err := s.getInt64("workspace of plan", p, planWorkspace)
		if err != nil {
			return nil, err
		}
		plans = append(plans, Plan{size})
	}
	if len(plans) == 0 {
		return nil, fmt.Errorf("none of %d ways can be prepared: %w", len(configurations), errors.Join(refused...))
	}
	return plans, nil
}

// graph has one operation.
func (s *session) graph(c Conv, d Direction) (unsafe.Pointer, error) {
	h, w := c.out()
	images, err := s.tensor('x', c.N, c.C, c.H, c.W)
	if err != nil {
		return nil, err
	}
	filters, err := s.tensor('w', c.K, c.C, c.R, c.S)
	if err != nil {
		return nil, err
	}
	output, err := s.tensor('y', c.N, c.K, h, w)
	if err != nil {
		return nil, err
	}
	pads := []int64{int64(c.Pad), int64(c.PadX)}
	stride := int64(c.Stride)
	conv, err := s.descriptor(kindConvolution,
		attribute{convComputeType, typeOfSums}, attribute{convMode, crossCorrelation}, attribute{convDims, int64(2)},
		attribute{convPadBefore, pads}, attribute{convPadAfter, pads}, attribute{convStrides, []int64{stride, stride}}, attribute{convDilations, []int64{1, 1}})
	if err != nil {
		return nil, err
	}
	o := operations[d]
	operation, err := s.descriptor(o.kind, attribute{o.image, images}, attribute{o.filters, filters}, attribute{o.out, output}, attribute{o.conv, conv},
		attribute{o.alpha, float32(1)}, attribute{o.beta, float32(0)})
	if err != nil {
		return nil, err
	}
	return s.descriptor(kindGraph, attribute{graphOperations, operation})
}

// tensor lies in memory with its channels side by side.
func (s *session) tensor(id int64, n, c, h, w int) (unsafe.Pointer, error) {
	dimensions := []int64{int64(n), int64(c), int64(h), int64(w)}
	strides := []int64{int64(h * w * c), 1, int64(w * c), int64(c)}
	return s.descriptor(kindTensor, attribute{tensorType, typeOfOperands}, attribute{tensorDimensions, dimensions},
		attribute{tensorStrides, strides}, attribute{tensorID, id}, attribute{tensorAlignment, int64(16)})
}
