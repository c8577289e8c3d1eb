package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// format is a kind of files that hold images. It is told by what is in them, not by their
// names.
type format struct {
	name string
	// open returns nil, nil for a place that is of another format.
	open func(p *place) (*found, error)
}

// formats are those that Open reads, in the order in which they are tried.
var formats = []format{
	{"LMDB of image files, as LSUN's (folder, or its data.mdb)", openLMDB},
	{"NumPy's .npz and .npy: ImageNet32's batches, samples", openNumPy},
	{"zip of image files, with dataset.json as EDM writes it", openZip},
	{"IDX, also .gz: MNIST, Fashion-MNIST", openIDX},
	{"CIFAR-10, CIFAR-100 and ImageNet32, pickled", openPickle},
	{"CIFAR-10 and CIFAR-100, binary", openCIFAR},
	{"folder of PNG, JPEG, WebP or GIF", openFolder},
}

// Formats lists what Open reads, for people.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// place is a file or folder to open.
type place struct {
	path   string
	folder bool
	file   *os.File // nil for a folder
	size   int64
	head   []byte // how the file begins, up to 4 KiB
}

// found is what a format made of a place.
type found struct {
	format  string
	images  *records // of one size; or
	blobs   blobs    // image files
	crop    crop     // for blobs
	labels  []int
	classes []string // of the labels, if they have names
	files   []string // what it was read from
	left    []string // files that were left out, as those of the test set
}

func openPlace(path string) (*place, error) {
	st, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s does not exist", path)
		}
		return nil, err
	}
	p := &place{path: path, folder: st.IsDir(), size: st.Size()}
	if p.folder {
		return p, nil
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is neither a file nor a folder", path)
	}
	if p.file, err = os.Open(path); err != nil {
		return nil, err
	}
	p.head = make([]byte, min(p.size, 4096))
	if err := readAt(p.file, p.head, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), p.file.Close())
	}
	return p, nil
}

// find tries the formats on a file or folder. found is nil if none fits.
func find(path string) (*found, error) {
	p, err := openPlace(path)
	if err != nil {
		return nil, err
	}
	for _, f := range formats {
		got, err := f.open(p)
		if err != nil {
			return nil, named(path, err)
		}
		if got != nil {
			return got, nil
		}
	}
	if p.file != nil {
		return nil, p.file.Close()
	}
	return nil, nil
}

// named puts the path before an error that does not name it.
func named(path string, err error) error {
	if strings.Contains(err.Error(), path) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// errUnknown says what a path could have held.
func errUnknown(path string) error {
	return fmt.Errorf("%s holds no images that ddpmlab knows; it reads: %s", path, strings.Join(Formats(), "; "))
}

// layouts are the folders that archives and torchvision put around the files.
var layouts = []string{
	"cifar-10-batches-bin", "cifar-10-batches-py", "cifar-100-binary", "cifar-100-python",
	"FashionMNIST/raw", "MNIST/raw", "raw",
}

// openFolder opens what a folder holds: batches of arrays, else image files in it and
// below. It never fails to recognise a folder.
func openFolder(p *place) (*found, error) {
	if !p.folder {
		return nil, nil
	}
	entries, err := os.ReadDir(p.path) // sorted
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if isFile(p.path, e) && !strings.HasPrefix(e.Name(), ".") && !isImageName(ending(e.Name())) {
			names = append(names, e.Name())
		}
	}
	batches, err := openBatches(p.path, names)
	if batches != nil || err != nil {
		return batches, err
	}
	for _, l := range layouts {
		if sub, err := openPlace(filepath.Join(p.path, l)); err == nil && sub.folder {
			return openFolder(sub)
		}
	}
	return openImages(p.path)
}

func isFile(dir string, e os.DirEntry) bool {
	if e.Type()&os.ModeSymlink == 0 {
		return e.Type().IsRegular()
	}
	st, err := os.Stat(filepath.Join(dir, e.Name()))
	return err == nil && st.Mode().IsRegular()
}

func ending(name string) string { return strings.ToLower(filepath.Ext(name)) }

// isTest reports whether a batch is one to measure on, by the names it is published under.
func isTest(name string) bool {
	for _, begin := range []string{"test", "t10k", "val"} {
		if strings.HasPrefix(name, begin) {
			return true
		}
	}
	return false
}

// openBatches joins the array files of a folder, the training ones if there are others.
func openBatches(dir string, names []string) (*found, error) {
	slices.SortFunc(names, natural)
	var train, test []*found
	for _, name := range names {
		path := filepath.Join(dir, name)
		p, err := openPlace(path)
		if err != nil {
			return nil, err
		}
		var got *found
		for _, f := range []func(*place) (*found, error){openNumPy, openIDX, openPickle, openCIFAR} {
			if got, err = f(p); got != nil || err != nil {
				break
			}
		}
		switch {
		case err != nil:
			return nil, named(path, err)
		case got == nil:
			if err := p.file.Close(); err != nil {
				return nil, err
			}
		case isTest(name):
			test = append(test, got)
		default:
			train = append(train, got)
		}
	}
	if len(train) == 0 {
		train, test = test, nil
	}
	if len(train) == 0 {
		return nil, nil
	}
	out := train[0]
	for _, b := range train[1:] {
		if slices.Contains(out.files, strings.TrimSuffix(b.files[0], ".gz")) {
			continue // the same, compressed
		}
		a, c := out.images, b.images
		if a.h != c.h || a.w != c.w || a.c != c.c {
			return nil, fmt.Errorf("%s has images of %d×%d×%d and %s of %d×%d×%d; give the path of the one you mean",
				out.files[0], a.h, a.w, a.c, b.files[0], c.h, c.w, c.c)
		}
		if a.planar != c.planar || out.format != b.format {
			return nil, fmt.Errorf("%s is %s and %s is %s; give the path of the one you mean", out.files[0], out.format, b.files[0], b.format)
		}
		if (out.labels == nil) != (b.labels == nil) {
			out.labels, b.labels = nil, nil
		}
		a.parts = append(a.parts, c.parts...)
		out.labels, out.files = append(out.labels, b.labels...), append(out.files, b.files...)
	}
	for _, b := range test {
		out.left = append(out.left, b.files...)
	}
	return out, nil
}

// natural compares names so that batch_10 comes after batch_9.
func natural(a, b string) int {
	for a != "" && b != "" {
		i, j := digits(a), digits(b)
		if i > 0 && j > 0 {
			x, y := strings.TrimLeft(a[:i], "0"), strings.TrimLeft(b[:j], "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			a, b = a[i:], b[j:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// digits is how many digits s begins with.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

// openImages lists the image files in a folder and below, in the order in which
// guided-diffusion has them: entry by entry, sorted by their bytes.
func openImages(root string) (*found, error) {
	f := folder{root: root}
	if err := f.list(""); err != nil {
		return nil, err
	}
	if len(f.paths) == 0 {
		return nil, nil
	}
	out := &found{format: "folder of images", blobs: f, crop: centreCrop}
	for _, p := range f.paths {
		out.files = append(out.files, filepath.Join(root, p))
	}
	table := filepath.Join(root, datasetJSON)
	if file, err := os.Open(table); err == nil { // an archive of EDM's, unpacked
		defer file.Close()
		if out.labels, err = readDatasetJSON(file, f.paths); err != nil {
			return nil, fmt.Errorf("%s: %w", table, err)
		}
		out.files = append(out.files, table)
		return out, nil
	}
	out.labels, out.classes = classesOf(f.paths)
	return out, nil
}

// maxDepth bounds how deep folders may lie in each other, so that links may make circles.
const maxDepth = 32

func (f *folder) list(sub string) error {
	if strings.Count(sub, "/") >= maxDepth {
		return fmt.Errorf("%s: folders more than %d deep", filepath.Join(f.root, sub), maxDepth)
	}
	entries, err := os.ReadDir(filepath.Join(f.root, sub))
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := sub + e.Name()
		if isImageName(ending(e.Name())) {
			if isFile(filepath.Join(f.root, sub), e) {
				f.paths = append(f.paths, path)
			}
			continue
		}
		st, err := os.Stat(filepath.Join(f.root, path))
		if err == nil && st.IsDir() {
			if err := f.list(path + "/"); err != nil {
				return err
			}
		}
	}
	return nil
}

// classesOf is by what images are classed: the folder at the top if all lie in some, as
// torchvision's ImageFolder, else what their names begin with up to "_", as in
// guided-diffusion; nothing if they lie and are called otherwise.
func classesOf(paths []string) (labels []int, classes []string) {
	for _, class := range []func(string) (string, bool){
		func(p string) (string, bool) { first, _, ok := strings.Cut(p, "/"); return first, ok },
		func(p string) (string, bool) { first, _, ok := strings.Cut(filepath.Base(p), "_"); return first, ok },
	} {
		names := make([]string, len(paths))
		all := true
		for i, p := range paths {
			var ok bool
			names[i], ok = class(p)
			all = all && ok
		}
		if !all {
			continue
		}
		classes = slices.Compact(slices.Sorted(slices.Values(names)))
		for _, n := range names {
			at, _ := slices.BinarySearch(classes, n)
			labels = append(labels, at)
		}
		return labels, classes
	}
	return nil, nil
}

// spool copies r to a file without a name, which goes when it is closed, for formats that
// cannot be read in places. At most limit bytes are taken.
func spool(r io.Reader, limit int64) (*os.File, int64, error) {
	dir := ""
	if d, err := os.UserCacheDir(); err == nil {
		if d = filepath.Join(d, "ddpmlab"); os.MkdirAll(d, 0o755) == nil {
			dir = d
		}
	}
	f, err := os.CreateTemp(dir, "unpacked.*")
	if err != nil {
		return nil, 0, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	n, err := io.Copy(f, io.LimitReader(r, limit))
	if err != nil {
		if t := truncated(err); t != err {
			err = errCut
		}
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, n, nil
}

// hasPrefix reports whether the place is a file that begins so.
func (p *place) hasPrefix(s string) bool { return !p.folder && bytes.HasPrefix(p.head, []byte(s)) }
