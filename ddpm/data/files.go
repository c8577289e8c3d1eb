package data

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What to do with image files that are broken.
const (
	Refuse = "refuse" // name the first of them
	Skip   = "skip"   // leave them out; all files are decoded once to find them
)

// Options are how a set of files is opened, beyond where it is.
type Options struct {
	// Dir is the folder in which a set with a name is looked for; empty: Folders.
	Dir string
	// Broken is Refuse or Skip; empty: Refuse.
	Broken string
}

func (o Options) validate() error {
	if o.Broken != "" && o.Broken != Refuse && o.Broken != Skip {
		return fmt.Errorf("broken is %q; want %q or %q", o.Broken, Refuse, Skip)
	}
	return nil
}

// OpenPath opens the images in a file or folder, in whichever of Formats they are, with
// images of size×size pixels; 0: as they are, if all have one size.
//
// Image files of any size are brought to the one wanted as in the authors' code:
// guided-diffusion's centre crop, of an LMDB the crop of its LSUN export, both with
// Pillow's resampling to the bit. Arrays are of their own size, and no other. A set has
// one channel if all its image files are grey, and otherwise three.
//
// Images are read and decoded when they are asked for: what is kept is where they lie. The
// first opening reads everything once, for the checksum and to find broken files; what it
// found is kept in the user's cache folder for as long as the files do not change.
func OpenPath(path string, size int, o Options) (Set, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if size < 0 || size > 1<<12 {
		return nil, fmt.Errorf("images of size %d; want 1 to 4096", size)
	}
	got, err := find(path)
	if err != nil {
		return nil, err
	}
	if got == nil {
		return nil, errUnknown(path)
	}
	s := &files{name: path, found: *got, size: size}
	if s.images != nil {
		return s, s.openRecords()
	}
	return s, s.openBlobs(o.Broken == Skip)
}

// files is a set of the user's files.
type files struct {
	name string
	found
	reader reader
	size   int // 0: records that are not square
	c      int
	sum    string
	sizes  [4]int // least and largest height, least and largest width
	broken []string
}

func (s *files) openRecords() error {
	r := s.images
	s.reader, s.c = r, r.c
	s.sizes = [4]int{r.h, r.h, r.w, r.w}
	if r.h != r.w {
		return fmt.Errorf("%s: images of %d×%d; want square ones, or image files, which are cropped", s.name, r.h, r.w)
	}
	if s.size != 0 && s.size != r.h {
		return &SizeError{Path: s.name, Size: r.h, Want: s.size}
	}
	s.size = r.h
	if slices.Contains(s.labels, 1000) && !slices.Contains(s.labels, 0) { // ImageNet32 counts from 1
		for i := range s.labels {
			s.labels[i]--
		}
	}
	var sum string
	err := remember(s.files, "pixels 1", &sum, func() error {
		b, err := r.sum()
		sum = hex.EncodeToString(b)
		return err
	})
	s.sum = sum
	return err
}

// SizeError tells that arrays are of another size than wanted.
type SizeError struct {
	Path       string
	Size, Want int
}

// Error is one sentence with the cure.
func (e *SizeError) Error() string {
	return fmt.Sprintf("%s: images of size %d, not %d; arrays are not resized: set model.size to %d", e.Path, e.Size, e.Want, e.Size)
}

// MixedError tells that image files have no size of their own.
type MixedError struct {
	Path  string
	Sizes [4]int // least and largest height, least and largest width
}

// Error is one sentence with the cure.
func (e *MixedError) Error() string {
	z := e.Sizes
	return fmt.Sprintf("%s: images of %d to %d × %d to %d pixels; say to which size they are to be cropped", e.Path, z[0], z[1], z[2], z[3])
}

func (s *files) openBlobs(skip bool) error {
	var all scan
	what := "image files 1"
	if skip {
		what += ", decoded"
	}
	if err := remember(s.files, what, &all, func() (err error) {
		all, err = scanBlobs(s.blobs, skip)
		return err
	}); err != nil {
		return err
	}
	e := &encoded{blobs: s.blobs}
	var labels []int
	for i := range s.blobs.len() {
		if why, bad := all.Broken[int32(i)]; bad {
			s.broken = append(s.broken, s.blobs.where(i)+": "+why)
			continue
		}
		e.use = append(e.use, int32(i))
		if s.labels != nil {
			labels = append(labels, s.labels[i])
		}
	}
	if n := len(s.broken); n > 0 && !skip || e.len() == 0 {
		return &BrokenError{Files: s.broken, Of: s.blobs.len()}
	}
	s.reader, s.labels, s.sizes, s.c = e, labels, all.Sizes, 3
	if all.Grey {
		s.c = 1
	}
	if s.size == 0 {
		if z := all.Sizes; z[0] != z[3] || z[1] != z[2] {
			return &MixedError{Path: s.name, Sizes: z}
		}
		s.size = all.Sizes[0]
	}
	h := sha256.Sum256(fmt.Appendf(nil, "ddpmlab image files %s, %d of them, to %d×%d×%d by %s\n", all.SHA256, e.len(), s.size, s.size, s.c, s.crop.name))
	s.sum = hex.EncodeToString(h[:])
	return nil
}

// BrokenError names the image files of a set that cannot be read.
type BrokenError struct {
	Files []string // each with what is wrong
	Of    int
}

// Error names the first, and says how many there are.
func (e *BrokenError) Error() string {
	if len(e.Files) == e.Of {
		return fmt.Sprintf("%s; none of the %d image files can be read", e.Files[0], e.Of)
	}
	return fmt.Sprintf("%s (%d of %d files are broken); remove them, or leave them out with --broken skip",
		e.Files[0], len(e.Files), e.Of)
}

func (s *files) Name() string         { return s.name }
func (s *files) Len() int             { return s.reader.len() }
func (s *files) Shape() (h, w, c int) { return s.size, s.size, s.c }
func (s *files) SHA256() string       { return s.sum }

func (s *files) Label(i int) int {
	switch {
	case i < 0 || i >= s.Len():
		return -1
	case s.labels == nil:
		return 0
	}
	return s.labels[i]
}

// scaled is b/127.5 - 1, rounded once.
var scaled = func() (t [256]float32) {
	for b := range t {
		t[b] = float32(float64(b)/127.5 - 1)
	}
	return t
}()

// Levels are the values that pixels of s may have, ascending, if its images are bytes; else nil.
func Levels(s Set) []float32 {
	switch s := s.(type) {
	case *files:
		return scaled[:]
	case *images:
		if s.shrink == 1 {
			return scaled[:]
		}
	}
	return nil
}

func (s *files) Read(i int, dst []float32) error {
	if i < 0 || i >= s.Len() {
		return fmt.Errorf("image %d of data set %s, which has %d", i, s.name, s.Len())
	}
	if want := s.size * s.size * s.c; len(dst) != want {
		return fmt.Errorf("read image of data set %s into %d numbers, want %d", s.name, len(dst), want)
	}
	p, err := s.reader.read(i)
	if err != nil {
		return fmt.Errorf("%s: %w; remove it, or leave it out with --broken skip", s.reader.where(i), err)
	}
	if s.images == nil {
		p = s.crop.to(p.channels(s.c), s.size)
	}
	for j, b := range p.pix {
		dst[j] = scaled[b]
	}
	return nil
}

// Info is what is known of a set that was opened from files.
type Info struct {
	Format  string   `json:"format"`
	Files   int      `json:"files"`
	Sizes   [4]int   `json:"sizes"`   // least and largest height, least and largest width, of what is stored
	Crop    string   `json:"crop"`    // how they are brought to one size; empty: they are of one
	Classes []string `json:"classes"` // their names, in the order of Label
	Labels  bool     `json:"labels"`  // there are classes
	Broken  []string `json:"broken"`  // files left out, each with what is wrong
	Left    []string `json:"left"`    // files of the other part, as test images
}

// Describe tells more of a set that OpenPath opened; ok is false for others.
func Describe(s Set) (i Info, ok bool) {
	f, ok := s.(*files)
	if !ok {
		return Info{}, false
	}
	i = Info{
		Format: f.format, Files: len(f.files), Sizes: f.sizes, Classes: f.classes, Labels: f.labels != nil,
		Broken: f.broken, Left: f.left,
	}
	if f.images == nil && f.sizes != [4]int{f.size, f.size, f.size, f.size} {
		i.Crop = f.crop.name
	}
	return i, true
}

// remember calls find, which sets value, unless that was done before for these files,
// told by names, sizes and times of change. The cache is the user's, one small file for
// each set; where it cannot be kept find is called each time.
func remember(paths []string, what string, value any, find func() error) error {
	cache := ""
	if key := fingerprint(paths, what); key != "" {
		if d, err := os.UserCacheDir(); err == nil {
			cache = filepath.Join(d, "ddpmlab", "sums", key+".json")
			if text, err := os.ReadFile(cache); err == nil && json.Unmarshal(text, value) == nil {
				return nil
			}
		}
	}
	if err := find(); err != nil {
		return err
	}
	if cache == "" || fingerprint(paths, what) != strings.TrimSuffix(filepath.Base(cache), ".json") {
		return nil // changed meanwhile
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	keep(cache, text)
	return nil
}

// keep writes a file whole or not at all; that it could not is of no consequence.
func keep(path string, text []byte) {
	if os.MkdirAll(filepath.Dir(path), 0o755) != nil {
		return
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".sum.*")
	if err != nil {
		return
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
}

// fingerprint tells files by their names, sizes and times; empty if one cannot be told, or
// changed so lately that a further change might not show.
func fingerprint(paths []string, what string) string {
	h := sha256.New()
	fmt.Fprintln(h, what)
	for _, p := range paths {
		st, err := os.Stat(p)
		full, err2 := filepath.Abs(p)
		if err != nil || err2 != nil || time.Since(st.ModTime()) < 2*time.Second {
			return ""
		}
		fmt.Fprintf(h, "%q %d %d\n", full, st.Size(), st.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil))
}
