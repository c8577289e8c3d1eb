// Package npz reads and writes NumPy's arrays: .npy, formats 1 to 3, in .npz archives,
// stored or deflated. Arrays are read as a stream, so that an archive of images need
// not fit into memory, and nothing in a file is executed.
package npz

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// File is an open archive.
type File struct {
	zip  *zip.ReadCloser
	path string
}

// Open opens the archive at path.
func Open(path string) (*File, error) {
	z, err := zip.OpenReader(path)
	if errors.Is(err, zip.ErrFormat) {
		return nil, fmt.Errorf("%s is no .npz file: it is not a zip archive, or not all of one", path)
	}
	if err != nil {
		return nil, err
	}
	return &File{z, path}, nil
}

// Close closes the archive.
func (f *File) Close() error { return f.zip.Close() }

// Comment is the archive's comment.
func (f *File) Comment() string { return f.zip.Comment }

// Names lists the arrays, in the order of the archive.
func (f *File) Names() []string {
	var names []string
	for _, e := range f.zip.File {
		names = append(names, strings.TrimSuffix(e.Name, ".npy"))
	}
	return names
}

// Has reports whether there is an array of that name.
func (f *File) Has(name string) bool { return slices.Contains(f.Names(), name) }

// Array opens the array of that name, which the caller closes.
func (f *File) Array(name string) (*Array, error) {
	i := slices.Index(f.Names(), name)
	if i < 0 {
		return nil, fmt.Errorf("%s has no array %s; it has %s", f.path, name, strings.Join(f.Names(), ", "))
	}
	body, err := f.zip.File[i].Open()
	if err != nil {
		return nil, fmt.Errorf("%s: array %s: %w", f.path, name, err)
	}
	a := &Array{name: f.path + ": array " + name, body: body, r: bufio.NewReaderSize(body, 1<<16)}
	head, err := a.header()
	if err == nil && uint64(head)+uint64(a.Len()*a.size) != f.zip.File[i].UncompressedSize64 {
		err = fmt.Errorf("%d bytes, want %d for its shape %v", f.zip.File[i].UncompressedSize64-uint64(head), a.Len()*a.size, a.Shape)
	}
	if err != nil {
		body.Close()
		return nil, fmt.Errorf("%s: %w", a.name, err)
	}
	return a, nil
}

// Float64s reads all of an array of numbers, and its shape.
func (f *File) Float64s(name string) (x []float64, shape []int, err error) {
	a, err := f.Array(name)
	if err != nil {
		return nil, nil, err
	}
	defer a.Close()
	x, err = a.Float64s()
	return x, a.Shape, err
}

// Array is an array that is being read.
type Array struct {
	Shape []int
	Type  string // NumPy's, without the byte order: "u1", "f4", "f8", "i8", ...

	name    string
	body    io.Closer
	r       io.Reader
	order   binary.ByteOrder
	size    int  // bytes a number
	fortran bool // the first index moves fastest
}

// Len is how many numbers the array has.
func (a *Array) Len() int {
	n := 1
	for _, d := range a.Shape {
		n *= d
	}
	return n
}

// Close ends the reading.
func (a *Array) Close() error { return a.body.Close() }

// Bytes reads the next len(dst) numbers of an array of bytes. Behind the last one it
// returns io.ErrUnexpectedEOF.
func (a *Array) Bytes(dst []byte) error {
	if a.Type != "u1" || a.fortran && len(a.Shape) > 1 {
		return fmt.Errorf("%s is of type %s%s; want bytes (uint8) in C order: x.astype('uint8').copy(order='C')", a.name, a.Type, a.orderName())
	}
	if _, err := io.ReadFull(a.r, dst); err != nil {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	return nil
}

func (a *Array) orderName() string {
	if a.fortran {
		return " in Fortran order"
	}
	return ""
}

// Float64s reads the whole array, with the last index moving fastest.
func (a *Array) Float64s() ([]float64, error) {
	decode := decoders[a.Type]
	if decode == nil {
		return nil, fmt.Errorf("%s is of type %s; want numbers, as float64", a.name, a.Type)
	}
	var x []float64
	buf := make([]byte, 1<<12*a.size)
	for left := a.Len(); left > 0; {
		n := min(left, len(buf)/a.size)
		if _, err := io.ReadFull(a.r, buf[:n*a.size]); err != nil {
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		for i := range n {
			x = append(x, decode(a.order, buf[i*a.size:]))
		}
		left -= n
	}
	if a.fortran {
		x = rowMajor(x, a.Shape)
	}
	return x, nil
}

// rowMajor puts numbers whose first index moves fastest in the other order.
func rowMajor(x []float64, shape []int) []float64 {
	y := make([]float64, len(x))
	for i := range y {
		at, rest, step := 0, i, len(x)
		for d := len(shape) - 1; d >= 0; d-- {
			step /= shape[d]
			at += rest % shape[d] * step
			rest /= shape[d]
		}
		y[i] = x[at]
	}
	return y
}

// decoders are the types of numbers that can be read.
var decoders = map[string]func(binary.ByteOrder, []byte) float64{
	"b1": func(_ binary.ByteOrder, b []byte) float64 { return float64(b[0]) },
	"u1": func(_ binary.ByteOrder, b []byte) float64 { return float64(b[0]) },
	"i1": func(_ binary.ByteOrder, b []byte) float64 { return float64(int8(b[0])) },
	"u2": func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint16(b)) },
	"i2": func(o binary.ByteOrder, b []byte) float64 { return float64(int16(o.Uint16(b))) },
	"u4": func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint32(b)) },
	"i4": func(o binary.ByteOrder, b []byte) float64 { return float64(int32(o.Uint32(b))) },
	"u8": func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint64(b)) },
	"i8": func(o binary.ByteOrder, b []byte) float64 { return float64(int64(o.Uint64(b))) },
	"f4": func(o binary.ByteOrder, b []byte) float64 { return float64(math.Float32frombits(o.Uint32(b))) },
	"f8": func(o binary.ByteOrder, b []byte) float64 { return math.Float64frombits(o.Uint64(b)) },
}

const magic = "\x93NUMPY"

// What a header says; a type in brackets is a record and is refused.
var (
	headerType  = regexp.MustCompile(`'descr': *'([<>|=]?)([a-zA-Z])(\d+)'`)
	headerOrder = regexp.MustCompile(`'fortran_order': *(True|False)`)
	headerShape = regexp.MustCompile(`'shape': *\(([0-9, ]*)\)`)
)

// maxHeader is how long a header may be; NumPy's own are of 128 bytes.
const maxHeader = 1 << 16

// header reads what stands before the numbers, and returns how many bytes that was.
func (a *Array) header() (read int, err error) {
	start := make([]byte, len(magic)+4)
	if _, err := io.ReadFull(a.r, start); err != nil || string(start[:len(magic)]) != magic {
		return 0, errors.New("no array of NumPy: it does not begin as one")
	}
	n, read := int(binary.LittleEndian.Uint16(start[8:])), len(start)
	switch version := start[6]; version {
	case 1:
	case 2, 3: // longer headers; in 3 also names beyond Latin-1
		var more [2]byte
		if _, err := io.ReadFull(a.r, more[:]); err != nil {
			return 0, errors.New("header is truncated")
		}
		n, read = n|int(binary.LittleEndian.Uint16(more[:]))<<16, read+2
	default:
		return 0, fmt.Errorf("format %d of .npy; want 1, 2 or 3", version)
	}
	if n > maxHeader {
		return 0, fmt.Errorf("header of %d bytes; want at most %d", n, maxHeader)
	}
	head := make([]byte, n)
	if _, err := io.ReadFull(a.r, head); err != nil {
		return 0, errors.New("header is truncated")
	}
	return read + n, a.parse(string(head))
}

func (a *Array) parse(head string) error {
	kind, order, shape := headerType.FindStringSubmatch(head), headerOrder.FindStringSubmatch(head), headerShape.FindStringSubmatch(head)
	if kind == nil || order == nil || shape == nil {
		return fmt.Errorf("header %.100q; want a plain type, an order and a shape", head)
	}
	a.Type, a.fortran, a.order = kind[2]+kind[3], order[1] == "True", binary.LittleEndian
	if kind[1] == ">" {
		a.order = binary.BigEndian
	}
	a.size, _ = strconv.Atoi(kind[3])
	if kind[2] == "U" {
		a.size *= 4
	}
	if a.size < 1 || a.size > 1<<20 {
		return fmt.Errorf("type %s; want numbers", a.Type)
	}
	const most = 1 << 50
	total := a.size
	for part := range strings.SplitSeq(shape[1], ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		d, err := strconv.Atoi(part)
		if err != nil || d > most || d > 0 && total > most/d {
			return fmt.Errorf("shape (%.100s) is too large", shape[1])
		}
		a.Shape = append(a.Shape, d)
		total *= d
	}
	return nil
}
