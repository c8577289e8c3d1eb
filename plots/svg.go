package plots

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"math"
	"strings"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// svgCanvas writes SVG whose user unit is a CSS pixel. It differs from gonum's vgsvg in
// that text becomes paths (each glyph once, used where it stands), images stay sharp when
// enlarged, coordinates are final (no nested groups) with two decimals, and the document
// can stand inside an HTML page.
type svgCanvas struct {
	width, height int // CSS pixels
	body, defs    bytes.Buffer
	glyphs        map[string]bool // ids in defs
	states        []svgState
}

// svgState is what Push keeps.
type svgState struct {
	color  color.Color
	width  vg.Length
	dashes []vg.Length
	offset vg.Length
	m      affine
}

// affine maps (x, y) to (a·x + c·y + e, b·x + d·y + f).
type affine struct{ a, b, c, d, e, f float64 }

// newSVG returns an empty canvas of the given size in CSS pixels.
func newSVG(width, height int) *svgCanvas {
	unit := 1 / px.Points()
	c := &svgCanvas{width: width, height: height, glyphs: map[string]bool{}}
	c.states = []svgState{{m: affine{a: unit, d: -unit, f: float64(height)}}}
	vg.Initialize(c)
	return c
}

// bytes is the document; label is read out by screen readers.
func (c *svgCanvas) bytes(label string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" `+
		`width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n",
		c.width, c.height, c.width, c.height, html.EscapeString(label))
	if c.defs.Len() > 0 {
		fmt.Fprintf(&b, "<defs>\n%s</defs>\n", c.defs.Bytes())
	}
	b.Write(c.body.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (c *svgCanvas) top() *svgState { return &c.states[len(c.states)-1] }

// Size is the canvas' size.
func (c *svgCanvas) Size() (w, h vg.Length) { return vg.Length(c.width) * px, vg.Length(c.height) * px }

// SetLineWidth sets the width of lines.
func (c *svgCanvas) SetLineWidth(w vg.Length) { c.top().width = w }

// SetLineDash sets the dashes of lines.
func (c *svgCanvas) SetLineDash(d []vg.Length, offset vg.Length) {
	c.top().dashes, c.top().offset = d, offset
}

// SetColor sets the colour of lines and areas.
func (c *svgCanvas) SetColor(clr color.Color) { c.top().color = clr }

// Rotate turns what follows, in radians against the clock.
func (c *svgCanvas) Rotate(r float64) {
	s, o := math.Sincos(r)
	c.transform(affine{a: o, b: s, c: -s, d: o})
}

// Translate moves what follows.
func (c *svgCanvas) Translate(p vg.Point) {
	c.transform(affine{a: 1, d: 1, e: float64(p.X), f: float64(p.Y)})
}

// Scale stretches what follows.
func (c *svgCanvas) Scale(x, y float64) { c.transform(affine{a: x, d: y}) }

// Push keeps the state for Pop.
func (c *svgCanvas) Push() { c.states = append(c.states, *c.top()) }

// Pop restores the state kept last.
func (c *svgCanvas) Pop() { c.states = c.states[:len(c.states)-1] }

// transform applies t before what is in force.
func (c *svgCanvas) transform(t affine) { c.top().m = c.top().m.after(t) }

// after is first t, then m.
func (m affine) after(t affine) affine {
	return affine{
		m.a*t.a + m.c*t.b, m.b*t.a + m.d*t.b,
		m.a*t.c + m.c*t.d, m.b*t.c + m.d*t.d,
		m.a*t.e + m.c*t.f + m.e, m.b*t.e + m.d*t.f + m.f,
	}
}

// scale is the factor by which lengths grow, where the axes are scaled alike.
func (m affine) scale() float64 { return math.Sqrt(math.Abs(m.a*m.d - m.b*m.c)) }

// at is p in CSS pixels, y downwards.
func (m affine) at(p vg.Point) [2]float64 {
	x, y := float64(p.X), float64(p.Y)
	return [2]float64{m.a*x + m.c*y + m.e, m.b*x + m.d*y + m.f}
}

// data is the path in SVG's notation.
func (c *svgCanvas) data(p vg.Path) string {
	w := pathWriter{unit: 100}
	w.path(p, c.top().m.at)
	return w.String()
}

// Stroke draws the path's line.
func (c *svgCanvas) Stroke(p vg.Path) {
	s := c.top()
	if s.width <= 0 || len(p) == 0 {
		return
	}
	length := func(l vg.Length) string { return number(float64(l)*s.m.scale(), 2) }
	fmt.Fprintf(&c.body, `<path d="%s" fill="none" %s stroke-width="%s"`,
		c.data(p), svgColor("stroke", s.color), length(s.width))
	if len(s.dashes) > 0 {
		dashes := make([]string, len(s.dashes))
		for i, d := range s.dashes {
			dashes[i] = length(d)
		}
		fmt.Fprintf(&c.body, ` stroke-dasharray="%s"`, strings.Join(dashes, " "))
		if s.offset != 0 {
			fmt.Fprintf(&c.body, ` stroke-dashoffset="%s"`, length(s.offset))
		}
	}
	c.body.WriteString(` stroke-linejoin="round"/>` + "\n")
}

// Fill fills the path.
func (c *svgCanvas) Fill(p vg.Path) {
	if len(p) > 0 {
		fmt.Fprintf(&c.body, `<path d="%s" %s/>`+"\n", c.data(p), svgColor("fill", c.top().color))
	}
}

// FillString draws s as outlines, its baseline beginning at pt. A glyph's id names the
// font and the glyph, so that several figures in one page may share it.
func (c *svgCanvas) FillString(f font.Face, pt vg.Point, s string) {
	size := float64(f.Font.Size) / float64(unitsPerEm(f))
	m := c.top().m.after(affine{a: size, d: size, e: float64(pt.X), f: float64(pt.Y)})
	var uses strings.Builder
	for _, g := range layText(f, s) {
		id := fmt.Sprintf("%s-%d", f.Name(), g.glyph)
		if outline := appendGlyph(nil, f, g.glyph, vg.Point{}, 1); len(outline) == 0 {
			continue // a space
		} else if !c.glyphs[id] {
			c.glyphs[id] = true
			w := pathWriter{unit: 1}
			w.path(outline, func(p vg.Point) [2]float64 { return [2]float64{float64(p.X), float64(p.Y)} })
			fmt.Fprintf(&c.defs, `<path id="%s" d="%s"/>`+"\n", id, w.String())
		}
		fmt.Fprintf(&uses, `<use xlink:href="#%s"`, id)
		if g.x != 0 {
			fmt.Fprintf(&uses, ` x="%d"`, g.x)
		}
		uses.WriteString("/>")
	}
	if uses.Len() == 0 {
		return
	}
	fmt.Fprintf(&c.body, `<g transform="matrix(%s %s %s %s %s %s)" %s>%s</g>`+"\n",
		number(m.a, 6), number(m.b, 6), number(m.c, 6), number(m.d, 6), number(m.e, 2), number(m.f, 2),
		svgColor("fill", c.top().color), uses.String())
}

// DrawImage embeds the image as PNG. It stands upright; the canvas must not be rotated.
func (c *svgCanvas) DrawImage(rect vg.Rectangle, img image.Image) {
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		return // an empty image: there is nothing to draw
	}
	low, high := c.top().m.at(rect.Min), c.top().m.at(rect.Max)
	fmt.Fprintf(&c.body, `<image x="%s" y="%s" width="%s" height="%s" preserveAspectRatio="none" `+
		`style="image-rendering:pixelated" xlink:href="data:image/png;base64,%s"/>`+"\n",
		number(low[0], 2), number(high[1], 2), number(high[0]-low[0], 2), number(low[1]-high[1], 2),
		base64.StdEncoding.EncodeToString(buf.Bytes()))
}
