package tensorfile_test

import (
	"bytes"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/tensorfile"
)

func open(t testing.TB, path string) map[string]tensorfile.Tensor {
	t.Helper()
	f, err := tensorfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	all := map[string]tensorfile.Tensor{}
	for _, x := range f.Tensors {
		all[x.Name] = x
	}
	return all
}

func floats(t *testing.T, x tensorfile.Tensor) []float32 {
	t.Helper()
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wave is numbers of testdata/make.py.
func wave(i int) float32 { return float32(math.Sin(0.7 * float64(i))) }

// Views of one storage, with offsets and strides, in both formats of torch.save.
func TestSharedStorages(t *testing.T) {
	for _, name := range []string{"shared.pt", "legacy.pt"} {
		all := open(t, "testdata/"+name)
		w, tr, b := all["a.weight"], all["a.transposed"], all["b.bias"]
		if !slices.Equal(w.Shape, []int{3, 4}) || !slices.Equal(tr.Shape, []int{4, 3}) || !slices.Equal(b.Shape, []int{10}) || len(all) != 3 {
			t.Fatalf("%s: %v", name, all)
		}
		for i, v := range floats(t, w) {
			if v != wave(4+i) {
				t.Errorf("%s: a.weight[%d] = %v, want %v", name, i, v, wave(4+i))
			}
			if u := floats(t, tr)[i%4*3+i/4]; u != v {
				t.Errorf("%s: the transposed one has %v for %v", name, u, v)
			}
		}
		if v := floats(t, b); v[9] != wave(39) {
			t.Errorf("%s: b.bias[9] = %v, want %v", name, v[9], wave(39))
		}
	}
}

func TestTypes(t *testing.T) {
	all := open(t, "testdata/types.pt")
	for name, tol := range map[string]float64{"float16": 1. / 2048, "bfloat16": 1. / 256, "float32": 0, "float64": 0} {
		for i, v := range floats(t, all[name]) {
			if d := math.Abs(float64(v - wave(i))); d > tol*math.Abs(float64(wave(i))) {
				t.Errorf("%s[%d] = %v, want %v", name, i, v, wave(i))
			}
		}
	}
	if b, err := all["int64"].Bytes(); err != nil || !bytes.Equal(b[:9], []byte{0xfe, 255, 255, 255, 255, 255, 255, 255, 255}) {
		t.Errorf("int64 = %v, %v", b, err)
	}
	if v := floats(t, all["scalar"]); len(v) != 1 || v[0] != 2.5 {
		t.Errorf("scalar = %v", v)
	}
	if v := floats(t, open(t, "testdata/parameters.pt")["w"]); len(v) != 4 || v[3] != wave(3) {
		t.Errorf("a Parameter = %v", v)
	}
	o := open(t, "testdata/optimizer.pt")
	if v := floats(t, o["state.0.exp_avg"]); len(v) != 6 || math.Abs(float64(v[0]-0.1)) > 1e-6 {
		t.Errorf("state.0.exp_avg = %v of %v, want 0.1", v, o)
	}
}

// From one format to the other and back nothing changes, not a bit.
func TestConvert(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"shared.pt", "legacy.pt", "types.pt"} {
		convert := func(from, to string, write func(io.Writer, []tensorfile.Tensor) error) []byte {
			f, err := tensorfile.Open(from)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var b bytes.Buffer
			if err := write(&b, f.Tensors); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}
		s1, p1, s2 := filepath.Join(dir, "1.safetensors"), filepath.Join(dir, "1.pt"), filepath.Join(dir, "2.safetensors")
		one := convert("testdata/"+name, s1, tensorfile.WriteSafetensors)
		convert(s1, p1, tensorfile.WritePT)
		if two := convert(p1, s2, tensorfile.WriteSafetensors); !bytes.Equal(one, two) {
			t.Errorf("%s: safetensors to pt and back differs", name)
		}
		a, b := open(t, "testdata/"+name), open(t, p1)
		for k, x := range a {
			u, err1 := x.Bytes()
			v, err2 := b[k].Bytes()
			if err1 != nil || err2 != nil || !bytes.Equal(u, v) || x.DType != b[k].DType || !slices.Equal(x.Shape, b[k].Shape) {
				t.Errorf("%s: %s differs after conversion: %v %v", name, k, err1, err2)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	shared, legacy := read("shared.pt"), read("legacy.pt")
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"would execute", read("evil.pt"), "would run posix.system; only tensors"},
		{"empty", nil, "neither a PyTorch file"},
		{"cut zip", shared[:len(shared)/2], "the archive is damaged"},
		{"cut legacy", legacy[:len(legacy)-10], "beyond the file's end"},
		{"legacy without storages", legacy[:200], "cut short"},
		{"a view beyond its storage", bytes.Replace(shared, []byte("K\x03K\x04\x86"), []byte("K\x7fK\x7f\x86"), 1), "does not fit"},
		{"header beyond the file", []byte("\xff\x00\x00\x00\x00\x00\x00\x00{}"), "cut short"},
		{"overlap", []byte("\x48\x00\x00\x00\x00\x00\x00\x00" + `{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}` + strings.Repeat(" ", 19) + "12345678"), "without gaps"},
	} {
		path := filepath.Join(t.TempDir(), "x.pt")
		if err := os.WriteFile(path, tt.file, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := tensorfile.Open(path); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want the file's name and %q", tt.name, err, tt.want)
		}
	}
}

// Whatever the bytes, Open and the reading of every tensor end with an error or numbers.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"shared.pt", "legacy.pt", "types.pt", "parameters.pt", "optimizer.pt"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x38\x00\x00\x00\x00\x00\x00\x00" + `{"a":{"dtype":"U8","shape":[2,4],"data_offsets":[0,8]}}` + " 12345678"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "x")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		file, err := tensorfile.Open(path)
		if err != nil {
			return
		}
		defer file.Close()
		for _, x := range file.Tensors {
			if v, err := x.Bytes(); err == nil && len(v) > len(b) {
				t.Errorf("%d bytes of a file of %d", len(v), len(b))
			}
		}
	})
}
