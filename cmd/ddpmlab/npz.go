package main

import (
	"fmt"
	"io"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/npz"
)

// npzWriter writes images, as they come, as NumPy's archive of one array: arr_0 of
// N×H×W×C bytes, what numpy.savez writes for the reference batches of guided-diffusion's
// evaluator.
type npzWriter struct {
	file  *npz.Writer
	array io.Writer
	left  int // images to come
}

// newNPZ begins an archive of n images. about goes into its comment, which NumPy does not
// look at.
func newNPZ(w io.Writer, n, height, width, channels int, about string) (*npzWriter, error) {
	z := npz.NewWriter(w)
	if err := z.Comment(about); err != nil {
		return nil, err
	}
	array, err := z.Stream("arr_0", n, height, width, channels)
	if err != nil {
		return nil, err
	}
	return &npzWriter{z, array, n}, nil
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
	return w.file.Close()
}
