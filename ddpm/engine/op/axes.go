package op

import (
	"fmt"

	"gorgonia.org/tensor"
)

// Axes tells which entries of a large tensor share one entry of a small one,
// for Broadcast (small to large) and Sum (large to small), which are each
// other's derivatives.
type Axes int

const (
	PerChannel       Axes = iota // [C] over [..., C]
	PerSampleChannel             // [N, C] over [N, ..., C]
	PerSample                    // [N] over [N, ...]
	PerRow                       // [..., 1] over [..., C]
	PerGroup                     // [N, G] over [N, ..., C], C/G channels a group
	Scalar                       // [] over anything
)

// String names the axes.
func (a Axes) String() string {
	return [...]string{"PerChannel", "PerSampleChannel", "PerSample", "PerRow", "PerGroup", "Scalar"}[a]
}

// small is the shape that goes with large.
func (a Axes) small(large tensor.Shape, groups int) tensor.Shape {
	last := large.Dims() - 1
	switch a {
	case PerChannel:
		return tensor.Shape{large[last]}
	case PerSampleChannel:
		return tensor.Shape{large[0], large[last]}
	case PerSample:
		return tensor.Shape{large[0]}
	case PerRow:
		s := large.Clone()
		s[last] = 1
		return s
	case PerGroup:
		return tensor.Shape{large[0], groups}
	case Scalar:
		return tensor.ScalarShape()
	}
	panic(fmt.Sprintf("op: unknown axes %d", int(a)))
}

// Index returns the entry of the small tensor that entry i of the large one shares.
func (a Axes) Index(large tensor.Shape, groups, i int) int {
	c := 1
	if d := large.Dims(); d > 0 {
		c = large[d-1]
	}
	switch a {
	case PerChannel:
		return i % c
	case PerSampleChannel:
		return i/(Size(large)/large[0])*c + i%c
	case PerSample:
		return i / (Size(large) / large[0])
	case PerRow:
		return i / c
	case PerGroup:
		return i/(Size(large)/large[0])*groups + i%c/(c/groups)
	}
	return 0
}

// Size is the number of entries of a tensor of shape s; 1 for a scalar.
func Size(s tensor.Shape) int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}
