package main

import (
	"bytes"
	"io"

	"ddpmlab/ddpm"
	npzfile "ddpmlab/ddpm/npz"
)

// npz is the images as NumPy's archive of one array, arr_0 of N×H×W×C bytes: what
// numpy.savez writes for the reference batches of guided-diffusion's evaluator.
func npz(m ddpm.Images) ([]byte, error) {
	var b bytes.Buffer
	w := npzfile.NewWriter(&b)
	err := w.Bytes("arr_0", []int{m.N, m.H, m.W, m.C}, func(w io.Writer) error {
		_, err := w.Write(m.Bytes())
		return err
	})
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}
