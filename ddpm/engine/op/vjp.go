package op

import (
	"fmt"

	"gorgonia.org/gorgonia"
)

// VJP returns the vector-Jacobian product gy·(dy/dw) for each w in wrt, as new
// nodes of the same graph; nil where y does not depend on w. It walks from y
// down to the nodes of wrt and no further, so that wrt may name inner nodes.
//
// It is reverse-mode differentiation over Gorgonia's exported interface.
// gorgonia.Grad itself cannot be called twice on one forward graph: it keeps
// derivatives on the nodes and does not propagate through a node that has one.
func VJP(y, gy *Node, wrt []*Node) ([]*Node, error) {
	order, kids := postOrder(y, wrt)
	needed := make(map[*Node]bool, len(order))
	for _, w := range wrt {
		needed[w] = true
	}
	for _, n := range order {
		for _, k := range kids[n] {
			needed[n] = needed[n] || needed[k]
		}
	}

	grads := map[*Node]*Node{y: gy}
	for i := len(order) - 1; i >= 0; i-- {
		n := order[i]
		if grads[n] == nil || !needed[n] || len(kids[n]) == 0 {
			continue
		}
		d, ok := n.Op().(gorgonia.SDOp)
		if !ok {
			return nil, fmt.Errorf("differentiate %v: no symbolic derivative", n)
		}
		gs, err := d.SymDiff(kids[n], n, grads[n])
		if err != nil {
			return nil, fmt.Errorf("differentiate %v: %w", n, err)
		}
		for j, k := range kids[n] {
			switch {
			case !needed[k] || gs[j] == nil:
			case grads[k] == nil:
				grads[k] = gs[j]
			default:
				grads[k] = Add(grads[k], gs[j])
			}
		}
	}

	out := make([]*Node, len(wrt))
	for i, w := range wrt {
		out[i] = grads[w]
	}
	return out, nil
}

// postOrder lists the nodes below y, children before parents, stopping at the
// nodes of stop. Without recursion: a network is thousands of nodes deep.
func postOrder(y *Node, stop []*Node) (order []*Node, kids map[*Node][]*Node) {
	leaf := make(map[*Node]bool, len(stop))
	for _, n := range stop {
		leaf[n] = true
	}
	kids = map[*Node][]*Node{}
	const (
		fresh = iota
		open
		done
	)
	state := map[*Node]int{}
	stack := []*Node{y}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		switch state[n] {
		case done:
			stack = stack[:len(stack)-1]
		case open:
			stack = stack[:len(stack)-1]
			state[n] = done
			order = append(order, n)
		case fresh:
			state[n] = open
			if leaf[n] && n != y {
				break
			}
			kids[n] = Children(n)
			for _, k := range kids[n] {
				if state[k] == fresh {
					stack = append(stack, k)
				}
			}
		}
	}
	return order, kids
}
