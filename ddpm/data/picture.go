package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"slices"

	"golang.org/x/image/webp"
)

// picture is an image of bytes, H×W×C, with 1 (grey) or 3 channels if it was decoded from
// an image file; arrays may have others.
type picture struct {
	h, w, c int
	pix     []byte
}

func newPicture(h, w, c int) picture { return picture{h, w, c, make([]byte, h*w*c)} }

// maxPixels bounds the memory that one image file can ask for.
const maxPixels = 1 << 27

// codec is a kind of image file.
type codec struct {
	name   string
	begins func(b []byte) bool
	config func(b []byte) (image.Config, error)
	// whole reports what a file lacks that was cut short or changed, without decoding it.
	whole  func(b []byte) error
	decode func(b []byte) (picture, error)
}

var codecs = []codec{
	{"PNG", prefix("\x89PNG\r\n\x1a\n"), config(png.DecodeConfig), wholePNG, decodePNG},
	{"JPEG", prefix("\xff\xd8"), config(jpeg.DecodeConfig), wholeJPEG, decodeJPEG},
	{"WebP", func(b []byte) bool { return len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP" }, config(webp.DecodeConfig), wholeWebP, decodeWebP},
	{"GIF", prefix("GIF8"), config(gif.DecodeConfig), wholeGIF, decodeGIF},
}

func prefix(s string) func([]byte) bool {
	return func(b []byte) bool { return bytes.HasPrefix(b, []byte(s)) }
}

// codecOf tells the kind of image file by how it begins.
func codecOf(b []byte) (codec, error) {
	for _, c := range codecs {
		if c.begins(b) {
			return c, nil
		}
	}
	if len(b) == 0 {
		return codec{}, errors.New("the file is empty")
	}
	return codec{}, errors.New("neither PNG, JPEG, WebP nor GIF")
}

// size is what the header of an image file tells: height, width, and whether it is grey.
func (c codec) size(b []byte) (h, w int, grey bool, err error) {
	g, err := c.config(b)
	if err != nil {
		return 0, 0, false, plain(c.name, err)
	}
	if g.Width < 1 || g.Height < 1 || g.Width > maxPixels/g.Height {
		return 0, 0, false, fmt.Errorf("%d×%d pixels; want 1 to %d", g.Height, g.Width, maxPixels)
	}
	grey = g.ColorModel == color.GrayModel || g.ColorModel == color.Gray16Model
	if c.name == "PNG" && len(b) > 25 && b[25] == 4 { // grey with alpha, which Go has no type for
		grey = true
	}
	return g.Height, g.Width, grey, nil
}

// decodePicture decodes an image file to what Pillow's convert("RGB") makes of it, or
// convert("L") of one that is grey: alpha is dropped, of animations the first frame taken,
// of 16 bits the upper 8.
func decodePicture(b []byte) (picture, error) {
	c, err := codecOf(b)
	if err != nil {
		return picture{}, err
	}
	if _, _, _, err := c.size(b); err != nil {
		return picture{}, err
	}
	p, err := c.decode(b)
	if err != nil {
		return picture{}, plain(c.name, err)
	}
	return p, nil
}

// ReadImage reads an image file as H×W×C bytes, C being 1 if it is grey and else 3: what
// Pillow's convert("RGB") makes of it, or convert("L").
func ReadImage(path string) (pix []byte, h, w, c int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, 0, 0, err
	}
	defer f.Close()
	b, err := readBlob(f)
	if err != nil {
		return nil, 0, 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	p, err := decodePicture(b)
	if err != nil {
		return nil, 0, 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	return p.pix, p.h, p.w, p.c, nil
}

// checkPicture reports what is wrong with an image file; deep decodes it as well.
func checkPicture(b []byte, deep bool) (h, w int, grey bool, err error) {
	c, err := codecOf(b)
	if err != nil {
		return 0, 0, false, err
	}
	if h, w, grey, err = c.size(b); err != nil {
		return 0, 0, false, err
	}
	if err := c.whole(b); err != nil {
		return 0, 0, false, err
	}
	if deep {
		if _, err := c.decode(b); err != nil {
			return 0, 0, false, plain(c.name, err)
		}
	}
	return h, w, grey, nil
}

// plain says what a decoder found without its package's name.
func plain(codec string, err error) error {
	if t := truncated(err); t != err {
		return errors.New("it is cut short")
	}
	return fmt.Errorf("no valid %s (%w)", codec, err)
}

func config(f func(io.Reader) (image.Config, error)) func([]byte) (image.Config, error) {
	return func(b []byte) (image.Config, error) { return f(bytes.NewReader(b)) }
}

var errCut = errors.New("it is cut short")

// wholePNG walks the chunks and their sums.
func wholePNG(b []byte) error {
	for at := 8; ; {
		if len(b)-at < 12 {
			return errCut
		}
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n > len(b)-at-12 {
			return errCut
		}
		kind := b[at+4 : at+8]
		if crc32.ChecksumIEEE(b[at+4:at+8+n]) != binary.BigEndian.Uint32(b[at+8+n:]) {
			return fmt.Errorf("it is damaged: the sum of its part %q does not match", kind)
		}
		if string(kind) == "IEND" {
			return nil
		}
		at += n + 12
	}
}

// wholeJPEG walks the segments up to the scan, after which there must be an end.
func wholeJPEG(b []byte) error {
	for at := 2; at+4 <= len(b); {
		if b[at] != 0xff {
			return errors.New("it is damaged: no marker between its segments")
		}
		marker := b[at+1]
		switch {
		case marker == 0xff: // filling
			at++
			continue
		case marker == 0xda:
			if bytes.LastIndex(b[at:], []byte{0xff, 0xd9}) < 0 {
				return errCut
			}
			return nil
		case marker >= 0xd0 && marker <= 0xd9 || marker == 1: // without a length
			at += 2
			continue
		}
		at += 2 + int(binary.BigEndian.Uint16(b[at+2:]))
	}
	return errCut
}

func wholeWebP(b []byte) error {
	if uint64(binary.LittleEndian.Uint32(b[4:]))+8 > uint64(len(b)) {
		return errCut
	}
	return nil
}

func wholeGIF(b []byte) error {
	_, err := gif.Decode(bytes.NewReader(b))
	return err
}

func decodePNG(b []byte) (picture, error) {
	m, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return picture{}, err
	}
	p := fromImage(m)
	if b[25] == 4 { // grey with alpha
		p = p.channels(1)
	}
	return p, nil
}

func decodeGIF(b []byte) (picture, error) {
	m, err := gif.Decode(bytes.NewReader(b))
	if err != nil {
		return picture{}, err
	}
	return fromImage(m), nil
}

func decodeJPEG(b []byte) (picture, error) {
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		return picture{}, err
	}
	if y, ok := m.(*image.YCbCr); ok {
		return fromJPEG(y), nil
	}
	return fromImage(m), nil
}

func decodeWebP(b []byte) (picture, error) {
	m, err := webp.Decode(bytes.NewReader(b))
	if err != nil {
		return picture{}, err
	}
	switch m := m.(type) {
	case *image.YCbCr:
		return fromWebP(m), nil
	case *image.NYCbCrA:
		return fromWebP(&m.YCbCr), nil
	}
	return fromImage(m), nil
}

// fromImage takes the colours of an image as they are stored, without alpha.
func fromImage(m image.Image) picture {
	r := m.Bounds()
	h, w := r.Dy(), r.Dx()
	switch m := m.(type) {
	case *image.Gray:
		p := newPicture(h, w, 1)
		for y := range h {
			copy(p.pix[y*w:(y+1)*w], m.Pix[y*m.Stride:])
		}
		return p
	case *image.Gray16:
		p := newPicture(h, w, 1)
		for i := range p.pix {
			p.pix[i] = m.Pix[i/w*m.Stride+i%w*2]
		}
		return p
	case *image.RGBA:
		return fromQuads(m.Pix, m.Stride, h, w, 1)
	case *image.NRGBA:
		return fromQuads(m.Pix, m.Stride, h, w, 1)
	case *image.RGBA64:
		return fromQuads(m.Pix, m.Stride, h, w, 2)
	case *image.NRGBA64:
		return fromQuads(m.Pix, m.Stride, h, w, 2)
	}
	p := newPicture(h, w, 3)
	for y := range h {
		for x := range w {
			c := color.NRGBAModel.Convert(m.At(r.Min.X+x, r.Min.Y+y)).(color.NRGBA)
			copy(p.pix[(y*w+x)*3:], []byte{c.R, c.G, c.B})
		}
	}
	return p
}

// fromQuads takes the first three of every four numbers of so many bytes.
func fromQuads(pix []byte, stride, h, w, bytes int) picture {
	p := newPicture(h, w, 3)
	for y := range h {
		for x := range w {
			for k := range 3 {
				p.pix[(y*w+x)*3+k] = pix[y*stride+(4*x+k)*bytes]
			}
		}
	}
	return p
}

// channels is p with c channels: grey repeated, or of equal colours one. The pictures of
// a set are grey all or coloured all.
func (p picture) channels(c int) picture {
	if p.c == c {
		return p
	}
	q := newPicture(p.h, p.w, c)
	for i := range p.h * p.w {
		for k := range c {
			q.pix[i*c+k] = p.pix[i*p.c+min(k, p.c-1)]
		}
	}
	return q
}

// crop is the part of p of h×w pixels from (y, x).
func (p picture) crop(y, x, h, w int) picture {
	if h == p.h && w == p.w {
		return p
	}
	q := newPicture(h, w, p.c)
	for i := range h {
		copy(q.pix[i*w*p.c:(i+1)*w*p.c], p.pix[((y+i)*p.w+x)*p.c:])
	}
	return q
}

// imageEndings are the names that image files have.
var imageEndings = []string{".png", ".jpg", ".jpeg", ".gif", ".webp"}

func isImageName(ending string) bool { return slices.Contains(imageEndings, ending) }
