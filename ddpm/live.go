package ddpm

import (
	"context"
	"fmt"
	"time"

	"ddpmlab/internal/display"
)

// live shows a training on the display of its context: a progress bar, and the loss
// as it falls.
type live struct {
	sink      display.Sink
	id, title string
	curveID   string
	now       func() time.Time
	start     time.Time
	total     int64

	step   int64
	recent float64 // running mean of the loss over about the last 50 iterations
	n      int64
	rate   float64       // images a second, likewise; evaluations and saves do not count
	batch  float64       // images an iteration
	evals  []int         // the iterations that are evaluated, ascending; nil if none is
	spent  time.Duration // by the evaluations so far
	done   int           // how many
	steps  []float64
	losses []float64
	bucket int64 // iterations that a point of the curve is the mean of
	sum    float64
	summed int64
	name   string // of the curve
	note   string // what there is to say of the training

	// Room for what is handed to the sink, which keeps it: taken piece by piece, so that
	// an iteration allocates nothing.
	values []display.Value
	lines  []display.Line
}

const (
	curvePoints = 512 // the curve has between half and all of these
	recentSteps = 50
	handedOver  = 512 // reports that room is made for at a time
)

func newLive(ctx context.Context, t *trainer) *live {
	l := &live{
		sink: display.FromContext(ctx), now: t.opts.now, start: t.opts.now(),
		id:    "train-" + Key(t.cfg, t.v, t.set.SHA256())[:16],
		title: fmt.Sprintf("%s, seed %d", t.v, t.cfg.Seed),
		total: int64(t.cfg.Iterations), bucket: 1, batch: float64(t.cfg.Batch), name: "loss",
		steps: make([]float64, 0, curvePoints), losses: make([]float64, 0, curvePoints),
	}
	l.curveID = l.id + "-loss"
	if t.opts.eval != nil || t.opts.scores != nil {
		l.evals = t.evals
	}
	return l
}

// evaluated takes the time that an evaluation took, so that the time left has room for
// those to come.
func (l *live) evaluated(d time.Duration) { l.spent, l.done = l.spent+d, l.done+1 }

// evalsLeft is the time for the evaluations to come, judged by those done.
func (l *live) evalsLeft() time.Duration {
	if l.done == 0 {
		return 0
	}
	left := 0
	for _, at := range l.evals {
		// That of the iteration just done is still to come: it follows the report.
		if int64(at) >= l.step {
			left++
		}
	}
	return time.Duration(left) * (l.spent / time.Duration(l.done))
}

// update takes the loss of an iteration.
func (l *live) update(step int64, loss, rate float64) {
	l.step, l.n = step, l.n+1
	k := float64(min(l.n, recentSteps))
	l.recent += (loss - l.recent) / k
	l.rate += (rate - l.rate) / k
	l.sink.Progress(l.progress(display.Running))

	l.sum, l.summed = l.sum+loss, l.summed+1
	if l.summed < l.bucket {
		return
	}
	l.steps = append(l.steps, float64(step))
	l.losses = append(l.losses, l.sum/float64(l.summed))
	l.sum, l.summed = 0, 0
	if len(l.steps) == curvePoints {
		l.halve()
	}
	l.curve()
}

// halve joins neighbouring points, into new slices: the sink has the old ones.
func (l *live) halve() {
	steps, losses := make([]float64, 0, curvePoints), make([]float64, 0, curvePoints)
	for i := 1; i < len(l.steps); i += 2 {
		steps = append(steps, l.steps[i])
		losses = append(losses, (l.losses[i-1]+l.losses[i])/2)
	}
	l.steps, l.losses, l.bucket = steps, losses, 2*l.bucket
	l.name = fmt.Sprintf("loss, means of %d iterations", l.bucket)
}

func (l *live) curve() {
	l.sink.Curve(display.Curve{
		ID: l.curveID, Title: l.title, XLabel: "iteration", YLabel: "loss", LogY: true,
		Lines: piece(&l.lines, display.Line{Name: l.name, X: l.steps, Y: l.losses}),
	})
}

// piece is a slice of the items given, out of room, which is replaced when it is used up.
func piece[T any](room *[]T, items ...T) []T {
	if cap(*room)-len(*room) < len(items) {
		*room = make([]T, 0, handedOver*len(items))
	}
	n := len(*room)
	*room = append(*room, items...)
	return (*room)[n:len(*room):len(*room)]
}

func (l *live) progress(state display.State) display.Progress {
	p := display.Progress{
		ID: l.id, Title: l.title, Done: l.step, Total: l.total, Unit: "it", State: state,
		Elapsed: l.now().Sub(l.start), Note: l.note,
	}
	if l.n > 0 {
		p.Values = piece(&l.values, display.Value{Name: "loss", V: l.recent}, display.Value{Name: "images/s", V: l.rate})
		if l.rate > 0 && l.batch > 0 {
			p.Rate = l.rate / l.batch // one rate in two units
			p.ETA = time.Duration(float64(l.total-l.step)/p.Rate*float64(time.Second)) + l.evalsLeft()
		}
	}
	return p
}

// end reports how the training ended, after iteration step.
func (l *live) end(step int64, err error) {
	l.step = step
	p := l.progress(display.Done)
	p.ETA = 0
	if err != nil {
		if p.State = stateOf(err); p.State != display.Interrupted { // the bar shows how far that came
			p.Note = err.Error()
		}
	}
	l.sink.Progress(p)
}
