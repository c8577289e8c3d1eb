package data

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// reader is images as they lie in files, of one or of many sizes.
type reader interface {
	len() int
	// read decodes image i.
	read(i int) (picture, error)
	// where names image i in messages.
	where(i int) string
}

// records is a reader of images that lie uncompressed, all of one size.
type records struct {
	h, w, c int
	planar  bool // channel after channel, as CIFAR-10; otherwise H×W×C
	parts   []part
}

// part is a file of records.
type part struct {
	file   io.ReaderAt
	name   string
	at     int64 // where the first image begins
	stride int64 // from one image to the next
	n      int
}

func (r *records) len() int {
	n := 0
	for _, p := range r.parts {
		n += p.n
	}
	return n
}

// find is the part that image i is in, and its number there.
func (r *records) find(i int) (part, int) {
	for _, p := range r.parts {
		if i < p.n {
			return p, i
		}
		i -= p.n
	}
	return part{}, -1
}

func (r *records) where(i int) string {
	p, i := r.find(i)
	return fmt.Sprintf("image %d of %s", i, p.name)
}

func (r *records) read(i int) (picture, error) {
	p, i := r.find(i)
	q := newPicture(r.h, r.w, r.c)
	if err := readAt(p.file, q.pix, p.at+int64(i)*p.stride); err != nil {
		return picture{}, err
	}
	r.interleave(q.pix)
	return q, nil
}

// interleave brings one image to H×W×C.
func (r *records) interleave(pix []byte) {
	if !r.planar || r.c == 1 {
		return
	}
	plane := r.h * r.w
	old := append([]byte(nil), pix...)
	for k := range r.c {
		for i, v := range old[k*plane : (k+1)*plane] {
			pix[i*r.c+k] = v
		}
	}
}

// sum is the SHA-256 of all pixels, whatever format they are in.
func (r *records) sum() ([]byte, error) {
	h := sha256.New()
	fmt.Fprintf(h, "ddpmlab images %d×%d×%d×%d\n", r.len(), r.h, r.w, r.c)
	size := int64(r.h * r.w * r.c)
	for _, p := range r.parts {
		at := int64(0)
		block := make([]byte, max(1, min(int64(p.n), 1<<20/p.stride))*p.stride)
		for done := 0; done < p.n; {
			n := min(p.n-done, len(block)/int(p.stride))
			// The last record ends with its image: what lies between two may be absent after it.
			b := block[:int64(n-1)*p.stride+size]
			if err := readAt(p.file, b, p.at+at); err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			for i := range n {
				pix := b[int64(i)*p.stride:][:size]
				r.interleave(pix)
				h.Write(pix)
			}
			done, at = done+n, at+int64(n)*p.stride
		}
	}
	return h.Sum(nil), nil
}

// readAt fills b from f, or says that the file is too short.
func readAt(f io.ReaderAt, b []byte, at int64) error {
	n, err := f.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	}
	return err
}

// check reports a file that is too short for its records.
func (p part) check(size, image int64) error {
	if p.n < 1 {
		return errors.New("it holds no image")
	}
	if p.at < 0 || p.stride < image || (size-p.at-image)/p.stride < int64(p.n-1) || size-p.at < image {
		return errCut
	}
	return nil
}
