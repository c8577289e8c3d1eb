package fid

import (
	"fmt"

	"ddpmlab/ddpm/philox"
)

// fakeSet is a set of made-up images: a bright square on noise, its size and
// place by class.
type fakeSet struct {
	n, size int
	seed    uint64
}

func (s fakeSet) Name() string         { return "fake" }
func (s fakeSet) Len() int             { return s.n }
func (s fakeSet) Shape() (h, w, c int) { return s.size, s.size, 1 }
func (s fakeSet) SHA256() string       { return fmt.Sprint("fake ", s.n, s.size, s.seed) }
func (s fakeSet) Label(i int) int      { return i % classes }

func (s fakeSet) Read(i int, dst []float32) error {
	if len(dst) != s.size*s.size || i < 0 || i >= s.n {
		return fmt.Errorf("image %d into %d numbers", i, len(dst))
	}
	philox.Key(s.seed, "fake").Uniforms(dst, 0, uint32(i))
	for p := range dst {
		dst[p] -= 1
		if k := s.Label(i); p/s.size < (k%5+1)*s.size/6 && p%s.size < (k/5+1)*s.size/3 {
			dst[p] += 1
		}
	}
	return nil
}
