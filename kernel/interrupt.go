package kernel

import (
	"context"
	"errors"
	"time"
)

var (
	errInterrupted = errors.New("interrupted")
	errShutdown    = errors.New("the kernel is shutting down")
)

// generation is the common parent of contexts of cells; when the kernel is interrupted
// while no cell runs, it ends, and with it what earlier cells left running.
type generation struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func newGeneration() *generation {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &generation{ctx, cancel}
}

// stopper stops the code that runs.
type stopper struct {
	cancel context.CancelCauseFunc
	asked  time.Time     // when an interrupt came first
	giveUp chan struct{} // closed: the code is to be abandoned
}

type giveUpKey struct{}

// givenUp is closed when the user does not want to wait any more until the code that runs
// under ctx has stopped.
func givenUp(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(giveUpKey{}).(chan struct{})
	return c
}

// begin is the context in which code of the user's runs, of which there is one at a time;
// interrupt ends it until end is called.
func (k *kernel) begin() context.Context {
	k.mu.Lock()
	defer k.mu.Unlock()
	ctx, cancel := context.WithCancelCause(k.background.ctx)
	k.running = &stopper{cancel: cancel, giveUp: make(chan struct{})}
	select {
	case <-k.quit:
		cancel(errShutdown)
	default:
	}
	return context.WithValue(ctx, giveUpKey{}, k.running.giveUp)
}

// end says that the code has ended. Its context goes on, for what it left running.
func (k *kernel) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running = nil
}

// impatience is how long after an interrupt another one means that the user gives the
// code up: before, it is the same key struck twice.
const impatience = time.Second

// interrupt stops the running cell, and abandons it when asked again while it does not
// stop; with none running, it stops what earlier cells left behind.
func (k *kernel) interrupt() {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.running
	switch {
	case s == nil:
		k.background.cancel(errInterrupted)
		k.background = newGeneration()
	case s.asked.IsZero():
		s.asked = time.Now()
		s.cancel(errInterrupted)
	case s.giveUp != nil && time.Since(s.asked) > impatience:
		close(s.giveUp)
		s.giveUp = nil
	}
}
