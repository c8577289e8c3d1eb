// Package cell carries the notebook cell that is being executed, so that what it starts
// can be recorded with its exact source, and the notebook it runs in, so that its code
// can ask things of it. It is a leaf: kernel puts both into the context, experiments and
// kernel/cells take them out.
package cell

import "context"

// Cell is a notebook cell that is being executed.
type Cell struct {
	Notebook string   // the notebook's file name, or "" when not known
	Index    int      // the execution count, from 1
	Source   string   // the cell's exact text
	Before   []string // texts of the cells executed before it in this kernel, in order
}

type contextKey struct{}

// NewContext returns a context that carries c.
func NewContext(ctx context.Context, c Cell) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the context's cell, and false outside a notebook.
func FromContext(ctx context.Context) (Cell, bool) {
	c, ok := ctx.Value(contextKey{}).(Cell)
	return c, ok
}
