package svg

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

type point struct{ x, y float64 }

// affine maps (x, y) to (a x + c y + e, b x + d y + f).
type affine [6]float64

func (m affine) apply(p point) point {
	return point{m[0]*p.x + m[2]*p.y + m[4], m[1]*p.x + m[3]*p.y + m[5]}
}

// times is m after n.
func (m affine) times(n affine) affine {
	return affine{
		m[0]*n[0] + m[2]*n[1], m[1]*n[0] + m[3]*n[1],
		m[0]*n[2] + m[2]*n[3], m[1]*n[2] + m[3]*n[3],
		m[0]*n[4] + m[2]*n[5] + m[4], m[1]*n[4] + m[3]*n[5] + m[5],
	}
}

func parseTransform(v string) (affine, error) {
	m := affine{1, 0, 0, 1, 0, 0}
	for v = strings.TrimLeft(v, " ,\t\n"); v != ""; v = strings.TrimLeft(v, " ,\t\n") {
		name, rest, ok := strings.Cut(v, "(")
		args, after, ok2 := strings.Cut(rest, ")")
		n, err := numbers(args)
		if !ok || !ok2 || err != nil {
			return m, fmt.Errorf("transform %q", v)
		}
		v = after
		var t affine
		switch name = strings.TrimSpace(name); {
		case name == "translate" && (len(n) == 1 || len(n) == 2):
			t = affine{1, 0, 0, 1, n[0], append(n, 0)[1]}
		case name == "scale" && (len(n) == 1 || len(n) == 2):
			t = affine{n[0], 0, 0, append(n, n[0])[1], 0, 0}
		case name == "rotate" && (len(n) == 1 || len(n) == 3):
			sin, cos := math.Sincos(n[0] * math.Pi / 180)
			t = affine{cos, sin, -sin, cos, 0, 0}
			if len(n) == 3 {
				t = affine{1, 0, 0, 1, n[1], n[2]}.times(t).times(affine{1, 0, 0, 1, -n[1], -n[2]})
			}
		case name == "matrix" && len(n) == 6:
			t = affine(n)
		default:
			return m, fmt.Errorf("transform %s", name)
		}
		m = m.times(t)
	}
	return m, nil
}

// path is a figure as lines: curves are divided.
type path struct {
	parts  [][]point
	closed []bool
}

// pieces is how many lines a curve becomes.
const pieces = 24

func (p *path) move(x, y float64) {
	p.parts, p.closed = append(p.parts, []point{{x, y}}), append(p.closed, false)
}

func (p *path) line(x, y float64) {
	if len(p.parts) == 0 {
		p.move(0, 0)
	}
	last := len(p.parts) - 1
	if p.closed[last] { // goes on where the closed part began
		p.move(p.parts[last][0].x, p.parts[last][0].y)
		last++
	}
	p.parts[last] = append(p.parts[last], point{x, y})
}

func (p *path) close() {
	if n := len(p.parts); n > 0 {
		p.closed[n-1] = true
	}
}

// at is where the path has come to.
func (p *path) at() point {
	n := len(p.parts)
	if n == 0 {
		return point{}
	}
	last := p.parts[n-1]
	if p.closed[n-1] {
		return last[0]
	}
	return last[len(last)-1]
}

func (p *path) cubic(a, b, c point) {
	o := p.at()
	for i := 1; i <= pieces; i++ {
		t := float64(i) / pieces
		u := 1 - t
		p.line(u*u*u*o.x+3*u*u*t*a.x+3*u*t*t*b.x+t*t*t*c.x, u*u*u*o.y+3*u*u*t*a.y+3*u*t*t*b.y+t*t*t*c.y)
	}
}

func (p *path) ellipse(cx, cy, rx, ry float64) {
	if rx <= 0 || ry <= 0 {
		return
	}
	p.move(cx+rx, cy)
	for i := 1; i < 4*pieces; i++ {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / (4 * pieces))
		p.line(cx+rx*cos, cy+ry*sin)
	}
	p.close()
}

func (p *path) rect(x, y, w, h, rx, ry float64) {
	p.move(x+rx, y)
	p.line(x+w-rx, y)
	corner := func(cx, cy, from float64) {
		for i := 1; rx > 0 && i <= pieces; i++ {
			sin, cos := math.Sincos(from + math.Pi/2*float64(i)/pieces)
			p.line(cx+rx*cos, cy+ry*sin)
		}
	}
	corner(x+w-rx, y+ry, -math.Pi/2)
	p.line(x+w, y+h-ry)
	corner(x+w-rx, y+h-ry, 0)
	p.line(x+rx, y+h)
	corner(x+rx, y+h-ry, math.Pi/2)
	p.line(x, y+ry)
	corner(x+rx, y+ry, math.Pi)
	p.close()
}

// arc is an elliptical arc to (x, y), as SVG's appendix B.2.4 converts it.
func (p *path) arc(rx, ry, angle float64, large, sweep bool, x, y float64) {
	o := p.at()
	rx, ry = math.Abs(rx), math.Abs(ry)
	if rx == 0 || ry == 0 || o == (point{x, y}) {
		p.line(x, y)
		return
	}
	sin, cos := math.Sincos(angle * math.Pi / 180)
	dx, dy := (o.x-x)/2, (o.y-y)/2
	x1, y1 := cos*dx+sin*dy, -sin*dx+cos*dy
	if k := x1*x1/(rx*rx) + y1*y1/(ry*ry); k > 1 {
		rx, ry = rx*math.Sqrt(k), ry*math.Sqrt(k)
	}
	q := math.Sqrt(max(0, (rx*rx*ry*ry-rx*rx*y1*y1-ry*ry*x1*x1)/(rx*rx*y1*y1+ry*ry*x1*x1)))
	if large == sweep {
		q = -q
	}
	cx1, cy1 := q*rx*y1/ry, -q*ry*x1/rx
	cx, cy := cos*cx1-sin*cy1+(o.x+x)/2, sin*cx1+cos*cy1+(o.y+y)/2
	from := math.Atan2((y1-cy1)/ry, (x1-cx1)/rx)
	by := math.Atan2((-y1-cy1)/ry, (-x1-cx1)/rx) - from
	switch {
	case sweep && by < 0:
		by += 2 * math.Pi
	case !sweep && by > 0:
		by -= 2 * math.Pi
	}
	for i := 1; i < 2*pieces; i++ {
		s, c := math.Sincos(from + by*float64(i)/(2*pieces))
		p.line(cx+cos*rx*c-sin*ry*s, cy+sin*rx*c+cos*ry*s)
	}
	p.line(x, y)
}

// polygons are the path's parts, transformed.
func (p *path) polygons(m affine) (out [][]point) {
	for _, part := range p.parts {
		var poly []point
		for _, q := range part {
			poly = append(poly, m.apply(q))
		}
		out = append(out, poly)
	}
	return out
}

// outline is the path as a line of the width, with round joins and flat ends: a polygon for
// each piece, all turning the same way.
func (p *path) outline(m affine, width float64) (out [][]point) {
	add := func(poly []point) {
		area := 0.0
		for i, q := range poly {
			poly[i] = m.apply(q)
		}
		for i, q := range poly {
			n := poly[(i+1)%len(poly)]
			area += q.x*n.y - n.x*q.y
		}
		if area < 0 {
			for i, j := 0, len(poly)-1; i < j; i, j = i+1, j-1 {
				poly[i], poly[j] = poly[j], poly[i]
			}
		}
		out = append(out, poly)
	}
	for k, part := range p.parts {
		points := part
		if p.closed[k] {
			points = append(append([]point(nil), part...), part[0])
		}
		for i := 1; i < len(points); i++ {
			a, b := points[i-1], points[i]
			l := math.Hypot(b.x-a.x, b.y-a.y)
			if l == 0 {
				continue
			}
			nx, ny := (a.y-b.y)/l*width/2, (b.x-a.x)/l*width/2
			add([]point{{a.x + nx, a.y + ny}, {b.x + nx, b.y + ny}, {b.x - nx, b.y - ny}, {a.x - nx, a.y - ny}})
			if i < len(points)-1 || p.closed[k] {
				var disc path
				disc.ellipse(b.x, b.y, width/2, width/2)
				add(disc.parts[0])
			}
		}
	}
	return out
}

// numbers reads a list of numbers, which may stand together as in "1-2.5.5".
func numbers(s string) (out []float64, err error) {
	sc := scanner{s}
	for {
		n, ok, err := sc.number()
		if err != nil || !ok {
			return out, err
		}
		out = append(out, n)
	}
}

// scanner reads path data.
type scanner struct{ s string }

func (sc *scanner) space() { sc.s = strings.TrimLeft(sc.s, " ,\t\r\n") }

// number reads a number; ok is false at the end or before something else.
func (sc *scanner) number() (n float64, ok bool, err error) {
	sc.space()
	i, dot, exp := 0, false, false
loop:
	for ; i < len(sc.s); i++ {
		switch c := sc.s[i]; {
		case c >= '0' && c <= '9':
		case c == '.' && !dot && !exp:
			dot = true
		case (c == '-' || c == '+') && (i == 0 || sc.s[i-1] == 'e' || sc.s[i-1] == 'E'):
		case (c == 'e' || c == 'E') && i > 0 && !exp:
			exp = true
		default:
			break loop
		}
	}
	if i == 0 {
		if sc.s != "" && !strings.ContainsRune("MmZzLlHhVvCcSsQqTtAa", rune(sc.s[0])) {
			return 0, false, fmt.Errorf("%.10q is no number", sc.s)
		}
		return 0, false, nil
	}
	n, err = strconv.ParseFloat(sc.s[:i], 64)
	sc.s = sc.s[i:]
	return n, err == nil, err
}

// arity is how many numbers each command of path data takes.
var arity = map[byte]int{'M': 2, 'L': 2, 'H': 1, 'V': 1, 'C': 6, 'S': 4, 'Q': 4, 'T': 2, 'A': 7, 'Z': 0}

// parse reads path data.
func (p *path) parse(d string) error {
	sc := scanner{d}
	var cmd byte
	var control point // of the last curve, for S and T
	var before byte
	for {
		sc.space()
		if sc.s == "" {
			return nil
		}
		if c := sc.s[0]; strings.ContainsRune("MmZzLlHhVvCcSsQqTtAa", rune(c)) {
			cmd, sc.s = c, sc.s[1:]
		} else if cmd == 0 || cmd == 'Z' || cmd == 'z' {
			return fmt.Errorf("path data %.10q", sc.s)
		}
		upper := cmd &^ 0x20
		var v [7]float64
		for i := range arity[upper] {
			if upper == 'A' && (i == 3 || i == 4) { // a flag is one digit
				sc.space()
				if sc.s == "" || sc.s[0] != '0' && sc.s[0] != '1' {
					return fmt.Errorf("path data %.10q", sc.s)
				}
				v[i], sc.s = float64(sc.s[0]-'0'), sc.s[1:]
				continue
			}
			n, ok, err := sc.number()
			if err != nil || !ok {
				return fmt.Errorf("path data ends in the middle of %c", cmd)
			}
			v[i] = n
		}
		o := p.at()
		abs := func(i int) point {
			if cmd == upper {
				return point{v[i], v[i+1]}
			}
			return point{o.x + v[i], o.y + v[i+1]}
		}
		mirrored := o
		if strings.IndexByte(map[byte]string{'S': "CS", 'T': "QT"}[upper], before) >= 0 {
			mirrored = point{2*o.x - control.x, 2*o.y - control.y}
		}
		quad := func(q, to point) {
			p.cubic(point{o.x + 2*(q.x-o.x)/3, o.y + 2*(q.y-o.y)/3}, point{to.x + 2*(q.x-to.x)/3, to.y + 2*(q.y-to.y)/3}, to)
			control = q
		}
		switch upper {
		case 'M':
			to := abs(0)
			p.move(to.x, to.y)
			cmd-- // M to L, m to l: further pairs are lines
		case 'L':
			to := abs(0)
			p.line(to.x, to.y)
		case 'H':
			if cmd == 'h' {
				v[0] += o.x
			}
			p.line(v[0], o.y)
		case 'V':
			if cmd == 'v' {
				v[0] += o.y
			}
			p.line(o.x, v[0])
		case 'C':
			control = abs(2)
			p.cubic(abs(0), control, abs(4))
		case 'S':
			control = abs(0)
			p.cubic(mirrored, control, abs(2))
		case 'Q':
			quad(abs(0), abs(2))
		case 'T':
			quad(mirrored, abs(0))
		case 'A':
			to := abs(5)
			p.arc(v[0], v[1], v[2], v[3] == 1, v[4] == 1, to.x, to.y)
		case 'Z':
			p.close()
		}
		before = upper
	}
}
