package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"ddpmlab/ddpm"
)

// npz is the images as NumPy's archive of one array, arr_0 of N×H×W×C bytes: what
// numpy.savez writes for the reference batches of guided-diffusion's evaluator.
func npz(m ddpm.Images) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.CreateHeader(&zip.FileHeader{Name: "arr_0.npy", Method: zip.Store})
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%d, %d, %d, %d), }", m.N, m.H, m.W, m.C)
	// The header ends with a line end, and the data begin at a multiple of 64.
	const magic = "\x93NUMPY\x01\x00" // format 1.0; the header's length follows as two bytes
	head += strings.Repeat(" ", 63-(len(magic)+2+len(head))%64) + "\n"
	head = string(binary.LittleEndian.AppendUint16([]byte(magic), uint16(len(head)))) + head
	if _, err := io.WriteString(f, head); err != nil {
		return nil, err
	}
	if _, err := f.Write(m.Bytes()); err != nil {
		return nil, err
	}
	err = z.Close() // writes the directory
	return b.Bytes(), err
}
