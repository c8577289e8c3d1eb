package main

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"ddpmlab/ddpm"
)

// npzWriter writes images, as they come, as NumPy's archive of one array: arr_0 of
// N×H×W×C bytes, what numpy.savez writes for the reference batches of guided-diffusion's
// evaluator.
type npzWriter struct {
	zip   *zip.Writer
	array io.Writer
	left  int // images to come
}

// newNPZ begins an archive of n images. about goes into its comment, which NumPy does not
// look at.
func newNPZ(w io.Writer, n, height, width, channels int, about string) (*npzWriter, error) {
	z := zip.NewWriter(w)
	if err := z.SetComment(about); err != nil {
		return nil, err
	}
	f, err := z.CreateHeader(&zip.FileHeader{Name: "arr_0.npy", Method: zip.Store})
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%d, %d, %d, %d), }", n, height, width, channels)
	// The header ends with a line end, and the data begin at a multiple of 64.
	const magic = "\x93NUMPY\x01\x00" // format 1.0; the header's length follows as two bytes
	head += strings.Repeat(" ", 63-(len(magic)+2+len(head))%64) + "\n"
	head = string(binary.LittleEndian.AppendUint16([]byte(magic), uint16(len(head)))) + head
	_, err = io.WriteString(f, head)
	return &npzWriter{z, f, n}, err
}

// write adds images.
func (w *npzWriter) write(m ddpm.Images) error {
	if w.left -= m.N; w.left < 0 {
		return fmt.Errorf("%d images more than the array holds", -w.left)
	}
	_, err := w.array.Write(m.Bytes())
	return err
}

// close writes the archive's directory, once all images are there.
func (w *npzWriter) close() error {
	if w.left != 0 {
		return fmt.Errorf("%d images are missing", w.left)
	}
	return w.zip.Close()
}
