package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"ddpmlab/ddpm/fid"
	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

var evaluateRef = command{
	name:     "evaluate ref",
	args:     "DATA",
	synopsis: "Write the statistics of real images, to compare others with",
	help: `DATA is a folder of images, an .npz file of them, a data set or other files that ` + "`ddpmlab data info`" + ` knows. The .npz file has the arrays mu and sigma of the features, mu_s and
sigma_s of the spatial ones, as guided-diffusion's reference batches, and about: the extractor, its weights, the number of images
and their SHA-256. --images adds the images as arr_0, which precision, recall, the kernel distance and that of pixels need.`,
	examples: []string{"evaluate ref fashion-mnist --out ref.npz --images", "evaluate ref cifar_train/ --out ref.npz --weights inception.pth"},
	setup: func(f *flag.FlagSet) action {
		e := evaluation{f: f}
		out := f.String("out", "", "write to `FILE`, .npz")
		images := f.Bool("images", false, "add the images")
		e.sizeFlag()
		e.extractorFlags()
		return func(ctx context.Context, args []string, w world) error {
			if !strings.HasSuffix(*out, ".npz") {
				return usagef("--out is %q; want a name that ends in .npz", *out)
			}
			if err := checkOut("--out", *out); err != nil {
				return err
			}
			shown, done := watch(ctx, w)
			m, err := e.reference(shown, args[0], *out, *images, w)
			done()
			if err != nil {
				return err
			}
			return printf(w.out, "%s: %d images of %s, %d features of %s, SHA-256 %.12s\n", *out, m.N, m.Name, m.Pool.Dim, m.Extractor, m.SHA256)
		}
	},
}

// reference measures real images and writes what was found.
func (e *evaluation) reference(ctx context.Context, data, out string, images bool, w world) (*fid.Measured, error) {
	m, err := e.measure(ctx, data, w, fid.CollectOptions{Spatial: true})
	if err != nil {
		return nil, err
	}
	var again *fid.Source
	if images {
		if again, err = e.real(data); err != nil {
			return nil, err
		}
	}
	return m, fid.WriteReference(out, m, again)
}

// measure finds the features of real images.
func (e *evaluation) measure(ctx context.Context, data string, w world, o fid.CollectOptions) (*fid.Measured, error) {
	s, err := e.real(data)
	if err != nil {
		return nil, err
	}
	x, end, err := e.extractor(w, s.H, s.W, s.C)
	if err != nil {
		return nil, err
	}
	defer end() // of nothing that matters any more
	o.Progress = experiments.ShowImages(ctx, "reference", "features of "+s.Name)
	return fid.Collect(ctx, x, s, o)
}

var evaluateNoise = command{
	name:     "evaluate noise",
	args:     "DATA",
	synopsis: "Measure what real images score against real ones",
	help: `N random images of DATA against all the others, several times, for each N: mean and standard deviation of the distances and
of precision and recall. Differences of scores below that mean nothing; and what falls with N is bias.

With --json: an array of {Name, N, M, Mean, SD, Draws}.`,
	examples: []string{"evaluate noise fashion-mnist -n 500,1000,2000,5000"},
	setup: func(f *flag.FlagSet) action {
		e := evaluation{f: f}
		ns := intList{500, 1000, 2000, 5000}
		f.Var(&ns, "n", "numbers of images `N,N,...`; half of DATA are its two halves")
		draws := f.Int("draws", 5, "draw `N` times")
		e.sizeFlag()
		e.extractorFlags()
		asJSON := jsonFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if *draws < 1 {
				return usagef("--draws is %d; want 1 or more", *draws)
			}
			shown, done := watch(ctx, w)
			m, err := e.measure(shown, args[0], w, fid.CollectOptions{Spatial: true, Pixel: true, KeepAll: true})
			var levels []fid.Noise
			if err == nil {
				levels, err = fid.NoiseLevels(ctx, m, *draws, ns...)
			}
			done()
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(w.out, levels)
			}
			return printf(w.out, "%v\n", noiseTable(m, levels))
		}
	},
}

// noiseTable has a line for each number of images, and the metrics as columns.
func noiseTable(m *fid.Measured, levels []fid.Noise) *render.Table {
	t := &render.Table{Columns: render.Right("N", "Others")}
	var cells []string
	for i, l := range levels {
		if i == 0 || l.N != levels[i-1].N {
			if cells != nil {
				t.Add(cells...)
			}
			cells = []string{strconv.Itoa(l.N), strconv.Itoa(l.M)}
		}
		if l.N == levels[0].N {
			t.Columns = append(t.Columns, render.Right(l.Name)...)
		}
		cells = append(cells, fmt.Sprintf("%.3g ± %.2g", l.Mean, l.SD))
	}
	if cells != nil {
		t.Add(cells...)
		t.Notes = []string{fmt.Sprintf("%s, %d draws. Extractor %s (weights %.12s), reference SHA-256 %.12s.", m.Name, levels[0].Draws, m.Extractor, m.ExtractorSHA256, m.SHA256)}
	}
	return t
}
