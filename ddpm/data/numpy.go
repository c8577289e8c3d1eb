package data

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// openNumPy opens an archive of NumPy (.npz) or one array (.npy). Images are the array
// arr_0, N×H×W×C, N×C×H×W or N×H×W bytes, as samples are exchanged, or data, N×3·S·S in
// planes, as downsampled ImageNet comes; classes are arr_1, or labels.
func openNumPy(p *place) (*found, error) {
	if p.hasPrefix(npyMagic) {
		a, err := readNPY(io.NewSectionReader(p.file, 0, p.size))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.path, err)
		}
		part := part{file: p.file, at: a.at}
		return numpyImages(p, "NumPy array", a, part, p.size, false)
	}
	if !p.hasPrefix("PK\x03\x04") {
		return nil, nil
	}
	z, err := zip.NewReader(p.file, p.size)
	if err != nil {
		if ending(p.path) == ".npz" {
			return nil, fmt.Errorf("%s: the archive is damaged or cut short (%w)", p.path, err)
		}
		return nil, nil
	}
	files := map[string]*zip.File{}
	arrays := false
	for _, f := range z.File {
		files[f.Name] = f
		arrays = arrays || strings.HasSuffix(f.Name, ".npy")
	}
	if !arrays {
		return nil, nil
	}
	for _, names := range [][2]string{{"arr_0", "arr_1"}, {"data", "labels"}, {"images", "labels"}, {"samples", "labels"}} {
		f := files[names[0]+".npy"]
		if f == nil {
			continue
		}
		out, err := npzImages(p, f, names[0] == "data")
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", p.path, names[0], err)
		}
		if l := files[names[1]+".npy"]; l != nil {
			if out.labels, err = npzLabels(l, out.images.len()); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", p.path, names[1], err)
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s: no array arr_0 or data in it; want arr_0, N×H×W×C of type uint8", p.path)
}

// npzImages opens an array of an archive where it lies, or a compressed one unpacked.
func npzImages(p *place, f *zip.File, planar bool) (*found, error) {
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	a, err := readNPY(in)
	if err != nil {
		return nil, err
	}
	want := a.at + a.bytes()
	if int64(f.UncompressedSize64) != want {
		return nil, fmt.Errorf("%d bytes for an array of %d; it is damaged or cut short", f.UncompressedSize64, want)
	}
	part := part{file: p.file}
	size := p.size
	if f.Method == zip.Store {
		at, err := f.DataOffset()
		if err != nil {
			return nil, err
		}
		part.at = at + a.at
	} else {
		whole, err := f.Open()
		if err != nil {
			return nil, err
		}
		defer whole.Close()
		file, n, err := spool(whole, want)
		if err != nil {
			return nil, err
		}
		part.file, part.at, size = file, a.at, n
	}
	return numpyImages(p, "NumPy archive", a, part, size, planar)
}

// numpyImages makes images of an array.
func numpyImages(p *place, format string, a npy, at part, size int64, planar bool) (*found, error) {
	if a.kind != "|u1" {
		return nil, fmt.Errorf("it is of type %s; want |u1 (uint8): images of 0 to 255", a.kind)
	}
	if a.fortran {
		return nil, errors.New("it is in Fortran's order; want C's: save numpy.ascontiguousarray of it")
	}
	r := &records{planar: planar}
	n := 0
	switch s := a.shape; {
	case planar:
		var err error
		if n, r.h, err = planarShape(s); err != nil {
			return nil, err
		}
		r.w, r.c = r.h, 3
		format = "NumPy archives of planes, as ImageNet32"
	case len(s) == 3:
		n, r.h, r.w, r.c = s[0], s[1], s[2], 1
	case len(s) == 4 && s[3] <= 4:
		n, r.h, r.w, r.c = s[0], s[1], s[2], s[3]
	case len(s) == 4 && s[1] <= 4:
		n, r.c, r.h, r.w, r.planar = s[0], s[1], s[2], s[3], true
	default:
		return nil, fmt.Errorf("it is of shape %v; want N×H×W×C with C up to 4", s)
	}
	image := int64(r.h) * int64(r.w) * int64(r.c)
	if image < 1 || image > maxPixels || n < 1 {
		return nil, fmt.Errorf("it is of shape %v; want sizes from 1", a.shape)
	}
	at.name, at.stride, at.n = p.path, image, n
	if err := at.check(size, image); err != nil {
		return nil, err
	}
	r.parts = []part{at}
	return &found{format: format, images: r, files: []string{p.path}}, nil
}

// maxLabels bounds the classes of one file.
const maxLabels = 1 << 28

// npzLabels is an array of n whole numbers; nil for arrays of another kind.
func npzLabels(f *zip.File, n int) ([]int, error) {
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	a, err := readNPY(in)
	if err != nil {
		return nil, err
	}
	if len(a.shape) != 1 || len(a.kind) != 3 || !strings.Contains("iu", a.kind[1:2]) || a.kind[0] == '>' {
		return nil, nil
	}
	if a.shape[0] != n || n > maxLabels {
		return nil, fmt.Errorf("%d of %d images", a.shape[0], n)
	}
	width := int(a.kind[2] - '0')
	var out []int // grown as they come: a length that lies costs no memory
	row := make([]byte, width)
	for range n {
		if _, err := io.ReadFull(in, row); err != nil {
			return nil, errCut
		}
		var b [8]byte
		copy(b[:], row)
		v := binary.LittleEndian.Uint64(b[:])
		if v > math.MaxInt32 {
			return nil, fmt.Errorf("the class of image %d is %d", len(out), int64(v))
		}
		out = append(out, int(v))
	}
	return out, nil
}

const npyMagic = "\x93NUMPY"

// npy is the header of an array (numpy/lib/format.py).
type npy struct {
	kind    string // as "|u1"
	fortran bool
	shape   []int
	at      int64 // where the numbers begin
}

// bytes is how many bytes the numbers have.
func (a npy) bytes() int64 {
	n := int64(1)
	for _, d := range a.shape {
		n *= int64(d)
	}
	if len(a.kind) == 3 {
		n *= int64(a.kind[2] - '0')
	}
	return n
}

var npyHeader = regexp.MustCompile(`^\{'descr': '([<>|=]?[a-zA-Z]\d{1,2})', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \}\s*$`)

// readNPY reads an array's header.
func readNPY(r io.Reader) (npy, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:10]); err != nil {
		return npy{}, errCut
	}
	if string(head[:6]) != npyMagic {
		return npy{}, errors.New("it is no array of NumPy")
	}
	n, at := int64(binary.LittleEndian.Uint16(head[8:])), int64(10)
	if head[6] > 1 { // versions 2 and 3 have four bytes
		if _, err := io.ReadFull(r, head[10:]); err != nil {
			return npy{}, errCut
		}
		n, at = int64(binary.LittleEndian.Uint32(head[8:])), 12
	}
	if head[6] < 1 || head[6] > 3 || n > 1<<16 {
		return npy{}, fmt.Errorf("NumPy's format %d with a header of %d bytes; 1 to 3 are read", head[6], n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return npy{}, errCut
	}
	m := npyHeader.FindSubmatch(text)
	if m == nil {
		return npy{}, fmt.Errorf("a header that is none of an array of numbers: %.80q", text)
	}
	a := npy{kind: string(m[1]), fortran: string(m[2]) == "True", at: at + n}
	total := int64(1)
	for s := range strings.SplitSeq(string(m[3]), ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		d, err := strconv.ParseInt(s, 10, 64)
		if err != nil || d < 0 || d > math.MaxInt32 || d > 0 && total > 1<<46/d {
			return npy{}, fmt.Errorf("it claims the shape (%s)", m[3])
		}
		total *= max(1, d)
		a.shape = append(a.shape, int(d))
	}
	return a, nil
}
