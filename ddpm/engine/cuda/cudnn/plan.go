//go:build ddpmcuda

package cudnn

import (
	"errors"
	"fmt"
	"unsafe"
)

// Conv is a convolution of images of H by W pixels and C channels with K filters of R by
// S pixels, at a stride and with zeros around, as many on either side. Images lie as
// NHWC, filters as KRSC; all operands are of one type and sums float32.
type Conv struct {
	N, H, W, C, K, R, S, Stride, Pad, PadX int
	Type                                   Type
}

// String has all numbers: it names c in files, too.
func (c Conv) String() string {
	return fmt.Sprintf("%dx%dx%dx%d by %dx%d to %d, stride %d, padding %d %d, %v", c.N, c.H, c.W, c.C, c.R, c.S, c.K, c.Stride, c.Pad, c.PadX, c.Type)
}

// Type is that of operands.
type Type int

const (
	BFloat16 Type = iota
	Float32
)

func (t Type) String() string { return [...]string{"bfloat16", "float32"}[t] }

// Out is the size of its output, in direction Forward.
func (c Conv) Out() (h, w int) {
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

// Plan is one way to compute a convolution. Its sums have the same order each time, and
// in float32 nothing is rounded to less.
type Plan struct {
	Index     int   // among the ways that the library knows
	Engine    int64 // the number of its engine in the library
	Workspace int64 // bytes of memory that it takes besides the operands

	descriptor unsafe.Pointer
	h          *Handle // to execute it on
}

// Kinds of descriptors.
var (
	kindConvolution   = kind{1, "convolution"}
	kindEngine        = kind{2, "engine"}
	kindConfiguration = kind{3, "engine configuration"}
	kindHeuristics    = kind{4, "heuristics"}
	kindPlan          = kind{5, "plan"}
	kindGraph         = kind{15, "graph"}
	kindPack          = kind{16, "variant pack"}
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
	typeFloat32      dataType        = 0
	typeBFloat16     dataType        = 9
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

	noteTensorCore       note = 0
	noteNarrowed         note = 1 // operands are
	noteReducedSums      note = 2
	noteNondeterministic note = 4

	configurationEngine = 300

	planHandle        = 400
	planConfiguration = 401
	planWorkspace     = 402
	planDevice        = 407

	graphHandle     = 800
	graphOperations = 801

	tensorAlignment  = 900
	tensorType       = 901
	tensorDimensions = 902
	tensorStrides    = 903
	tensorID         = 906

	packIDs       = 1000
	packPointers  = 1001
	packWorkspace = 1003

	engineNumber = 1301
	engineNotes  = 1303

	deviceJSON = 2702
)

// most is how many ways are asked for.
const most = 64

// ErrNone is that the library has no way to compute a convolution that is wanted here.
var ErrNone = errors.New("there is no plan")

// Plans returns the ways to compute c in direction d that the library can prepare, the
// one that it takes for the fastest first, on a GPU that is described to it. No GPU needs
// to be there, and they cannot be executed.
func (l *Library) Plans(c Conv, d Direction, device Device) ([]*Plan, error) {
	s := &session{l: l}
	defer s.close()
	properties, err := s.descriptor(kindDevice, attribute{deviceJSON, device.json()})
	if err != nil {
		return nil, err
	}
	on := target{heuristics: []attribute{{heuristicsDevice, properties}}, plan: []attribute{{planDevice, properties}}}
	return s.plans(c, d, on, most, func(int) bool { return true })
}

// target is what the plans are for: what is added to the descriptors.
type target struct{ graph, heuristics, plan []attribute }

// plans returns up to most of the plans that are wanted by their index.
func (s *session) plans(c Conv, d Direction, on target, most int, wanted func(index int) bool) ([]*Plan, error) {
	plans, err := s.prepare(c, d, on, most, wanted)
	if err != nil {
		return nil, fmt.Errorf("%v of %v: %w", d, c, err)
	}
	return plans, nil
}

func (s *session) prepare(c Conv, d Direction, on target, atMost int, wanted func(index int) bool) ([]*Plan, error) {
	graph, err := s.graph(c, d, on)
	if err != nil {
		return nil, err
	}
	heuristics, err := s.descriptor(kindHeuristics, append(on.heuristics, attribute{heuristicsGraph, graph}, attribute{heuristicsMode, modeA})...)
	if err != nil {
		return nil, err
	}
	configurations, err := s.getDescriptors("configurations", heuristics, heuristicsResults, kindConfiguration, most)
	if err != nil {
		return nil, err
	}
	var plans []*Plan
	var refused []error
	for i, configuration := range configurations {
		if !wanted(i) || len(plans) == atMost {
			continue
		}
		p, err := s.plan(configuration, c.Type, on)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		p.Index = i
		plans = append(plans, p)
	}
	if len(plans) == 0 {
		return nil, fmt.Errorf("%w: %w", ErrNone, errors.Join(append(refused, fmt.Errorf("%d ways are known", len(configurations)))...))
	}
	return plans, nil
}

// plan prepares a way, unless its numbers would be other ones than those that are wanted.
func (s *session) plan(configuration unsafe.Pointer, t Type, on target) (p *Plan, err error) {
	p = &Plan{}
	engine, err := s.getDescriptors("engine", configuration, configurationEngine, kindEngine, 1)
	if err != nil {
		return p, err
	}
	if len(engine) != 1 {
		return p, errors.New("cuDNN: a configuration without an engine")
	}
	if p.Engine, err = s.getInt64("number of engine", engine[0], engineNumber); err != nil {
		return p, err
	}
	notes, err := s.getNotes("notes of engine", engine[0], engineNotes)
	if err != nil {
		return p, err
	}
	for _, n := range notes {
		if what := t.refuses(n); what != "" {
			return p, fmt.Errorf("engine %d %s", p.Engine, what)
		}
	}
	p.descriptor, err = s.descriptor(kindPlan, append(on.plan, attribute{planConfiguration, configuration})...)
	if err != nil {
		return p, err
	}
	p.Workspace, err = s.getInt64("workspace of plan", p.descriptor, planWorkspace)
	return p, err
}

// refuses says why an engine with this note does not compute in type t as we do.
func (t Type) refuses(n note) string {
	switch {
	case n == noteNondeterministic:
		return "gives other bits each time"
	case n == noteReducedSums:
		return "adds up in less than float32"
	case t == Float32 && (n == noteTensorCore || n == noteNarrowed):
		return "rounds float32"
	}
	return ""
}

// graph has one operation.
func (s *session) graph(c Conv, d Direction, on target) (unsafe.Pointer, error) {
	h, w := c.Out()
	images, err := s.tensor(idImages, c.Type, c.N, c.C, c.H, c.W)
	if err != nil {
		return nil, err
	}
	filters, err := s.tensor(idFilters, c.Type, c.K, c.C, c.R, c.S)
	if err != nil {
		return nil, err
	}
	output, err := s.tensor(idOutput, c.Type, c.N, c.K, h, w)
	if err != nil {
		return nil, err
	}
	pads := []int64{int64(c.Pad), int64(c.PadX)}
	stride := int64(c.Stride)
	conv, err := s.descriptor(kindConvolution,
		attribute{convComputeType, typeFloat32}, attribute{convMode, crossCorrelation}, attribute{convDims, int64(2)},
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
	return s.descriptor(kindGraph, append(on.graph, attribute{graphOperations, operation})...)
}

// The numbers by which the operands of a graph go.
const idImages, idFilters, idOutput = 'x', 'w', 'y'

// Alignment is what addresses of operands are multiples of, in bytes.
const Alignment = 16

// tensor lies in memory with its channels side by side.
func (s *session) tensor(id int64, t Type, n, c, h, w int) (unsafe.Pointer, error) {
	dimensions := []int64{int64(n), int64(c), int64(h), int64(w)}
	strides := []int64{int64(h * w * c), 1, int64(w * c), int64(c)}
	return s.descriptor(kindTensor, attribute{tensorType, [...]dataType{BFloat16: typeBFloat16, Float32: typeFloat32}[t]}, attribute{tensorDimensions, dimensions},
		attribute{tensorStrides, strides}, attribute{tensorID, id}, attribute{tensorAlignment, int64(Alignment)})
}
