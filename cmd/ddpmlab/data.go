package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"ddpmlab/ddpm/data"
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
	synopsis: "List the data sets, and whether they are here",
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
	s, err := data.Open(name, fullSizeOf(name))
	if _, ok := errors.AsType[*data.NotFoundError](err); ok {
		return "–", "not here; `ddpmlab data fetch " + name + "` brings it"
	}
	if err != nil {
		return "–", err.Error()
	}
	h, w, c := s.Shape()
	return fmt.Sprintf("%d of %d×%d×%d", s.Len(), h, w, c), "ready"
}

var dataInfo = command{
	name:     "data info",
	args:     "NAME",
	synopsis: "Describe a data set: images, classes, checksum",
	examples: []string{"data info fashion-mnist", "data info fashion-mnist --size 14"},
	setup: func(f *flag.FlagSet) action {
		size := f.Int("size", fullSize, "images of `N`×N pixels")
		dir := f.String("dir", "", "`FOLDER` with the set's files; default: where `ddpmlab data fetch` and Debian put them")
		return func(_ context.Context, args []string, w world) error {
			if err := knownData(args[0]); err != nil {
				return err
			}
			s, err := data.OpenFrom(args[0], *size, *dir)
			if err != nil {
				return err
			}
			return printf(w.out, "%v\n", dataTable(s))
		}
	},
}

// dataTable describes a set.
func dataTable(s data.Set) *render.Table {
	h, w, c := s.Shape()
	var classes []int
	for i := range s.Len() {
		for s.Label(i) >= len(classes) {
			classes = append(classes, 0)
		}
		classes[s.Label(i)]++
	}
	t := &render.Table{Columns: render.Left("Data set", s.Name())}
	t.Add("images", fmt.Sprint(s.Len()))
	t.Add("shape", fmt.Sprintf("%d×%d×%d (height, width, channels)", h, w, c))
	t.Add("images by class", strings.Trim(fmt.Sprint(classes), "[]"))
	t.Add("SHA-256", s.SHA256())
	return t
}

var dataFetch = command{
	name:     "data fetch",
	args:     "NAME",
	synopsis: "Bring a data set's files to this machine",
	help: `Copies them from Debian's package where that is installed, otherwise downloads them (26 MB). Files are kept only when
their SHA-256 is the published one. The 10,000 images of fashion-mnist that training uses are built in and need no
fetching; this brings the other 60,000, which the feature extractor of the scores was trained on.`,
	examples: []string{"data fetch fashion-mnist", "data fetch fashion-mnist --dir data"},
	setup: func(f *flag.FlagSet) action {
		dir := f.String("dir", "", "`FOLDER` to put them in; default: ddpmlab/data in the user's cache folder")
		return func(ctx context.Context, args []string, w world) error {
			if err := knownData(args[0]); err != nil {
				return err
			}
			fetched, err := data.Fetch(ctx, args[0], *dir)
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

// knownData refuses the name of no data set.
func knownData(name string) error {
	for _, n := range data.Names() {
		if n == name {
			return nil
		}
	}
	return errors.New(suggest.Unknown("data set", name, data.Names(), "there are: "+strings.Join(data.Names(), ", ")))
}
