//go:build ddpmcuda

package cuda

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/cu"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda/cudrv"
)

// loop is iterations of training, each a launch of one graph: what the program reads is drawn,
// the program runs, for each micro-batch, and the weights are updated. Its memory is explained in
// kernels/batch.cu.
type loop struct {
	e *exec
	f engine.Feed

	micro, batch int // images
	each         int // numbers that come out of a micro-batch
	stride       int // numbers in a row of the ring
	width        int // numbers in a row of the plan

	images, levels         place
	control, plan, order   place
	ring, norms, numbers   place
	sum                    place // of the micro-batches' gradients
	averages, tables       []place
	history, held, chances place

	mem     []*memory
	buffers []*buffer
	graph   *cudrv.Graph

	// What is copied to plan and order, and from norms and ring.
	rows, judged []float64
	places       []int32
	out          []float32
	outcomes     []engine.Outcome
	bytes        []byte // of an image
}

// The numbers of control, see kernels/batch.cu.
const controls = 9

// Loop is engine.Looper's.
func (e *exec) Loop(f engine.Feed) (engine.Loop, error) {
	l := &loop{e: e, f: f}
	err := e.d.do(func() error {
		if e.closed() {
			return errClosed
		}
		err := l.make()
		if err != nil {
			err = errors.Join(err, l.release())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// shape is that of the images.
func (l *loop) shape() []int {
	for i, s := range l.f.Sources {
		if s.Kind == engine.Images {
			return l.e.prog.Values[l.e.prog.Inputs[i]].Shape
		}
	}
	return nil
}

// make allocates and fills the memory.
func (l *loop) make() error {
	f, p, n := l.f, l.e.prog, l.e.state.n
	shape := l.shape()
	if len(shape) != 4 || len(f.Sources) != len(p.Inputs) {
		return fmt.Errorf("a loop of %d sources and images %v for %d inputs", len(f.Sources), shape, len(p.Inputs))
	}
	l.micro = shape[0]
	l.batch = l.micro * f.Parts
	for _, v := range p.Outputs {
		l.each += p.Values[v].Size()
	}
	l.stride, l.width = f.Parts*l.each+l.batch, hyper+len(f.Averages)

	pixels := shape[1] * shape[2] * shape[3]
	size := f.Images * pixels
	if f.Levels != nil {
		size = ceilDiv(size, 4)
		l.levels = l.buffer(len(f.Levels))
		l.bytes = make([]byte, pixels)
	}
	l.control, l.plan, l.order = l.buffer(2*controls), l.buffer(2*f.Most*l.width), l.buffer(f.Most*l.batch)
	l.ring, l.norms, l.numbers = l.buffer(f.Most*l.stride), l.buffer(2*f.Most), l.buffer(l.width)
	if l.accumulates() {
		l.sum = l.buffer(n)
	}
	for range f.Averages {
		l.averages = append(l.averages, l.buffer(n))
	}
	for _, s := range f.Sources {
		at := place{}
		if s.Kind == engine.Lookup {
			at = l.buffer(len(s.Table))
		}
		l.tables = append(l.tables, at)
	}
	if i := f.Importance; i != nil {
		l.history, l.held, l.chances = l.buffer(len(i.Losses)), l.buffer(len(i.Held)), l.buffer(2*(f.Indices+1))
	}
	if err := l.allocate(); err != nil {
		return err
	}
	if err := l.keepImages(size); err != nil {
		return err
	}
	l.rows, l.judged = make([]float64, f.Most*l.width), make([]float64, f.Most)
	l.places, l.out = make([]int32, f.Most*l.batch), make([]float32, f.Most*l.stride)
	l.outcomes = make([]engine.Outcome, f.Most)

	errs := []error{cudrv.Upload(l.levels.pointer(), f.Levels)}
	for i, a := range f.Averages {
		sameLength(n, len(a))
		errs = append(errs, cudrv.Upload(l.averages[i].pointer(), a))
	}
	for i, s := range f.Sources {
		if s.Kind == engine.Constant {
			errs = append(errs, cudrv.Upload(l.e.at(p.Inputs[i]).pointer(), slices.Repeat(s.Table, l.micro)))
		} else {
			errs = append(errs, cudrv.Upload(l.tables[i].pointer(), s.Table))
		}
	}
	if i := f.Importance; i != nil {
		chances := make([]float64, f.Indices+1) // the last tells whether the others count
		if copy(chances, i.P) > 0 {
			chances[f.Indices] = 1
		}
		errs = append(errs, cudrv.Upload(l.history.pointer(), i.Losses), cudrv.Upload(l.held.pointer(), i.Held), cudrv.Upload(l.chances.pointer(), chances))
	}
	return errors.Join(errs...)
}

// accumulates tells whether gradients are changed before their norm is taken.
func (l *loop) accumulates() bool {
	return l.f.Parts > 1 || slices.ContainsFunc(l.f.Sources, func(s engine.Source) bool { return s.Kind == engine.LossScale })
}

func (l *loop) buffer(size int) place {
	b := &buffer{size: size}
	l.buffers = append(l.buffers, b)
	return place{buf: b}
}

// allocate gives the buffers their memory, together or each its own.
func (l *loop) allocate() error {
	total := 0
	for _, b := range l.buffers {
		b.offset, total = total, total+alignUp(b.size)
	}
	if !l.e.d.separate {
		m, err := l.e.d.allocate(total)
		if err != nil {
			return err
		}
		l.mem = append(l.mem, m)
	}
	for _, b := range l.buffers {
		if l.e.d.separate {
			m, err := l.e.d.allocate(b.size)
			if err != nil {
				return err
			}
			l.mem, b.offset = append(l.mem, m), 0
		}
		b.mem = l.mem[len(l.mem)-1]
	}
	return nil
}

// keepImages makes room for the images, of so many floats. They leave half of what is free to
// the programs to come, as those that sample.
func (l *loop) keepImages(size int) error {
	free, _, err := cu.MemInfo()
	if err != nil {
		return fmt.Errorf("ask for free memory: %w", err)
	}
	if wanted := 4 * int64(size); wanted > free/2 {
		return fmt.Errorf("%d images of the data set take %s of GPU memory, more than half of the %s that are free: %w",
			l.f.Images, sizeText(wanted), sizeText(free), engine.ErrNoRoom)
	}
	m, err := l.e.d.allocate(size)
	if err != nil {
		return err
	}
	l.mem = append(l.mem, m)
	l.images = place{buf: &buffer{size: size, mem: m}}
	return nil
}

func (l *loop) Put(at int, image []float32) error {
	size := len(image)
	return l.e.d.do(func() error {
		if l.f.Levels == nil {
			return cudrv.Upload(l.images.plus(at*size).pointer(), image)
		}
		for i, v := range image {
			b, ok := slices.BinarySearch(l.f.Levels, v)
			if !ok {
				return fmt.Errorf("a pixel of %g is none of the levels of its data set", v)
			}
			l.bytes[i] = byte(b)
		}
		return cudrv.Upload(l.images.pointer()+cu.DevicePtr(at*size), l.bytes)
	})
}

func (l *loop) Average(i int, dst []float32) {
	l.e.d.must("get a moving average", func() error { return cudrv.Download(dst, l.averages[i].pointer()) })
}

func (l *loop) Run(ctx context.Context, its []engine.Iteration, g engine.Guard) ([]engine.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	made := 0
	err := l.e.d.do(func() (err error) {
		if l.mem == nil || l.e.closed() {
			return errClosed
		}
		if err = l.upload(its, g); err == nil {
			made, err = l.launch(ctx, len(its))
		}
		return errors.Join(err, l.download(made))
	})
	if err != nil {
		return nil, err
	}
	if made < len(its) {
		return l.outcomes[:made], ctx.Err()
	}
	return l.outcomes[:made], nil
}

// upload passes what the iterations are told.
func (l *loop) upload(its []engine.Iteration, g engine.Guard) error {
	for i, it := range its {
		sameLength(l.batch, len(it.Images))
		sameLength(len(l.averages), len(it.Rates))
		row := rowOf(it.Update)
		copy(l.rows[i*l.width:], row[:])
		for j, r := range it.Rates {
			l.rows[i*l.width+hyper+j] = 1 - r
		}
		copy(l.places[i*l.batch:], it.Images)
	}
	control := [controls]float64{0, 0, float64(g.Bad), g.Scale, 0, float64(g.MostBad), g.Growth, g.Floor, float64(g.Step)}
	return errors.Join(
		cudrv.Upload(l.control.pointer(), control[:]),
		cudrv.Upload(l.plan.pointer(), l.rows[:len(its)*l.width]),
		cudrv.Upload(l.order.pointer(), l.places[:len(its)*l.batch]),
	)
}

// launch makes n iterations, and returns how many it has made when ctx ends. One is queued while
// another runs, so that the GPU does not wait, and no more, so that the end is soon.
func (l *loop) launch(ctx context.Context, n int) (made int, err error) {
	d := l.e.d
	var before *cudrv.Event
	for made < n && err == nil && ctx.Err() == nil {
		if err = l.e.replay(&l.graph, l.queue); err != nil {
			break
		}
		made++
		var now *cudrv.Event
		if now, err = cudrv.Record(d.stream); err == nil && before != nil {
			err = errors.Join(before.Wait(), before.Close())
		}
		before = now
	}
	err = errors.Join(err, d.wait())
	if before != nil {
		err = errors.Join(err, before.Close())
	}
	return made, err
}

// download reads what came out of so many iterations.
func (l *loop) download(made int) error {
	out, norms := l.out[:made*l.stride], l.judged[:made]
	if err := errors.Join(cudrv.Download(out, l.ring.pointer()), cudrv.Download(norms, l.norms.pointer())); err != nil {
		return err
	}
	for i := range made {
		row := out[i*l.stride : (i+1)*l.stride]
		l.outcomes[i] = engine.Outcome{Outputs: row[:l.stride-l.batch], Index: row[l.stride-l.batch:], Norm: norms[i]}
	}
	return nil
}

// queue launches the kernels of an iteration.
func (l *loop) queue() error {
	s, f := l.e.state, l.f
	for part := range f.Parts {
		if err := l.launches(l.draws(part)); err != nil {
			return err
		}
		if err := l.e.queue(); err != nil {
			return err
		}
		if err := l.launches(l.keeps(part)); err != nil {
			return err
		}
	}
	calls := []call{
		s.squares(),
		{"judge", [3]int{1, 1, 1}, 256, []any{
			s.mem.pointer(s.sums()), int32(s.parts()), l.ring, int64(l.stride), int32(f.Parts), int32(l.each),
			l.plan, int32(l.width), l.control, l.norms, l.numbers,
		}},
		s.update(l.numbers),
	}
	for i, a := range l.averages {
		calls = append(calls, each("average", s.n, a, s.pointer(engine.Weights), l.numbers, int64(s.n), int32(hyper+i)))
	}
	if i := f.Importance; i != nil {
		calls = append(calls, call{"learn", [3]int{1, 1, 1}, 256, []any{
			l.control, l.numbers, l.ring, l.history, l.held, l.chances, int64(l.stride), int32(f.Indices), int32(i.History), i.Uniform,
			int32(l.batch), int32(l.stride - l.batch), int32(l.micro), int32(l.each), int32(l.each - l.micro),
		}})
	}
	return l.launches(calls)
}

func (l *loop) launches(calls []call) error {
	for _, c := range calls {
		if err := l.e.d.launch(c); err != nil {
			return err
		}
	}
	return nil
}

// draws are the launches that fill the inputs of a micro-batch.
func (l *loop) draws(part int) []call {
	f, n, first := l.f, int64(l.micro), uint32(part*l.micro)
	index := l.ring.plus(l.stride - l.batch)
	chances, weight := l.chances, place{}
	var calls []call
	for i, s := range f.Sources {
		v := l.e.prog.Inputs[i]
		shape, at := l.e.prog.Values[v].Shape, l.e.at(v)
		all := size(shape)
		m := all / shape[0]
		switch s.Kind {
		case engine.Images:
			args := []any{l.control, l.images, l.levels, l.order, at, int64(all), int64(m), int32(shape[2]), int32(shape[3]), int32(l.batch), first}
			key := [2]uint32{}
			flips := int32(0)
			if f.Flip != nil {
				key, flips = *f.Flip, 1
			}
			kernel := "gather_bytes"
			if f.Levels == nil {
				kernel = "gather_floats"
			}
			calls = append(calls, each(kernel, all, append(args, key[0], key[1], flips)...))
		case engine.Normals, engine.Signs:
			kernel := "draw_normals"
			if s.Kind == engine.Signs {
				kernel = "draw_signs"
			}
			blocks := ceilDiv(m, 4)
			calls = append(calls, each(kernel, shape[0]*blocks, l.control, at, int64(shape[0]*blocks), int64(m), int64(blocks), first, s.Key[0], s.Key[1]))
		case engine.Lookup:
			calls = append(calls, each("look_up", l.micro, l.control, index, l.tables[i], at, n, int64(l.stride), first))
		case engine.Weight:
			weight = at
		case engine.Counters:
			calls = append(calls, each("counters", l.micro, l.control, at, n, first))
		case engine.LossScale:
			calls = append(calls, each("fill_scale", all, l.control, at, int64(all)))
		}
	}
	draw := each("draw_indices", l.micro, l.control, chances, index, weight, n, int64(l.stride), int32(f.Indices), first, f.Index[0], f.Index[1])
	return slices.Insert(calls, 0, draw)
}

// keeps are the launches that keep what came out of a micro-batch.
func (l *loop) keeps(part int) []call {
	var calls []call
	to := l.ring.plus(part * l.each)
	for _, v := range l.e.prog.Outputs {
		n := l.e.prog.Values[v].Size()
		calls = append(calls, each("keep", n, l.control, l.e.at(v), to, int64(n), int64(l.stride)))
		to = to.plus(n)
	}
	if s := l.e.state; l.accumulates() {
		calls = append(calls, each("accumulate", s.n, s.pointer(engine.Grads), l.sum, l.control, int64(s.n), int32(l.f.Parts), int32(part)))
	}
	return calls
}

func (l *loop) Close() error { return l.e.d.thread.do(l.release) }

// release frees what l has, on the GPU's thread.
func (l *loop) release() error {
	err := l.graph.Close()
	l.graph = nil
	for _, m := range l.mem {
		err = errors.Join(err, m.free())
	}
	l.mem = nil
	return err
}
