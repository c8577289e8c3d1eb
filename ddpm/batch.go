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
	v        Variant
	set      data.Set
	schedule *Schedule
	gammas   []float64     // γ_t; nil where it is constant
	moments  *secondMoment // nil for Uniform

	order, flip, time, eps, xi philox.Stream
	signs                      []philox.Stream // of Hutchinson's draws

	orders [2]order // of the two epochs that a batch may span, by epoch mod 2
}

// order is the order of the data in an epoch.
type order struct {
	epoch  uint64
	images []int // nil before the first use
}

// batch is what one iteration needs. Arrays that the variant has no need of are empty.
type batch struct {
	x0, eps, xi             []float32   // N·H·W·C
	probes                  [][]float32 // N·H·W·C each
	t, a, s                 []float32   // N: index of the schedule, √ᾱ_t, √(1-ᾱ_t)
	gamma, weight           []float32   // N: γ_t, 1/(T·p_t)
	logBeta, logTilde, logK []float32   // N: see hybridInputs
	first                   []float32   // N
	counters                []float32   // N·4: see op.Dropout

	all [][]float32 // what of them there is, in the order of the program's inputs
}

// list sets all to the arrays in the order of the training program's inputs.
func (b *batch) list() {
	for _, x := range append(append([][]float32{b.x0, b.eps, b.xi}, b.probes...),
		b.t, b.a, b.s, b.gamma, b.weight, b.logBeta, b.logTilde, b.logK, b.first, b.counters) {
		if x != nil {
			b.all = append(b.all, x)
		}
	}
}

func newBatches(cfg Config, v Variant, set data.Set, schedule *Schedule) (*batches, error) {
	key := func(name string) philox.Stream { return philox.Key(cfg.Seed, name) }
	b := &batches{
		cfg: cfg, v: v, set: set, schedule: schedule,
		order: key("order"), flip: key("flip"), time: key("t"),
		eps: key("eps"), xi: key("xi"), signs: []philox.Stream{key("v")},
	}
	for i := 1; i < v.GradPenaltyDraws; i++ {
		b.signs = append(b.signs, key(fmt.Sprintf("v %d", i)))
	}
	if cfg.TimeSampler == LossSecondMoment {
		b.moments = newSecondMoment(cfg.T)
	}
	var err error
	b.gammas, err = v.gammas(cfg.T)
	return b, err
}

// newBatch allocates a batch.
func (b *batches) newBatch() *batch {
	n, pixels := b.cfg.Batch, b.cfg.Batch*imageSize(b.cfg)
	numbers := func(n int, wanted bool) []float32 {
		if !wanted {
			return nil
		}
		return make([]float32, n)
	}
	hybrid := b.cfg.Loss == Hybrid
	out := &batch{
		x0: numbers(pixels, true), eps: numbers(pixels, true), xi: numbers(pixels, b.v.Gamma > 0),
		t: numbers(n, true), a: numbers(n, true), s: numbers(n, true),
		gamma: numbers(n, b.gammas != nil), weight: numbers(n, b.moments != nil),
		logBeta: numbers(n, hybrid), logTilde: numbers(n, hybrid), logK: numbers(n, hybrid), first: numbers(n, hybrid),
		counters: numbers(4*n, b.cfg.Model.Dropout > 0),
	}
	for i := range probes(b.cfg, b.v) {
		p := make([]float32, pixels)
		if b.v.GradPenaltyMode == Exact { // unit vectors, the same for every image
			for j := i; j < pixels; j += imageSize(b.cfg) {
				p[j] = 1
			}
		}
		out.probes = append(out.probes, p)
	}
	out.list()
	return out
}

// imageSize is H·W·C.
func imageSize(c Config) int { return c.Model.Size * c.Model.Size * c.Model.InChannels }

// probes is how many vectors v the loss multiplies Jacobians by.
func probes(c Config, v Variant) int {
	switch {
	case v.GradPenalty == 0 || v.GradPenaltyMode == Ones:
		return 0
	case v.GradPenaltyMode == Exact:
		return imageSize(c)
	}
	return max(1, v.GradPenaltyDraws)
}

// fill draws all of iteration step (from 1) into dst but what depends on t: see times.
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
		b.eps.Normals(part(dst.eps), at, uint32(i)) // line 4
		if dst.xi != nil {
			b.xi.Normals(part(dst.xi), at, uint32(i)) // Alg. 4 line 5
		}
		if b.v.GradPenaltyMode != Exact {
			for j, p := range dst.probes {
				b.signs[j].Signs(part(p), at, uint32(i))
			}
		}
		if dst.counters != nil {
			// Sixteen bits to a float32, which holds integers up to 2^24.
			copy(dst.counters[4*i:], []float32{float32(at & 0xffff), float32(at >> 16 & 0xffff), float32(i & 0xffff), float32(i >> 16)})
		}
	}
	return nil
}

// times draws the t of iteration step (Alg. 1 line 3) and what depends on it. With
// LossSecondMoment they depend on the losses of the iterations before.
func (b *batches) times(dst *batch, step int64) {
	T := b.schedule.T()
	var p []float64
	if b.moments != nil {
		p = b.moments.distribution()
	}
	for i := range dst.t {
		t, weight := 0, 1.0
		if p == nil {
			t = b.time.Below(T, uint64(step), uint32(i), 0)
		} else {
			u := (float64(b.time.Uint32(uint64(step), uint32(i), 0)) + 0.5) / (1 << 32)
			t = pick(p, u)
			weight = 1 / (float64(T) * p[t])
		}
		abar := b.schedule.AlphaBar[t]
		dst.t[i] = float32(t)
		dst.a[i], dst.s[i] = float32(math.Sqrt(abar)), float32(math.Sqrt(1-abar))
		if dst.gamma != nil {
			dst.gamma[i] = float32(b.gammas[t])
		}
		if dst.weight != nil {
			dst.weight[i] = float32(weight)
		}
		if dst.first != nil {
			beta, tilde, k := b.schedule.learnedRange(t)
			dst.logBeta[i], dst.logTilde[i], dst.logK[i] = float32(beta), float32(tilde), float32(k)
			dst.first[i] = 0
			if t == 0 {
				dst.first[i] = 1
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
