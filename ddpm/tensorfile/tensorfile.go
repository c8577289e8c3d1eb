// Package tensorfile reads and writes named arrays as PyTorch's .pt and as safetensors.
// Reading executes nothing that a file says, and takes no more memory than the file has
// bytes.
package tensorfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// Tensor is an array of a file. Its numbers are read when they are asked for.
type Tensor struct {
	Name  string
	DType string // "float16", "bfloat16", "float32", "float64", "int64", "int32", "uint8" or "bool"
	Shape []int  // none for a scalar

	data func() ([]byte, error) // row-major, little-endian
}

// New is a tensor of 32-bit numbers, row-major.
func New(name string, shape []int, x []float32) Tensor {
	return Tensor{Name: name, DType: "float32", Shape: shape, data: func() ([]byte, error) {
		b := make([]byte, 0, 4*len(x))
		for _, v := range x {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		return b, nil
	}}
}

// sizes are the bytes of a number.
var sizes = map[string]int{
	"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int64": 8, "int32": 4, "uint8": 1, "bool": 1,
}

// Len is the number of entries.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Bytes are the numbers, row-major and little-endian.
func (t Tensor) Bytes() ([]byte, error) {
	b, err := t.data()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Name, err)
	}
	return b, nil
}

// Float32 is the numbers rounded to 32 bits.
func (t Tensor) Float32() ([]float32, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	x := make([]float32, t.Len())
	le := binary.LittleEndian
	for i := range x {
		switch t.DType {
		case "float32":
			x[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		case "bfloat16":
			x[i] = math.Float32frombits(uint32(le.Uint16(b[2*i:])) << 16)
		case "float16":
			x[i] = half(le.Uint16(b[2*i:]))
		case "float64":
			x[i] = float32(math.Float64frombits(le.Uint64(b[8*i:])))
		default:
			return nil, fmt.Errorf("read %s: it holds %s; want numbers with a fraction", t.Name, t.DType)
		}
	}
	return x, nil
}

// half is an IEEE 754 number of 16 bits.
func half(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&1023)
	switch exponent {
	case 0:
		x := float32(fraction) / (1 << 24)
		if sign != 0 {
			x = -x
		}
		return x
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

// File is an open file of tensors.
type File struct {
	Format  string // "pt", "pt (legacy)" or "safetensors"
	Tensors []Tensor

	file *os.File
}

// Close ends the reading of tensors.
func (f *File) Close() error { return f.file.Close() }

// Open opens the file at path and lists its tensors. It tells the format by the content.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{file: file}
	if err := f.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return f, nil
}

func (f *File) open() error {
	st, err := f.file.Stat()
	if err != nil {
		return err
	}
	var head [10]byte
	n, err := f.file.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case n >= 4 && string(head[:4]) == "PK\x03\x04":
		f.Format = "pt"
		f.Tensors, err = readZip(f.file, st.Size())
	case n == 10 && head[8] == '{': // after the header's length, whose first byte may be any
		f.Format = "safetensors"
		f.Tensors, err = readSafetensors(f.file, st.Size())
	case n >= 2 && head[0] == 0x80:
		f.Format = "pt (legacy)"
		f.Tensors, err = readLegacy(f.file, st.Size())
	default:
		return errors.New("neither a PyTorch file (.pt) nor safetensors")
	}
	return err
}
