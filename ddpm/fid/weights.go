package fid

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"ddpmlab/ddpm/engine/op"
)

// Training is how the weights of the classifier came about, stored with them.
type Training struct {
	TrainedOn       string  `json:"trained_on"` // data set
	TrainedOnSHA256 string  `json:"trained_on_sha256"`
	TestedOn        string  `json:"tested_on"`
	TestedOnSHA256  string  `json:"tested_on_sha256"`
	Seed            uint64  `json:"seed"`
	Epochs          int     `json:"epochs"`
	Batch           int     `json:"batch"`
	LR              float64 `json:"lr"`
	WeightDecay     float64 `json:"weight_decay"`
	EMA             float64 `json:"ema"`
	Augment         string  `json:"augment"`
	Accuracy        float64 `json:"accuracy"` // share of TestedOn that is classified right
}

// Weights are those of the classifier. A file of them is one line that names
// the format, one of JSON, and the numbers as little-endian float32.
type Weights struct {
	Training
	net   net
	flat  []float32 // the tensors of net
	scale []float32 // what each feature is multiplied by
}

// tensors lists what the numbers of a file are: those that are trained, then
// one factor for each feature.
func (a net) tensors() []param {
	return append(a.params(), param{"features.scale", []int{a.c2}})
}

// magic is the first line of a weights file.
const magic = "ddpmlab fashion-cnn 1\n"

// header is the second line.
type header struct {
	Training
	Params []param `json:"params"`
}

// Bytes returns the file.
func (w *Weights) Bytes() []byte {
	var b bytes.Buffer
	b.WriteString(magic)
	// Strings and finite numbers: it cannot fail, nor can writing to the buffer.
	line, _ := json.Marshal(header{w.Training, w.net.tensors()})
	b.Write(append(line, '\n'))
	binary.Write(&b, binary.LittleEndian, w.flat)
	binary.Write(&b, binary.LittleEndian, w.scale)
	return b.Bytes()
}

// SHA256 is that of the file, in hexadecimal.
func (w *Weights) SHA256() string {
	sum := sha256.Sum256(w.Bytes())
	return hex.EncodeToString(sum[:])
}

// ReadWeights reads a weights file, and is strict: tensors must be those of the
// network, numbers finite, and nothing may be missing or follow.
func ReadWeights(r io.Reader) (*Weights, error) { return readWeights(r, fashionNet) }

func readWeights(r io.Reader, a net) (*Weights, error) {
	const maxHeader = 64 << 10
	br := bufio.NewReaderSize(r, maxHeader)
	if line, err := br.ReadSlice('\n'); err != nil || string(line) != magic {
		return nil, fmt.Errorf("not a weights file of fashion-cnn: it does not begin with %q", magic)
	}
	line, err := br.ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("weights of fashion-cnn: header is truncated or longer than %d bytes", maxHeader)
	}
	var h header
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&h); err != nil {
		return nil, fmt.Errorf("weights of fashion-cnn: header: %w", err)
	}
	want := a.tensors()
	if !slices.EqualFunc(h.Params, want, func(p, q param) bool { return p.Name == q.Name && slices.Equal(p.Shape, q.Shape) }) {
		return nil, fmt.Errorf("weights of fashion-cnn: tensors %v, want %v", h.Params, want)
	}
	w := &Weights{Training: h.Training, net: a, flat: make([]float32, a.numParams()), scale: make([]float32, a.c2)}
	for _, numbers := range [][]float32{w.flat, w.scale} {
		if err := binary.Read(br, binary.LittleEndian, numbers); err != nil {
			return nil, fmt.Errorf("weights of fashion-cnn: truncated, want %d numbers", len(w.flat)+len(w.scale))
		}
		for _, v := range numbers {
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				return nil, fmt.Errorf("weights of fashion-cnn: a number is %g", v)
			}
		}
	}
	if _, err := br.ReadByte(); err != io.EOF {
		return nil, fmt.Errorf("weights of fashion-cnn: there are bytes after the %d numbers", len(w.flat)+len(w.scale))
	}
	return w, nil
}

func nodes(n ...*op.Node) []*op.Node { return n }
