package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
	"ddpmlab/internal/suggest"
)

// fullSize is the size at which the sets are published.
const fullSize = 28

// fullSizeOf is the size at which the set is published.
func fullSizeOf(name string) int {
	if name == "toy" {
		return 8
	}
	return fullSize
}

var dataList = command{
	name:     "data list",
	synopsis: "List the data sets that have a name, and whether they are here",
	help:     "Training takes any other images by their path: see `ddpmlab data info`.",
	examples: []string{"data list"},
	setup: func(*flag.FlagSet) action {
		return func(_ context.Context, _ []string, w world) error {
			t := &render.Table{Columns: render.Left("Data set", "Images", "State")}
			for _, name := range data.Names() {
				count, state := dataState(name)
				t.Add(name, count, state)
			}
			return printf(w.out, "%v\n", t)
		}
	},
}

// dataState tells how many images the set has and whether it can be used, each in a few words.
func dataState(name string) (count, state string) {
	s, err := openSet(name, 0, data.Options{})
	if e, ok := errors.AsType[*data.NotFoundError](err); ok {
		return "–", "not here; " + e.Cure
	}
	if err != nil {
		return "–", err.Error()
	}
	h, w, c := s.Shape()
	return fmt.Sprintf("%d of %d×%d×%d", s.Len(), h, w, c), "ready"
}

var dataInfo = command{
	name:     "data info",
	args:     "PATH",
	synopsis: "Describe a data set: format, images, classes, checksum",
	help: `PATH is a file or folder with images, or the name of a set. What it is is found by what is in it: ` + strings.Join(data.Formats(), "; ") + `.

Image files are cropped and resized to --size as guided-diffusion does it, those of an LMDB as in its LSUN export.

With --json: an object {name, format, files, images, height, width, channels, counts, classes, sizes, crop, broken,
left, sha256}.`,
	examples: []string{"data info cifar-10-batches-py", "data info photos --size 64 --grid photos.png", "data info fashion-mnist --size 14"},
	setup: func(f *flag.FlagSet) action {
		size := f.Int("size", 0, "images of `N`×N pixels; default: as they are, or 64 if they are of several sizes")
		dir := f.String("dir", "", "`FOLDER` with the files of a set that has a name; default: where `ddpmlab data fetch` and Debian put them")
		broken := brokenFlag(f)
		grid := f.String("grid", "", "draw images from all over it into `FILE`.png")
		n := f.Int("n", 64, "draw `N` images")
		asJSON := jsonFlag(f)
		return func(_ context.Context, args []string, w world) error {
			if *grid != "" {
				if strings.ToLower(filepath.Ext(*grid)) != ".png" {
					return usagef("--grid is %q; want a name that ends in .png", *grid)
				}
				if err := checkOut("--grid", *grid); err != nil {
					return err
				}
			}
			if *n < 1 || *n > 1<<16 {
				return usagef("-n is %d; want 1 to %d images", *n, 1<<16)
			}
			s, err := openSet(args[0], *size, data.Options{Dir: *dir, Broken: *broken})
			if err != nil {
				return err
			}
			if *grid == "" {
				*n = 0
			}
			card, err := ddpm.Describe(s, *n)
			if err != nil {
				return err
			}
			if *grid != "" {
				file, err := gridPNG(card.Images, nil)
				if err != nil {
					return fmt.Errorf("write %s: %w", *grid, err)
				}
				if err := writeFile(*grid, file); err != nil {
					return err
				}
			}
			if *asJSON {
				return printJSON(w.out, struct {
					Name     string `json:"name"`
					Images   int    `json:"images"`
					Height   int    `json:"height"`
					Width    int    `json:"width"`
					Channels int    `json:"channels"`
					Counts   []int  `json:"counts"`
					SHA256   string `json:"sha256"`
					data.Info
				}{card.Name, card.N, card.Height, card.Width, card.Channels, card.Counts, card.SHA256, card.Info})
			}
			return printf(w.out, "%v\n", card)
		}
	},
}

// mixedSize is the size at which sets of images of several sizes are described.
const mixedSize = 64

// openSet opens a set at its own size if size is 0.
func openSet(name string, size int, o data.Options) (data.Set, error) {
	if err := misspelt(name); err != nil {
		return nil, err
	}
	if size != 0 {
		return data.OpenWith(name, size, o)
	}
	if data.Fixed(name) {
		return data.OpenWith(name, fullSizeOf(name), o)
	}
	s, err := data.OpenWith(name, 0, o)
	if _, ok := errors.AsType[*data.MixedError](err); ok {
		return data.OpenWith(name, mixedSize, o)
	}
	return s, err
}

// misspelt refuses what is no file and nearly the name of a set.
func misspelt(name string) error {
	if !slices.Contains(data.Names(), name) && suggest.Nearest(name, data.Names()) != "" && !exists(name) {
		return errors.New(suggest.Unknown("data set", name, data.Names(), ""))
	}
	return nil
}

func brokenFlag(f *flag.FlagSet) *string {
	return f.String("broken", data.Refuse, "`WHAT` to do with image files that are broken: "+data.Refuse+" them, or "+data.Skip+" them")
}

var dataFetch = command{
	name:     "data fetch",
	args:     "NAME",
	synopsis: "Bring a data set's files to this machine",
	help: `cifar10 is the binary version from its authors' site (162 MB). The 10,000 images of fashion-mnist that training
uses are built in and need no fetching; fetching it brings the other 60,000, which the feature extractor of the scores
was trained on, from Debian's package where that is installed, otherwise from its authors (26 MB). Of the paper's other
sets it says where to get them.

Files are kept only when their SHA-256 is the published one. An interrupted download goes on where it stopped.`,
	examples: []string{"data fetch cifar10", "data fetch fashion-mnist --dir data"},
	setup: func(f *flag.FlagSet) action {
		dir := f.String("dir", "", "`FOLDER` to put them in; default: ddpmlab/data in the user's cache folder")
		return func(ctx context.Context, args []string, w world) error {
			if !slices.Contains(data.Names(), args[0]) {
				return errors.New(suggest.Unknown("data set", args[0], data.Names(), "there are: "+strings.Join(data.Names(), ", ")))
			}
			shown, done := watch(ctx, w)
			began := time.Now()
			fetched, err := data.Fetch(ctx, args[0], *dir, func(n, total int64) {
				p := display.Progress{ID: "fetch", Title: "fetch " + args[0], Done: n >> 20, Total: total >> 20, Unit: "MB", Elapsed: time.Since(began)}
				if n == total {
					p.State = display.Done
				}
				display.FromContext(shown).Progress(p)
			})
			done()
			for _, f := range fetched {
				from := "was there and is right"
				if f.From != "" {
					from = "from " + f.From
				}
				if err := printf(w.out, "%s: %s\n", f.Path, from); err != nil {
					return err
				}
			}
			return err
		}
	},
}
