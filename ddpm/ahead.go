package ddpm

import "ddpmlab/ddpm/engine"

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

// placed is the batch of an iteration whose images a device keeps.
type placed struct {
	places []int32   // where they are kept
	fresh  []int32   // those of the places whose images the device does not have yet,
	pixels []float32 // and the images; nil if there are none
	err    error
}

// placing says ahead of each batch where the device keeps its images, and reads those that it
// does not have. It keeps all of them, each in the place of its number, or where there is no
// room those of the last batches.
type placing struct {
	b    *batches
	kept []bool // by image; nil: the last batches alone
	most int    // batches that may be ahead

	ready   chan *placed
	pixels  chan []float32 // room for a batch's images, as many as may have been read ahead
	stopped chan struct{}
	ended   chan struct{}
	failed  *placed // the batch that could not be read, to come next
}

// placeAhead starts to place the batches of iterations first to last.
func (b *batches) placeAhead(first, last int64, kept []bool) *placing {
	p := &placing{
		b: b, kept: kept, most: mostAtATime,
		pixels: make(chan []float32, aheadBatches), stopped: make(chan struct{}), ended: make(chan struct{}),
	}
	if kept == nil {
		p.most = aheadBatches
	}
	p.ready = make(chan *placed, p.most)
	for range aheadBatches {
		p.pixels <- make([]float32, b.cfg.Batch*imageSize(b.cfg))
	}
	go func() {
		defer close(p.ended)
		for step := first; step <= last; step++ {
			next := p.place(step)
			select {
			case p.ready <- next:
			case <-p.stopped:
				return
			}
			if next.err != nil {
				return
			}
		}
	}()
	return p
}

// place places the batch of iteration step.
func (p *placing) place(step int64) *placed {
	n, size := p.b.cfg.Batch, imageSize(p.b.cfg)
	out := &placed{places: make([]int32, n)}
	for i := range n {
		image := p.b.image(step, i)
		at := image
		if p.kept == nil {
			at = int(step%aheadBatches)*n + i
		}
		out.places[i] = int32(at)
		if p.kept != nil && p.kept[image] {
			continue
		}
		if out.pixels == nil {
			select {
			case out.pixels = <-p.pixels:
			case <-p.stopped:
				return out
			}
		}
		k := len(out.fresh)
		if err := p.b.set.Read(image, out.pixels[k*size:(k+1)*size]); err != nil {
			out.err = p.b.unread(image, err)
			return out
		}
		out.fresh = append(out.fresh, int32(at))
		if p.kept != nil {
			p.kept[image] = true
		}
	}
	return out
}

// next is the next batch; nil if it is not ready and nobody waits for it. An error waits until
// somebody does.
func (p *placing) next(wait bool) (*placed, error) {
	next := p.failed
	if next == nil && wait {
		next = <-p.ready
	} else if next == nil {
		select {
		case next = <-p.ready:
		default:
			return nil, nil
		}
	}
	if next.err == nil {
		return next, nil
	}
	p.failed = next
	if !wait {
		return nil, nil
	}
	return nil, next.err
}

// put passes the new images of a batch to the device.
func (p *placing) put(l engine.Loop, next *placed) error {
	if next.pixels == nil {
		return nil
	}
	size := imageSize(p.b.cfg)
	for i, at := range next.fresh {
		if err := l.Put(int(at), next.pixels[i*size:(i+1)*size]); err != nil {
			return err
		}
	}
	p.pixels <- next.pixels
	return nil
}

// stop ends it, and returns when nothing reads the data any more.
func (p *placing) stop() {
	close(p.stopped)
	<-p.ended
}
