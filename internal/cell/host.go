package cell

import "context"

// Host is the notebook that a cell runs in, as far as the cell's code can ask things of
// it. The kernel puts one into each cell's context; what is published through it belongs
// to that cell, also when the cell has ended.
type Host interface {
	// Input asks the user for a line of text and waits for it; what is typed is hidden if
	// secret. It fails when the front end takes no input, and when ctx ends.
	Input(ctx context.Context, prompt string, secret bool) (string, error)
	// Clear removes what the cell shows: at once, or when its next output comes.
	Clear(wait bool)
	// Show shows a value under a display id ("" for none), or changes what every display
	// of that id shows, in whichever cell.
	Show(id string, update bool, v any)
	// Page shows a value beside the notebook (a pager, as help is shown) when the cell
	// has ended.
	Page(v any)
	// NextInput puts source into a new cell below when the cell has ended.
	NextInput(source string)
	// Comms are the notebook's comms.
	Comms() Comms
}

// Comms are the channels between code in cells and code in a front end. A comm opened by
// either end is named by its id from then on. Data is what JSON can hold.
type Comms interface {
	// Register says what happens when a front end opens a comm for that target. The
	// context is that of the front end's message, as a cell's is.
	Register(target string, opened func(ctx context.Context, id string, data map[string]any))
	// Open opens a comm for a target of the front end's.
	Open(target string, data map[string]any) (id string, err error)
	// Handle says what happens when the front end sends to the comm, or closes it.
	// A nil function leaves what was said before.
	Handle(id string, message, closed func(ctx context.Context, data map[string]any))
	// Send sends to the front end's end; with end set it closes the comm.
	Send(id string, data map[string]any, end bool) error
}

type hostKey struct{}

// WithHost returns a context that carries h.
func WithHost(ctx context.Context, h Host) context.Context {
	return context.WithValue(ctx, hostKey{}, h)
}

// HostOf returns the context's host, and false outside a notebook.
func HostOf(ctx context.Context) (Host, bool) {
	h, ok := ctx.Value(hostKey{}).(Host)
	return h, ok
}
