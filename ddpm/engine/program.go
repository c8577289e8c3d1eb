package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine/op"
)

// Spec says what of an expression is wanted.
type Spec struct {
	Inputs  []*op.Node // set before a run
	Params  []*op.Node // laid out one after another in the flat arrays
	Outputs []*op.Node // read after a run
	Grads   []*op.Node // Grads[i] is the gradient for Params[i]; nil: no training

	Precision Precision
}

// Precision says in what numbers a device may multiply. Sums are float32, and so is all that
// is not a product, but for values that only products read, or only normalisations.
type Precision int

const (
	Float32  Precision = iota // no products in less
	Mixed                     // 1x1 convolutions and linear layers in bfloat16, their gradients too
	BFloat16                  // 3x3 convolutions besides
)

// Program is a device-independent list of steps. Numbers are indices into Values.
type Program struct {
	Values []Value
	Steps  []Step // in an order in which every value is computed before it is used

	Inputs, Params, Outputs, Grads []int

	ParamOffset []int // where Params[i] starts in the flat arrays
	ParamLen    int   // length of the flat arrays

	Precision Precision
}

// Value is a tensor that the program reads or computes.
type Value struct {
	Shape tensor.Shape
	Name  string // of a leaf; empty otherwise
}

// Size is the number of entries of the value.
func (v Value) Size() int { return op.Size(v.Shape) }

// Step computes value Out from the values In.
type Step struct {
	Op  *op.Op
	In  []int
	Out int
}

// Compile orders what the outputs and gradients of s need into a program. It
// drops the rest and computes equal expressions once.
//
// It fails if a leaf is neither input nor parameter, or if a gradient does not
// have the shape of its parameter.
func Compile(s Spec) (*Program, error) {
	c := compiler{ids: map[*op.Node]int{}, seen: map[string]int{}}
	p := &c.p
	p.Precision = s.Precision
	for _, n := range s.Inputs {
		p.Inputs = append(p.Inputs, c.leaf(n))
	}
	for _, n := range s.Params {
		p.Params = append(p.Params, c.leaf(n))
		p.ParamOffset = append(p.ParamOffset, p.ParamLen)
		p.ParamLen += op.Size(n.Shape())
	}
	if s.Grads != nil && len(s.Grads) != len(s.Params) {
		return nil, fmt.Errorf("compile: %d gradients for %d parameters", len(s.Grads), len(s.Params))
	}
	for i, n := range s.Grads {
		if !slices.Equal(n.Shape(), s.Params[i].Shape()) {
			return nil, fmt.Errorf("compile: gradient of %s has shape %v, want %v", s.Params[i].Name(), n.Shape(), s.Params[i].Shape())
		}
	}
	wanted := slices.Concat(s.Outputs, s.Grads)
	for _, n := range reachable(wanted) {
		if err := c.node(n); err != nil {
			return nil, err
		}
	}
	for _, n := range s.Outputs {
		p.Outputs = append(p.Outputs, c.ids[n])
	}
	for _, n := range s.Grads {
		p.Grads = append(p.Grads, c.ids[n])
	}
	return p, nil
}

type compiler struct {
	p    Program
	ids  map[*op.Node]int
	seen map[string]int // value of an operation already emitted, by its text and inputs
}

func (c *compiler) leaf(n *op.Node) int {
	c.ids[n] = len(c.p.Values)
	c.p.Values = append(c.p.Values, Value{Shape: n.Shape().Clone(), Name: n.Name()})
	return c.ids[n]
}

func (c *compiler) node(n *op.Node) error {
	if _, ok := c.ids[n]; ok {
		return nil
	}
	o := op.Of(n)
	if o == nil {
		return fmt.Errorf("compile: %s %v is neither an input, a parameter, nor an operation of package op", n.Name(), n.Shape())
	}
	var in []int
	for _, k := range op.Children(n) {
		in = append(in, c.ids[k])
	}
	switch {
	case o.Kind == op.KindCopy || o.Kind == op.KindScale && o.F == 1:
		c.ids[n] = in[0]
		return nil
	case o.Kind == op.KindFill:
		in = nil // its input lends it a shape, no more
	}
	key := fmt.Sprint(o, in)
	if id, ok := c.seen[key]; ok {
		c.ids[n] = id
		return nil
	}
	id := len(c.p.Values)
	c.ids[n], c.seen[key] = id, id
	c.p.Values = append(c.p.Values, Value{Shape: o.Out.Clone()})
	c.p.Steps = append(c.p.Steps, Step{Op: o, In: in, Out: id})
	return nil
}

// reachable lists the nodes below wanted in the order in which they were made.
// A node is made after its inputs, and the gradients of a layer side by side,
// so this is an order to compute in that does not keep values for long.
func reachable(wanted []*op.Node) []*op.Node {
	seen := map[*op.Node]bool{}
	var all []*op.Node
	stack := slices.Clone(wanted)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		all = append(all, n)
		if o := op.Of(n); o != nil && o.Kind != op.KindFill {
			stack = append(stack, op.Children(n)...)
		}
	}
	slices.SortFunc(all, func(a, b *op.Node) int { return cmp.Compare(a.ID(), b.ID()) })
	return all
}

// LastUse returns, for each value, the index of the last step that reads it; -1
// if none does, and len(Steps) for outputs, which are read after the run.
// Devices plan memory with it.
func (p *Program) LastUse() []int {
	last := make([]int, len(p.Values))
	for i := range last {
		last[i] = -1
	}
	for i, s := range p.Steps {
		for _, v := range s.In {
			last[v] = i
		}
	}
	for _, v := range slices.Concat(p.Outputs, p.Grads) {
		last[v] = len(p.Steps)
	}
	return last
}

// String lists the steps, one a line.
func (p *Program) String() string {
	var b strings.Builder
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%4d  %%%d = %v %v\n", i, s.Out, s.Op, s.In)
	}
	return b.String()
}
