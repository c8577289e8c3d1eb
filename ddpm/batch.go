package ddpm

import (
	"fmt"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/philox"
)

// batches makes the random draws of a run: every number is a function of (seed,
// iteration, place in the batch), so that ADM and DDPM-IP with one seed share
// x_0, t and ε and differ in ξ only, and a resumed run goes on as if it had not
// stopped.
type batches struct {
	cfg     Config
	set     data.Set
	inputs  []input
	moments *secondMoment // nil for Uniform
	scale   *lossScale    // nil where the loss is not scaled

	order, flip, time philox.Stream

	orders [2]order // of the two epochs that a batch may span, by epoch mod 2
}

// order is the order of the data in an epoch.
type order struct {
	epoch  uint64
	images []int // nil before the first use
}

// batch is what one iteration needs.
type batch struct {
	t   []int       // of each image
	all [][]float32 // the inputs of the program
}

func newBatches(cfg Config, v Variant, set data.Set, scale *lossScale) (*batches, error) {
	b := &batches{
		cfg: cfg, set: set, scale: scale,
		order: philox.Key(cfg.Seed, "order"), flip: philox.Key(cfg.Seed, "flip"), time: philox.Key(cfg.Seed, "t"),
	}
	if cfg.TimeSampler == LossSecondMoment {
		b.moments = newSecondMoment(cfg.T)
	}
	var err error
	b.inputs, err = inputs(cfg, v, scale != nil)
	return b, err
}

// newBatch allocates a batch.
func (b *batches) newBatch() *batch {
	out := &batch{t: make([]int, b.cfg.Batch)}
	for _, in := range b.inputs {
		x := make([]float32, b.cfg.Batch*in.size())
		if in.source.Kind == engine.Constant {
			for at := 0; at < len(x); at += in.size() {
				copy(x[at:], in.source.Table)
			}
		}
		out.all = append(out.all, x)
	}
	return out
}

// fill draws all of iteration step (from 1) into dst but what depends on t: see times.
func (b *batches) fill(dst *batch, step int64) error {
	at, n := uint64(step), b.cfg.Batch
	for k, in := range b.inputs {
		x := dst.all[k]
		size := len(x) / n
		for i := range n {
			part, stream := x[i*size:(i+1)*size], philox.Stream(in.source.Key)
			switch in.source.Kind {
			case engine.Images: // Alg. 1 line 2
				image := b.image(step, i)
				if err := b.set.Read(image, part); err != nil {
					return b.unread(image, err)
				}
				if b.cfg.Flip && b.flip.Uint32(at, uint32(i), 0)>>31 == 1 {
					mirror(part, b.cfg.Model.Size, b.cfg.Model.InChannels)
				}
			case engine.Normals: // line 4, and Alg. 4 line 5
				stream.Normals(part, at, uint32(i))
			case engine.Signs:
				stream.Signs(part, at, uint32(i))
			case engine.Counters:
				// Sixteen bits to a float32, which holds integers up to 2^24.
				copy(part, []float32{float32(at & 0xffff), float32(at >> 16 & 0xffff), float32(i & 0xffff), float32(i >> 16)})
			}
		}
	}
	return nil
}

// unread is the error of an image that cannot be read.
func (b *batches) unread(image int, err error) error {
	return fmt.Errorf("read image %d of %s: %w", image, b.set.Name(), err)
}

// times draws the t of iteration step (Alg. 1 line 3) and what depends on it and on the
// iterations before: with LossSecondMoment on their losses, and the loss's scale.
func (b *batches) times(dst *batch, step int64) {
	var p []float64
	if b.moments != nil {
		p = b.moments.distribution()
	}
	for i := range dst.t {
		t, weight := 0, 1.0
		if p == nil {
			t = b.time.Below(b.cfg.T, uint64(step), uint32(i), 0)
		} else {
			u := (float64(b.time.Uint32(uint64(step), uint32(i), 0)) + 0.5) / (1 << 32)
			t = pick(p, u)
			weight = 1 / (float64(b.cfg.T) * p[t])
		}
		dst.t[i] = t
		for k := range b.inputs {
			switch s := &b.inputs[k].source; s.Kind {
			case engine.Lookup:
				dst.all[k][i] = s.Table[t]
			case engine.Weight:
				dst.all[k][i] = float32(weight)
			case engine.LossScale:
				dst.all[k][i] = float32(b.scale.factor)
			}
		}
	}
}

// image is the number of the image at place i of the batch of iteration step. The
// data are gone through in a new random order in each epoch; a batch may span two.
func (b *batches) image(step int64, i int) int {
	at, n := uint64(step-1)*uint64(b.cfg.Batch)+uint64(i), uint64(b.set.Len())
	epoch := at / n
	o := &b.orders[epoch%2]
	if o.images == nil || o.epoch != epoch {
		if o.images == nil {
			o.images = make([]int, n)
		}
		o.epoch = epoch
		b.order.Permute(o.images, epoch)
	}
	return o.images[at%n]
}

// mirror reverses the columns of a size×size image of c channels.
func mirror(x []float32, size, c int) {
	for y := range size {
		row := x[y*size*c : (y+1)*size*c]
		for i, j := 0, size-1; i < j; i, j = i+1, j-1 {
			for k := range c {
				row[i*c+k], row[j*c+k] = row[j*c+k], row[i*c+k]
			}
		}
	}
}
