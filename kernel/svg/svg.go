// Package svg draws SVG documents as pixels: the shapes, paths, colours and transforms that
// programs write. What it does not know is an error, so that no picture is drawn wrongly.
package svg

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"io"
	"math"
	"strconv"
	"strings"

	"golang.org/x/image/colornames"
	"golang.org/x/image/vector"
)

// maxSide is the largest width or height of a picture, in pixels.
const maxSide = 4096

// Draw draws the document with scale pixels to its unit of length.
func Draw(doc []byte, scale float64) (*image.RGBA, error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	var c *canvas
	var stack []style
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) && c != nil && len(stack) == 0 {
			return c.img, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			a := attributes(t)
			switch {
			case t.Name.Local == "svg" && c == nil:
				var s style
				if c, s, err = newCanvas(a, scale); err == nil {
					s, err = s.with(a)
				}
				stack = append(stack, s)
			case c == nil:
				err = fmt.Errorf("<%s> is not svg", t.Name.Local)
			case t.Name.Local == "title" || t.Name.Local == "desc" || t.Name.Local == "metadata":
				err = d.Skip()
			default:
				var s style
				if s, err = stack[len(stack)-1].with(a); err == nil {
					err = c.element(t.Name.Local, a, s)
				}
				stack = append(stack, s)
			}
			if err != nil {
				return nil, err
			}
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		}
	}
}

// attributes are an element's, with those of its style attribute.
func attributes(t xml.StartElement) map[string]string {
	a := map[string]string{}
	for _, x := range t.Attr {
		a[x.Name.Local] = strings.TrimSpace(x.Value)
	}
	for part := range strings.SplitSeq(a["style"], ";") {
		if name, value, ok := strings.Cut(part, ":"); ok {
			a[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return a
}

// canvas is the picture and its pixels.
type canvas struct{ img *image.RGBA }

func newCanvas(a map[string]string, scale float64) (*canvas, style, error) {
	s := style{m: affine{scale, 0, 0, scale, 0, 0}, fill: paint{color.NRGBA{A: 255}, true}, width: 1, fillOpacity: 1, strokeOpacity: 1}
	box, err := numbers(a["viewBox"])
	if err != nil {
		return nil, s, err
	}
	size := func(name string, i int) float64 {
		if v, err := length(a[name]); err == nil && a[name] != "" {
			return v
		}
		if len(box) == 4 {
			return box[i]
		}
		return [...]float64{2: 300, 3: 150}[i]
	}
	w, h := size("width", 2), size("height", 3)
	if !(w*scale >= 1 && h*scale >= 1 && w*scale <= maxSide && h*scale <= maxSide) {
		return nil, s, fmt.Errorf("a size of %g by %g", w, h)
	}
	if len(box) == 4 && box[2] > 0 && box[3] > 0 {
		k := min(w/box[2], h/box[3])
		s.m = s.m.times(affine{k, 0, 0, k, (w-k*box[2])/2 - k*box[0], (h-k*box[3])/2 - k*box[1]})
	}
	return &canvas{image.NewRGBA(image.Rect(0, 0, int(math.Ceil(w*scale)), int(math.Ceil(h*scale))))}, s, nil
}

// paint is a colour, or none.
type paint struct {
	c  color.NRGBA
	on bool
}

// style is what an element inherits.
type style struct {
	m                          affine
	fill, stroke               paint
	width                      float64
	fillOpacity, strokeOpacity float64
}

// unknown are attributes that change a picture in ways not known here.
var unknown = []string{"clip-path", "mask", "filter", "marker-start", "marker-mid", "marker-end", "stroke-dasharray", "display", "visibility", "mix-blend-mode"}

func (s style) with(a map[string]string) (style, error) {
	for _, name := range unknown {
		if v := a[name]; v != "" && v != "none" && v != "inline" && v != "visible" && v != "normal" {
			return s, fmt.Errorf("attribute %s", name)
		}
	}
	if a["fill-rule"] == "evenodd" {
		return s, errors.New("fill-rule evenodd")
	}
	var err error
	for name, p := range map[string]*paint{"fill": &s.fill, "stroke": &s.stroke} {
		if v := a[name]; v != "" && err == nil {
			*p, err = parsePaint(v)
		}
	}
	for name, p := range map[string]*float64{"stroke-width": &s.width, "fill-opacity": &s.fillOpacity, "stroke-opacity": &s.strokeOpacity} {
		if v := a[name]; v != "" && err == nil {
			*p, err = length(v)
		}
	}
	if v := a["opacity"]; v != "" && err == nil { // of a group, which overlaps itself seldom
		var o float64
		o, err = length(v)
		s.fillOpacity, s.strokeOpacity = s.fillOpacity*o, s.strokeOpacity*o
	}
	if v := a["transform"]; v != "" && err == nil {
		var m affine
		m, err = parseTransform(v)
		s.m = s.m.times(m)
	}
	return s, err
}

func parsePaint(v string) (paint, error) {
	c := color.NRGBA{A: 255}
	hex := func(s string) (uint8, error) { n, err := strconv.ParseUint(s, 16, 8); return uint8(n), err }
	var e1, e2, e3 error
	switch {
	case v == "none" || v == "transparent":
		return paint{}, nil
	case v == "currentColor":
	case strings.HasPrefix(v, "#") && len(v) == 7:
		c.R, e1 = hex(v[1:3])
		c.G, e2 = hex(v[3:5])
		c.B, e3 = hex(v[5:7])
	case strings.HasPrefix(v, "#") && len(v) == 4:
		c.R, e1 = hex(v[1:2] + v[1:2])
		c.G, e2 = hex(v[2:3] + v[2:3])
		c.B, e3 = hex(v[3:4] + v[3:4])
	case strings.HasPrefix(v, "rgb(") && strings.HasSuffix(v, ")"):
		n, err := numbers(v[4 : len(v)-1])
		if err != nil || len(n) != 3 {
			return paint{}, fmt.Errorf("colour %q", v)
		}
		c.R, c.G, c.B = uint8(n[0]), uint8(n[1]), uint8(n[2])
	default:
		named, ok := colornames.Map[strings.ToLower(v)]
		if !ok {
			return paint{}, fmt.Errorf("colour %q", v)
		}
		c.R, c.G, c.B = named.R, named.G, named.B
	}
	if err := errors.Join(e1, e2, e3); err != nil {
		return paint{}, fmt.Errorf("colour %q", v)
	}
	return paint{c, true}, nil
}

// length is a number, perhaps in pixels or per cent of one.
func length(v string) (float64, error) {
	if p, ok := strings.CutSuffix(v, "%"); ok {
		n, err := strconv.ParseFloat(p, 64)
		return n / 100, err
	}
	return strconv.ParseFloat(strings.TrimSuffix(v, "px"), 64)
}

// element draws an element that is no container.
func (c *canvas) element(name string, a map[string]string, s style) error {
	var bad error
	n := func(name string) float64 {
		if a[name] == "" {
			return 0
		}
		if strings.HasSuffix(a[name], "%") {
			bad = fmt.Errorf("%s=%q", name, a[name])
		}
		v, err := length(a[name])
		if err != nil {
			bad = err
		}
		return v
	}
	var p path
	switch name {
	case "g", "a":
		return nil
	case "rect":
		x, y, w, h := n("x"), n("y"), n("width"), n("height")
		rx, ry := n("rx"), n("ry")
		if a["rx"] == "" {
			rx = ry
		}
		if a["ry"] == "" {
			ry = rx
		}
		if w <= 0 || h <= 0 {
			return bad
		}
		p.rect(x, y, w, h, min(rx, w/2), min(ry, h/2))
	case "circle":
		p.ellipse(n("cx"), n("cy"), n("r"), n("r"))
	case "ellipse":
		p.ellipse(n("cx"), n("cy"), n("rx"), n("ry"))
	case "line":
		p.move(n("x1"), n("y1"))
		p.line(n("x2"), n("y2"))
		s.fill.on = false
	case "polyline", "polygon":
		v, err := numbers(a["points"])
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(v); i += 2 {
			if i == 0 {
				p.move(v[0], v[1])
			} else {
				p.line(v[i], v[i+1])
			}
		}
		if name == "polygon" && len(v) > 1 {
			p.close()
		}
	case "path":
		if err := p.parse(a["d"]); err != nil {
			return err
		}
	default:
		return fmt.Errorf("element <%s>", name)
	}
	if bad != nil {
		return bad
	}
	if s.fill.on {
		c.paint(p.polygons(s.m), s.fill.c, s.fillOpacity)
	}
	if s.stroke.on && s.width > 0 {
		c.paint(p.outline(s.m, s.width), s.stroke.c, s.strokeOpacity)
	}
	return nil
}

// paint fills polygons by the nonzero rule.
func (c *canvas) paint(polygons [][]point, col color.NRGBA, opacity float64) {
	b := c.img.Bounds()
	r := vector.NewRasterizer(b.Dx(), b.Dy())
	for _, poly := range polygons {
		for i, q := range poly {
			if i == 0 {
				r.MoveTo(float32(q.x), float32(q.y))
			} else {
				r.LineTo(float32(q.x), float32(q.y))
			}
		}
		r.ClosePath()
	}
	col.A = uint8(math.Round(255 * max(0, min(1, opacity))))
	r.DrawOp = draw.Over
	r.Draw(c.img, b, image.NewUniform(col), image.Point{})
}
