// Package data opens the image sets that models are trained on and scored
// against.
//
// "fashion-mnist" is built in: the 10,000 test images of Fashion-MNIST (Xiao,
// Rasul, Vollgraf, 2017; MIT licence, see fashion/LICENSE). It is the default
// training set of the diffusion models and the reference set of their scores.
// "fashion-mnist-train", its other 60,000 images, is read from a folder; the
// feature extractor of package fid was trained on those.
//
// Any other set is the user's files: OpenPath tells their format by what is in them, from
// the rows of one table (open.go), and reads images as they are asked for.
package data

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Set is a fixed sequence of labelled images of one size. It is safe for
// concurrent use.
type Set interface {
	// Name is the name that Open takes.
	Name() string
	// Len is the number of images.
	Len() int
	// Shape is the height, width and number of channels of every image.
	Shape() (h, w, c int)
	// SHA256 identifies the source bytes and all that was done to them up to
	// Read, in hexadecimal: equal sums mean equal pixels.
	SHA256() string
	// Label is the class of image i, from 0; -1 if i is out of range.
	Label(i int) int
	// Read writes image i to dst, H×W×C numbers in [-1, 1] (x/127.5 - 1). It
	// fails if i is out of range or dst has another length.
	Read(i int, dst []float32) error
}

// Names lists the sets that Open knows by a name. "fashion-mnist" and "toy" are built in;
// the others are looked for in Folders.
func Names() []string {
	names := []string{fashionTest, fashionTrain, toyName}
	for _, k := range known {
		names = append(names, k.name)
	}
	return names
}

// Fixed reports whether the name stands for the same images everywhere, as that of a set
// in Fashion-MNIST does; a path, or the name of a set that users bring, does not.
func Fixed(name string) bool {
	_, published := sources[name]
	return published || name == toyName
}

// Open returns the set called name, one of Names, or that in the file or folder name, with
// images of size×size pixels; see OpenPath for the latter.
//
// Fashion-MNIST comes in size 28, as published, and 14, where every pixel is
// the mean of 2×2 published ones. The files of "fashion-mnist-train" are looked
// for in the folders that Folders lists; use OpenFrom to name one. Files that
// are not byte for byte the published ones are refused.
func Open(name string, size int) (Set, error) { return OpenWith(name, size, Options{}) }

// OpenFrom is Open with the files of the set in the folder dir and nowhere
// else. An empty dir means the folders of Open; a set that is built in needs
// none and ignores it.
func OpenFrom(name string, size int, dir string) (Set, error) {
	return OpenWith(name, size, Options{Dir: dir})
}

// OpenWith is Open with options.
func OpenWith(name string, size int, o Options) (Set, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if name == toyName {
		if size != toySize {
			return nil, fmt.Errorf("data set %s has no images of size %d; its size is %d", name, size, toySize)
		}
		return toy{}, nil
	}
	if src, ok := sources[name]; ok {
		if !slices.Contains(src.sizes, size) {
			return nil, fmt.Errorf("data set %s has no images of size %d; its sizes are %s", name, size, join(src.sizes))
		}
		s, err := src.open(size, o.Dir)
		if err != nil {
			return nil, fmt.Errorf("data set %s: %w", name, err)
		}
		return s, nil
	}
	for _, k := range known {
		if k.name == name {
			path, err := k.find(o.Dir)
			if err != nil {
				return nil, err
			}
			return OpenPath(path, size, o)
		}
	}
	if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) && !strings.ContainsAny(name, "/\\.") {
		return nil, fmt.Errorf("unknown data set %q; give the path of a file or folder, or one of %s", name, strings.Join(Names(), ", "))
	}
	return OpenPath(name, size, o)
}

// ReadRange returns images first to first+n-1 of s, n×H×W×C numbers.
func ReadRange(s Set, first, n int) ([]float32, error) {
	if first < 0 || n < 0 || first+n > s.Len() {
		return nil, fmt.Errorf("images %d to %d of data set %s, which has %d", first, first+n-1, s.Name(), s.Len())
	}
	h, w, c := s.Shape()
	x := make([]float32, n*h*w*c)
	for i := range n {
		if err := s.Read(first+i, x[i*h*w*c:(i+1)*h*w*c]); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func join(sizes []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(sizes), " ", ", "), "[]")
}
