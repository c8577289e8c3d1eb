// Package kernels holds the GPU's kernels: portable CUDA sources (*.cu, *.h) and the
// image that nvcc made of them, machine code for sm_80 and sm_90 and PTX for later
// ones. `make kernels` makes the image again, with a compiler from PyPI; a test fails
// when sources and image do not belong together.
package kernels

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
)

//go:embed all.fatbin.gz
var packed []byte

// Image is the fat binary with all kernels.
func Image() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("the GPU kernels: %w", err)
	}
	image, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("the GPU kernels: %w", err)
	}
	return image, nil
}
