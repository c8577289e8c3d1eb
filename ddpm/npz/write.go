package npz

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
)

// Writer writes an archive.
type Writer struct{ zip *zip.Writer }

// NewWriter returns a Writer to w. Close ends the archive and leaves w open.
func NewWriter(w io.Writer) *Writer { return &Writer{zip.NewWriter(w)} }

// Close writes the archive's directory.
func (w *Writer) Close() error { return w.zip.Close() }

// Comment sets the archive's comment, which NumPy does not look at.
func (w *Writer) Comment(text string) error { return w.zip.SetComment(text) }

// Stream adds an array of uint8, stored. Its numbers are to be written to the result,
// before anything else is added.
func (w *Writer) Stream(name string, shape ...int) (io.Writer, error) {
	return w.array(name, "|u1", shape, zip.Store)
}

// Bytes adds an array of uint8, stored: write writes its numbers.
func (w *Writer) Bytes(name string, shape []int, write func(io.Writer) error) error {
	f, err := w.Stream(name, shape...)
	if err != nil {
		return err
	}
	return write(f)
}

// Float64s adds an array of float64, deflated.
func (w *Writer) Float64s(name string, shape []int, x []float64) error {
	f, err := w.array(name, "<f8", shape, zip.Deflate)
	if err != nil {
		return err
	}
	b := make([]byte, 0, 1<<15)
	for i, v := range x {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		if len(b) == cap(b) || i == len(x)-1 {
			if _, err := f.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	return nil
}

// array begins an array of format 1.
func (w *Writer) array(name, kind string, shape []int, method uint16) (io.Writer, error) {
	f, err := w.zip.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: method})
	if err != nil {
		return nil, err
	}
	dims := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]")
	if len(shape) == 1 {
		dims += "," // as Python writes a tuple of one
	}
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", kind, dims)
	// The header ends with a line end, and the data begin at a multiple of 64.
	const begin = magic + "\x01\x00" // the header's length follows as two bytes
	head += strings.Repeat(" ", 63-(len(begin)+2+len(head))%64) + "\n"
	_, err = io.WriteString(f, string(binary.LittleEndian.AppendUint16([]byte(begin), uint16(len(head))))+head)
	return f, err
}
