package fid

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"ddpmlab/ddpm/npz"
)

// Reference is what is kept of a set of real images to compare others with: statistics,
// and maybe the images.
type Reference struct {
	Name   string
	SHA256 string // of the images; of the file, where it does not tell
	N      int    // images, or UnknownN

	// What the statistics were made with; "" where the file does not tell.
	Extractor, ExtractorSHA256, Resize, Pixels string

	Pool    Stats // mu, sigma
	Spatial Stats // mu_s, sigma_s; Dim 0: none

	path   string
	images int // how many the file has in arr_0
}

// about is what a reference file of this project tells in its array "about", as JSON.
type about struct {
	Name            string `json:"name"`
	SHA256          string `json:"sha256"`
	N               int    `json:"n"`
	Extractor       string `json:"extractor"`
	ExtractorSHA256 string `json:"extractor_sha256"`
	Resize          string `json:"resize"`
	Pixels          string `json:"pixels"`
}

// IsReference reports whether the .npz file at path has statistics.
func IsReference(path string) (bool, error) {
	f, err := npz.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	switch {
	case f.Has("mu") && f.Has("sigma"):
		return true, nil
	case f.Has("arr_0"):
		return false, nil
	}
	return false, fmt.Errorf("%s has the arrays %s; want mu and sigma (statistics) or arr_0 (images)", path, strings.Join(f.Names(), ", "))
}

// ReadReference reads a reference: the .npz files of this project, of guided-diffusion
// (mu, sigma, mu_s, sigma_s, arr_0), of EDM and of pytorch-fid (mu, sigma).
func ReadReference(path string) (*Reference, error) {
	if is, err := IsReference(path); err != nil {
		return nil, err
	} else if !is {
		return nil, fmt.Errorf("%s has images but no statistics mu and sigma", path)
	}
	f, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := &Reference{Name: filepath.Base(path), N: UnknownN, path: path}
	if f.Has("about") {
		err = r.readAbout(f)
	} else {
		r.SHA256, err = fileSum(path)
	}
	if err != nil {
		return nil, err
	}
	if r.Pool, err = readStats(f, path, "mu", "sigma", r.N); err != nil {
		return nil, err
	}
	if f.Has("mu_s") && f.Has("sigma_s") {
		if r.Spatial, err = readStats(f, path, "mu_s", "sigma_s", r.N); err != nil {
			return nil, err
		}
	}
	if f.Has("arr_0") {
		a, err := f.Array("arr_0")
		if err != nil {
			return nil, err
		}
		if len(a.Shape) > 0 {
			r.images = a.Shape[0]
		}
		if err := a.Close(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Reference) readAbout(f *npz.File) error {
	text, _, err := f.Float64s("about")
	if err != nil {
		return err
	}
	b := make([]byte, len(text))
	for i, v := range text {
		b[i] = byte(v)
	}
	var a about
	if err := json.Unmarshal(b, &a); err != nil {
		return fmt.Errorf("%s: array about: %w", r.path, err)
	}
	r.Name, r.SHA256, r.N, r.Pixels = a.Name, a.SHA256, a.N, a.Pixels
	r.Extractor, r.ExtractorSHA256, r.Resize = a.Extractor, a.ExtractorSHA256, a.Resize
	return nil
}

func readStats(f *npz.File, path, mu, sigma string, n int) (Stats, error) {
	mean, shape, err := f.Float64s(mu)
	if err != nil {
		return Stats{}, err
	}
	cov, square, err := f.Float64s(sigma)
	if err != nil {
		return Stats{}, err
	}
	dim := len(mean)
	if len(shape) != 1 || dim == 0 || len(square) != 2 || square[0] != dim || square[1] != dim {
		return Stats{}, fmt.Errorf("%s: %s has the shape %v and %s %v; want [d] and [d d]", path, mu, shape, sigma, square)
	}
	if !finite(mean) || !finite(cov) {
		return Stats{}, fmt.Errorf("%s: %s or %s holds NaN or infinity; make the file again", path, mu, sigma)
	}
	for i := range dim {
		for j := range i {
			a, b := cov[i*dim+j], cov[j*dim+i]
			if math.Abs(a-b) > 1e-4*math.Sqrt(math.Abs(cov[i*dim+i]*cov[j*dim+j]))+1e-12 {
				return Stats{}, fmt.Errorf("%s: %s is not symmetric (%g and %g at %d,%d); want a covariance", path, sigma, a, b, i, j)
			}
		}
	}
	return Stats{N: n, Dim: dim, Mean: mean, Cov: cov}, nil
}

// fits reports why statistics made with another extractor do not serve this one.
func (r *Reference) fits(e Network) error {
	switch {
	case r.Extractor != "" && (r.Extractor != e.Name() || r.ExtractorSHA256 != e.SHA256()):
		return fmt.Errorf("reference %s was made with the extractor %s (weights %.12s), and this is %s (weights %.12s); make it again with `ddpmlab evaluate ref`",
			r.Name, r.Extractor, r.ExtractorSHA256, e.Name(), e.SHA256())
	case r.Resize != "" && r.Resize != e.Resize():
		return fmt.Errorf("reference %s was made with the resizing %q, and this is %q; make it again with `ddpmlab evaluate ref`", r.Name, r.Resize, e.Resize())
	case r.Pool.Dim != e.Dim():
		return fmt.Errorf("reference %s has statistics of %d features, and the extractor %s gives %d; choose the extractor it was made with", r.Name, r.Pool.Dim, e.Name(), e.Dim())
	}
	return nil
}

// WriteReference writes the statistics of a set of images, and the images themselves
// unless images is nil. They are then read a second time.
func WriteReference(path string, m *Measured, images *Source) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			os.Remove(path)
		}
	}()
	w := npz.NewWriter(file)
	text, err := json.Marshal(about{m.Name, m.SHA256, m.Pool.N, m.Extractor, m.ExtractorSHA256, m.Resize, m.PixelKind})
	if err != nil {
		return err
	}
	whole := func(b []byte) func(io.Writer) error {
		return func(w io.Writer) error { _, err := w.Write(b); return err }
	}
	if err := w.Bytes("about", []int{len(text)}, whole(text)); err != nil {
		return err
	}
	for _, s := range []struct {
		mu, sigma string
		Stats
	}{{"mu", "sigma", m.Pool}, {"mu_s", "sigma_s", m.Spatial}} {
		if s.Dim == 0 {
			continue
		}
		if err := errors.Join(w.Float64s(s.mu, []int{s.Dim}, s.Mean), w.Float64s(s.sigma, []int{s.Dim, s.Dim}, s.Cov)); err != nil {
			return err
		}
	}
	if images != nil {
		err = w.Bytes("arr_0", []int{images.N, images.H, images.W, images.C}, func(w io.Writer) error {
			one := make([]byte, images.H*images.W*images.C)
			for range images.N {
				if err := images.Bytes(one); err != nil {
					return err
				}
				if _, err := w.Write(one); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return w.Close()
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
