package ddpm

// ahead draws batches in the background, in the order of their iterations, while the
// device works on the ones before: images are read and noise is made without anybody
// waiting, as long as a batch is drawn faster than it is trained on.
type ahead struct {
	ready chan drawn  // batches, and the first error
	free  chan *batch // batches that may be overwritten; closed to stop
	ended chan struct{}
}

type drawn struct {
	b   *batch
	err error
}

// aheadBatches is how many batches there are: one in use, one ready, one being drawn.
const aheadBatches = 3

// drawAhead starts to draw the batches of iterations first to last, as far as fill does.
func (b *batches) drawAhead(first, last int64) *ahead {
	a := &ahead{make(chan drawn, aheadBatches), make(chan *batch, aheadBatches), make(chan struct{})}
	for range min(aheadBatches, last-first+1) {
		a.free <- b.newBatch()
	}
	go func() {
		defer close(a.ended)
		for step := first; step <= last; step++ {
			next, ok := <-a.free
			if !ok {
				return
			}
			err := b.fill(next, step)
			a.ready <- drawn{next, err}
			if err != nil {
				return
			}
		}
	}()
	return a
}

// next is the next batch.
func (a *ahead) next() (*batch, error) {
	d := <-a.ready
	return d.b, d.err
}

// reuse gives back a batch that is no longer needed.
func (a *ahead) reuse(b *batch) { a.free <- b }

// stop ends the drawing, and returns when nothing reads the data any more.
func (a *ahead) stop() {
	close(a.free)
	<-a.ended
}
