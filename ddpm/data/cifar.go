package data

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"ddpmlab/internal/pickle"
)

// cifarPixels are the bytes of an image: planes of red, green and blue (Krizhevsky 2009).
const cifarPixels = 3 * 32 * 32

// cifarKinds are the two sets by what stands before an image in the binary version.
var cifarKinds = []struct {
	name   string
	limits []byte // of the labels; the last is the one that counts
}{
	{"CIFAR-10, binary", []byte{10}},
	{"CIFAR-100, binary", []byte{20, 100}},
}

// openCIFAR opens a batch of the binary version: labels and pixels, one after another.
func openCIFAR(p *place) (*found, error) {
	if p.folder || p.size < cifarPixels {
		return nil, nil
	}
	for _, k := range cifarKinds {
		head := len(k.limits)
		stride := int64(head + cifarPixels)
		fits := true
		for at := 0; at+head <= len(p.head); at += int(stride) {
			for i, limit := range k.limits {
				fits = fits && p.head[at+i] < limit
			}
		}
		rest := p.size % stride
		if !fits || rest != 0 && (ending(p.path) != ".bin" || head > 1) {
			continue
		}
		if rest != 0 {
			return nil, fmt.Errorf("%s: %d bytes are no whole number of %s's records of %d; the file is cut short or another",
				p.path, p.size, k.name, stride)
		}
		labels, at, err := cifarLabels(p, k.limits, stride)
		if err != nil {
			return nil, err
		}
		if labels == nil {
			if ending(p.path) == ".bin" && head == 1 {
				return nil, fmt.Errorf("%s: the label of image %d is not below %d; the file is damaged or no batch of %s", p.path, at, k.limits[0], k.name)
			}
			continue
		}
		return &found{
			format: k.name, files: []string{p.path}, labels: labels,
			images: &records{h: 32, w: 32, c: 3, planar: true, parts: []part{
				{file: p.file, name: p.path, at: int64(head), stride: stride, n: int(p.size / stride)},
			}},
		}, nil
	}
	return nil, nil
}

// cifarLabels reads the last label of every record; nil with the number of the first
// record that has none.
func cifarLabels(p *place, limits []byte, stride int64) (labels []int, bad int, err error) {
	r := bufio.NewReaderSize(io.NewSectionReader(p.file, 0, p.size), 1<<16)
	for i := range int(p.size / stride) {
		label := 0
		for _, limit := range limits {
			b, err := r.ReadByte()
			if err != nil {
				return nil, 0, fmt.Errorf("%s: %w", p.path, err)
			}
			if b >= limit {
				return nil, i, nil
			}
			label = int(b)
		}
		if _, err := r.Discard(cifarPixels); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", p.path, err)
		}
		labels = append(labels, label)
	}
	return labels, 0, nil
}

// openPickle opens a pickled batch: a dictionary with the array "data", N×3·S·S bytes in
// planes, and "labels" (CIFAR-10, downsampled ImageNet) or "fine_labels" (CIFAR-100).
// Nothing in the file is executed.
func openPickle(p *place) (*found, error) {
	if p.folder || len(p.head) < 2 || p.head[0] != 0x80 || p.head[1] > 5 {
		return nil, nil
	}
	tree, err := pickle.ReadFar(p.file, p.size, 1<<16)
	if err != nil {
		if ending(p.path) == "" || strings.Contains(ending(p.path), "p") {
			return nil, fmt.Errorf("%s: %w", p.path, err)
		}
		return nil, nil
	}
	d, ok := tree.(*pickle.Dict)
	if !ok {
		return nil, nil
	}
	value, ok := d.Get("data")
	if !ok {
		return nil, nil
	}
	a, err := pickledArray(value)
	if err != nil {
		return nil, fmt.Errorf("%s: data: %w", p.path, err)
	}
	n, size, err := planarShape(a.shape)
	if err != nil {
		return nil, fmt.Errorf("%s: data: %w", p.path, err)
	}
	out := &found{
		format: "batches of pickles, as CIFAR-10", files: []string{p.path},
		images: &records{h: size, w: size, c: 3, planar: true, parts: []part{a.part(p, n, 3*size*size)}},
	}
	image := int64(3 * size * size)
	if err := out.images.parts[0].check(a.size(p), image); err != nil {
		return nil, fmt.Errorf("%s: data: %w", p.path, err)
	}
	for _, key := range []string{"fine_labels", "labels"} {
		if v, ok := d.Get(key); ok {
			if out.labels, err = pickledLabels(v, n); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", p.path, key, err)
			}
			break
		}
	}
	return out, nil
}

// array is an array of bytes in a pickle: its shape, and where it lies.
type array struct {
	shape []int
	far   pickle.Far
	near  []byte // if it was short
}

func (a array) part(p *place, n, image int) part {
	out := part{file: p.file, name: p.path, at: a.far.Offset, stride: int64(image), n: n}
	if a.near != nil {
		out.file, out.at = strings.NewReader(string(a.near)), 0
	}
	return out
}

// size is the end of the array's bytes in its file.
func (a array) size(*place) int64 {
	if a.near != nil {
		return int64(len(a.near))
	}
	return a.far.Offset + a.far.Size
}

var errNoBytes = errors.New("it is no array of bytes, as numpy pickles them")

// pickledArray finds shape and bytes of a NumPy array of uint8 in C order, as NumPy 1 and
// 2 write them: _reconstruct(...) with a state (version, shape, type, fortran, bytes), or
// with protocol 5 _frombuffer(bytes, type, shape, order).
func pickledArray(v any) (array, error) {
	c, ok := v.(*pickle.Call)
	if !ok {
		return array{}, errNoBytes
	}
	f, _ := c.Func.(pickle.Global)
	var shape, kind, order, body any
	state, _ := c.State.(pickle.Tuple)
	switch {
	case f.Name == "_reconstruct" && len(state) == 5:
		shape, kind, order, body = state[1], state[2], state[3], state[4]
	case f.Name == "_frombuffer" && len(c.Args) == 4:
		shape, kind, order, body = c.Args[2], c.Args[1], c.Args[3] != "C", c.Args[0]
	default:
		return array{}, errNoBytes
	}
	if fortran, ok := order.(bool); !ok || fortran {
		return array{}, errors.New("it is in Fortran's order; want C's: save numpy.ascontiguousarray of it")
	}
	if t := pickledType(kind); t != "u1" {
		return array{}, fmt.Errorf("it is of type %q; want u1 (uint8)", t)
	}
	dims, ok := shape.(pickle.Tuple)
	if !ok {
		return array{}, errNoBytes
	}
	out := array{}
	for _, d := range dims {
		n, ok := d.(int64)
		if !ok || n < 1 || n > math.MaxInt32 {
			return array{}, fmt.Errorf("it is of shape %v; want sizes from 1", dims)
		}
		out.shape = append(out.shape, int(n))
	}
	switch b := body.(type) {
	case pickle.Far:
		if b.Text {
			return array{}, errors.New("its bytes are stored as text (protocol 2 of Python 3); save it again with protocol 4")
		}
		out.far = b
		return out, nil
	case pickle.Bytes:
		out.near = b
		return out, nil
	case *pickle.Call: // _codecs.encode(text, "latin1")
		text, ok := "", false
		if g, _ := b.Func.(pickle.Global); g.Name == "encode" && len(b.Args) == 2 {
			if far, is := b.Args[0].(pickle.Far); is && far.Text {
				return array{}, errors.New("its bytes are stored as text (protocol 2 of Python 3); save it again with protocol 4")
			}
			text, ok = b.Args[0].(string)
		}
		if !ok {
			return array{}, errNoBytes
		}
		out.near = make([]byte, 0, len(text))
		for _, r := range text {
			if r > 0xff {
				return array{}, errNoBytes
			}
			out.near = append(out.near, byte(r))
		}
		return out, nil
	}
	return array{}, errNoBytes
}

// pickledType is the type of a NumPy array: dtype("u1", ...).
func pickledType(v any) string {
	if c, ok := v.(*pickle.Call); ok && len(c.Args) > 0 {
		t, _ := pickle.Text(c.Args[0])
		return t
	}
	return ""
}

// planarShape is number and size of images in an array N×3·S·S.
func planarShape(shape []int) (n, size int, err error) {
	if len(shape) == 2 {
		size = int(math.Round(math.Sqrt(float64(shape[1]) / 3)))
		if 3*size*size == shape[1] {
			return shape[0], size, nil
		}
	}
	return 0, 0, fmt.Errorf("it is of shape %v; want N×3·S·S, as N×3072", shape)
}

// pickledLabels is a list of whole numbers.
func pickledLabels(v any, n int) ([]int, error) {
	l, ok := v.(*pickle.List)
	if !ok {
		return nil, nil // an array: no one asks for it yet
	}
	if len(l.Items) != n {
		return nil, fmt.Errorf("%d of %d images", len(l.Items), n)
	}
	out := make([]int, n)
	for i, x := range l.Items {
		k, ok := x.(int64)
		if !ok || k < 0 || k > math.MaxInt32 {
			return nil, fmt.Errorf("%v is no class", x)
		}
		out[i] = int(k)
	}
	return out, nil
}
