package plots

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// marker is the shape of a line's points.
type marker int

const (
	circle marker = iota
	square
	triangle
	diamond
	cross
)

// draw draws the marker around p.
func (m marker) draw(c draw.Canvas, clr color.Color, p vg.Point) {
	r := markerSize
	corners := func(turn float64, n int, r vg.Length) vg.Path {
		var path vg.Path
		for i := range n {
			s, o := math.Sincos(turn + 2*math.Pi*float64(i)/float64(n))
			pt := vg.Point{X: p.X + r*vg.Length(o), Y: p.Y + r*vg.Length(s)}
			if i == 0 {
				path.Move(pt)
			} else {
				path.Line(pt)
			}
		}
		path.Close()
		return path
	}
	c.SetColor(clr)
	switch m {
	case square:
		c.Fill(corners(math.Pi/4, 4, r*1.25))
	case triangle:
		c.Fill(corners(math.Pi/2, 3, r*1.35))
	case diamond:
		c.Fill(corners(0, 4, r*1.35))
	case cross:
		line := draw.LineStyle{Color: clr, Width: thick}
		c.StrokeLine2(line, p.X-r, p.Y-r, p.X+r, p.Y+r)
		c.StrokeLine2(line, p.X-r, p.Y+r, p.X+r, p.Y-r)
	default:
		var path vg.Path
		path.Move(vg.Point{X: p.X + r, Y: p.Y})
		path.Arc(p, r, 0, 2*math.Pi)
		path.Close()
		c.Fill(path)
	}
}

// lineStyle is the series' line.
func (s series) lineStyle() draw.LineStyle {
	return draw.LineStyle{Color: s.style.color, Width: s.width, Dashes: s.style.dashes}
}

// seriesPlotter draws a series. It lets gonum make room for markers at the edge.
type seriesPlotter struct {
	series
	logY bool
}

// Plot draws the line, with gaps where there is no value; a value alone between gaps is
// marked, since it would not be seen as a line.
func (s seriesPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	var run []vg.Point
	flush := func() {
		switch {
		case len(run) > 1:
			c.StrokeLines(s.lineStyle(), c.ClipLinesXY(run)...)
		case len(run) == 1 && !s.markers:
			s.style.marker.draw(c, s.style.color, run[0])
		}
		run = nil
	}
	var marks []vg.Point
	for i, x := range s.x {
		if !drawable(x, s.y[i], s.logY) {
			flush()
			continue
		}
		pt := vg.Point{X: tx(x), Y: ty(s.y[i])}
		run = append(run, pt)
		if s.markers && pt.Y <= c.Max.Y {
			marks = append(marks, pt)
		}
	}
	flush()
	for _, pt := range marks {
		s.style.marker.draw(c, s.style.color, pt)
	}
}

// rulePlotter draws a rule across the axes.
type rulePlotter rule

// Plot draws the line behind the data.
func (r rulePlotter) Plot(c draw.Canvas, p *plot.Plot) {
	_, ty := p.Transforms(&c)
	if r.y >= p.Y.Min && r.y <= p.Y.Max {
		c.StrokeLine2(rule(r).lineStyle(), c.Min.X, ty(r.y), c.Max.X, ty(r.y))
	}
}

// lineStyle is the rule's line.
func (r rule) lineStyle() draw.LineStyle {
	return draw.LineStyle{Color: r.style.color, Width: thin, Dashes: r.style.dashes}
}

// bandPlotter draws a band.
type bandPlotter struct {
	band
	logY bool
}

// Plot fills the region, cut off at the bottom of the axes.
func (b bandPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	y := func(v float64) vg.Length {
		if v < p.Y.Min {
			return c.Min.Y
		}
		return min(c.Max.Y, ty(v))
	}
	var upper, lower []vg.Point
	for i, x := range b.x {
		if drawable(x, b.high[i], b.logY) && finite(b.low[i]) && b.low[i] <= p.Y.Max {
			upper = append(upper, vg.Point{X: tx(x), Y: y(b.high[i])})
			lower = append(lower, vg.Point{X: tx(x), Y: y(b.low[i])})
		}
	}
	if len(upper) < 2 {
		return
	}
	var path vg.Path
	path.Move(upper[0])
	for _, pt := range upper[1:] {
		path.Line(pt)
	}
	for i := len(lower) - 1; i >= 0; i-- {
		path.Line(lower[i])
	}
	path.Close()
	c.SetColor(faint(b.style.color, 0x2a))
	c.Fill(path)
}
