package kernel

import "context"

// Comm is a channel to code in the front end, as a widget's.
type Comm struct{ id string }

// OpenComm opens a comm for a target that the front end knows, with data that JSON can
// hold.
func OpenComm(ctx context.Context, target string, data map[string]interface{}) *Comm {
	id, err := host(ctx).Comms().Open(target, data)
	if err != nil {
		panic(&cellError{err})
	}
	return &Comm{id}
}

// OnComm says what happens when the front end opens a comm for the target. The function
// is called between cells, as those of OnMessage and OnClose are, with a context of its
// own.
func OnComm(ctx context.Context, target string, opened func(ctx context.Context, c *Comm, data map[string]interface{})) {
	host(ctx).Comms().Register(target, func(ctx context.Context, id string, data map[string]any) {
		opened(ctx, &Comm{id}, data)
	})
}

// ID is the comm's identifier.
func (c *Comm) ID() string { return c.id }

// String names the comm.
func (c *Comm) String() string { return "comm " + c.id }

// OnMessage says what happens when the front end sends to the comm.
func (c *Comm) OnMessage(ctx context.Context, f func(ctx context.Context, data map[string]interface{})) {
	host(ctx).Comms().Handle(c.id, f, nil)
}

// OnClose says what happens when the front end closes the comm.
func (c *Comm) OnClose(ctx context.Context, f func(ctx context.Context, data map[string]interface{})) {
	host(ctx).Comms().Handle(c.id, nil, f)
}

// Send sends data that JSON can hold to the front end.
func (c *Comm) Send(ctx context.Context, data map[string]interface{}) {
	if err := host(ctx).Comms().Send(c.id, data, false); err != nil {
		panic(&cellError{err})
	}
}

// Close closes the comm.
func (c *Comm) Close(ctx context.Context) {
	if err := host(ctx).Comms().Send(c.id, nil, true); err != nil {
		panic(&cellError{err})
	}
}
