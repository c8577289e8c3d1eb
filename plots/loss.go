package plots

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

// LossCurve draws the training loss of each run by step, smoothed, with the raw values
// faint behind it.
func LossCurve(runs experiments.Runs) (*Figure, error) {
	groups, notes := groupRuns(runs)
	if len(groups) == 0 {
		return nil, fmt.Errorf("loss curve: %w", errNoRuns)
	}
	var lines []plainLine
	for _, g := range groups {
		for i, r := range g.runs {
			x, y, err := readSeries(r, experiments.MetricLoss)
			if err != nil {
				return nil, fmt.Errorf("loss curve: %w", err)
			}
			if len(x) == 0 {
				notes = append(notes, fmt.Sprintf("%s, seed %d has no losses.", g.label, r.Seed))
				continue
			}
			line := plainLine{name: g.label, hidden: i > 0, x: x, y: y, style: g.style}
			if len(g.runs) > 1 {
				line.name = fmt.Sprintf("%s, seed %d", g.label, r.Seed)
				if i == 0 {
					line.legend = fmt.Sprintf("%s (%d seeds)", g.label, len(g.runs))
				}
			}
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return nil, errors.New("loss curve: none of the runs has recorded a loss yet")
	}
	ch := &chart{title: "training loss", xlabel: "training step", ylabel: "loss, mean over the batch"}
	ch.logY = allPositive(lines)
	smoothed := ch.addSmoothed(lines)
	ch.badge = seedsOf(groups)
	caption := []string{smoothed}
	if len(groups) > 1 {
		caption = append(caption, lossSentence(groups))
	}
	ch.caption = joinSentences(append(caption, notes...))
	return ch.figure(lineText("step", lines)).from("LossCurve", runs, experiments.MetricLoss), nil
}

// lossSentence says which loss each of the groups' variants minimises. AdamW's decoupled
// decay stands in no loss: a run with it minimises what it would minimise without.
func lossSentence(groups []group) string {
	names := map[string][]string{} // of the variants, by their loss
	var losses []string
	decoupled := false
	for _, g := range groups {
		if g.imported() { // which loss it is of is not known
			continue
		}
		v, name := g.variant, g.variant.Name()
		var eqs []string
		if v.Gamma != 0 {
			eqs = append(eqs, "7")
		}
		if v.GradPenalty != 0 {
			eqs = append(eqs, "9")
		}
		if v.WeightDecay != 0 && v.WeightDecayMode == ddpm.Coupled {
			eqs, name = append(eqs, "10"), name+" "+ddpm.Coupled
		}
		if eqs == nil {
			eqs = []string{"6"}
		}
		loss := "Eq. " + strings.Join(eqs, " with ")
		if names[loss] == nil {
			losses = append(losses, loss)
		}
		if !slices.Contains(names[loss], name) {
			names[loss] = append(names[loss], name)
		}
		decoupled = decoupled || v.WeightDecay != 0 && v.WeightDecayMode == ddpm.Decoupled
	}
	if losses == nil {
		return ""
	}
	parts := make([]string, len(losses))
	for i, l := range losses {
		parts[i] = l + " (" + strings.Join(names[l], ", ") + ")"
	}
	s := "Losses: " + strings.Join(parts, ", ")
	if decoupled {
		s += "; AdamW's weight decay is outside the loss"
	}
	if len(losses) == 1 && losses[0] == "Eq. 6" {
		return s + "."
	}
	return s + ". Levels do not compare across variants, scores do."
}

// Curve draws the lines of a curve as a running computation reports them: smoothed, with
// the raw values faint, where a line has more than a hundred points, and with a mark for
// each point otherwise. A line named after a variant has that variant's look.
func Curve(c display.Curve) *Figure {
	ch := &chart{title: oneLine(c.Title), xlabel: oneLine(c.XLabel), ylabel: oneLine(c.YLabel)}
	var lines []plainLine
	for i, l := range c.Lines {
		n := min(len(l.X), len(l.Y))
		line := plainLine{name: oneLine(l.Name), x: l.X[:n], y: l.Y[:n], style: otherStyles[i%len(otherStyles)]}
		if s, ok := variantStyles[variantOf(l.Name)]; ok {
			line.style = s
		}
		lines = append(lines, line)
	}
	ch.logY = c.LogY && anyPositive(lines)
	ch.caption = ch.addSmoothed(lines)
	xname := ch.xlabel
	if xname == "" {
		xname = "x"
	}
	return ch.figure(lineText(xname, lines))
}

// variantOf is the variant that a line's name begins with, as in "DDPM-IP, seed 2".
func variantOf(name string) string {
	if i := strings.IndexAny(name, " ,("); i >= 0 {
		return name[:i]
	}
	return name
}

// plainLine is a line before smoothing.
type plainLine struct {
	name   string
	legend string // the name in the legend, when it is another
	hidden bool   // not in the legend
	x, y   []float64
	style  style
}

// smoothFrom is the number of points from which a line is smoothed, and smoothParts the
// part of the line that the window is.
const (
	smoothFrom  = 100
	smoothParts = 40
	buckets     = 400 // a drawn line has at most twice as many points
)

// addSmoothed adds the lines to the chart, raw values behind all smoothed ones, and says
// how it smoothed, "" if it did not.
func (ch *chart) addSmoothed(lines []plainLine) string {
	var smoothed []series
	widest := 0
	for _, l := range lines {
		name := l.name
		switch {
		case l.hidden:
			name = ""
		case l.legend != "":
			name = l.legend
		}
		if len(l.x) <= smoothFrom {
			smoothed = append(smoothed, series{name, l.x, l.y, l.style, thick, true})
			continue
		}
		window := max(3, len(l.x)/smoothParts)
		widest = max(widest, window)
		raw := l.style
		raw.color, raw.dashes = faint(raw.color, 0x38), nil
		x, y := thinOut(l.x, l.y, buckets)
		ch.series = append(ch.series, series{"", x, y, raw, thin, false})
		x, y = thinOut(l.x, smooth(l.y, window), buckets/2)
		smoothed = append(smoothed, series{name, x, y, l.style, thick, false})
	}
	ch.series = append(ch.series, smoothed...)
	if widest == 0 {
		return ""
	}
	return fmt.Sprintf("Lines: mean over %d points; faint: every value.", widest)
}

// lineText is the lines in words: all points of short ones, the course of long ones.
func lineText(xname string, lines []plainLine) string {
	longest := 0
	for _, l := range lines {
		longest = max(longest, len(l.x))
	}
	if longest <= smoothFrom {
		return pointTable(xname, lines).Text()
	}
	t := &render.Table{Columns: append(render.Left("line"), render.Right("points", "first", "least", "last", "mean of the last tenth", "at "+xname)...)}
	for _, l := range lines {
		n := len(l.x)
		if n == 0 {
			t.Add(l.name, "0")
			continue
		}
		least := l.y[0]
		for _, v := range l.y {
			if !(v >= least) && finite(v) { // also when the first is NaN
				least = v
			}
		}
		tail, _ := meanCI(onlyFinite(l.y[n-max(1, n/10):]))
		t.Add(l.name, formatCount(int64(n)), formatValue(l.y[0]), formatValue(least), formatValue(l.y[n-1]),
			formatValue(tail), formatValue(l.x[n-1]))
	}
	return t.Text()
}

// pointTable is all points: a row for each x, a column for each line.
func pointTable(xname string, lines []plainLine) *render.Table {
	t := &render.Table{Columns: render.Right(xname)}
	xs := map[float64]bool{}
	for _, l := range lines {
		t.Columns = append(t.Columns, render.Right(l.name)...)
		for _, x := range l.x {
			xs[x] = true
		}
	}
	for _, x := range sortedKeys(xs) {
		cells := []string{formatValue(x)}
		for _, l := range lines {
			cell := missing
			for i := range l.x {
				if l.x[i] == x {
					cell = formatValue(l.y[i])
				}
			}
			cells = append(cells, cell)
		}
		t.Add(cells...)
	}
	return t
}

// allPositive reports whether every finite value can stand on a logarithmic axis.
func allPositive(lines []plainLine) bool {
	for _, l := range lines {
		for _, v := range l.y {
			if finite(v) && v <= 0 {
				return false
			}
		}
	}
	return anyPositive(lines)
}

// anyPositive reports whether some value can stand on a logarithmic axis.
func anyPositive(lines []plainLine) bool {
	for _, l := range lines {
		for i := range l.y {
			if drawable(l.x[i], l.y[i], true) {
				return true
			}
		}
	}
	return false
}

// onlyFinite is the values that are numbers.
func onlyFinite(y []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(y), func(v float64) bool { return !finite(v) })
}

// sortedKeys is the map's keys, ascending; NaN first.
func sortedKeys(m map[float64]bool) []float64 { return slices.Sorted(maps.Keys(m)) }

// joinSentences joins what is not empty.
func joinSentences(parts []string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

// oneLine is s with line breaks and other control characters as single spaces.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}
