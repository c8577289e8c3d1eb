package fid

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/npz"
)

// Source is a sequence of images of one size that is read once, from the first to the
// last.
type Source struct {
	Name       string
	N, H, W, C int
	SHA256     string // what identifies the images; "": that of their shape and bytes, found by reading

	// Drawn has the sampler's fields, Samples to Seeds, of images that a network drew; without
	// a Sampler it is not known how they came about.
	Drawn Protocol

	// Bytes writes the next images to dst, as NHWC bytes.
	Bytes func(dst []byte) error
	// Floats writes the next images as numbers in [-1, 1]; nil: there are only bytes.
	Floats func(dst []float32) error
	// Close ends the reading; nil: there is nothing to end.
	Close func() error
}

// String is the name with the number and size of images.
func (s *Source) String() string {
	return fmt.Sprintf("%s: %d images of %d×%d×%d", s.Name, s.N, s.H, s.W, s.C)
}

// shut closes the source if there is anything to close.
func (s *Source) shut() error {
	if s.Close == nil {
		return nil
	}
	return s.Close()
}

// Truncated are images of numbers in [-1, 1] whose bytes are the whole grey levels below
// them, as in the files of samples that the authors' code writes.
func Truncated(name string, n, h, w, c int, pix []float32) *Source {
	at := 0
	return &Source{
		Name: name, N: n, H: h, W: w, C: c,
		Bytes: func(dst []byte) error {
			for i := range dst {
				v := float64(pix[at+i])
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return fmt.Errorf("number %d of image %d of %s is %g; what drew it has diverged", (at+i)%(h*w*c)+1, (at+i)/(h*w*c)+1, name, v)
				}
				dst[i] = byte(min(max((pix[at+i]+1)*127.5, 0), 255))
			}
			at += len(dst)
			return nil
		},
		Floats: func(dst []float32) error {
			at += copy(dst, pix[at:])
			return nil
		},
	}
}

// OfSet is a data set as a source; its bytes are the nearest grey levels.
func OfSet(set data.Set) *Source {
	h, w, c := set.Shape()
	at := 0
	floats := func(dst []float32) error {
		for ; len(dst) > 0; dst = dst[h*w*c:] {
			if err := set.Read(at, dst[:h*w*c]); err != nil {
				return err
			}
			at++
		}
		return nil
	}
	return &Source{
		Name: set.Name(), N: set.Len(), H: h, W: w, C: c, SHA256: set.SHA256(),
		Floats: floats,
		Bytes: func(dst []byte) error {
			x := make([]float32, len(dst))
			if err := floats(x); err != nil {
				return err
			}
			for i, v := range x {
				dst[i] = byte(min(max((v+1)*127.5+0.5, 0), 255))
			}
			return nil
		},
	}
}

// Part is images first to first+n-1 of s, which must not have been read yet.
func Part(s *Source, first, n int) (*Source, error) {
	if first < 0 || n < 1 || first+n > s.N {
		return nil, fmt.Errorf("images %d to %d of %s, which has %d", first, first+n-1, s.Name, s.N)
	}
	skip := make([]byte, s.H*s.W*s.C)
	for range first {
		if err := s.Bytes(skip); err != nil {
			return nil, err
		}
	}
	p := *s
	p.Name, p.N, p.SHA256 = fmt.Sprintf("%s, images %d to %d", s.Name, first+1, first+n), n, ""
	return &p, nil
}

// ErrNoImages is that a folder has no image files.
var ErrNoImages = errors.New("want files that end in .png, .jpg, .webp or .gif")

// OpenFolder opens a folder of PNG, JPEG, WebP and GIF images, with those in folders below
// it, in the order of their names. Grey images have one channel, others three. All must be
// of one size; none is resized.
func OpenFolder(path string) (*Source, error) {
	var files []string
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && slices.Contains([]string{".png", ".jpg", ".jpeg", ".webp", ".gif"}, strings.ToLower(filepath.Ext(name))) {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("folder %s has no images; %w", path, ErrNoImages)
	}
	slices.Sort(files)
	_, h, w, c, err := data.ReadImage(files[0])
	if err != nil {
		return nil, err
	}
	s := &Source{Name: filepath.Base(filepath.Clean(path)), N: len(files), H: h, W: w, C: c}
	at, size := 0, h*w*c
	s.Bytes = func(dst []byte) error {
		for ; len(dst) > 0; dst = dst[size:] {
			pix, h, w, c, err := data.ReadImage(files[at])
			if err != nil {
				return err
			}
			if h != s.H || w != s.W || c != s.C {
				return fmt.Errorf("folder %s has images of mixed sizes: %s is %d×%d×%d, %s is %d×%d×%d; bring them to one size and one number of channels first",
					path, filepath.Base(files[0]), s.H, s.W, s.C, filepath.Base(files[at]), h, w, c)
			}
			copy(dst, pix)
			at++
		}
		return nil
	}
	return s, nil
}

// OpenArchive opens the images of an .npz file: its array arr_0, N×H×W×C bytes. Of images
// that `ddpmlab sample` drew it tells how.
func OpenArchive(path string) (*Source, error) {
	f, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	s, err := archive(f, path)
	if err != nil {
		f.Close()
	}
	return s, err
}

func archive(f *npz.File, path string) (*Source, error) {
	a, err := f.Array("arr_0")
	if err != nil {
		return nil, err
	}
	shape := a.Shape
	if len(shape) == 3 { // grey images without a channel
		shape = append(slices.Clone(shape), 1)
	}
	if len(shape) != 4 || a.Type != "u1" || slices.Contains(shape, 0) {
		a.Close()
		return nil, fmt.Errorf("%s: arr_0 is of type %s and shape %v; want images as N×H×W×C bytes (uint8)", path, a.Type, a.Shape)
	}
	if c := shape[3]; c != 1 && c != 3 {
		a.Close()
		return nil, fmt.Errorf("%s: arr_0 has the shape %v, that is images of %d channels; want 1 or 3, as the last index: x.transpose(0, 2, 3, 1) puts the second there", path, a.Shape, c)
	}
	return &Source{
		Name: filepath.Base(path), N: shape[0], H: shape[1], W: shape[2], C: shape[3],
		Drawn: drawnBy(f.Comment()),
		Bytes: a.Bytes,
		Close: func() error { return errors.Join(a.Close(), f.Close()) },
	}, nil
}

// drawnBy is what the comment of an archive that this program wrote tells of how its images
// were drawn; nothing of any other.
func drawnBy(comment string) Protocol {
	var about struct {
		Protocol Protocol `json:"protocol"`
	}
	if json.Unmarshal([]byte(comment), &about) != nil || about.Protocol.Sampler == "" {
		return Protocol{}
	}
	return about.Protocol
}
