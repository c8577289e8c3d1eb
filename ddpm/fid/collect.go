package fid

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"strings"
)

// FloatNetwork is a Network that takes pixels that are no whole grey levels too.
type FloatNetwork interface {
	Network
	OutputsOf(ctx context.Context, x []float32, n, h, w, c int) (Outputs, error)
}

// Measured is what was found of a sequence of images.
type Measured struct {
	Name   string
	SHA256 string // of the images
	N      int

	Extractor, ExtractorSHA256, Resize string
	PixelKind                          string // "uint8" or "float", as in Protocol.Pixels

	Pool, Spatial, Pixel Stats // the latter two have Dim 0 if they were not asked for
	Score                *ClassScore

	Rows, SpatialRows, PixelRows Rows        // of each image, if they were asked for
	pixel                        pixels      // the shape of the images
	manifolds                    *[2]float64 // precision and recall, once they are known
}

// CollectOptions says what to find besides the statistics of the pooled features.
type CollectOptions struct {
	Spatial, Score, Pixel bool
	Keep                  bool // each image's pooled features
	KeepAll               bool // all features of each image
	Floats                bool // pixels as they are drawn, where source and network have them
	Progress              func(done, total int)
}

// maxPixelDim is how many numbers an image may have for a distance of pixels, whose
// covariance is their square.
const maxPixelDim = 4096

// collectPiece is how many images are read at a time.
const collectPiece = 200

// Collect reads all images of s, closes it, and returns what e makes of them.
func Collect(ctx context.Context, e Network, s *Source, o CollectOptions) (m *Measured, err error) {
	defer func() { err = errors.Join(err, s.shut()) }()
	m = &Measured{
		Name: s.Name, SHA256: s.SHA256, N: s.N, PixelKind: "uint8",
		Extractor: e.Name(), ExtractorSHA256: e.SHA256(), Resize: e.Resize(),
	}
	floats, _ := e.(FloatNetwork)
	if !o.Floats || s.Floats == nil {
		floats = nil
	}
	if floats != nil {
		m.PixelKind = "float"
	}
	g := gatherer{m: m, o: o, pool: NewAccumulator(e.Dim())}
	if o.Spatial && e.SpatialDim() > 0 {
		g.spatial = NewAccumulator(e.SpatialDim())
	}
	if o.Score && e.Classes() > 0 {
		m.Score = NewClassScore(e.Classes(), ScoreSplit)
	}
	pixel := pixels{s.H, s.W, s.C}
	m.pixel = pixel
	if o.Pixel {
		if dim := s.H * s.W * s.C; dim > maxPixelDim {
			return nil, fmt.Errorf("%s: images of %d×%d×%d have %d numbers; a distance of pixels takes at most %d", s.Name, s.H, s.W, s.C, dim, maxPixelDim)
		}
		g.pixel = NewAccumulator(pixel.Dim())
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "ddpmlab images %d×%d×%d\n", s.H, s.W, s.C)
	for first := 0; first < s.N; first += collectPiece {
		n := min(collectPiece, s.N-first)
		var out, raw Outputs
		if floats != nil {
			out, raw, err = floatOutputs(ctx, floats, s, n, pixel, o.Pixel, sum)
		} else {
			out, raw, err = byteOutputs(ctx, e, s, n, pixel, o.Pixel, sum)
		}
		if err == nil {
			err = g.add(first, out, raw)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("features of %s stopped after %d of %d images: %w", s.Name, first, s.N, ctx.Err())
		}
		if err != nil {
			if !strings.Contains(err.Error(), s.Name) {
				err = fmt.Errorf("%s: %w", s.Name, err)
			}
			return nil, err
		}
		if o.Progress != nil {
			o.Progress(first+n, s.N)
		}
	}
	g.finish()
	if m.SHA256 == "" {
		m.SHA256 = hex.EncodeToString(sum.Sum(nil))
	}
	return m, nil
}

func floatOutputs(ctx context.Context, e FloatNetwork, s *Source, n int, pixel pixels, wanted bool, sum hash.Hash) (out, raw Outputs, err error) {
	x := make([]float32, n*s.H*s.W*s.C)
	if err := s.Floats(x); err != nil {
		return out, raw, err
	}
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	sum.Write(b)
	if out, err = e.OutputsOf(ctx, x, n, s.H, s.W, s.C); err == nil && wanted {
		raw, err = pixel.OutputsOf(ctx, x, n, s.H, s.W, s.C)
	}
	return out, raw, err
}

func byteOutputs(ctx context.Context, e Network, s *Source, n int, pixel pixels, wanted bool, sum hash.Hash) (out, raw Outputs, err error) {
	x := make([]byte, n*s.H*s.W*s.C)
	if err := s.Bytes(x); err != nil {
		return out, raw, err
	}
	sum.Write(x)
	if out, err = e.Outputs(ctx, x, n, s.H, s.W, s.C); err == nil && wanted {
		raw, err = pixel.Outputs(ctx, x, n, s.H, s.W, s.C)
	}
	return out, raw, err
}

// gatherer adds up what a network makes of pieces of a source.
type gatherer struct {
	m                    *Measured
	o                    CollectOptions
	pool, spatial, pixel *Accumulator
}

func (g *gatherer) add(first int, out, raw Outputs) error {
	for _, part := range []struct {
		name string
		x    []float32
		dim  int
		to   *Accumulator
		kept *Rows
		keep bool
	}{
		{"feature", out.Pool, g.pool.dim, g.pool, &g.m.Rows, g.o.Keep || g.o.KeepAll},
		{"spatial feature", out.Spatial, g.spatial.size(), g.spatial, &g.m.SpatialRows, g.o.KeepAll},
		{"pixel", raw.Pool, g.pixel.size(), g.pixel, &g.m.PixelRows, g.o.KeepAll},
	} {
		if part.to == nil {
			continue
		}
		rows := NewRows(part.x, part.dim)
		if err := rows.check(part.name, first); err != nil {
			return err
		}
		part.to.AddRows(rows)
		if part.keep {
			*part.kept = NewRows(append(part.kept.X, part.x...), part.dim)
		}
	}
	if g.m.Score != nil {
		if err := NewRows(out.Logits, g.m.Score.classes).check("logit", first); err != nil {
			return err
		}
		g.m.Score.Add(out.Logits)
	}
	return nil
}

func (g *gatherer) finish() {
	for _, part := range []struct {
		from *Accumulator
		to   *Stats
	}{{g.pool, &g.m.Pool}, {g.spatial, &g.m.Spatial}, {g.pixel, &g.m.Pixel}} {
		if part.from != nil {
			*part.to = part.from.Stats()
		}
	}
}

// size is how many features an image has; 0 for nil.
func (a *Accumulator) size() int {
	if a == nil {
		return 0
	}
	return a.dim
}
