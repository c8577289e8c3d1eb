package ddpm_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"ddpmlab/ddpm"
)

// newCheckpoint is one of the tiny network, filled with recognisable numbers.
func newCheckpoint() *ddpm.Checkpoint {
	c := &ddpm.Checkpoint{
		Config: tinyConfig(), Variant: ddpm.InputPerturbation(0.1), Step: 7, DataSHA256: stripes{}.SHA256(),
	}
	for k, a := range []*[]float32{&c.Weights, &c.EMA, &c.Moment1, &c.Moment2} {
		*a = make([]float32, c.Config.Model.NumParams())
		for i := range *a {
			(*a)[i] = float32(math.Sin(float64(i) + float64(k)))
		}
	}
	c.Moment1[3] = float32(math.Inf(-1))
	return c
}

func encode(t testing.TB, c *ddpm.Checkpoint) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := c.Write(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestCheckpointRoundTrip(t *testing.T) {
	c := newCheckpoint()
	file := encode(t, c)
	back, err := ddpm.ReadCheckpoint(iotest.HalfReader(bytes.NewReader(file)))
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Fatalf("ReadCheckpoint of what Write wrote = %v, differs", err)
	}
	if !bytes.Equal(encode(t, back), file) {
		t.Error("the checkpoint that was read writes other bytes")
	}
	sum := sha256.Sum256(file[:len(file)-32])
	if got := hex.EncodeToString(file[len(file)-32:]); c.SHA256() != got || hex.EncodeToString(sum[:]) != got {
		t.Errorf("SHA256 = %s, want the sum %s that ends the file, of the bytes before it (%x)", c.SHA256(), got, sum)
	}
	c.EMA = c.EMA[1:]
	if err := c.Write(&bytes.Buffer{}); err == nil || c.SHA256() != "" {
		t.Errorf("Write of arrays of unequal length = %v, sum %q, want an error and none", err, c.SHA256())
	}
}

func TestCheckpointWriteError(t *testing.T) {
	full := errors.New("disk is full")
	if err := newCheckpoint().Write(failAfter{100_000, full}.writer()); !errors.Is(err, full) {
		t.Errorf("Write to a full disk = %v, want its error", err)
	}
}

type failAfter struct {
	n   int
	err error
}

func (f failAfter) writer() *failAfter { return &f }

func (f *failAfter) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func TestReadDamagedCheckpoint(t *testing.T) {
	file := encode(t, newCheckpoint())
	flip := func(at int) []byte {
		b := bytes.Clone(file)
		b[at] ^= 0x10
		return b
	}
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "cut short"},
		{"another file", []byte("PK\x03\x04 a zip file of some kind"), "not a ddpmlab checkpoint"},
		{"later version", flip(8), "format version 18, this ddpmlab reads 2"},
		{"header length", flip(15), "damaged: its header"},
		{"header", flip(30), "damaged: its header"},
		{"an array", flip(len(file) / 2), "damaged: its sum does not match"},
		{"the sum", flip(len(file) - 1), "damaged: its sum does not match"},
		{"cut in the header", file[:100], "cut short"},
		{"cut in an array", file[:len(file)/2], "cut short"},
		{"cut in the sum", file[:len(file)-1], "cut short"},
		{"batch of none", bytes.Replace(file, []byte(`"batch":2`), []byte(`"batch":0`), 1), "batch is 0; want"},
		{"another network", bytes.Replace(file, []byte(`"channels":8`), []byte(`"channels":4`), 1), "the network has"},
		{"longer", append(bytes.Clone(file), 0), "more after its end"},
		{"not JSON", bytes.Replace(file, []byte(`"step":7`), []byte(`"step":-`), 1), "damaged: its header"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ddpm.ReadCheckpoint(bytes.NewReader(tt.file))
			if c != nil || err == nil || !strings.HasPrefix(err.Error(), "read checkpoint: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ReadCheckpoint = %v, %v, want nil and %q in the error", c, err, tt.want)
			}
		})
	}
	broken := errors.New("bad sector")
	if _, err := ddpm.ReadCheckpoint(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("ReadCheckpoint of a bad disk = %v, want its error", err)
	}
}

// Whatever the bytes, ReadCheckpoint returns an error or a checkpoint that writes
// the same bytes; it neither panics nor takes memory for what is not there.
func FuzzReadCheckpoint(f *testing.F) {
	c := newCheckpoint()
	c.Config.Model.Channels, c.Config.Model.Mult, c.Config.Model.Groups, c.Config.Model.HeadChannels = 2, []int{1}, 1, 1
	n := c.Config.Model.NumParams()
	c.Weights, c.EMA, c.Moment1, c.Moment2 = c.Weights[:n], c.EMA[:n], c.Moment1[:n], c.Moment2[:n]
	file := encode(f, c)
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Add(file[:17])
	f.Add([]byte("ddpmlab\x00\x01\x00\x00\x00\xff\xff\x00\x00{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ddpm.ReadCheckpoint(bytes.NewReader(b))
		if (c == nil) == (err == nil) {
			t.Fatalf("ReadCheckpoint = %v, %v, want one of the two", c, err)
		}
		if err == nil && len(encode(t, c)) == 0 {
			t.Error("a checkpoint that was read is not written")
		}
	})
}
