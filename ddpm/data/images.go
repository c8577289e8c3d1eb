package data

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// images is a set of square byte images in memory, shrunk as they are read.
type images struct {
	name   string
	native int // height and width of the stored images
	c      int
	shrink int    // every pixel that Read returns is the mean of shrink×shrink stored ones
	pix    []byte // N×native×native×c
	labels []byte
	sha    string
}

// newImages joins pictures and labels; contents are the sums of their bytes.
func newImages(name string, pix, labels IDX, size int, contents ...string) (*images, error) {
	if len(pix.Dims) != 3 || pix.Dims[1] != pix.Dims[2] || len(labels.Dims) != 1 || pix.Dims[0] != labels.Dims[0] {
		return nil, fmt.Errorf("images of dimensions %v with labels of dimensions %v", pix.Dims, labels.Dims)
	}
	native := pix.Dims[1]
	if size <= 0 || native%size != 0 {
		return nil, fmt.Errorf("images of %d pixels cannot be averaged to %d", native, size)
	}
	s := &images{name: name, native: native, c: 1, shrink: native / size, pix: pix.Data, labels: labels.Data}
	h := sha256.New()
	for _, c := range contents {
		io.WriteString(h, c+"\n")
	}
	fmt.Fprintf(h, "mean of %d×%d, x/127.5-1\n", s.shrink, s.shrink)
	s.sha = hex.EncodeToString(h.Sum(nil))
	return s, nil
}

func (s *images) Name() string   { return s.name }
func (s *images) Len() int       { return len(s.labels) }
func (s *images) SHA256() string { return s.sha }

func (s *images) Shape() (h, w, c int) { return s.native / s.shrink, s.native / s.shrink, s.c }

func (s *images) Label(i int) int {
	if i < 0 || i >= len(s.labels) {
		return -1
	}
	return int(s.labels[i])
}

func (s *images) Read(i int, dst []float32) error {
	size, stride := s.native/s.shrink, s.native*s.c
	if i < 0 || i >= s.Len() {
		return fmt.Errorf("image %d of data set %s, which has %d", i, s.name, s.Len())
	}
	if want := size * size * s.c; len(dst) != want {
		return fmt.Errorf("read image of data set %s into %d numbers, want %d", s.name, len(dst), want)
	}
	pix := s.pix[i*s.native*stride : (i+1)*s.native*stride]
	// The sum is an integer and the rest float64, so that rounding happens once,
	// to float32, and the pixels are the same on every machine.
	scale := 127.5 * float64(s.shrink*s.shrink)
	for y := range size {
		for x := range size {
			for c := range s.c {
				sum := 0
				for dy := range s.shrink {
					row := (y*s.shrink+dy)*stride + x*s.shrink*s.c + c
					for dx := range s.shrink {
						sum += int(pix[row+dx*s.c])
					}
				}
				dst[(y*size+x)*s.c+c] = float32(float64(sum)/scale - 1)
			}
		}
	}
	return nil
}
