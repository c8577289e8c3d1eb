package data_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/data"
)

// TestMain keeps what openings remember out of the user's cache.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ddpmlab-data-test")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_CACHE_HOME", dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// golden is what testdata/make.py says of a set, by Pillow and numpy.
type golden struct {
	Shape   []int    `json:"shape"`
	Labels  []int    `json:"labels"`
	Classes []string `json:"classes"`
	pix     []byte
}

func readGolden(t testing.TB, name string) golden {
	t.Helper()
	text, err := os.ReadFile("testdata/golden/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]golden{}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	g, ok := all[name]
	if !ok {
		t.Fatalf("no golden %s", name)
	}
	if g.pix, err = os.ReadFile("testdata/golden/" + name + ".bin"); err != nil {
		t.Fatal(err)
	}
	return g
}

// pixels reads images first to first+n-1 back as bytes.
func pixels(t testing.TB, s data.Set, first, n int) []byte {
	t.Helper()
	x, err := data.ReadRange(s, first, n)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(x))
	for i, v := range x {
		y := (float64(v) + 1) * 127.5
		b[i] = byte(math.Round(y))
		if math.Abs(y-math.Round(y)) > 1e-4 {
			t.Fatalf("value %g is not b/127.5-1", v)
		}
	}
	return b
}

// sets are all formats, as other programs write them; see testdata/make.py.
var sets = []struct {
	path, golden, format string
	size                 int
	labels               bool
	first                int // the golden has images from here on
	tolerance            int // of a byte
}{
	{path: "cifar-bin", golden: "cifar", format: "CIFAR-10, binary", labels: true},
	{path: "cifar-py2", golden: "cifar", format: "pickles", labels: true},
	{path: "cifar-py-2", golden: "cifar", format: "pickles", labels: true},
	{path: "cifar-py-4", golden: "cifar", format: "pickles", labels: true},
	{path: "cifar-py-5", golden: "cifar", format: "pickles", labels: true},
	{path: "cifar-png", golden: "cifar-png", format: "folder", size: 32, labels: true},
	{path: "imagenet32", golden: "imagenet32", format: "as ImageNet32", labels: true},
	{path: "npz/samples_5x32x32x3.npz", golden: "cifar", format: "NumPy archive"},
	{path: "npz/compressed.npz", golden: "cifar", format: "NumPy archive", labels: true},
	{path: "npz/planar.npz", golden: "cifar", format: "NumPy archive"},
	{path: "npz/grey.npy", golden: "grey", format: "NumPy array"},
	{path: "idx", golden: "idx", format: "IDX", labels: true},
	{path: "idx/FashionMNIST/raw/train-images-idx3-ubyte.gz", golden: "idx", format: "IDX", labels: true},
	{path: "folder", golden: "folder", format: "folder", size: 16, labels: true},
	{path: "greys", golden: "greys", format: "folder", size: 20, labels: true},
	{path: "edm.zip", golden: "cifar", format: "EDM", size: 32, labels: true},
	{path: "lmdb/tower_train_lmdb", golden: "lsun-first", format: "LMDB", size: 8},
	{path: "lmdb/tower_train_lmdb/data.mdb", golden: "lsun-last", format: "LMDB", size: 32, first: 130},
	{path: "jpeg", golden: "jpeg-64", format: "folder", size: 64, tolerance: jpegTolerance},
	{path: "jpeg", golden: "jpeg-20", format: "folder", size: 20, tolerance: jpegTolerance},
}

// jpegTolerance is what Go's and libjpeg-turbo's cosine transforms differ by at most, in
// grey levels.
const jpegTolerance = 3

func TestFormats(t *testing.T) {
	for _, tt := range sets {
		t.Run(fmt.Sprintf("%s %d", tt.path, tt.size), func(t *testing.T) {
			want := readGolden(t, tt.golden)
			s, err := data.OpenPath(filepath.Join("testdata", tt.path), tt.size, data.Options{})
			if err != nil {
				t.Fatal(err)
			}
			n := want.Shape[0]
			h, w, c := s.Shape()
			if got := []int{s.Len(), h, w, c}; !slices.Equal(got, []int{tt.first + n, want.Shape[1], want.Shape[2], want.Shape[3]}) && tt.golden != "lsun-first" {
				t.Fatalf("%v, want %v", got, want.Shape)
			}
			info, ok := data.Describe(s)
			if !ok || !strings.Contains(info.Format, tt.format) {
				t.Errorf("format %q, want %q", info.Format, tt.format)
			}
			got := pixels(t, s, tt.first, n)
			worst, sum := 0, 0
			for i := range got {
				d := max(int(got[i]), int(want.pix[i])) - min(int(got[i]), int(want.pix[i]))
				worst, sum = max(worst, d), sum+d
			}
			if worst > tt.tolerance {
				t.Errorf("a byte differs from Pillow's by %d, want at most %d (mean %.4f)", worst, tt.tolerance, float64(sum)/float64(len(got)))
			}
			if info.Labels != tt.labels && want.Labels != nil {
				t.Errorf("labels %v, want %v", info.Labels, tt.labels)
			}
			for i, l := range want.Labels {
				if tt.labels && s.Label(i) != l {
					t.Errorf("label of image %d is %d, want %d", i, s.Label(i), l)
				}
			}
			if want.Classes != nil && !slices.Equal(info.Classes, want.Classes) {
				t.Errorf("classes %v, want %v", info.Classes, want.Classes)
			}
			if s.Label(-1) != -1 || s.Label(s.Len()) != -1 || len(s.SHA256()) != 64 {
				t.Error("label out of range, or no sum")
			}
			x := make([]float32, h*w*c)
			if s.Read(-1, x) == nil || s.Read(s.Len(), x) == nil || s.Read(0, x[1:]) == nil {
				t.Error("no error for a wrong length or index")
			}
		})
	}
}

// Equal pixels of arrays have equal sums, whatever the format; another size, another sum.
func TestSums(t *testing.T) {
	open := func(path string, size int) string {
		s, err := data.OpenPath("testdata/"+path, size, data.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s.SHA256()
	}
	want := open("cifar-bin", 32)
	for _, p := range []string{"cifar-py2", "imagenet32", "npz/planar.npz", "npz/compressed.npz"} {
		if got := open(p, 0); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
	crop := open("folder", 16)
	if again := open("folder", 16); again != crop {
		t.Errorf("the same crop twice: %s, %s", crop, again)
	}
	if open("folder", 17) == crop {
		t.Error("other crops, but one sum")
	}
}

// The sum of a set whose files change changes, although sums are remembered.
func TestSumsFollowFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test_batch.bin")
	b, err := os.ReadFile("testdata/cifar-bin/data_batch_1.bin")
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]bool{}
	for k := range 3 {
		b[100] = byte(k)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := data.OpenPath(path, 32, data.Options{})
		if err != nil {
			t.Fatal(err)
		}
		sums[s.SHA256()] = true
	}
	if len(sums) != 3 {
		t.Errorf("%d different sums of three contents", len(sums))
	}
}

// A broken image is named, or left out.
func TestBroken(t *testing.T) {
	_, err := data.OpenPath("testdata/broken", 16, data.Options{})
	var broken *data.BrokenError
	if !errors.As(err, &broken) || len(broken.Files) != 5 || broken.Of != 7 {
		t.Fatalf("error %v, want 5 of 7 broken", err)
	}
	for i, want := range []string{"b_cut.png: it is cut short", "c_text.png: neither PNG", "d_cut.jpg: it is cut short", "e_flipped.png: it is damaged", "f_empty.png: the file is empty"} {
		if !strings.Contains(broken.Files[i], want) {
			t.Errorf("%q, want %q", broken.Files[i], want)
		}
	}
	for _, want := range []string{"testdata/broken/b_cut.png", "5 of 7", "--broken skip"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q, want %q in it", err, want)
		}
	}
	s, err := data.OpenPath("testdata/broken", 16, data.Options{Broken: data.Skip})
	if err != nil {
		t.Fatal(err)
	}
	want := readGolden(t, "broken")
	if s.Len() != 2 || !bytes.Equal(pixels(t, s, 0, 2), want.pix) {
		t.Errorf("%d images, want the 2 that are whole", s.Len())
	}
	if info, _ := data.Describe(s); len(info.Broken) != 5 {
		t.Errorf("left out: %v", info.Broken)
	}
}

// Every refusal names the file, what is wrong and what would be right.
func TestPathRefusals(t *testing.T) {
	write := func(name string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	read := func(name string) []byte {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	bin, npz, mdb := read("cifar-bin/data_batch_1.bin"), read("npz/samples_5x32x32x3.npz"), read("lmdb/tower_train_lmdb/data.mdb")
	bad := slices.Clone(bin)
	bad[2*3073] = 10
	text, empty := write("notes.txt", []byte("no images")), t.TempDir()
	for _, tt := range []struct {
		name, path string
		size       int
		want       []string
	}{
		{"missing", "testdata/none", 32, []string{"testdata/none does not exist"}},
		{"text", text, 32, []string{text, "it reads: LMDB"}},
		{"empty folder", empty, 32, []string{empty, "holds no images"}},
		{"size", "testdata/cifar-bin", 64, []string{"testdata/cifar-bin", "size 32, not 64", "set model.size to 32"}},
		{"mixed sizes", "testdata/folder", 0, []string{"11 to 64", "say to which size"}},
		{"huge", "testdata/folder", 1 << 20, []string{"size 1048576; want 1 to 4096"}},
		{"cut CIFAR", write("data_batch_1.bin", bin[:len(bin)-1]), 32, []string{"data_batch_1.bin", "whole number"}},
		{"label", write("data_batch_1.bin", bad), 32, []string{"label of image 2", "below 10"}},
		{"cut npz", write("a.npz", npz[:len(npz)-40]), 32, []string{"a.npz", "cut short"}},
		{"cut npy", write("a.npy", read("npz/grey.npy")[:3000]), 32, []string{"a.npy", "cut short"}},
		{"floats", "testdata/npz/float.npz", 32, []string{"float.npz", "<f8", "want |u1 (uint8)"}},
		{"cut LMDB", write("data.mdb", mdb[:40000]), 32, []string{"data.mdb", "cut short"}},
		{"cut pickle", write("data_batch_1", read("cifar-py2/data_batch_1")[:9000]), 32, []string{"data_batch_1", "cut short"}},
		{"cut IDX", write("train-images-idx3-ubyte.gz", read("idx/FashionMNIST/raw/train-images-idx3-ubyte.gz")[:1500]), 28, []string{"train-images", "cut short"}},
		{"cut zip", write("a.zip", read("edm.zip")[:9000]), 32, []string{"a.zip", "cut short"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := data.OpenPath(tt.path, tt.size, data.Options{})
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %q, want one line with %q", err, w)
				}
			}
		})
	}
	if _, err := data.OpenPath("testdata/broken", 16, data.Options{Broken: "maybe"}); err == nil || !strings.Contains(err.Error(), `"refuse" or "skip"`) {
		t.Errorf("error %v", err)
	}
}

// FuzzOpen: whatever a file holds, it is refused in one line or read as it says, and a set
// that opens reads or names the image that does not.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{
		"cifar-bin/test_batch.bin", "cifar-py2/test_batch", "cifar-py-5/test_batch", "npz/grey.npy", "npz/compressed.npz",
		"imagenet32/train_data_batch_2.npz", "edm.zip", "idx/FashionMNIST/raw/t10k-images-idx3-ubyte", "lmdb/tower_train_lmdb/data.mdb",
	} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, fmt.Sprintf("%d", os.Getpid()))
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 8} {
			s, err := data.OpenPath(path, size, data.Options{})
			if err != nil {
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("error of several lines: %q", err)
				}
				continue
			}
			h, w, c := s.Shape()
			if h*w*c > 1<<22 {
				continue
			}
			x := make([]float32, h*w*c)
			for i := range min(s.Len(), 3) {
				_ = s.Read(i, x)
			}
		}
	})
}

// A set takes memory for where its images lie, not for them: 192 MB of pixels in a file
// with holes are opened, summed and read with a hundredth of that.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("sums 192 MB")
	}
	const n, size = 1 << 16, 32
	path := filepath.Join(t.TempDir(), "large.npy")
	head := fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%d, %d, %d, 3), }", n, size, size)
	head = "\x93NUMPY\x01\x00v\x00" + head + strings.Repeat(" ", 117-len(head)) + "\n"
	if err := os.WriteFile(path, []byte(head), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(head))+n*size*size*3); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s, err := data.OpenPath(path, size, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, size*size*3)
	for i := 0; i < n; i += n / 100 {
		if err := s.Read(i, x); err != nil || x[0] != -1 {
			t.Fatalf("image %d: %v, %v", i, x[0], err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) >> 10; got > 2500 || s.Len() != n {
		t.Errorf("%d KB for %d images, want at most 2,500", got, s.Len())
	}
}
