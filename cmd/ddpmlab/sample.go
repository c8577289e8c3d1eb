package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"image/png"
	"path/filepath"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
)

var sample = command{
	name:     "sample",
	args:     "RUN",
	synopsis: "Draw images from a trained run, into a picture or an array",
	help: `Ancestral sampling (Alg. 2) with the moving average of the run's weights. --out NAME.png is a grid of all images;
--out NAME.npz is one array arr_0 of N×H×W×C bytes, as the authors' evaluation reads it. Image i of a seed is the same
whatever N is.`,
	examples: []string{"sample 01JZ8M -n 64 --steps 50 --out grid.png", "sample 01JZ8M -n 10000 --steps 100 --out samples.npz"},
	setup: func(f *flag.FlagSet) action {
		n := f.Int("n", 64, "draw `N` images")
		steps := f.Int("steps", 50, "in `N` steps of the reverse chain, 1 up to the run's T")
		out := f.String("out", "samples.png", "write to `FILE`, .png or .npz")
		seed := f.Uint64("seed", 0, "seed `N` of the noise; default: the run's")
		db := dbFlag(f)
		threads := threadsFlag(f)
		deviceFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			encode, err := encoder(*out)
			if err != nil {
				return err
			}
			if err := checkOut(*out); err != nil {
				return err
			}
			if *n < 1 {
				return usagef("-n is %d; want 1 or more images", *n)
			}
			return withExisting(*db, *threads, func(s *experiments.Store) error {
				r, err := s.Run(ctx, args[0])
				if err != nil {
					return err
				}
				p := r.Config.Sampling()
				p.Steps, p.Variance = *steps, cmp.Or(p.Variance, ddpm.FixedSmall)
				if given(f, "seed") {
					p.Seed = *seed
				}
				ctx, done := watch(ctx, w)
				drawn, err := s.Draw(ctx, r, *n, p)
				done()
				if err != nil {
					return err
				}
				file, err := encode(drawn.Images)
				if err != nil {
					return fmt.Errorf("write %s: %w", *out, err)
				}
				if err := writeFile(*out, file); err != nil {
					return err
				}
				return printf(w.out, "%s: %v\n", *out, drawn)
			})
		}
	},
}

// encoder returns what turns images into a file of that name.
func encoder(name string) (func(ddpm.Images) ([]byte, error), error) {
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".png":
		return grid, nil
	case ".npz":
		return npz, nil
	default:
		return nil, usagef("--out is %q; want a name that ends in .png (a grid) or .npz (an array)", name)
	}
}

// grid is the images in a square, small ones enlarged.
func grid(m ddpm.Images) ([]byte, error) {
	var b bytes.Buffer
	err := png.Encode(&b, m.Grid(0, max(1, 56/m.W)))
	return b.Bytes(), err
}
