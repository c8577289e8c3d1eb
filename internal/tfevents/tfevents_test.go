package tfevents_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ddpmlab/internal/tfevents"
)

var at = time.UnixMicro(1_700_000_000_123_456)

func written(t testing.TB, scalars ...tfevents.Scalar) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tfevents.NewWriter(&b, at)
	for _, s := range scalars {
		w.Write(s)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(b []byte) (all []tfevents.Scalar, err error) {
	err = tfevents.Read(bytes.NewReader(b), func(s tfevents.Scalar) error {
		all = append(all, s)
		return nil
	})
	return all, err
}

func TestRoundTrip(t *testing.T) {
	want := []tfevents.Scalar{
		{"loss", 1, at, 0.5},
		{"fd/γ", math.MaxInt64, at.Add(time.Microsecond), -3},
		{"loss", -7, at, math.Inf(1)},
		{"loss", 0, at, math.NaN()},
		{"loss", 2, at, float64(float32(0.1))},
	}
	got, err := read(written(t, want...))
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %v, error %v", got, err)
	}
	for i, g := range got {
		w := want[i]
		if g.Tag != w.Tag || g.Step != w.Step || !g.Time.Equal(w.Time) || g.Value != w.Value && !math.IsNaN(g.Value) {
			t.Errorf("got %v, want %v", g, w)
		}
	}
}

// A file that TensorFlow's own writer made: see testdata/theirs.py.
func TestTheirs(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "theirs.tfevents"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(b)
	want := []tfevents.Scalar{
		{"simple", 1, time.UnixMicro(1_700_000_000_500_000), 0.25},
		{"tensor/float", 2, time.UnixMicro(1_700_000_001_500_000), 0.5},
		{"tensor/double", 3, time.UnixMicro(1_700_000_002_500_000), 0.1},
		{"tensor/int64", 4, time.UnixMicro(1_700_000_003_500_000), -5},
		{"last", -1, time.UnixMicro(1_700_000_006_500_000), 2},
	}
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %v, error %v, want %v", got, err, want)
	}
	for i := range want {
		if got[i].Tag != want[i].Tag || got[i].Step != want[i].Step || !got[i].Time.Equal(want[i].Time) || got[i].Value != want[i].Value {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
}

func TestDamage(t *testing.T) {
	whole := written(t, tfevents.Scalar{Tag: "loss", Step: 1, Time: at, Value: 1}, tfevents.Scalar{Tag: "loss", Step: 2, Time: at, Value: 2})
	full, _ := read(whole)
	for cut := range whole {
		got, err := read(whole[:cut])
		if err != nil && !errors.Is(err, tfevents.ErrTruncated) {
			t.Errorf("cut at %d: error %v, want ErrTruncated", cut, err)
		}
		if len(got) >= len(full) {
			t.Errorf("cut at %d: %d scalars", cut, len(got))
		}
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x10
		if got, err := read(bad); !errors.Is(err, tfevents.ErrDamaged) {
			t.Errorf("byte %d changed: got %v, error %v, want ErrDamaged", i, got, err)
		}
	}
	stop := errors.New("stop")
	if err := tfevents.Read(bytes.NewReader(whole), func(tfevents.Scalar) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the caller's error", err)
	}
	w := tfevents.NewWriter(failing{}, at)
	for range 1000 {
		w.Write(tfevents.Scalar{Tag: "loss", Time: at})
	}
	if err := w.Flush(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v, want the writer's error", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func FuzzRead(f *testing.F) {
	f.Add(written(f, tfevents.Scalar{Tag: "loss", Step: 1, Time: at, Value: 1}))
	if b, err := os.ReadFile(filepath.Join("testdata", "theirs.tfevents")); err == nil {
		f.Add(b)
	}
	b, _ := base64.StdEncoding.DecodeString("AAAAAAAAAAA=")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := read(b)
		if err != nil {
			if !errors.Is(err, tfevents.ErrTruncated) && !errors.Is(err, tfevents.ErrDamaged) {
				t.Errorf("unknown error %v", err)
			}
			return
		}
		again, err := read(written(t, all...))
		if err != nil || len(again) != len(all) {
			t.Errorf("read %d scalars, wrote them, and read %d, error %v", len(all), len(again), err)
		}
	})
}
