package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// openIDX opens images of an IDX file, N×H×W bytes, compressed or not, with the classes in
// the file beside it that MNIST's naming gives them.
func openIDX(p *place) (*found, error) {
	if p.folder || !bytes.HasPrefix(p.head, []byte{0x1f, 0x8b}) && !bytes.HasPrefix(p.head, []byte{0, 0, 8, 3}) {
		return nil, nil
	}
	file, size := io.ReaderAt(p.file), p.size
	if p.head[0] == 0x1f {
		head, err := gzipHead(p.head)
		if err != nil || !bytes.HasPrefix(head, []byte{0, 0, 8, 3}) {
			return nil, nil
		}
		z, err := gzip.NewReader(io.NewSectionReader(p.file, 0, p.size))
		if err != nil {
			return nil, nil
		}
		unpacked, n, err := spool(z, maxIDX)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.path, plain("gzip", err))
		}
		file, size = unpacked, n
	}
	var head [16]byte
	if err := readAt(file, head[:], 0); err != nil {
		return nil, fmt.Errorf("%s: %w", p.path, err)
	}
	be := binary.BigEndian
	n, h, w := be.Uint32(head[4:]), be.Uint32(head[8:]), be.Uint32(head[12:])
	if n < 1 || h < 1 || w < 1 || n > maxIDX || uint64(h)*uint64(w) > maxPixels || int64(n)*int64(h)*int64(w)+16 != size {
		return nil, fmt.Errorf("%s: %d bytes for %d images of %d×%d; it is damaged or cut short", p.path, size, n, h, w)
	}
	image := int64(h) * int64(w)
	out := &found{
		format: "IDX, as MNIST", files: []string{p.path},
		images: &records{h: int(h), w: int(w), c: 1, parts: []part{{file: file, name: p.path, at: 16, stride: image, n: int(n)}}},
	}
	var err error
	out.labels, err = idxLabels(p.path, int(n))
	return out, err
}

// gzipHead decompresses the beginning of a file that begins so.
func gzipHead(head []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(head))
	if err != nil {
		return nil, err
	}
	out := make([]byte, 16)
	n, err := io.ReadFull(z, out)
	if n >= 4 {
		return out[:n], nil
	}
	return nil, err
}

// idxLabels reads train-labels-idx1-ubyte beside train-images-idx3-ubyte, if it is there.
func idxLabels(images string, n int) ([]int, error) {
	name := strings.Replace(images, "images-idx3", "labels-idx1", 1)
	if name == images {
		return nil, nil
	}
	plainName := strings.TrimSuffix(name, ".gz")
	for _, name := range []string{name, plainName, plainName + ".gz"} {
		file, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer file.Close()
		var r io.Reader = file
		if ending(name) == ".gz" {
			if r, err = gzip.NewReader(file); err != nil {
				return nil, fmt.Errorf("%s: %w", name, plain("gzip", err))
			}
		}
		x, err := ReadIDX(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(x.Dims) != 1 || x.Dims[0] != n {
			return nil, fmt.Errorf("%s: dimensions %v for %d images", name, x.Dims, n)
		}
		labels := make([]int, n)
		for i, b := range x.Data {
			labels[i] = int(b)
		}
		return labels, nil
	}
	return nil, nil
}
