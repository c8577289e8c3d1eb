package plots

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"ddpmlab/internal/render"
)

// Figure is a picture with its data in words. As a cell's last value it is shown as SVG,
// or as PNG where SVG is not trusted; String is the complete text. The same data give
// the same bytes.
type Figure struct {
	Title   string
	Caption string // what the numbers rest on: n, N, floor, protocol

	width, height int    // CSS pixels
	text          string // the data in words, without title and caption
	draw          func(c draw.Canvas)
	source        *source // nil where it is not drawn from runs alone
}

// Bundle is the figure as SVG, PNG at twice the size it is shown at, and text. A nil
// figure is an empty bundle.
func (f *Figure) Bundle() render.Bundle {
	if f == nil {
		return render.Bundle{}
	}
	f.keep()
	b := f.LiveBundle()
	b.Set(render.PNG, f.PNG())
	b.SetSize(render.PNG, f.width, f.height)
	return b
}

// LiveBundle is the figure without the PNG, which takes most of the time: for figures
// that are drawn over soon, as those of a running training.
func (f *Figure) LiveBundle() render.Bundle {
	if f == nil {
		return render.Bundle{}
	}
	var b render.Bundle
	b.Set(render.SVG, f.SVG())
	b.Set(render.Plain, []byte(f.String()))
	return b
}

// SVG is the figure as an SVG document with text as paths.
func (f *Figure) SVG() []byte {
	c := newSVG(f.width, f.height)
	f.drawOn(c)
	label := f.Title
	if f.Caption != "" {
		label += ". " + f.Caption
	}
	return c.bytes(oneLine(label))
}

// PNG is the figure as a PNG with two pixels a CSS pixel.
func (f *Figure) PNG() []byte {
	c := vgimg.NewWith(
		vgimg.UseWH(vg.Length(f.width)*px, vg.Length(f.height)*px), vgimg.UseDPI(96*pngScale))
	f.drawOn(&pngCanvas{Canvas: c})
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(&b, c.Image()); err != nil {
		return nil // only for an empty image, and a figure is none
	}
	return b.Bytes()
}

// String is the figure in words: title, data and caption.
func (f *Figure) String() string {
	if f == nil {
		return ""
	}
	var parts []string
	for _, s := range []string{f.Title, f.text, f.Caption} {
		if s = strings.TrimSpace(s); s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "\n")
}

// Save writes the figure to a file: SVG, PNG or text, by the name's ending. The file
// appears whole or not at all.
func (f *Figure) Save(path string) error {
	f.keep()
	var data []byte
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".svg":
		data = f.SVG()
	case ".png":
		data = f.PNG()
	case ".txt":
		data = []byte(f.String() + "\n")
	default:
		return fmt.Errorf("save figure as %s: unknown ending %q; use .svg, .png or .txt", path, ext)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".figure-*")
	if err != nil {
		return fmt.Errorf("save figure: %w", err)
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("save figure: %w", err)
	}
	return nil
}

// drawOn draws the figure on white, which dark notebooks need.
func (f *Figure) drawOn(canvas vg.Canvas) {
	c := draw.NewCanvas(canvas, vg.Length(f.width)*px, vg.Length(f.height)*px)
	c.SetColor(paper)
	c.Fill(c.Rectangle.Path())
	f.draw(c)
}
