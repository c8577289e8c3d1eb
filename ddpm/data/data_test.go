package data_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ddpmlab/ddpm/data"
)

func open(t *testing.T, name string, size int) data.Set {
	t.Helper()
	s, err := data.Open(name, size)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The digits of the sums were computed with Python's hashlib and json from the
// published files; the classes of Fashion-MNIST's test set are equally large.
func TestEmbedded(t *testing.T) {
	s := open(t, "fashion-mnist", 28)
	if h, w, c := s.Shape(); s.Len() != 10000 || h != 28 || w != 28 || c != 1 || s.Name() != "fashion-mnist" {
		t.Fatalf("got %s, %d images of %d×%d×%d", s.Name(), s.Len(), h, w, c)
	}
	var count [10]int
	for i := range s.Len() {
		count[s.Label(i)]++
	}
	for k, n := range count {
		if n != 1000 {
			t.Errorf("class %d has %d images, want 1000", k, n)
		}
	}
	if s.Label(-1) != -1 || s.Label(10000) != -1 {
		t.Error("label out of range, want -1")
	}
}

// Size 14 is the mean of 2×2 pixels, rounded once.
func TestSizes(t *testing.T) {
	big, small := open(t, "fashion-mnist", 28), open(t, "fashion-mnist", 14)
	if big.SHA256() == small.SHA256() || len(small.SHA256()) != 64 {
		t.Errorf("sums of the two sizes: %s, %s", big.SHA256(), small.SHA256())
	}
	x, y := make([]float32, 28*28), make([]float32, 14*14)
	for _, i := range []int{0, 1, 4999, 9999} {
		if err := errors.Join(big.Read(i, x), small.Read(i, y)); err != nil {
			t.Fatal(err)
		}
		for p, v := range x {
			b := (float64(v) + 1) * 127.5
			if v < -1 || v > 1 || math.Abs(b-math.Round(b)) > 1e-4 {
				t.Fatalf("image %d pixel %d is %g, not b/127.5-1", i, p, v)
			}
		}
		for p, v := range y {
			sum := 0.0
			for _, q := range []int{0, 1, 28, 29} {
				sum += math.Round((float64(x[p/14*2*28+p%14*2+q]) + 1) * 127.5)
			}
			if want := float32(sum/510 - 1); v != want {
				t.Fatalf("image %d pixel %d is %g, want %g", i, p, v, want)
			}
		}
	}
}

func TestReadRange(t *testing.T) {
	s := open(t, "fashion-mnist", 14)
	x, err := data.ReadRange(s, 9998, 2)
	if err != nil {
		t.Fatal(err)
	}
	last := make([]float32, 196)
	if err := s.Read(9999, last); err != nil {
		t.Fatal(err)
	}
	for i, v := range last {
		if x[196+i] != v {
			t.Fatalf("pixel %d: %g, want %g", i, x[196+i], v)
		}
	}
	for _, r := range [][2]int{{-1, 2}, {9999, 2}, {0, -1}} {
		if _, err := data.ReadRange(s, r[0], r[1]); err == nil {
			t.Errorf("no error for %d images from %d", r[1], r[0])
		}
	}
	if s.Read(0, last[1:]) == nil || s.Read(10000, last) == nil || s.Read(-1, last) == nil {
		t.Error("no error for a wrong length or index")
	}
}

// Every refusal names what is wrong and what would be right.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DDPMLAB_DATA", dir)
	t.Setenv("XDG_CACHE_HOME", dir)
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "train-images-idx3-ubyte"), make([]byte, 47040016), 0o644); err != nil {
		t.Fatal(err)
	}
	short := t.TempDir()
	if err := os.WriteFile(filepath.Join(short, "train-images-idx3-ubyte.gz"), []byte{0x1f, 0x8b, 8}, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, set string
		size      int
		dir       string
		want      []string
	}{
		{"unknown", "mnist", 28, "", []string{`"mnist"`, "fashion-mnist, fashion-mnist-train"}},
		{"size", "fashion-mnist", 32, "", []string{"size 32", "14, 28"}},
		{"size zero", "fashion-mnist", 0, "", []string{"size 0", "14, 28"}},
		{"missing", "fashion-mnist-train", 14, dir, []string{"train-images-idx3-ubyte.gz", dir, "`ddpmlab data fetch fashion-mnist-train`", "apt install"}},
		{"sum", "fashion-mnist-train", 14, damaged, []string{damaged, "want c59f468a2f67", "delete it and run `ddpmlab data fetch fashion-mnist-train`"}},
		{"truncated", "fashion-mnist-train", 14, short, []string{short, "damaged", "delete it and run"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := data.OpenFrom(tt.set, tt.size, tt.dir)
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
	var missing *data.NotFoundError
	if _, err := data.OpenFrom("fashion-mnist-train", 14, dir); !errors.As(err, &missing) || missing.Folders[0] != dir {
		t.Errorf("error %v, want a NotFoundError with folder %s", err, dir)
	}
	if f := data.Folders(); len(f) < 3 || f[0] != dir || f[1] != "data" || f[len(f)-1] != "/usr/share/datasets/fashion-mnist" {
		t.Errorf("folders %v", f)
	}
}

// trainSet opens the 60,000 or skips the test: they are not in the repository.
func trainSet(t *testing.T, size int) data.Set {
	t.Helper()
	s, err := data.Open("fashion-mnist-train", size)
	var missing *data.NotFoundError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTrainSet(t *testing.T) {
	s := trainSet(t, 14)
	if h, w, c := s.Shape(); s.Len() != 60000 || h != 14 || w != 14 || c != 1 {
		t.Fatalf("%d images of %d×%d×%d", s.Len(), h, w, c)
	}
}
