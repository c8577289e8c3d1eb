package bench

import (
	"context"
	"fmt"
	"strconv"

	"ddpmlab/internal/render"
)

// grown is the first network, enlarged in one direction.
type grown struct {
	what     string // batch, channels or size
	value    int
	params   int
	ms, peak float64 // of a training step: milliseconds, MB
}

// growths lists the networks of the growth table: the first one with batches of 8 to 128,
// widths of 16 to 128 and images of 16 to 64 pixels a side; the latter two at batch 16.
func growths() (all []grown, works []work) {
	const batch = 16
	add := func(what string, values []int, set func(w *work, v int)) {
		for _, v := range values {
			w := work{kind: step, net: nets[0].name, batch: batch, model: nets[0].model}
			set(&w, v)
			w.net = fmt.Sprintf("ch%d-%dx%dx%d", w.model.Channels, w.model.Size, w.model.Size, w.model.InChannels)
			all = append(all, grown{what: what, value: v, params: w.model.NumParams()})
			works = append(works, w)
		}
	}
	add("batch", []int{8, 16, 32, 64, 128}, func(w *work, v int) { w.batch = v })
	add("channels", []int{16, 32, 64, 128}, func(w *work, v int) {
		w.model.Channels = v
		w.model.HeadChannels = min(v, w.model.HeadChannels)
	})
	add("size", []int{16, 32, 64}, func(w *work, v int) {
		w.model.Size = v
		w.model.Attention = []int{v / 4} // the deepest level, as at 28
	})
	return all, works
}

// Growth measures how the time and the memory of a training step grow with the batch, the
// width of the network and the size of the images. Of o it reads Threads, Worker, Guard,
// Rounds and Log.
func Growth(ctx context.Context, o Options) (*render.Table, error) {
	o.Python, o.Only = "", nil
	b, done, err := newBench(o)
	if err != nil {
		return nil, err
	}
	defer done()
	all, works := growths()
	t := &render.Table{
		Columns: append(render.Left("what grows"), render.Right("to", "weights", "step", "an image", "memory")...),
		Notes:   []string{fmt.Sprintf("A training step of %s, batch 16 where not said otherwise. Memory is the rise of the resident memory.", nets[0].name)},
	}
	for i, g := range all {
		w := works[i]
		before := len(b.report.Results)
		for _, kind := range []string{step, memory} {
			w.kind = kind
			if err := b.measure(ctx, w); err != nil {
				return nil, fmt.Errorf("%s: %w", w.name(), err)
			}
		}
		g.ms, g.peak = b.report.Results[before].Ours, b.report.Results[before+1].Ours
		t.Add(g.what, strconv.Itoa(g.value), strconv.Itoa(g.params), amount(g.ms, "ms"), amount(g.ms/float64(w.batch), "ms"), amount(g.peak, "MB"))
	}
	t.Caption = fmt.Sprintf("%s; %s; growth of a training step, medians of %d rounds", b.report.Machine, b.report.Device, b.o.Rounds)
	return t, nil
}
