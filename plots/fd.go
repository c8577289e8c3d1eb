package plots

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"ddpmlab/ddpm/fid"
	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

// FDCurve draws the score by training step of each variant in runs, on a logarithmic
// axis (Fig. 2 of the paper), with the floor as a thin dashed line: what real images
// score against the other real ones. Where the first score is far above all later ones,
// the axis shows those alone, linear, and the caption says what lies above it. Over several seeds the line is their mean, with its
// 95% confidence interval as a band from three seeds on.
//
// Scores of different protocols do not compare: FDCurve refuses them and says which part
// differs.
func FDCurve(runs experiments.Runs) (*Figure, error) {
	groups, notes := groupRuns(runs)
	if len(groups) == 0 {
		return nil, fmt.Errorf("FD curve: %w", errNoRuns)
	}
	protocol, err := commonProtocol(groups)
	if err != nil {
		return nil, fmt.Errorf("FD curve: %w", err)
	}
	ch := &chart{
		title:  protocol.Metric + " by training step",
		xlabel: "training step",
		ylabel: protocol.Metric + ", lower is better",
		logY:   true,
	}
	scores := make([]scoreLine, 0, len(groups))
	for _, g := range groups {
		line := scoreLine{group: g}
		for _, r := range g.runs {
			x, y, err := readSeries(r, experiments.MetricFD)
			if err != nil {
				return nil, fmt.Errorf("FD curve: %w", err)
			}
			if len(x) == 0 {
				notes = append(notes, fmt.Sprintf("%s, seed %d has no score yet.", g.label, r.Seed))
				continue
			}
			notes = append(notes, notDrawn(g.label, r.Seed, x, y)...)
			line.xs, line.ys = append(line.xs, x), append(line.ys, y)
		}
		if len(line.xs) > 0 {
			scores = append(scores, line)
			ch.addScores(line)
		}
	}
	cut, showFloor := ch.cutFirst(scores, protocol.Floor)
	notes = append(cut, notes...)
	if showFloor {
		ch.rules = []rule{{"real against real: " + formatScore(protocol.Floor), protocol.Floor, style{color: grey, dashes: fine}}}
	}
	ch.badge = fmt.Sprintf("%s, N = %s", seedsOf(groups), formatCount(int64(protocol.N)))
	ch.caption = scoreCaption(groups, protocol, notes)
	return ch.figure(scoreText(scores)).from("FDCurve", runs, experiments.MetricFD), nil
}

// farAbove is how many times the later scores the first ones must be to be cut off.
const farAbove = 5

// cutFirst lets the axis show the later scores alone where those of the first step are
// far above them all, and says what that cuts off. The axis is then linear, unless the
// later ones too span a decade. showFloor tells whether the floor has a place on it: far
// below the scores it would take their room.
func (ch *chart) cutFirst(lines []scoreLine, floor float64) (notes []string, showFloor bool) {
	showFloor = finite(floor) && floor > 0
	first := math.Inf(1)
	for _, l := range lines {
		for _, xs := range l.xs {
			first = min(first, xs[0])
		}
	}
	var above, later []float64
	for _, l := range lines {
		for i, xs := range l.xs {
			for j, x := range xs {
				switch y := l.ys[i][j]; {
				case !drawable(x, y, true):
				case x == first:
					above = append(above, y)
				default:
					later = append(later, y)
				}
			}
		}
	}
	if len(above) == 0 || len(later) == 0 || slices.Min(above) <= farAbove*slices.Max(later) {
		return nil, showFloor
	}
	low, high := slices.Min(later), slices.Max(later)
	ch.cut, ch.logY = first, high > 10*low
	values := formatScore(slices.Min(above))
	if most := formatScore(slices.Max(above)); most != values {
		values += " to " + most
	}
	notes = append(notes, fmt.Sprintf("Step %s: %s, above the plot.", formatCount(int64(first)), values))
	if showFloor && !ch.logY && low-floor > high-low {
		notes, showFloor = append(notes, "The floor is below the plot."), false
	}
	return notes, showFloor
}

// scoreLine is a group's scores: one series a seed.
type scoreLine struct {
	group
	xs, ys [][]float64
}

// addScores adds a group's line to the chart.
func (ch *chart) addScores(l scoreLine) {
	name := l.label
	if len(l.xs) == 1 {
		ch.series = append(ch.series, series{name, l.xs[0], l.ys[0], l.style, thick, true})
		return
	}
	x, mean, half := overSeeds(l.xs, l.ys)
	for i := range l.xs {
		s := l.style
		s.color = faint(s.color, 0x70)
		ch.series = append(ch.series, series{"", l.xs[i], l.ys[i], s, thin, false})
	}
	if len(l.xs) > 2 {
		b := band{x: x, style: l.style}
		for i := range x {
			b.low, b.high = append(b.low, mean[i]-half[i]), append(b.high, mean[i]+half[i])
		}
		ch.bands = append(ch.bands, b)
	}
	name += fmt.Sprintf(", mean of %d seeds", len(l.xs))
	ch.series = append(ch.series, series{name, x, mean, l.style, thick, true})
}

// commonProtocol is the one protocol of all scores of the groups' runs.
func commonProtocol(groups []group) (experiments.Protocol, error) {
	var (
		common experiments.Protocol
		first  string
	)
	for _, g := range groups {
		for _, r := range g.runs {
			p, ok := r.Protocol(experiments.MetricFD)
			if !ok {
				continue
			}
			if first == "" {
				common, first = p, g.label
				continue
			}
			if d := fid.Diff(common.Protocol, p.Protocol); d != "" || common.ID != p.ID {
				if d == "" {
					d = "protocol " + short(common.ID) + " against " + short(p.ID)
				}
				return common, fmt.Errorf("the scores of %s and %s do not compare: %s; score them the same way or plot them apart",
					first, g.label, d)
			}
		}
	}
	if first == "" {
		return common, errors.New("no run has a score yet; a configuration with EvalSamples above 0 is scored while it trains")
	}
	return common, nil
}

// scoreCaption says what the scores rest on.
func scoreCaption(groups []group, p experiments.Protocol, notes []string) string {
	parts := []string{fmt.Sprintf("%s, N = %s samples a score.", seedsOf(groups), formatCount(int64(p.N)))}
	if slices.ContainsFunc(groups, func(g group) bool { return len(g.runs) == 1 }) {
		parts = append(parts, oneSeed)
	}
	if slices.ContainsFunc(groups, func(g group) bool { return len(g.runs) > 2 }) {
		parts = append(parts, "Bands: 95% confidence interval of the mean (Student's t).")
	}
	parts = append(parts, protocolLine(p)+".", floorSentence(p))
	if p.ID != "" {
		parts = append(parts, "Protocol "+short(p.ID)+".")
	}
	return strings.Join(append(parts, notes...), " ")
}

// protocolLine is the protocol in one line, with the weights in words.
func protocolLine(p experiments.Protocol) string {
	p.EMA = emaWords(p.EMA)
	return p.String()
}

// emaWords says what "0.999 warm" means.
func emaWords(ema string) string {
	if rate, warm := strings.CutSuffix(ema, " warm"); warm {
		return rate + " with warm-up"
	}
	return ema
}

// floorSentence explains the floor.
func floorSentence(p experiments.Protocol) string {
	if !finite(p.Floor) || p.Floor <= 0 {
		return "The floor (real images against real ones) was not measured."
	}
	return fmt.Sprintf("Floor %s: %s real images against the other real ones.", formatScore(p.Floor), formatCount(int64(p.N)))
}

// notDrawn says which scores a logarithmic axis cannot show.
func notDrawn(label string, seed uint64, x, y []float64) []string {
	var notes []string
	for i := range x {
		if !drawable(x[i], y[i], true) {
			notes = append(notes, fmt.Sprintf("%s, seed %d: %s at step %s cannot be drawn.",
				label, seed, formatFixed(y[i], 4), formatCount(int64(x[i]))))
		}
	}
	return notes
}

// scoreText is the scores as a table of steps and groups.
func scoreText(lines []scoreLine) string {
	t := &render.Table{Columns: render.Right("step")}
	steps := map[float64]bool{}
	for _, l := range lines {
		t.Columns = append(t.Columns, render.Right(l.label)...)
		for _, xs := range l.xs {
			for _, x := range xs {
				steps[x] = true
			}
		}
	}
	for _, step := range sortedKeys(steps) {
		cells := []string{formatCount(int64(step))}
		for _, l := range lines {
			var values []float64
			for i := range l.xs {
				for j, x := range l.xs[i] {
					if x == step {
						values = append(values, l.ys[i][j])
					}
				}
			}
			cells = append(cells, formatMean(values, -1))
		}
		t.Add(cells...)
	}
	return t.Text()
}

// formatMean is the mean of scores over seeds, with its interval when there are several
// of them. Negative decimals choose their number by the mean.
func formatMean(values []float64, decimals int) string {
	if len(values) == 0 {
		return missing
	}
	mean, half := meanCI(values)
	if decimals < 0 {
		decimals = decimalsFor(mean)
	}
	s := formatFixed(mean, decimals)
	if !math.IsNaN(half) {
		s += " ± " + formatFixed(half, decimals)
	}
	return s
}

// readSeries is a run's series as steps and values. A database that cannot be read is an
// error here, also for callers that are no notebook.
func readSeries(r *experiments.Run, key string) (x, y []float64, err error) {
	err = caught(func() {
		for _, p := range r.Series(key) {
			x, y = append(x, float64(p.Step)), append(y, p.Value)
		}
	})
	return x, y, err
}

// caught calls f and returns the error of a CellError it panics with.
func caught(f func()) (err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *experiments.CellError:
			err = e.Err
		default:
			panic(e)
		}
	}()
	f()
	return nil
}

// short is the part of a hash that is shown.
func short(id string) string { return id[:min(12, len(id))] }
