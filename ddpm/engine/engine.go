// Package engine turns a Gorgonia expression into a program, and says what a
// device that runs programs must do.
//
// Gorgonia is the language, not the machine: package op describes the model and
// the loss, package grad differentiates them, [Compile] makes a flat list of
// steps of the result, and a [Device] (ref: float64 in plain Go, the oracle;
// cpu: C kernels) runs the steps over one statically planned arena.
package engine

import (
	"context"
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine/op"
)

// Graph is an expression under construction.
type Graph struct {
	g     *gorgonia.ExprGraph
	names map[string]bool
}

// NewGraph returns an empty expression.
func NewGraph() *Graph {
	return &Graph{g: gorgonia.NewGraph(), names: map[string]bool{}}
}

// Input adds a value that is set before every run. Names are unique within the
// graph (Gorgonia merges leaves of one name); a repeated name panics.
func (g *Graph) Input(name string, shape ...int) *op.Node { return g.leaf(name, shape) }

// Param adds a value that is trained: a piece of the flat weight array.
func (g *Graph) Param(name string, shape ...int) *op.Node { return g.leaf(name, shape) }

func (g *Graph) leaf(name string, shape []int) *op.Node {
	if g.names[name] {
		panic(fmt.Sprintf("engine: two leaves are named %q", name))
	}
	g.names[name] = true
	return gorgonia.NewTensor(g.g, tensor.Float32, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(name))
}

// Array names one of the flat arrays of a State. All parameters lie in each of
// them one after another, in the order of Spec.Params.
type Array int

const (
	Weights Array = iota // the parameters
	Grads                // their gradients, written by Exec.Run
	Moment1              // Adam's first moment
	Moment2              // Adam's second moment
	EMA                  // exponential moving average of the weights
)

// String names the array.
func (a Array) String() string {
	return [...]string{"weights", "gradients", "first moments", "second moments", "EMA"}[a]
}

// AdamW is one update of the weights (Loshchilov and Hutter, 2019), fused with
// that of their moving average (ema += (1-EMARate)·(w-ema)).
type AdamW struct {
	LR, Beta1, Beta2, Eps float64
	WeightDecay           float64 // decoupled: w -= LR·WeightDecay·w
	EMARate               float64
	Step                  int64 // counts from 1, for the bias correction
}

// State is a model's flat arrays on a device. It is not safe for concurrent use.
type State interface {
	// Len is the number of parameters, in numbers.
	Len() int
	// Set and Get copy a whole array; the slice has length Len.
	Set(a Array, src []float32)
	Get(a Array, dst []float32)
	// GradNorm is the L2 norm of the gradient array, summed in a fixed order.
	GradNorm() float64
	// Update applies one optimizer step to the weights, moments and EMA.
	Update(AdamW)
	Close() error
}

// Exec is a program loaded on a device. It is not safe for concurrent use, nor
// together with another Exec of the same State.
type Exec interface {
	// Set fills input i (an index into Spec.Inputs), row-major.
	Set(input int, src []float32)
	// Run computes all outputs, and the gradients into the State. It returns
	// ctx.Err() soon after ctx is cancelled, with outputs undefined.
	Run(ctx context.Context) error
	// Get copies output i (an index into Spec.Outputs).
	Get(output int, dst []float32)
	// Explain prints the plan: each step, kernel, shape, bytes, and the arena.
	Explain() string
	Close() error
}

// Device runs programs.
type Device interface {
	// Name tells device, instruction set and threads, e.g. "cpu avx512 2 threads".
	Name() string
	// NewState makes the arrays of a model of n parameters, all zero.
	NewState(n int) (State, error)
	// Load prepares p to run on s; several programs may share a state.
	Load(p *Program, s State) (Exec, error)
	Close() error
}

// HalfRange is what a Device implements besides whose gradients have the range of float16,
// so that a loss has to be scaled before it is differentiated.
type HalfRange interface {
	HalfRange() bool
}

// IsHalfRange reports whether d says so of itself.
func IsHalfRange(d Device) bool {
	h, ok := d.(HalfRange)
	return ok && h.HalfRange()
}
