// Package grad differentiates expressions of package op, any number of times.
package grad

import (
	"fmt"

	"ddpmlab/ddpm/engine/op"
)

// Grad returns the gradient of the scalar cost with respect to each node of
// wrt, as new nodes of the same graph. The result can be part of a further
// cost and be differentiated again, as the gradient penalty of Eq. 9 is.
//
// It is an error if cost is not a scalar or does not depend on a node of wrt:
// a parameter without a gradient is a mistake in the model, never meant.
func Grad(cost *op.Node, wrt ...*op.Node) ([]*op.Node, error) {
	if cost.Shape().Dims() != 0 {
		return nil, fmt.Errorf("differentiate %v: cost has shape %v, want a scalar", cost, cost.Shape())
	}
	grads, err := op.VJP(cost, op.Fill(cost, 1), wrt)
	if err != nil {
		return nil, err
	}
	for i, g := range grads {
		if g == nil {
			return nil, fmt.Errorf("differentiate %v: it does not depend on %s %v", cost, wrt[i].Name(), wrt[i].Shape())
		}
	}
	return grads, nil
}
