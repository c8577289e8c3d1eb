package plots

import (
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// chart is lines over two axes: what all curve figures are made of. From top to bottom
// it shows its title, the legend, the data and the caption, so that nothing but data
// stands among the data.
type chart struct {
	title, caption string
	badge          string // at the right end of the title, as "n = 1 seed"
	xlabel, ylabel string
	logY           bool
	cut            float64 // values up to this x do not widen the y axis; 0: all do
	series         []series
	bands          []band
	rules          []rule
}

// series is one line. Its x are ascending; a y that is not finite (or not above 0 on a
// logarithmic axis) is a gap.
type series struct {
	name    string // in the legend; "" leaves it out
	x, y    []float64
	style   style
	width   vg.Length // of the line
	markers bool      // mark each point
}

// band is a filled region between two lines over the same x.
type band struct {
	x, low, high []float64
	style        style
}

// rule is a thin level line across the figure, as the floor or a paper's value.
type rule struct {
	name  string // in the legend
	y     float64
	style style
}

// Lengths of the layout.
const (
	margin      = 9 * px
	titleSize   = vg.Length(10.5)
	labelSize   = vg.Length(9)
	tickSize    = vg.Length(8.5)
	captionSize = vg.Length(7.5)
	sampleWidth = vg.Length(22) // of a line in the legend
	thick       = vg.Length(1.5)
	thin        = vg.Length(0.75)
	markerSize  = vg.Length(2.6)
)

// figure is the chart as a figure; text is its data in words.
func (ch *chart) figure(words string) *Figure {
	height := figureHeight
	// Long legends and captions get room of their own, not the data's.
	room := ch.legendRows(figureWidth*px-2*margin) + len(ch.captionLines(figureWidth*px-2*margin)) - 4
	if room > 0 {
		height += room * 16
	}
	return &Figure{
		Title: ch.title, Caption: ch.caption, text: words,
		width: figureWidth, height: height, draw: ch.draw,
	}
}

// draw draws the chart on the whole of c.
func (ch *chart) draw(c draw.Canvas) {
	c = draw.Crop(c, margin, -margin, margin, -margin)
	if ch.title != "" || ch.badge != "" {
		badge := textStyle(labelSize, ink)
		badge.XAlign = text.XRight
		c.FillText(badge, vg.Point{X: c.Max.X, Y: c.Max.Y - (titleSize-labelSize)/2}, ch.badge)
		title := textStyle(titleSize, ink)
		room := c.Size().X - badge.Width(ch.badge) - 10
		c.Max.Y = drawText(c, []string{shorten(ch.title, title, room)}, title) - 3*px
	}
	c.Max.Y = ch.drawLegend(c) - 5*px
	if lines := ch.captionLines(c.Size().X); len(lines) > 0 {
		height := vg.Length(len(lines)) * captionSize * lineHeight
		foot := c
		foot.Max.Y = c.Min.Y + height
		drawText(foot, lines, textStyle(captionSize, grey))
		c.Min.Y += height + 5*px
	}
	ch.drawAxes(c)
}

// drawAxes draws axes and data on the whole of c. The axes' labels are drawn here, in the
// middle of the data's sides: gonum leaves room for them as if every axis were linear.
func (ch *chart) drawAxes(c draw.Canvas) {
	label := textStyle(labelSize, ink)
	inner := c
	if ch.xlabel != "" {
		inner.Min.Y += labelSize*lineHeight + 2*px
	}
	if ch.ylabel != "" {
		inner.Min.X += labelSize*lineHeight + 2*px
	}
	p := ch.plot()
	data := p.DataCanvas(inner)
	if ch.xlabel != "" {
		label.XAlign, label.YAlign = text.XCenter, text.YBottom
		c.FillText(label, vg.Point{X: data.Center().X, Y: c.Min.Y + 2*px}, shorten(ch.xlabel, label, data.Size().X))
	}
	if ch.ylabel != "" {
		label.XAlign, label.YAlign, label.Rotation = text.XCenter, text.YTop, math.Pi/2
		flat := textStyle(labelSize, ink)
		c.FillText(label, vg.Point{X: c.Min.X, Y: data.Center().Y}, shorten(ch.ylabel, flat, data.Size().Y))
	}
	p.Draw(inner)
	if !ch.hasData() {
		label = textStyle(labelSize, grey)
		label.XAlign, label.YAlign = text.XCenter, text.YCenter
		c.FillText(label, data.Center(), "no values yet")
	}
}

// hasData reports whether there is a point to draw.
func (ch *chart) hasData() bool {
	for _, s := range ch.series {
		for i := range s.x {
			if drawable(s.x[i], s.y[i], ch.logY) {
				return true
			}
		}
	}
	return false
}

// plot is the axes with the lines in them.
func (ch *chart) plot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = ch.ranges()
	p.X.Tick.Marker, p.Y.Tick.Marker = linearTicks{6}, plot.Ticker(linearTicks{5})
	if ch.logY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, logTicks{}
	}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Tick.Label.Font = textStyle(tickSize, ink).Font
		a.Tick.Label.Color = ink
		a.Tick.Length = 4
		a.Padding = 0
		a.LineStyle.Color, a.Tick.LineStyle.Color = ink, ink
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = paleGrey, paleGrey
	p.Add(grid)
	for _, r := range ch.rules {
		p.Add(rulePlotter(r))
	}
	for _, b := range ch.bands {
		p.Add(bandPlotter{b, ch.logY})
	}
	for _, s := range ch.series {
		p.Add(seriesPlotter{s, ch.logY})
	}
	return p
}

// ranges are the axes' ends: those of the data with a little air. Without data they are
// 0 and 1, on a logarithmic axis 0.1 and 1.
func (ch *chart) ranges() (xmin, xmax, ymin, ymax float64) {
	xmin, xmax, ymin, ymax = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	see := func(x, y float64) {
		if drawable(x, y, ch.logY) {
			xmin, xmax = min(xmin, x), max(xmax, x)
			if ch.cut > 0 && x <= ch.cut {
				return
			}
			ymin, ymax = min(ymin, y), max(ymax, y)
		}
	}
	for _, s := range ch.series {
		for i := range s.x {
			see(s.x[i], s.y[i])
		}
	}
	if xmin <= xmax {
		for _, r := range ch.rules {
			see(xmax, r.y)
		}
	}
	for _, b := range ch.bands { // on a logarithmic axis only the upper edge counts:
		for i := range b.x { // the lower one may be all but 0
			see(b.x[i], b.high[i])
			if !ch.logY {
				see(b.x[i], b.low[i])
			}
		}
	}
	if xmin > xmax {
		if ch.logY {
			return 0, 1, 0.1, 1
		}
		return 0, 1, 0, 1
	}
	xmin, xmax = widen(xmin, xmax, 0.02)
	if ch.logY {
		lo, hi := widen(math.Log(ymin), math.Log(ymax), 0.05)
		return xmin, xmax, math.Exp(lo), math.Exp(hi)
	}
	ymin, ymax = widen(ymin, ymax, 0.05)
	return xmin, xmax, ymin, ymax
}

// widen adds the fraction of the range to both ends, and makes a range of a point.
func widen(lo, hi, fraction float64) (float64, float64) {
	air := (hi - lo) * fraction
	if air == 0 {
		air = max(math.Abs(lo)*0.05, 0.05)
	}
	return lo - air, hi + air
}

// drawable reports whether the point has a place on the axes. Values beyond 1e±300
// would overflow the axes' arithmetic.
func drawable(x, y float64, logY bool) bool {
	if !finite(x) || !finite(y) || math.Abs(x) > 1e300 || math.Abs(y) > 1e300 {
		return false
	}
	return !logY || y > 1e-300
}

// lineHeight is the distance of text lines in font sizes.
const lineHeight = 1.3

// drawText draws lines of text from c's top left corner downwards and returns the y
// below them.
func drawText(c draw.Canvas, lines []string, s text.Style) vg.Length {
	y := c.Max.Y
	for _, line := range lines {
		if line != "" {
			c.FillText(s, vg.Point{X: c.Min.X, Y: y}, line)
		}
		y -= s.Font.Size * lineHeight
	}
	return y
}

// captionLines is the caption broken to the width.
func (ch *chart) captionLines(width vg.Length) []string {
	return wrap(ch.caption, textStyle(captionSize, grey), width)
}

// wrap breaks s at spaces into lines of at most the width; a longer word stands alone.
func wrap(s string, style text.Style, width vg.Length) []string {
	var lines []string
	for _, paragraph := range strings.Split(s, "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if longer := strings.TrimSpace(line + " " + word); line == "" || style.Width(longer) <= width {
				line = longer
			} else {
				lines = append(lines, line)
				line = word
			}
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// shorten cuts s to the width, ending in "…" when it had to.
func shorten(s string, style text.Style, width vg.Length) string {
	if style.Width(s) <= width {
		return s
	}
	runes := []rune(s)
	n := len(runes)
	for n > 0 && style.Width(string(runes[:n])+"…") > width {
		n--
	}
	return string(runes[:n]) + "…"
}
