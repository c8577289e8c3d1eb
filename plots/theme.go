package plots

import (
	"hash/fnv"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// The size of a figure in CSS pixels, of which there are 96 to the inch; a PNG has twice
// as many. 640 is the width of a notebook's output cell.
const (
	figureWidth  = 640
	figureHeight = 400
	pngScale     = 2
)

// px is the length of a CSS pixel.
const px = vg.Inch / 96

// style is how one line is drawn.
type style struct {
	color  color.NRGBA
	dashes []vg.Length
	marker marker
}

// The colours are Okabe and Ito's (2008) and a wine red, told apart with any colour vision; each comes
// with a dash and a marker of its own, so that figures survive grey printing too.
var (
	blue      = color.NRGBA{0x00, 0x72, 0xb2, 0xff}
	green     = color.NRGBA{0x00, 0x9e, 0x73, 0xff}
	pink      = color.NRGBA{0xcc, 0x79, 0xa7, 0xff}
	vermilion = color.NRGBA{0xd5, 0x5e, 0x00, 0xff}
	orange    = color.NRGBA{0xe6, 0x9f, 0x00, 0xff}
	sky       = color.NRGBA{0x56, 0xb4, 0xe9, 0xff}
	wine      = color.NRGBA{0x88, 0x22, 0x55, 0xff}
	grey      = color.NRGBA{0x76, 0x76, 0x76, 0xff}
	charcoal  = color.NRGBA{0x33, 0x33, 0x33, 0xff}
	ink       = color.NRGBA{0x22, 0x22, 0x22, 0xff} // of text and axes
	paper     = color.NRGBA{0xff, 0xff, 0xff, 0xff}
	paleGrey  = color.NRGBA{0xe4, 0xe4, 0xe4, 0xff} // of grid lines
)

// Dashes, in points drawn and left out.
var (
	solid     []vg.Length
	dashed    = []vg.Length{6, 2.5}
	dashDot   = []vg.Length{6, 2, 1.2, 2}
	dotted    = []vg.Length{1.5, 2}
	longDash  = []vg.Length{10, 3}
	dashDots  = []vg.Length{6, 2, 1.2, 2, 1.2, 2}
	shortDash = []vg.Length{3, 2}
	fine      = []vg.Length{2.5, 2.5} // of reference lines
)

// variantStyles gives each of the eight compositions of the paper's three methods its
// look. A new kind of variant gets its row here.
var variantStyles = map[string]style{
	"ADM":           {charcoal, solid, circle},
	"ADM-WD":        {blue, dashed, square},
	"ADM-GP":        {pink, dashDot, triangle},
	"DDPM-IP":       {vermilion, longDash, diamond},
	"ADM-WD+GP":     {sky, dashDots, cross},
	"DDPM-IP+WD":    {orange, shortDash, square},
	"DDPM-IP+GP":    {wine, dashDot, triangle},
	"DDPM-IP+WD+GP": {green, dotted, diamond},
}

// otherStyles are for lines that are no variant.
var otherStyles = []style{
	{blue, solid, circle},
	{vermilion, longDash, diamond},
	{charcoal, dashed, square},
	{pink, dashDot, triangle},
	{orange, shortDash, cross},
	{sky, dashDots, circle},
	{wine, dotted, square},
	{green, longDash, triangle},
}

// variantStyle is the style of the variant called name. An unknown name gets one of the
// other styles, always the same.
func variantStyle(name string) style {
	if s, ok := variantStyles[name]; ok {
		return s
	}
	return otherStyles[hashString(name)%uint32(len(otherStyles))]
}

// shade is s for a variant whose values are not the paper's, as another gamma: the hue
// stays, lightness, dash and marker change with the label, always the same way.
func (s style) shade(label string) style {
	h := hashString(label)
	factor := [...]float64{0.62, 0.45, -0.45, -0.3}[h%4]
	if max(s.color.R, s.color.G, s.color.B) < 0x60 { // too dark to be darkened
		factor = -math.Abs(factor)
	}
	mix := func(c uint8) uint8 {
		if factor > 0 { // towards black
			return uint8(math.Round(float64(c) * factor))
		}
		return uint8(math.Round(float64(c) - float64(255-c)*factor))
	}
	s.color = color.NRGBA{mix(s.color.R), mix(s.color.G), mix(s.color.B), s.color.A}
	other := otherStyles[(h>>8)%uint32(len(otherStyles))]
	s.dashes, s.marker = other.dashes, other.marker
	return s
}

// faint is c for what lies behind a line: raw values, bands.
func faint(c color.NRGBA, alpha uint8) color.NRGBA {
	c.A = alpha
	return c
}

func hashString(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s)) // never fails
	return h.Sum32()
}

// textStyle is the figures' type: Liberation Sans, which gonum/plot carries with it.
func textStyle(size vg.Length, c color.Color) text.Style {
	return text.Style{
		Color:   c,
		Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		XAlign:  text.XLeft,
		YAlign:  text.YTop,
		Handler: plot.DefaultTextHandler,
	}
}
