package npz_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/npz"
)

func open(tb testing.TB, path string) *npz.File {
	tb.Helper()
	f, err := npz.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

// NumPy's own files, in each layout that evaluation meets: testdata/make.py.
func TestNumPy(t *testing.T) {
	for _, name := range []string{"openai-stored", "openai-deflated", "edm", "pytorch-fid", "v2-deflated", "v2-stored", "v3"} {
		t.Run(name, func(t *testing.T) {
			f := open(t, "testdata/"+name+".npz")
			mu, shape, err := f.Float64s("mu")
			if err != nil || !slices.Equal(shape, []int{6}) {
				t.Fatalf("mu: shape %v, %v", shape, err)
			}
			for i, v := range mu {
				if want := math.Sin(float64(i)); math.Abs(v-want) > 1e-7 { // some are float32
					t.Errorf("mu[%d] is %g, want %g", i, v, want)
				}
			}
			sigma, shape, err := f.Float64s("sigma")
			if err != nil || !slices.Equal(shape, []int{6, 6}) || math.Abs(sigma[9]-math.Cos(2)) > 1e-15 {
				t.Errorf("sigma: shape %v, %v, %v", shape, sigma, err)
			}
			if !f.Has("arr_0") {
				return
			}
			a, err := f.Array("arr_0")
			if err != nil || !slices.Equal(a.Shape, []int{5, 3, 4, 3}) || a.Type != "u1" {
				t.Fatalf("arr_0: %+v, %v", a, err)
			}
			defer a.Close()
			got := make([]byte, 60)
			for first := 0; first < 180; first += 60 {
				if err := a.Bytes(got); err != nil {
					t.Fatal(err)
				}
				for i, v := range got {
					if want := byte((first + i) * 7); v != want {
						t.Fatalf("byte %d is %d, want %d", first+i, v, want)
					}
				}
			}
			if err := a.Bytes(got[:1]); !errors.Is(err, io.EOF) {
				t.Errorf("behind the end: %v", err)
			}
		})
	}
}

func TestTypes(t *testing.T) {
	f := open(t, "testdata/odd.npz")
	var count []float64
	for i := range 24 {
		count = append(count, float64(i))
	}
	for _, tt := range []struct {
		name string
		want []float64
	}{
		{"fortran", count},
		{"big", []float64{0, 1, 2}},
		{"scalar", []float64{2.5}},
		{"short", []float64{-2, -1, 0, 1}},
		{"flags", []float64{1, 0}},
		{"empty", nil},
	} {
		if got, _, err := f.Float64s(tt.name); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	for name, want := range map[string]string{
		"text":   "type U2; want numbers",
		"record": "want a plain type",
		"none":   "has no array none; it has fortran, big,",
	} {
		if _, _, err := f.Float64s(name); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "odd.npz") {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
	a, err := f.Array("images_f")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Bytes(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "in Fortran order; want bytes") {
		t.Errorf("images in Fortran order: %v", err)
	}
}

// What is written reads back.
func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npz")
	var b bytes.Buffer
	w := npz.NewWriter(&b)
	x := make([]float64, 5000)
	for i := range x {
		x[i] = math.Sqrt(float64(i))
	}
	err := errors.Join(
		w.Float64s("mu", []int{50, 100}, x),
		w.Bytes("arr_0", []int{3}, func(w io.Writer) error { _, err := w.Write([]byte{1, 2, 255}); return err }),
		w.Close(), os.WriteFile(path, b.Bytes(), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	if got, shape, err := f.Float64s("mu"); err != nil || !slices.Equal(got, x) || !slices.Equal(shape, []int{50, 100}) {
		t.Errorf("mu of shape %v, %v", shape, err)
	}
	if got, _, err := f.Float64s("arr_0"); err != nil || !slices.Equal(got, []float64{1, 2, 255}) {
		t.Errorf("arr_0 %v, %v", got, err)
	}
}

func TestBroken(t *testing.T) {
	good, err := os.ReadFile("testdata/edm.npz")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"empty": nil, "cut": good[:len(good)-30], "other": []byte("not a zip")} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := npz.Open(path); err == nil || !strings.Contains(err.Error(), "is no .npz file") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := npz.Open(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

// FuzzNPZ: whatever the bytes, there is an error or numbers.
func FuzzNPZ(f *testing.F) {
	for _, name := range []string{"edm", "odd", "v2-deflated"} {
		b, err := os.ReadFile("testdata/" + name + ".npz")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "x.npz")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		z, err := npz.Open(path)
		if err != nil {
			return
		}
		defer z.Close()
		for _, name := range z.Names() {
			if x, shape, err := z.Float64s(name); err == nil {
				n := 1
				for _, d := range shape {
					n *= d
				}
				if n != len(x) {
					t.Errorf("%s: %d numbers of shape %v", name, len(x), shape)
				}
			}
		}
	})
}
