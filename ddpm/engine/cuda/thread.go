//go:build ddpmcuda

package cuda

import (
	"runtime"

	"gorgonia.org/cu"
)

// thread is the thread of the operating system that makes all calls for a GPU: the
// driver keeps a current context for each.
type thread struct {
	calls chan func()
	gpu   cu.Device
}

// newThread starts a thread with the primary context of the GPU, which libraries share.
func newThread(gpu cu.Device) (*thread, error) {
	t := &thread{calls: make(chan func()), gpu: gpu}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // it ends with the goroutine
		ctx, err := gpu.RetainPrimaryCtx()
		if err == nil {
			if err = cu.SetCurrentContext(ctx); err != nil {
				_ = gpu.ReleasePrimaryCtx()
			}
		}
		started <- err
		if err != nil {
			return
		}
		for f := range t.calls {
			f()
		}
	}()
	return t, <-started
}

// do runs f there and waits for it.
func (t *thread) do(f func() error) error {
	done := make(chan error)
	t.calls <- func() { done <- f() }
	return <-done
}

// close ends the thread.
func (t *thread) close() error {
	err := t.do(t.gpu.ReleasePrimaryCtx)
	close(t.calls)
	return err
}
