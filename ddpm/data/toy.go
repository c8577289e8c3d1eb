package data

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"ddpmlab/ddpm/philox"
)

// The set "toy": images of independent normal values of mean 0, of which all is known in
// closed form. At 4 standard deviations a value may lie just outside of [-1, 1].
const (
	toyName = "toy"
	toySize = 8
	toyLen  = 4096
	toySD   = 0.25
)

// toy is made as it is read.
type toy struct{}

func (toy) Name() string         { return toyName }
func (toy) Len() int             { return toyLen }
func (toy) Shape() (h, w, c int) { return toySize, toySize, 1 }

func (toy) SHA256() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "toy: %d images of %d×%d normal values, deviation %g, Philox of seed 0\n", toyLen, toySize, toySize, toySD))
	return hex.EncodeToString(sum[:])
}

func (toy) Label(i int) int {
	if i < 0 || i >= toyLen {
		return -1
	}
	return 0
}

func (toy) Read(i int, dst []float32) error {
	if i < 0 || i >= toyLen || len(dst) != toySize*toySize {
		return fmt.Errorf("image %d of data set toy into %d numbers; want 0 to %d into %d", i, len(dst), toyLen-1, toySize*toySize)
	}
	philox.Key(0, "toy data").Normals(dst, 0, uint32(i))
	for j, z := range dst {
		dst[j] = toySD * z
	}
	return nil
}
