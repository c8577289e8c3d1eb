package ddpm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
)

// Iterations on a device that makes them by itself are asked for several at a time: at most so
// many, and no more than take about so long, so that what is shown and recorded is of now.
const (
	mostAtATime = 64
	timeAtATime = time.Second / 2
)

// runLoop is run on such a device. It sees what came out of iterations afterwards, and does
// then what iterate does.
func (t *trainer) runLoop(ctx context.Context, live *live, l engine.Looper) error {
	kept, err := t.startLoop(l, live)
	if err != nil {
		return err
	}
	last := int64(t.cfg.Iterations)
	ahead := t.batches.placeAhead(t.step+1, last, kept)
	defer ahead.stop()

	its := make([]engine.Iteration, 0, mostAtATime)
	ts := make([]int, t.cfg.Batch)
	for n := 1; t.step < last; {
		start := t.opts.now()
		its = its[:0]
		for len(its) < min(n, ahead.most) {
			p, err := ahead.next(len(its) == 0)
			if err != nil {
				return t.stopped(err)
			}
			if p == nil {
				break
			}
			if err := ahead.put(t.loop, p); err != nil {
				return t.stopped(err)
			}
			step := t.step + int64(len(its)) + 1
			its = append(its, engine.Iteration{Images: p.places, Update: t.update(step), Rates: t.extraRates(step)})
			if t.isSave(step) {
				break
			}
		}
		outcomes, err := t.loop.Run(ctx, its, t.guard())
		took := t.opts.now().Sub(start)
		rate := float64(t.cfg.Batch*len(outcomes)) / max(took.Seconds(), 1e-9)
		for _, o := range outcomes {
			t.means(o.Outputs)
			good, err := t.judge(t.step+1, o.Norm)
			if err != nil {
				return err
			}
			if good {
				for i, v := range o.Index {
					ts[i] = int(v)
				}
				t.end(live, ts, o.Norm, rate)
			}
		}
		if err != nil {
			return t.stopped(err)
		}
		if err := t.afterStep(ctx, live); err != nil {
			return err
		}
		n = int(max(1, min(float64(timeAtATime)/float64(took)*float64(len(its)), float64(2*n), mostAtATime)))
	}
	return nil
}

// startLoop makes the loop, and returns which images it keeps: none of all yet, or nil where there
// is room for those of the batches that are ahead alone.
func (t *trainer) startLoop(l engine.Looper, live *live) (kept []bool, err error) {
	b := t.batches
	f := engine.Feed{
		Parts: t.cfg.Batch / t.cfg.microBatch(), Most: mostAtATime,
		Images: t.set.Len(), Levels: data.Levels(t.set),
		Index: b.time, Indices: t.cfg.T, Averages: t.extra,
	}
	for _, in := range b.inputs {
		f.Sources = append(f.Sources, in.source)
	}
	if t.cfg.Flip {
		f.Flip = (*[2]uint32)(&b.flip)
	}
	if m := b.moments; m != nil {
		f.Importance = &engine.Importance{Losses: m.losses, Held: m.count, P: m.distribution(), History: momentHistory, Uniform: momentUniform}
	}
	if t.loop, err = l.Loop(f); err == nil {
		return make([]bool, f.Images), nil
	}
	if !errors.Is(err, engine.ErrNoRoom) {
		return nil, fmt.Errorf("prepare iterations: %w", err)
	}
	live.note = fmt.Sprintf("%v; images are copied for each iteration", err)
	f.Images = aheadBatches * t.cfg.Batch
	t.loop, err = l.Loop(f)
	return nil, err
}

// guard is what the device does about iterations that are not finite, see judge.
func (t *trainer) guard() engine.Guard {
	g := engine.Guard{Step: t.step + 1, Scale: 1, Growth: 1, Floor: 1, Bad: t.bad, MostBad: int64(t.cfg.maxBadSteps())}
	if t.scale != nil {
		g.Scale, g.Growth, g.Floor = t.scale.factor, scaleGrowth, floorScale
	}
	return g
}

// extraRates are the rates of the further moving averages at iteration step.
func (t *trainer) extraRates(step int64) (rates []float64) {
	for _, r := range t.cfg.ExtraEMA {
		rates = append(rates, t.cfg.warm(r, step))
	}
	return rates
}

// means takes the outputs of an iteration from those of its micro-batches.
func (t *trainer) means(outputs []float32) {
	parts := t.cfg.Batch / t.cfg.microBatch()
	each, n := len(outputs)/parts, len(t.losses)/parts
	clear(t.values)
	for part := range parts {
		of := outputs[part*each : (part+1)*each]
		for i := range t.values {
			t.values[i] += float64(of[i]) / float64(parts)
		}
		copy(t.losses[part*n:], of[len(t.values):])
	}
}
