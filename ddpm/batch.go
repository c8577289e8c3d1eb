package ddpm

import (
	"fmt"
	"math"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/philox"
)

// batches makes the random draws of a run: every number is a function of (seed,
// iteration, place in the batch), so that ADM and DDPM-IP with one seed share
// x_0, t and ε and differ in ξ only, and a resumed run goes on as if it had not
// stopped.
type batches struct {
	cfg      Config
	set      data.Set
	schedule *Schedule

	order, flip, time, eps, xi, signs philox.Stream

	epochs map[uint64][]int // permutations of the data in use
}

// batch is what one iteration needs, in the order of the training program's inputs.
type batch struct {
	x0, eps, xi, signs []float32 // N·H·W·C; xi and signs are empty where the variant needs none
	t, a, s            []float32 // N: index of the schedule, √ᾱ_t, √(1-ᾱ_t)
	counters           []float32 // N·4: see op.Dropout; empty without dropout
}

func newBatches(cfg Config, set data.Set, schedule *Schedule) *batches {
	key := func(name string) philox.Stream { return philox.Key(cfg.Seed, name) }
	return &batches{
		cfg: cfg, set: set, schedule: schedule,
		order: key("order"), flip: key("flip"), time: key("t"),
		eps: key("eps"), xi: key("xi"), signs: key("v"),
		epochs: map[uint64][]int{},
	}
}

// newBatch allocates a batch for the variant.
func (b *batches) newBatch(v Variant) *batch {
	n, pixels := b.cfg.Batch, b.cfg.Batch*b.cfg.Model.Size*b.cfg.Model.Size*b.cfg.Model.InChannels
	out := &batch{
		x0: make([]float32, pixels), eps: make([]float32, pixels),
		t: make([]float32, n), a: make([]float32, n), s: make([]float32, n),
	}
	if v.Gamma > 0 {
		out.xi = make([]float32, pixels)
	}
	if needsSigns(v) {
		out.signs = make([]float32, pixels)
	}
	if b.cfg.Model.Dropout > 0 {
		out.counters = make([]float32, 4*n)
	}
	return out
}

// needsSigns reports whether the loss takes random signs.
func needsSigns(v Variant) bool { return v.GradPenalty > 0 && v.GradPenaltyMode != Ones }

// fill draws iteration step (from 1) into dst.
func (b *batches) fill(dst *batch, step int64) error {
	n, at := b.cfg.Batch, uint64(step)
	size := len(dst.x0) / n
	for i := range n {
		part := func(x []float32) []float32 { return x[i*size : (i+1)*size] }
		image := b.image(step, i)
		if err := b.set.Read(image, part(dst.x0)); err != nil { // Alg. 1 line 2
			return fmt.Errorf("read image %d of %s: %w", image, b.set.Name(), err)
		}
		if b.cfg.Flip && b.flip.Uint32(at, uint32(i), 0)>>31 == 1 {
			mirror(part(dst.x0), b.cfg.Model.Size, b.cfg.Model.InChannels)
		}
		t := b.time.Below(b.schedule.T(), at, uint32(i), 0) // line 3
		b.eps.Normals(part(dst.eps), at, uint32(i))         // line 4
		if dst.xi != nil {
			b.xi.Normals(part(dst.xi), at, uint32(i)) // Alg. 4 line 5
		}
		if dst.signs != nil {
			b.signs.Signs(part(dst.signs), at, uint32(i))
		}
		abar := b.schedule.AlphaBar[t]
		dst.t[i] = float32(t)
		dst.a[i], dst.s[i] = float32(math.Sqrt(abar)), float32(math.Sqrt(1-abar))
		if dst.counters != nil {
			// Sixteen bits to a float32, which holds integers up to 2^24.
			copy(dst.counters[4*i:], []float32{float32(at & 0xffff), float32(at >> 16 & 0xffff), float32(i & 0xffff), float32(i >> 16)})
		}
	}
	return nil
}

// image is the number of the image at place i of the batch of iteration step. The
// data are gone through in a new random order in each epoch; a batch may span two.
func (b *batches) image(step int64, i int) int {
	at, n := uint64(step-1)*uint64(b.cfg.Batch)+uint64(i), uint64(b.set.Len())
	epoch := at / n
	if b.epochs[epoch] == nil {
		for old := range b.epochs {
			if old+1 < epoch || old > epoch {
				delete(b.epochs, old)
			}
		}
		b.epochs[epoch] = b.order.Perm(b.set.Len(), epoch)
	}
	return b.epochs[epoch][at%n]
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
