package plots

import (
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// entry is a legend's entry and where its line begins.
type entry struct {
	name string
	line draw.LineStyle
	mark func(c draw.Canvas, p vg.Point) // nil: none
	x    vg.Length
	row  int
}

// entries are the chart's named lines and rules.
func (ch *chart) entries() []entry {
	var out []entry
	for _, s := range ch.series {
		if s.name == "" {
			continue
		}
		e := entry{name: s.name, line: s.lineStyle()}
		if s.markers {
			e.mark = func(c draw.Canvas, p vg.Point) { s.style.marker.draw(c, s.style.color, p) }
		}
		out = append(out, e)
	}
	for _, r := range ch.rules {
		out = append(out, entry{name: r.name, line: r.lineStyle()})
	}
	return out
}

// legend places the entries in rows from left to right within the width.
func (ch *chart) legend(width vg.Length) []entry {
	const gap = 14 // between entries
	s := legendStyle()
	out := ch.entries()
	x, row := vg.Length(0), 0
	for i := range out {
		e := &out[i]
		e.name = shorten(e.name, s, width-sampleWidth-legendGap)
		w := sampleWidth + legendGap + s.Width(e.name)
		if x > 0 && x+w > width {
			x, row = 0, row+1
		}
		e.x, e.row = x, row
		x += w + gap
	}
	return out
}

// legendGap is between a line and its name.
const legendGap = vg.Length(4)

// legendRows is how many rows the legend takes.
func (ch *chart) legendRows(width vg.Length) int {
	entries := ch.legend(width)
	if len(entries) == 0 {
		return 0
	}
	return entries[len(entries)-1].row + 1
}

// drawLegend draws the legend at the top of c and returns the y below it.
func (ch *chart) drawLegend(c draw.Canvas) vg.Length {
	s := legendStyle()
	rowHeight := s.Font.Size * 1.45
	for _, e := range ch.legend(c.Size().X) {
		x := c.Min.X + e.x
		y := c.Max.Y - rowHeight*(vg.Length(e.row)+0.5)
		c.StrokeLine2(e.line, x, y, x+sampleWidth, y)
		if e.mark != nil {
			e.mark(c, vg.Point{X: x + sampleWidth/2, Y: y})
		}
		// The middle of a line of text lies below the middle of its letters.
		c.FillText(s, vg.Point{X: x + sampleWidth + legendGap, Y: y + s.Font.Size*0.14}, e.name)
	}
	return c.Max.Y - rowHeight*vg.Length(ch.legendRows(c.Size().X))
}

func legendStyle() text.Style {
	s := textStyle(labelSize, ink)
	s.YAlign = text.YCenter
	return s
}
