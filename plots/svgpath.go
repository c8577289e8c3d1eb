package plots

import (
	"fmt"
	"image/color"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot/vg"
)

// pathWriter writes SVG path data compactly: relative to the point before, in units of
// 1/unit. Rounding does not add up, since it is positions that are rounded.
type pathWriter struct {
	strings.Builder
	unit    float64 // 100 keeps two decimals, 1 none
	x, y    int     // where the pen is
	sx, sy  int     // where the subpath began
	drawing bool    // a subpath has begun
	last    byte    // the command before
}

// add writes a command with its points.
func (w *pathWriter) add(op byte, points ...[2]float64) {
	if op != w.last || op == 'm' { // a command in force need not be repeated
		w.WriteByte(op)
	}
	separate := op == w.last && op != 'm'
	var x, y int
	for _, p := range points {
		x, y = int(math.Round(p[0]*w.unit)), int(math.Round(p[1]*w.unit))
		w.number(x-w.x, separate)
		w.number(y-w.y, true)
		separate = true
	}
	w.last = op
	if op == 'z' {
		w.x, w.y, w.drawing = w.sx, w.sy, false
		return
	}
	w.x, w.y, w.drawing = x, y, true
	if op == 'm' {
		w.sx, w.sy = x, y
	}
}

// number writes n/unit; a minus sign separates by itself.
func (w *pathWriter) number(n int, separate bool) {
	s := strconv.FormatFloat(float64(n)/w.unit, 'f', -1, 64)
	s = strings.Replace(s, "0.", ".", 1)
	if n%int(w.unit) == 0 || math.Abs(float64(n)) > w.unit { // not 0.x after all, as 10.5
		s = strconv.FormatFloat(float64(n)/w.unit, 'f', -1, 64)
	}
	if separate && n >= 0 {
		w.WriteByte(' ')
	}
	w.WriteString(s)
}

// path writes p, each of its points taken through at. Arcs become cubic curves of at
// most a quarter turn (their error is below 0.03 % of the radius).
func (w *pathWriter) path(p vg.Path, at func(vg.Point) [2]float64) {
	for _, comp := range p {
		switch comp.Type {
		case vg.MoveComp:
			w.add('m', at(comp.Pos))
		case vg.LineComp:
			w.add('l', at(comp.Pos))
		case vg.CurveComp:
			if len(comp.Control) == 1 {
				w.add('q', at(comp.Control[0]), at(comp.Pos))
			} else {
				w.add('c', at(comp.Control[0]), at(comp.Control[1]), at(comp.Pos))
			}
		case vg.ArcComp:
			start := at(vg.Point{
				X: comp.Pos.X + comp.Radius*vg.Length(math.Cos(comp.Start)),
				Y: comp.Pos.Y + comp.Radius*vg.Length(math.Sin(comp.Start)),
			})
			if w.drawing {
				w.add('l', start)
			} else {
				w.add('m', start)
			}
			for _, q := range arcCurves(comp) {
				w.add('c', at(q[0]), at(q[1]), at(q[2]))
			}
		case vg.CloseComp:
			w.add('z')
		}
	}
}

// arcCurves is the arc as cubic curves: two control points and the end of each.
func arcCurves(arc vg.PathComp) [][3]vg.Point {
	n := max(1, int(math.Ceil(math.Abs(arc.Angle)/(math.Pi/2)-1e-9)))
	step := arc.Angle / float64(n)
	k := 4.0 / 3 * math.Tan(step/4)
	at := func(angle, tangent float64) vg.Point {
		s, o := math.Sincos(angle)
		return vg.Point{
			X: arc.Pos.X + arc.Radius*vg.Length(o-tangent*s),
			Y: arc.Pos.Y + arc.Radius*vg.Length(s+tangent*o),
		}
	}
	out := make([][3]vg.Point, n)
	for i := range out {
		from := arc.Start + float64(i)*step
		out[i] = [3]vg.Point{at(from, k), at(from+step, -k), at(from+step, 0)}
	}
	return out
}

// svgColor is the attribute (fill or stroke) of a colour, with its opacity when needed.
func svgColor(attribute string, c color.Color) string {
	if c == nil {
		c = color.Black
	}
	n, _ := color.NRGBAModel.Convert(c).(color.NRGBA)
	s := fmt.Sprintf(`%s="#%02x%02x%02x"`, attribute, n.R, n.G, n.B)
	if n.A != 0xff {
		s += fmt.Sprintf(` %s-opacity="%s"`, attribute, number(float64(n.A)/0xff, 2))
	}
	return s
}

// number is x with at most that many decimals. A hundredth of a pixel cannot be seen, and
// the last bits, which differ between processors, are cut off.
func number(x float64, decimals int) string {
	unit := math.Pow(10, float64(decimals))
	s := strconv.FormatFloat(math.Round(x*unit)/unit, 'f', -1, 64)
	if s == "-0" {
		return "0"
	}
	return s
}
