package ddpm

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"math"
	"slices"

	"ddpmlab/ddpm/data"
)

// Checkpoint is a training run at one iteration: enough to sample from it and to
// go on with it as if it had not stopped. The arrays hold every parameter in the
// engine's layout, one after another in the order of unet.Config.Keys.
type Checkpoint struct {
	Config     Config
	Variant    Variant
	Step       int64  // iterations done
	DataSHA256 string // of the data set it was trained on

	Run      string // id of the run it belongs to, empty if it has none
	Code     string // commit of the program that trained it, empty if that is not known
	Numerics int    // NumericsVersion it was trained with, 0 if that is not known
	Skipped  int64  // iterations skipped so far, for numbers that were not finite
	Bad      int64  // how many of them just before Step, in a row

	LossScale float64 // that the next loss is multiplied by; 0 where the device needs none

	Weights, EMA     []float32   // EMA is what samples are drawn with
	Moment1, Moment2 []float32   // Adam's; empty in a checkpoint that can be sampled from alone
	ExtraEMA         [][]float32 // of the rates of Config.ExtraEMA

	TimeLosses, TimeCounts []float32 // of LossSecondMoment: 10 losses of each t, and how many there are
}

// The file: magic, version and header length (little-endian 32-bit), header (JSON), the
// arrays (little-endian float32), and the SHA-256 of all bytes before it. Version 1 had no
// more than the four arrays of version 2 that come first.
const (
	checkpointMagic   = "ddpmlab\x00"
	checkpointVersion = 2
	maxHeader         = 1 << 20
)

// checkpointHeader is the JSON part.
type checkpointHeader struct {
	Config     Config   `json:"config"`
	Variant    Variant  `json:"variant"`
	Step       int64    `json:"step"`
	DataSHA256 string   `json:"data_sha256"`
	Numerics   int      `json:"numerics"` // NumericsVersion of the training
	Run        string   `json:"run,omitempty"`
	Code       string   `json:"code,omitempty"`
	Skipped    int64    `json:"skipped,omitempty"`
	Bad        int64    `json:"bad,omitempty"`
	LossScale  float64  `json:"loss_scale,omitempty"`
	Params     int      `json:"params"`              // length of each array
	Arrays     []string `json:"arrays"`              // their names, in the file's order
	Extra      int      `json:"extra_ema,omitempty"` // how many further moving averages follow
	Times      int      `json:"times,omitempty"`     // then so many times 10 losses, and their counts
}

var checkpointArrays = []string{"weights", "ema", "moment1", "moment2"}

func (c *Checkpoint) arrays() []*[]float32 {
	return []*[]float32{&c.Weights, &c.EMA, &c.Moment1, &c.Moment2}
}

// more lists what follows the first arrays.
func (c *Checkpoint) more() []*[]float32 {
	var all []*[]float32
	for i := range c.ExtraEMA {
		all = append(all, &c.ExtraEMA[i])
	}
	if len(c.TimeCounts) > 0 {
		all = append(all, &c.TimeLosses, &c.TimeCounts)
	}
	return all
}

// Average is the moving average of the weights with that rate, Config.EMA or one of
// Config.ExtraEMA.
func (c *Checkpoint) Average(rate float64) ([]float32, error) {
	if rate == c.Config.EMA {
		return c.EMA, nil
	}
	for i, r := range c.Config.ExtraEMA {
		if r == rate && i < len(c.ExtraEMA) {
			return c.ExtraEMA[i], nil
		}
	}
	return nil, fmt.Errorf("the checkpoint has no moving average of rate %g; it has %v", rate, append([]float64{c.Config.EMA}, c.Config.ExtraEMA...))
}

// differences lists the fields that decide the numbers of a training and differ between a
// checkpoint and what it is to be used with, as "lr is 0.001 in the checkpoint, 0.002
// here".
func differences(c1 Config, v1 Variant, c2 Config, v2 Variant) []string {
	flat := func(c Config, v Variant, anneal bool) map[string]string {
		c.Preset = ""
		if !data.Fixed(c.Data) {
			c.Data = "" // the sums of the images are compared
		}
		c.Broken = ""
		c.EvalFirst, c.EvalEvery, c.EvalSamples, c.SamplingSteps, c.SamplingVariance = 0, 0, 0, 0, ""
		c.MaxBadSteps = c.maxBadSteps()
		if !anneal {
			c.Iterations = 0
		}
		out := map[string]string{}
		flatten("", canonical(c), out)
		flatten("variant.", canonical(v.Normal()), out)
		return out
	}
	anneal := c1.Anneal || c2.Anneal
	a, b := flat(c1, v1, anneal), flat(c2, v2, anneal)
	for k := range b {
		if _, ok := a[k]; !ok {
			a[k] = "absent"
		}
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if x, y := a[k], cmp.Or(b[k], "absent"); x != y {
			out = append(out, fmt.Sprintf("%s is %s in the checkpoint, %s here", k, x, y))
		}
	}
	return out
}

// flatten lists the fields of a JSON object, those of an inner one as NAME.FIELD.
func flatten(prefix string, object []byte, out map[string]string) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		return // canonical makes nothing else
	}
	for name, value := range fields {
		if len(value) > 0 && value[0] == '{' {
			flatten(prefix+name+".", value, out)
		} else {
			out[prefix+name] = string(value)
		}
	}
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
	for _, e := range c.ExtraEMA {
		if len(e) != len(c.Weights) {
			return fmt.Errorf("a moving average has %d numbers, weights %d; want as many", len(e), len(c.Weights))
		}
	}
	if len(c.TimeLosses) != momentHistory*len(c.TimeCounts) {
		return fmt.Errorf("%d losses of %d time steps; want %d of each", len(c.TimeLosses), len(c.TimeCounts), momentHistory)
	}
	header, err := json.Marshal(checkpointHeader{
		Config: c.Config, Variant: c.Variant, Step: c.Step, DataSHA256: c.DataSHA256, Numerics: c.Numerics,
		Run: c.Run, Code: c.Code, Skipped: c.Skipped, Bad: c.Bad, LossScale: c.LossScale,
		Params: len(c.Weights), Arrays: checkpointArrays, Extra: len(c.ExtraEMA), Times: len(c.TimeCounts),
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
	for _, a := range append(c.arrays(), c.more()...) {
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
	if version != 1 && version != checkpointVersion {
		return nil, fmt.Errorf("the file has format version %d, this ddpmlab reads %d; use the one that wrote it", version, checkpointVersion)
	}
	if n > maxHeader {
		return nil, errDamaged("its header")
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, err
	}
	c, params, times, err := readHeader(text)
	if err != nil {
		return nil, err
	}
	for _, a := range c.arrays() {
		if *a, err = readArray(in, params); err != nil {
			return nil, err
		}
	}
	for i := range c.ExtraEMA {
		if c.ExtraEMA[i], err = readArray(in, params); err != nil {
			return nil, err
		}
	}
	if times > 0 {
		if c.TimeLosses, err = readArray(in, times*momentHistory); err == nil {
			c.TimeCounts, err = readArray(in, times)
		}
		if err != nil {
			return nil, err
		}
		for _, n := range c.TimeCounts {
			if !(n >= 0 && n <= momentHistory) {
				return nil, errDamaged("its time sampler")
			}
		}
	}
	return c, checkSum(r, h)
}

// readHeader reads the JSON part; no more is believed of it than that the lengths
// fit the network it describes.
func readHeader(text []byte) (c *Checkpoint, params, times int, err error) {
	var h checkpointHeader
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		return nil, 0, 0, fmt.Errorf("%w (%w)", errDamaged("its header"), jsonError(err))
	}
	c = &Checkpoint{
		Config: h.Config, Variant: h.Variant, Step: h.Step, DataSHA256: h.DataSHA256,
		Numerics: h.Numerics, Run: h.Run, Code: h.Code, Skipped: h.Skipped, Bad: h.Bad, LossScale: h.LossScale,
	}
	if err := errors.Join(c.Config.Validate(), c.Variant.Validate()); err != nil {
		return nil, 0, 0, fmt.Errorf("%w (%w)", errDamaged("its header"), err)
	}
	want := c.Config.Model.NumParams()
	if h.Params != want || c.Step < 0 || fmt.Sprint(h.Arrays) != fmt.Sprint(checkpointArrays) {
		return nil, 0, 0, fmt.Errorf("%w (%d parameters of arrays %v at step %d; the network has %d)",
			errDamaged("its header"), h.Params, h.Arrays, h.Step, want)
	}
	if h.Extra != 0 && h.Extra != len(c.Config.ExtraEMA) || h.Times != 0 && h.Times != c.Config.T || c.Skipped < 0 || c.Bad < 0 ||
		c.LossScale != 0 && !(c.LossScale >= 1 && finite(c.LossScale)) {
		return nil, 0, 0, errDamaged("its header")
	}
	if h.Extra > 0 {
		c.ExtraEMA = make([][]float32, h.Extra)
	}
	return c, want, h.Times, nil
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
