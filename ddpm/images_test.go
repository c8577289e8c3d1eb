package ddpm_test

import (
	"bytes"
	"image/color"
	"image/png"
	"math"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/internal/render"
)

func TestImagesBytesTruncate(t *testing.T) {
	m := ddpm.Images{N: 1, H: 1, W: 8, C: 1, Pix: []float32{-2, -1, -0.9999, 0, 0.9999, 1, 1.5, float32(math.NaN())}}
	want := []byte{0, 0, 0, 127, 254, 255, 255, 0}
	if got := m.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("Bytes = %v, want %v of %v", got, want, m.Pix)
	}
	// Truncation takes a level off where x/127.5 - 1 rounded down, and never more.
	all := ddpm.NewImages(1, 16, 16, 1)
	for i := range all.Pix {
		all.Pix[i] = float32(i)/127.5 - 1
	}
	for i, b := range all.Bytes() {
		if d := i - int(b); d != 0 && d != 1 { // 63 of the 256 come back one lower
			t.Errorf("level %d comes back as %d, want the same or one lower", i, b)
		}
	}
}

func TestImagesGrid(t *testing.T) {
	m := ddpm.NewImages(5, 2, 3, 3)
	for i := range m.N {
		for j := range m.At(i) {
			m.At(i)[j] = float32(j%3) - 1 // r, g, b = 0, 127, 255
		}
	}
	g := m.Grid(0, 2)
	if b := g.Bounds(); b.Dx() != (3*4-1)*2 || b.Dy() != (2*3-1)*2 {
		t.Errorf("grid of 5 is %d×%d, want 22×10", b.Dx(), b.Dy())
	}
	for _, tt := range []struct {
		x, y int
		want color.Color
	}{
		{0, 0, color.RGBA{0, 127, 255, 255}},
		{6, 0, color.RGBA{255, 255, 255, 255}},  // gap
		{8, 6, color.RGBA{0, 127, 255, 255}},    // second row
		{20, 9, color.RGBA{255, 255, 255, 255}}, // no sixth image
		{5, 3, color.RGBA{0, 127, 255, 255}},    // corner
	} {
		if got := g.At(tt.x, tt.y); got != tt.want {
			t.Errorf("grid at (%d, %d) = %v, want %v", tt.x, tt.y, got, tt.want)
		}
	}
	b := m.Bundle()
	if _, err := png.Decode(bytes.NewReader(b.Data[render.PNG])); err != nil {
		t.Errorf("bundle's PNG: %v", err)
	}
	if got, want := b.String(), "5 images of 2×3×3"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
	if b := (ddpm.Images{}).Bundle(); b.Empty() {
		t.Error("no images: empty bundle, want text")
	}
}
