package plots

import (
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// Text is drawn as filled outlines, so that a figure looks the same wherever it is
// shown, with or without the font.

// placed is a glyph and where it begins on its line, in font units.
type placed struct {
	glyph sfnt.GlyphIndex
	x     int
}

// layText places the glyphs of s on a line. A rune that the font lacks becomes the
// font's empty box.
func layText(f font.Face, s string) []placed {
	var (
		buf   sfnt.Buffer
		out   []placed
		units = unitsPerEm(f)
		x     = 0
	)
	for _, r := range s {
		glyph, err := f.Face.GlyphIndex(&buf, r)
		if err != nil {
			continue // not of a well-formed font
		}
		if n := len(out); n > 0 {
			if kern, err := f.Face.Kern(&buf, out[n-1].glyph, glyph, units, 0); err == nil {
				x += int(kern)
			}
		}
		out = append(out, placed{glyph, x})
		if advance, err := f.Face.GlyphAdvance(&buf, glyph, units, 0); err == nil {
			x += int(advance)
		}
	}
	return out
}

// unitsPerEm is the font's resolution; asked for glyphs of that size, sfnt answers in
// font units.
func unitsPerEm(f font.Face) fixed.Int26_6 { return fixed.Int26_6(f.Face.UnitsPerEm()) }

// textPath is the outline of s, whose baseline begins at pt.
func textPath(f font.Face, pt vg.Point, s string) vg.Path {
	var path vg.Path
	scale := f.Font.Size / vg.Length(unitsPerEm(f))
	for _, g := range layText(f, s) {
		path = appendGlyph(path, f, g.glyph, vg.Point{X: pt.X + vg.Length(g.x)*scale, Y: pt.Y}, scale)
	}
	return path
}

// appendGlyph appends a glyph's contours, each closed. Font coordinates grow downwards.
func appendGlyph(path vg.Path, f font.Face, glyph sfnt.GlyphIndex, origin vg.Point, scale vg.Length) vg.Path {
	var buf sfnt.Buffer
	segments, err := f.Face.LoadGlyph(&buf, glyph, unitsPerEm(f), nil)
	if err != nil {
		return path // a glyph without an outline, as a colour bitmap
	}
	at := func(p fixed.Point26_6) vg.Point {
		return vg.Point{X: origin.X + vg.Length(p.X)*scale, Y: origin.Y - vg.Length(p.Y)*scale}
	}
	open := false
	for _, s := range segments {
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			if open {
				path.Close()
			}
			path.Move(at(s.Args[0]))
			open = true
		case sfnt.SegmentOpLineTo:
			path.Line(at(s.Args[0]))
		case sfnt.SegmentOpQuadTo:
			path.QuadTo(at(s.Args[0]), at(s.Args[1]))
		case sfnt.SegmentOpCubeTo:
			path.CubeTo(at(s.Args[0]), at(s.Args[1]), at(s.Args[2]))
		}
	}
	if open {
		path.Close()
	}
	return path
}
