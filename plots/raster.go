package plots

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"
)

// pngCanvas is gonum's raster canvas with text as outlines, as in the SVG, and with
// images enlarged pixel by pixel instead of blurred.
type pngCanvas struct {
	*vgimg.Canvas
}

// FillString draws s as outlines.
func (c *pngCanvas) FillString(f font.Face, pt vg.Point, s string) {
	if path := textPath(f, pt, s); len(path) > 0 {
		c.Fill(path)
	}
}

// DrawImage fills rect, rounded to whole pixels, with the image's nearest pixels. The
// canvas must not be rotated or moved.
func (c *pngCanvas) DrawImage(rect vg.Rectangle, img image.Image) {
	dst := c.Image()
	height := float64(dst.Bounds().Dy())
	dots := func(l vg.Length) int { return int(math.Round(l.Dots(c.DPI()))) }
	r := image.Rect(dots(rect.Min.X), int(height)-dots(rect.Max.Y), dots(rect.Max.X), int(height)-dots(rect.Min.Y))
	if img.Bounds().Empty() || r.Empty() {
		return
	}
	draw.Draw(dst, r, nearest{img, r}, r.Min, draw.Over)
}

// nearest is img stretched over the rectangle r.
type nearest struct {
	image.Image
	r image.Rectangle
}

func (n nearest) Bounds() image.Rectangle { return n.r }

// At is the colour of the source pixel that covers (x, y).
func (n nearest) At(x, y int) color.Color {
	b := n.Image.Bounds()
	return n.Image.At(b.Min.X+(x-n.r.Min.X)*b.Dx()/n.r.Dx(), b.Min.Y+(y-n.r.Min.Y)*b.Dy()/n.r.Dy())
}
