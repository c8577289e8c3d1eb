package ddpm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
)

// Checkpoint is a training run at one iteration: enough to sample from it and to
// go on with it as if it had not stopped. The arrays hold every parameter in the
// engine's layout, one after another in the order of unet.Config.Keys.
type Checkpoint struct {
	Config     Config
	Variant    Variant
	Step       int64  // iterations done
	DataSHA256 string // of the data set it was trained on

	Weights, EMA     []float32 // EMA is what samples are drawn with
	Moment1, Moment2 []float32 // Adam's
}

// The file: magic, version and header length (little-endian 32-bit), header (JSON),
// the four arrays (little-endian float32), and the SHA-256 of all bytes before it.
const (
	checkpointMagic   = "ddpmlab\x00"
	checkpointVersion = 1
	maxHeader         = 1 << 20
)

// checkpointHeader is the JSON part.
type checkpointHeader struct {
	Config     Config   `json:"config"`
	Variant    Variant  `json:"variant"`
	Step       int64    `json:"step"`
	DataSHA256 string   `json:"data_sha256"`
	Numerics   int      `json:"numerics"` // NumericsVersion of the writer
	Params     int      `json:"params"`   // length of each array
	Arrays     []string `json:"arrays"`   // their names, in the file's order
}

var checkpointArrays = []string{"weights", "ema", "moment1", "moment2"}

func (c *Checkpoint) arrays() []*[]float32 {
	return []*[]float32{&c.Weights, &c.EMA, &c.Moment1, &c.Moment2}
}

// String tells what the checkpoint is of, as "DDPM-IP (γ 0.1), seed 1, 500 of 1500
// iterations, 208001 weights".
func (c *Checkpoint) String() string {
	return fmt.Sprintf("%v, seed %d, %d of %d iterations, %d weights",
		c.Variant, c.Config.Seed, c.Step, c.Config.Iterations, len(c.Weights))
}

// Write writes the checkpoint to w, in one pass. Equal checkpoints give equal bytes.
func (c *Checkpoint) Write(w io.Writer) error {
	buf := bufio.NewWriterSize(w, 1<<16)
	h := sha256.New()
	if err := c.write(io.MultiWriter(buf, h)); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	buf.Write(h.Sum(nil)) // an error stays in buf until Flush
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

// SHA256 identifies the checkpoint: the sum that ends its file, in hex.
func (c *Checkpoint) SHA256() string {
	h := sha256.New()
	if err := c.write(h); err != nil {
		return "" // arrays of unequal length: nothing that Write would write
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (c *Checkpoint) write(w io.Writer) error {
	for i, a := range c.arrays() {
		if len(*a) != len(c.Weights) {
			return fmt.Errorf("%s has %d numbers, weights %d; want as many", checkpointArrays[i], len(*a), len(c.Weights))
		}
	}
	header, err := json.Marshal(checkpointHeader{
		c.Config, c.Variant, c.Step, c.DataSHA256, NumericsVersion, len(c.Weights), checkpointArrays,
	})
	if err != nil {
		return err
	}
	start := append([]byte(checkpointMagic), binary.LittleEndian.AppendUint32(nil, checkpointVersion)...)
	start = binary.LittleEndian.AppendUint32(start, uint32(len(header)))
	if _, err := w.Write(append(start, header...)); err != nil {
		return err
	}
	block := make([]byte, 0, 1<<16)
	for _, a := range c.arrays() {
		for x := *a; len(x) > 0; {
			n := min(len(x), cap(block)/4)
			block = block[:0]
			for _, v := range x[:n] {
				block = binary.LittleEndian.AppendUint32(block, math.Float32bits(v))
			}
			if _, err := w.Write(block); err != nil {
				return err
			}
			x = x[n:]
		}
	}
	return nil
}

// ReadCheckpoint reads what Write wrote, in one pass, and checks its sum. A file
// that is not a checkpoint, is cut short or damaged, gives one error that says so.
func ReadCheckpoint(r io.Reader) (*Checkpoint, error) {
	c, err := readCheckpoint(bufio.NewReaderSize(r, 1<<16))
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("read checkpoint: the file is cut short; restore it, or train the run again")
	case err != nil:
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	return c, nil
}

func readCheckpoint(r io.Reader) (*Checkpoint, error) {
	h := sha256.New()
	in := io.TeeReader(r, h)
	start := make([]byte, len(checkpointMagic)+8)
	if _, err := io.ReadFull(in, start); err != nil {
		return nil, err
	}
	if string(start[:len(checkpointMagic)]) != checkpointMagic {
		return nil, errors.New("this is not a ddpmlab checkpoint")
	}
	version, n := binary.LittleEndian.Uint32(start[8:]), binary.LittleEndian.Uint32(start[12:])
	if version != checkpointVersion {
		return nil, fmt.Errorf("the file has format version %d, this ddpmlab reads %d; use the one that wrote it", version, checkpointVersion)
	}
	if n > maxHeader {
		return nil, errDamaged("its header")
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, err
	}
	c, params, err := readHeader(text)
	if err != nil {
		return nil, err
	}
	for _, a := range c.arrays() {
		if *a, err = readArray(in, params); err != nil {
			return nil, err
		}
	}
	return c, checkSum(r, h)
}

// readHeader reads the JSON part; no more is believed of it than that the lengths
// fit the network it describes.
func readHeader(text []byte) (*Checkpoint, int, error) {
	var h checkpointHeader
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		return nil, 0, fmt.Errorf("%w (%w)", errDamaged("its header"), jsonError(err))
	}
	c := &Checkpoint{Config: h.Config, Variant: h.Variant, Step: h.Step, DataSHA256: h.DataSHA256}
	if err := errors.Join(c.Config.Validate(), c.Variant.Validate()); err != nil {
		return nil, 0, fmt.Errorf("%w (%w)", errDamaged("its header"), err)
	}
	want := c.Config.Model.NumParams()
	if h.Params != want || c.Step < 0 || fmt.Sprint(h.Arrays) != fmt.Sprint(checkpointArrays) {
		return nil, 0, fmt.Errorf("%w (%d parameters of arrays %v at step %d; the network has %d)",
			errDamaged("its header"), h.Params, h.Arrays, h.Step, want)
	}
	return c, want, nil
}

// readArray reads n numbers, growing as they come: a length that lies costs no memory.
func readArray(r io.Reader, n int) ([]float32, error) {
	var out []float32
	block := make([]byte, 1<<16)
	for len(out) < n {
		b := block[:min(len(block), 4*(n-len(out)))]
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		for i := 0; i < len(b); i += 4 {
			out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(b[i:])))
		}
	}
	return out, nil
}

// checkSum compares the sum at the end of r with that of the bytes before it, and
// wants nothing after.
func checkSum(r io.Reader, h hash.Hash) error {
	want := make([]byte, sha256.Size+1)
	switch n, err := io.ReadFull(r, want); {
	case n < sha256.Size:
		return io.ErrUnexpectedEOF
	case n > sha256.Size:
		return errDamaged("there is more after its end")
	case !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	if !bytes.Equal(h.Sum(nil), want[:sha256.Size]) {
		return errDamaged("its sum does not match")
	}
	return nil
}

func errDamaged(what string) error {
	return fmt.Errorf("the file is damaged: %s; restore it, or train the run again", what)
}
