package tensorfile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// safeTypes are the names of number types in safetensors.
var safeTypes = map[string]string{
	"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
	"I64": "int64", "I32": "int32", "U8": "uint8", "BOOL": "bool",
}

// safeEntry is one tensor of the header.
type safeEntry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// maxHeader is the format's own bound.
const maxHeader = 100 << 20

// readSafetensors reads the header: its length (8 bytes), and JSON.
func readSafetensors(r io.ReaderAt, size int64) ([]Tensor, error) {
	var length [8]byte
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > size-8 {
		return nil, fmt.Errorf("safetensors: a header of %d bytes in a file of %d: it is cut short, or another format", n, size)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, 8, int64(n)), text); err != nil {
		return nil, err
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(text, &header); err != nil {
		return nil, fmt.Errorf("safetensors: the header is damaged: %w", err)
	}
	data := size - 8 - int64(n)
	type placed struct {
		Tensor
		from, to int64
	}
	var all []placed
	for name, raw := range header {
		if name == "__metadata__" {
			continue
		}
		var e safeEntry
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, fmt.Errorf("safetensors: %s: %w", name, err)
		}
		t := placed{Tensor{Name: name, DType: safeTypes[e.DType], Shape: e.Shape}, e.Offsets[0], e.Offsets[1]}
		bytes := int64(sizes[t.DType])
		for _, d := range e.Shape {
			if d < 0 || d > 0 && bytes > data/int64(d) {
				return nil, fmt.Errorf("safetensors: %s of shape %v is larger than the file", name, e.Shape)
			}
			bytes *= int64(d)
		}
		if t.DType == "" || t.from < 0 || t.to > data || t.to-t.from != bytes {
			return nil, fmt.Errorf("safetensors: %s of %s %v at bytes %v of %d does not fit", name, e.DType, e.Shape, e.Offsets, data)
		}
		section := io.NewSectionReader(r, 8+int64(n)+t.from, bytes)
		t.data = func() ([]byte, error) {
			b := make([]byte, bytes)
			_, err := section.ReadAt(b, 0)
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return b, err
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.from, b.from), strings.Compare(a.Name, b.Name))
	})
	var end int64
	out := make([]Tensor, len(all))
	for i, t := range all {
		if t.from != end {
			return nil, fmt.Errorf("safetensors: %s begins at byte %d; want %d, without gaps and overlaps", t.Name, t.from, end)
		}
		end, out[i] = t.to, t.Tensor
	}
	if end != data {
		return nil, fmt.Errorf("safetensors: %d bytes of data, of which tensors use %d", data, end)
	}
	return out, nil
}

// WriteSafetensors writes the tensors, in their order.
func WriteSafetensors(w io.Writer, all []Tensor) error {
	var header bytes.Buffer
	at := int64(0)
	for i, t := range all {
		e := safeEntry{Shape: t.Shape}
		if e.Shape == nil {
			e.Shape = []int{}
		}
		for name, d := range safeTypes {
			if d == t.DType {
				e.DType = name
			}
		}
		n := int64(t.Len() * sizes[t.DType])
		e.Offsets = [2]int64{at, at + n}
		at += n
		name, err := json.Marshal(t.Name)
		if err != nil {
			return err
		}
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		header.WriteString([]string{"{", ","}[min(i, 1)])
		fmt.Fprintf(&header, "%s:%s", name, text)
	}
	if len(all) == 0 {
		header.WriteByte('{')
	}
	header.WriteByte('}')
	for header.Len()%8 != 0 {
		header.WriteByte(' ')
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(header.Len()))); err != nil {
		return err
	}
	if _, err := w.Write(header.Bytes()); err != nil {
		return err
	}
	for _, t := range all {
		b, err := t.Bytes()
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
