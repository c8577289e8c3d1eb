package data

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"
)

// Pillow's resize to the bit, of pictures that a formula gives; see testdata/make.py.
func TestResize(t *testing.T) {
	text, err := os.ReadFile("testdata/golden/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Resize struct {
			Cases []struct {
				Filter  string
				In, Out []int
			}
		}
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/golden/resize.bin")
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Resize.Cases) < 12 {
		t.Fatalf("%d cases", len(all.Resize.Cases))
	}
	for _, c := range all.Resize.Cases {
		p := newPicture(c.In[0], c.In[1], c.In[2])
		for i := range p.pix {
			y, x, k := i/p.c/p.w, i/p.c%p.w, i%p.c
			p.pix[i] = byte(y*y*31 + x*x*17 + y*x*7 + k*101)
		}
		got := resize(p, c.Out[0], c.Out[1], map[string]filter{"box": box, "bicubic": bicubic}[c.Filter]).pix
		if !bytes.Equal(got, want[:len(got)]) {
			t.Errorf("%s %v to %v: %v..., want %v...", c.Filter, c.In, c.Out, got[:8], want[:8])
		}
		want = want[len(got):]
	}
	if len(want) != 0 {
		t.Errorf("%d bytes more", len(want))
	}
}

// WebP decodes to what libwebp makes of it, to the bit, with colour interpolated.
func TestWebP(t *testing.T) {
	for _, name := range []string{"0", "3", "lossless", "alpha"} {
		var p [2]picture
		for i, ending := range []string{".webp", ".png"} {
			b, err := os.ReadFile("testdata/lmdb/webp/" + name + ending)
			if err != nil {
				t.Fatal(err)
			}
			if p[i], err = decodePicture(b); err != nil {
				t.Fatal(err)
			}
		}
		if p[0].h != p[1].h || p[0].w != p[1].w || !bytes.Equal(p[0].pix, p[1].pix) {
			worst := 0
			for i := range p[1].pix {
				worst = max(worst, int(p[0].pix[i])-int(p[1].pix[i]), int(p[1].pix[i])-int(p[0].pix[i]))
			}
			t.Errorf("%s.webp differs from libwebp's by up to %d", name, worst)
		}
	}
}

// A line of a million pixels is cropped without making it 64 times as long.
func TestNarrow(t *testing.T) {
	p := newPicture(1, 1_000_000, 1)
	for i := range p.pix {
		p.pix[i] = byte(i)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	q := centreCrop.to(p, 64)
	runtime.ReadMemStats(&after)
	if q.h != 64 || q.w != 64 || q.pix[32] != p.pix[500_000] || after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("%d×%d, %d in the middle, %d bytes", q.h, q.w, q.pix[32], after.TotalAlloc-before.TotalAlloc)
	}
}

// FuzzPicture: image files are decoded and cropped, or refused in one line.
func FuzzPicture(f *testing.F) {
	for _, name := range []string{"folder/a/rgb.png", "folder/b/palette.gif", "jpeg/420.jpg", "lmdb/webp/3.webp", "lmdb/webp/lossless.webp"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, w, _, err := checkPicture(b, true)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		p, err := decodePicture(b)
		if err != nil || p.h != h || p.w != w {
			t.Fatalf("%d×%d and then %d×%d, %v", h, w, p.h, p.w, err)
		}
		centreCrop.to(p, 8)
		lsunCrop.to(p, 8)
	})
}

func TestNatural(t *testing.T) {
	for _, tt := range [][2]string{
		{"train_data_batch_9.npz", "train_data_batch_10.npz"},
		{"a", "b"},
		{"a1", "a01b"},
		{"x2y3", "x2y10"},
	} {
		if natural(tt[0], tt[1]) >= 0 || natural(tt[1], tt[0]) <= 0 {
			t.Errorf("%s is not before %s", tt[0], tt[1])
		}
	}
}

// A zip file may claim a size that it does not have; what it claims costs nothing.
func TestReadBlobBound(t *testing.T) {
	if _, err := readBlob(strings.NewReader("abc")); err != nil {
		t.Error(err)
	}
	if _, err := readBlob(zeros{}); err == nil || !strings.Contains(err.Error(), "256 MB") {
		t.Errorf("error %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
