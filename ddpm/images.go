package ddpm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"maps"
	"slices"

	"ddpmlab/internal/render"
)

// Images is a batch of N images of H×W pixels and C channels, NHWC, scaled to
// [-1, 1].
type Images struct {
	N, H, W, C int
	Pix        []float32 // N·H·W·C
}

// NewImages returns n images, all zero (mid grey).
func NewImages(n, h, w, c int) Images {
	return Images{N: n, H: h, W: w, C: c, Pix: make([]float32, n*h*w*c)}
}

// Size is the number of values of one image, H·W·C.
func (m Images) Size() int { return m.H * m.W * m.C }

// At is image i, sharing memory: H·W·C values.
func (m Images) At(i int) []float32 { return m.Pix[i*m.Size() : (i+1)*m.Size()] }

// Part is images [from, to), sharing memory.
func (m Images) Part(from, to int) Images {
	m.N, m.Pix = to-from, m.Pix[from*m.Size():to*m.Size()]
	return m
}

// Bytes is the images as 0..255, NHWC. It truncates, as the authors' code does
// (((x+1)·127.5).clamp(0, 255).to(uint8)), where others round: half a grey level
// that a Fréchet distance can see.
func (m Images) Bytes() []byte {
	b := make([]byte, len(m.Pix))
	for i, x := range m.Pix {
		b[i] = toByte(x)
	}
	return b
}

func toByte(x float32) byte {
	switch y := float32(x+1) * 127.5; {
	case y >= 255:
		return 255
	case y > 0:
		return byte(y)
	default: // NaN too
		return 0
	}
}

// Grid draws the images row by row, cols to a row (0: a square or one column more),
// each pixel scale×scale points, with a white gap of one image pixel. One channel is
// grey; of three or more, the first three are red, green and blue.
func (m Images) Grid(cols, scale int) image.Image {
	if cols < 1 {
		for cols = 1; cols*cols < m.N; cols++ {
		}
	}
	cols, scale = max(1, min(cols, m.N)), max(1, scale)
	rows := (m.N + cols - 1) / cols
	out := image.NewRGBA(image.Rect(0, 0, max(0, cols*(m.W+1)-1)*scale, max(0, rows*(m.H+1)-1)*scale))
	for i := range out.Pix {
		out.Pix[i] = 255
	}
	for i := range m.N {
		x0, y0, pix := i%cols*(m.W+1), i/cols*(m.H+1), m.At(i)
		for y := range m.H * scale {
			for x := range m.W * scale {
				p := pix[(y/scale*m.W+x/scale)*m.C:][:m.C]
				c := color.RGBA{toByte(p[0]), toByte(p[0]), toByte(p[0]), 255}
				if m.C >= 3 {
					c.G, c.B = toByte(p[1]), toByte(p[2])
				}
				out.SetRGBA(x0*scale+x, y0*scale+y, c)
			}
		}
	}
	return out
}

// PNG is Grid as a file of PNG with lines of text inside, as what made the images: keyword
// and text, both of Latin-1.
func (m Images) PNG(cols, scale int, text map[string]string) ([]byte, error) {
	var buf bytes.Buffer
	if err := png.Encode(&buf, m.Grid(cols, scale)); err != nil {
		return nil, err
	}
	file := buf.Bytes()
	const head = 8 + 12 + 13 // signature, and the chunk IHDR, which comes first
	out := slices.Clone(file[:head])
	for _, key := range slices.Sorted(maps.Keys(text)) {
		chunk := append([]byte("tEXt"), key+"\x00"+text[key]...)
		out = binary.BigEndian.AppendUint32(out, uint32(len(chunk)-4))
		out = append(out, chunk...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk))
	}
	return append(out, file[head:]...), nil
}

// String tells number and shape, as "64 images of 28×28×1".
func (m Images) String() string {
	return fmt.Sprintf("%d images of %d×%d×%d", m.N, m.H, m.W, m.C)
}

// Bundle is how a notebook shows the images: a grid.
func (m Images) Bundle() render.Bundle {
	b := render.Text(m.String())
	if m.N == 0 || m.Size() == 0 {
		return b
	}
	grid := m.Grid(0, max(1, 56/m.W))
	var buf bytes.Buffer
	if err := png.Encode(&buf, grid); err != nil { // too large for a PNG
		return b
	}
	b.Set(render.PNG, buf.Bytes())
	b.SetSize(render.PNG, grid.Bounds().Dx(), grid.Bounds().Dy())
	return b
}
