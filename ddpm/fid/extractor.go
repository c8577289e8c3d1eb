package fid

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"ddpmlab/ddpm/data"
)

// Extractor turns images into features, of which the distance compares mean and
// covariance.
type Extractor interface {
	// Name is what stands in brackets in the metric's name.
	Name() string
	// SHA256 identifies the weights.
	SHA256() string
	// Resize says what is done to images before anything else.
	Resize() string
	// Dim is how many features an image has.
	Dim() int
	// Features returns n×Dim numbers for n images x of h×w×c numbers in [-1, 1].
	// The features of an image do not depend on the others. It fails if the
	// extractor does not take images of that shape.
	Features(ctx context.Context, x []float32, n, h, w, c int) ([]float64, error)
}

// SetFeatures returns the features of all images of s, s.Len()×e.Dim() numbers.
func SetFeatures(ctx context.Context, e Extractor, s data.Set) ([]float64, error) {
	const piece = 1000
	h, w, c := s.Shape()
	feat := make([]float64, 0, s.Len()*e.Dim())
	for first := 0; first < s.Len(); first += piece {
		n := min(piece, s.Len()-first)
		x, err := data.ReadRange(s, first, n)
		if err != nil {
			return nil, err
		}
		f, err := e.Features(ctx, x, n, h, w, c)
		if err != nil {
			return nil, fmt.Errorf("features of data set %s, from image %d: %w", s.Name(), first, err)
		}
		feat = append(feat, f...)
	}
	return feat, nil
}

// SetStats returns the statistics of all images of s: the reference of a score.
func SetStats(ctx context.Context, e Extractor, s data.Set) (Stats, error) {
	feat, err := SetFeatures(ctx, e, s)
	if err != nil {
		return Stats{}, err
	}
	return NewStats(feat, e.Dim()), nil
}

// Pixels is the extractor whose features are the h×w×c pixels themselves: the
// distance compares the mean image and how pixels vary together. It sees neither
// shape nor texture, but has no training behind it; its metric is "FD (pixels)".
func Pixels(h, w, c int) Extractor { return pixels{h, w, c} }

type pixels struct{ h, w, c int }

func (p pixels) Name() string   { return "pixels" }
func (p pixels) Resize() string { return fmt.Sprintf("none, %d×%d×%d", p.h, p.w, p.c) }
func (p pixels) Dim() int       { return p.h * p.w * p.c }

func (p pixels) SHA256() string {
	sum := sha256.Sum256([]byte("pixels, no weights"))
	return hex.EncodeToString(sum[:])
}

func (p pixels) Features(ctx context.Context, x []float32, n, h, w, c int) ([]float64, error) {
	if err := p.checkShape(x, n, h, w, c); err != nil {
		return nil, err
	}
	f := make([]float64, len(x))
	for i, v := range x {
		f[i] = float64(v)
	}
	return f, ctx.Err()
}

// SpatialDim is 0.
func (p pixels) SpatialDim() int { return 0 }

// Classes is 0.
func (p pixels) Classes() int { return 0 }

// Outputs implements Network: the pixels in [-1, 1].
func (p pixels) Outputs(ctx context.Context, images []byte, n, h, w, c int) (Outputs, error) {
	x := make([]float32, len(images))
	for i, b := range images {
		x[i] = float32(b)/127.5 - 1
	}
	return p.OutputsOf(ctx, x, n, h, w, c)
}

func (p pixels) OutputsOf(ctx context.Context, x []float32, n, h, w, c int) (Outputs, error) {
	if err := p.checkShape(x, n, h, w, c); err != nil {
		return Outputs{}, err
	}
	return Outputs{Pool: x}, ctx.Err()
}

func (p pixels) checkShape(x []float32, n, h, w, c int) error {
	if err := checkImages(x, n, h, w, c); err != nil {
		return err
	}
	if (pixels{h, w, c}) != p {
		return fmt.Errorf("extractor pixels: images of %d×%d×%d, want %d×%d×%d", h, w, c, p.h, p.w, p.c)
	}
	return nil
}

func checkImages(x []float32, n, h, w, c int) error {
	if n < 0 || len(x) != n*h*w*c {
		return fmt.Errorf("features of %d images of %d×%d×%d: got %d numbers, want %d", n, h, w, c, len(x), n*h*w*c)
	}
	return nil
}
