package tensorfile

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"

	"ddpmlab/internal/pickle"
)

// storageTypes are PyTorch's names of one-dimensional storages.
var storageTypes = map[string]string{
	"HalfStorage": "float16", "BFloat16Storage": "bfloat16", "FloatStorage": "float32", "DoubleStorage": "float64",
	"LongStorage": "int64", "IntStorage": "int32", "ByteStorage": "uint8", "BoolStorage": "bool",
}

// storages gives the bytes of a storage: how many there are, and some of them.
type storages func(key string) (io.ReaderAt, int64, error)

// maxPickle bounds the description of the tensors in a file.
const maxPickle = 64 << 20

// readZip reads the archive that torch.save writes since PyTorch 1.6.
func readZip(r io.ReaderAt, size int64) ([]Tensor, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("the archive is damaged: %w", err)
	}
	files := map[string]*zip.File{}
	root := ""
	for _, f := range z.File {
		files[f.Name] = f
		if dir, ok := strings.CutSuffix(f.Name, "data.pkl"); ok && (dir == "" || strings.HasSuffix(dir, "/")) {
			root = dir
		}
	}
	description := files[root+"data.pkl"]
	if description == nil {
		return nil, errors.New("an archive without data.pkl: not a file of torch.save")
	}
	if order := files[root+"byteorder"]; order != nil {
		text, err := content(order, 64)
		if err != nil || strings.TrimSpace(string(text)) != "little" {
			return nil, fmt.Errorf("byte order %q; little is read: save it on another machine", text)
		}
	}
	in, err := description.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	tree, err := pickle.Read(bufio.NewReader(io.LimitReader(in, maxPickle)))
	if err != nil {
		return nil, err
	}
	return tensors(tree, func(key string) (io.ReaderAt, int64, error) {
		f := files[root+"data/"+key]
		if f == nil {
			return nil, 0, fmt.Errorf("the archive has no %sdata/%s", root, key)
		}
		if f.Method != zip.Store {
			return nil, 0, fmt.Errorf("%s is compressed, which torch.save never does", f.Name)
		}
		at, err := f.DataOffset()
		n := int64(f.UncompressedSize64)
		if err == nil && (n < 0 || at > size || n > size-at) {
			err = fmt.Errorf("%s reaches beyond the file's end", f.Name)
		}
		return io.NewSectionReader(r, at, n), n, err
	})
}

func content(f *zip.File, limit int64) ([]byte, error) {
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(io.LimitReader(in, limit))
}

// legacyMagic begins the files of torch.save before 1.6.
var legacyMagic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

// counter tells how far a reader has come.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// readLegacy reads a stream of pickles, magic number, version, machine, tensors, keys of
// storages, and then the storages: a count and the numbers.
func readLegacy(r io.ReaderAt, size int64) ([]Tensor, error) {
	c := &counter{r: io.NewSectionReader(r, 0, size)}
	in := bufio.NewReader(c)
	var parts [5]any
	for i := range parts {
		var err error
		if parts[i], err = pickle.Read(in); err != nil {
			return nil, err
		}
		if m, ok := parts[0].(*big.Int); !ok || m.Cmp(legacyMagic) != 0 {
			return nil, errors.New("a pickle, but not a file of torch.save")
		}
	}
	keys, ok := parts[4].(*pickle.List)
	if !ok {
		return nil, errors.New("the file has no list of storages")
	}
	types := map[string]string{}
	if err := walk("", parts[3], func(name string, t *pickle.Call) error {
		s, err := viewOf(t)
		types[s.key] = s.dtype
		return err
	}); err != nil {
		return nil, err
	}
	type extent struct{ at, n int64 }
	where := map[string]extent{}
	at := c.n - int64(in.Buffered())
	for _, k := range keys.Items {
		key, _ := pickle.Text(k)
		var count [8]byte
		if _, err := r.ReadAt(count[:], at); err != nil {
			return nil, errors.New("the file is cut short")
		}
		n := int64(binary.LittleEndian.Uint64(count[:]))
		width := int64(sizes[types[key]])
		at += 8
		if n < 0 || width == 0 || n > (size-at)/width {
			return nil, fmt.Errorf("storage %s of %d numbers reaches beyond the file's end", key, n)
		}
		where[key] = extent{at, n * width}
		at += n * width
	}
	return tensors(parts[3], func(key string) (io.ReaderAt, int64, error) {
		e, ok := where[key]
		if !ok {
			return nil, 0, fmt.Errorf("the file has no storage %s", key)
		}
		return io.NewSectionReader(r, e.at, e.n), e.n, nil
	})
}

// walk calls f for every tensor of a tree of dictionaries and lists, by its path.
func walk(name string, v any, f func(name string, t *pickle.Call) error) error {
	left := 1 << 20
	return walkDeep(name, v, f, 0, &left)
}

// walkDeep visits at most left values: what is shared counts as often as it is met.
func walkDeep(name string, v any, f func(name string, t *pickle.Call) error, depth int, left *int) error {
	if *left--; depth > 8 || *left < 0 {
		return errors.New("its dictionaries are too many or nested too deep")
	}
	below := func(key string) string {
		if name == "" {
			return key
		}
		return name + "." + key
	}
	dict := func(d *pickle.Dict) error {
		for i, k := range d.Keys {
			key, ok := pickle.Text(k)
			if n, isInt := k.(int64); isInt {
				key, ok = strconv.FormatInt(n, 10), true
			}
			if !ok {
				continue
			}
			if err := walkDeep(below(key), d.Values[i], f, depth+1, left); err != nil {
				return err
			}
		}
		return nil
	}
	switch v := v.(type) {
	case *pickle.Dict:
		return dict(v)
	case *pickle.List:
		for i, x := range v.Items {
			if err := walkDeep(below(strconv.Itoa(i)), x, f, depth+1, left); err != nil {
				return err
			}
		}
	case *pickle.Call:
		switch g, _ := v.Func.(pickle.Global); g {
		case pickle.Global{Module: "torch._utils", Name: "_rebuild_tensor_v2"}:
			return f(name, v)
		case pickle.Global{Module: "torch._utils", Name: "_rebuild_parameter"}:
			if len(v.Args) > 0 {
				return walkDeep(name, v.Args[0], f, depth+1, left)
			}
		case pickle.Global{Module: "collections", Name: "OrderedDict"}:
			if v.Items != nil {
				return dict(v.Items)
			}
		default:
			return fmt.Errorf("%s would run %s.%s; only tensors, parameters and dictionaries are read", name, g.Module, g.Name)
		}
	}
	return nil
}

// view is a tensor's place in a storage, in numbers.
type view struct {
	key, dtype     string
	offset         int64
	shape, strides []int
}

// viewOf reads the arguments of torch._utils._rebuild_tensor_v2.
func viewOf(t *pickle.Call) (v view, err error) {
	bad := errors.New("a tensor that is described in an unknown way")
	if len(t.Args) < 4 {
		return v, bad
	}
	p, ok1 := t.Args[0].(pickle.Persistent)
	id, ok2 := p.ID.(pickle.Tuple)
	offset, ok3 := t.Args[1].(int64)
	if !ok1 || !ok2 || !ok3 || len(id) < 5 {
		return v, bad
	}
	kind, _ := id[1].(pickle.Global)
	key, ok := pickle.Text(id[2])
	v = view{key: key, dtype: storageTypes[kind.Name], offset: offset}
	if !ok || v.dtype == "" || kind.Module != "torch" {
		return v, fmt.Errorf("a storage of type %s.%s", kind.Module, kind.Name)
	}
	for i, list := range []*[]int{&v.shape, &v.strides} {
		t, ok := t.Args[2+i].(pickle.Tuple)
		if !ok || len(t) > 8 {
			return v, bad
		}
		for _, x := range t {
			n, ok := x.(int64)
			if !ok || n < 0 || n > 1<<40 {
				return v, bad
			}
			*list = append(*list, int(n))
		}
	}
	if len(v.shape) != len(v.strides) {
		return v, bad
	}
	return v, nil
}

// tensors lists the tensors below tree, each checked against its storage.
func tensors(tree any, find storages) ([]Tensor, error) {
	var out []Tensor
	err := walk("", tree, func(name string, call *pickle.Call) error {
		v, err := viewOf(call)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r, n, err := find(v.key)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := v.check(n / int64(sizes[v.dtype])); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, Tensor{Name: name, DType: v.dtype, Shape: v.shape, data: func() ([]byte, error) { return v.read(r) }})
		return nil
	})
	if err == nil && len(out) == 0 {
		err = errors.New("the file has no tensors")
	}
	return out, err
}

// check refuses a view that leaves its storage of n numbers, or repeats some.
func (v view) check(n int64) error {
	last, count := v.offset, int64(1)
	for i, d := range v.shape {
		if d == 0 {
			return nil
		}
		if int64(d) > n || int64(d-1) > 0 && int64(v.strides[i]) > n {
			return fmt.Errorf("shape %v with strides %v does not fit a storage of %d numbers", v.shape, v.strides, n)
		}
		last += int64(d-1) * int64(v.strides[i])
		if count *= int64(d); count > n || last > n {
			break
		}
	}
	if v.offset < 0 || last >= n || count > n {
		return fmt.Errorf("shape %v with strides %v from %d does not fit a storage of %d numbers", v.shape, v.strides, v.offset, n)
	}
	return nil
}

// read gathers the view's numbers, row-major.
func (v view) read(r io.ReaderAt) ([]byte, error) {
	width := sizes[v.dtype]
	count, dense := 1, true
	for i := len(v.shape) - 1; i >= 0; i-- {
		dense = dense && (v.strides[i] == count || v.shape[i] == 1)
		count *= v.shape[i]
	}
	if count == 0 {
		return nil, nil
	}
	if dense {
		b := make([]byte, count*width)
		_, err := io.ReadFull(io.NewSectionReader(r, v.offset*int64(width), int64(len(b))), b)
		return b, err
	}
	last := 0
	for i, d := range v.shape {
		last += (d - 1) * v.strides[i]
	}
	span := make([]byte, (last+1)*width)
	if _, err := io.ReadFull(io.NewSectionReader(r, v.offset*int64(width), int64(len(span))), span); err != nil {
		return nil, err
	}
	out := make([]byte, 0, count*width)
	index := make([]int, len(v.shape))
	for range count {
		at := 0
		for i, k := range index {
			at += k * v.strides[i]
		}
		out = append(out, span[at*width:(at+1)*width]...)
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < v.shape[i] {
				break
			}
			index[i] = 0
		}
	}
	return out, nil
}

// WritePT writes the tensors as torch.save writes a state dict, an OrderedDict by name:
// torch.load reads it, with weights_only too.
func WritePT(w io.Writer, all []Tensor) error {
	z := zip.NewWriter(w)
	entry := func(name string) (io.Writer, error) {
		return z.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: zip.Store})
	}
	var p pickler
	p.raw("\x80\x02ccollections\nOrderedDict\n)R(")
	for i, t := range all {
		p.text(t.Name)
		kind := ""
		for k, d := range storageTypes {
			if d == t.DType {
				kind = k
			}
		}
		p.raw("ctorch._utils\n_rebuild_tensor_v2\n((")
		p.text("storage")
		p.raw("ctorch\n" + kind + "\n")
		p.text(strconv.Itoa(i))
		p.text("cpu")
		p.int(t.Len())
		p.raw("tQ")
		p.int(0)
		strides := make([]int, len(t.Shape))
		for j, n := len(t.Shape)-1, 1; j >= 0; j-- {
			strides[j] = n
			n *= t.Shape[j]
		}
		for _, list := range [][]int{t.Shape, strides} {
			p.raw("(")
			for _, n := range list {
				p.int(n)
			}
			p.raw("t")
		}
		p.raw("\x89ccollections\nOrderedDict\n)RtR")
	}
	p.raw("u.")
	for _, e := range []struct{ name, text string }{{"data.pkl", string(p)}, {"byteorder", "little"}} {
		f, err := entry(e.name)
		if err == nil {
			_, err = io.WriteString(f, e.text)
		}
		if err != nil {
			return err
		}
	}
	for i, t := range all {
		b, err := t.Bytes()
		if err != nil {
			return err
		}
		f, err := entry("data/" + strconv.Itoa(i))
		if err == nil {
			_, err = f.Write(b)
		}
		if err != nil {
			return err
		}
	}
	f, err := entry("version")
	if err == nil {
		_, err = io.WriteString(f, "3\n")
	}
	return errors.Join(err, z.Close())
}

// pickler is the instructions of a pickle.
type pickler []byte

func (p *pickler) raw(s string) { *p = append(*p, s...) }

func (p *pickler) text(s string) {
	*p = append(binary.LittleEndian.AppendUint32(append(*p, 'X'), uint32(len(s))), s...)
}

func (p *pickler) int(n int) {
	if n < 1<<31 {
		*p = binary.LittleEndian.AppendUint32(append(*p, 'J'), uint32(n))
		return
	}
	*p = binary.LittleEndian.AppendUint64(append(*p, 0x8a, 8), uint64(n)) // LONG1
}
