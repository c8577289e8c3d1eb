package fid

import (
	"math"
	"strings"
	"testing"
)

// For one feature the floor is known: with N and M normal numbers of variance
// s², (μ₁-μ₂)² + (σ₁-σ₂)² has the mean s²(1/N + 1/M)(1 + 1/2). The pixels of
// fakeSet are uniform on an interval of length 1, whose kurtosis 1.8 makes the
// second part 0.8/4 instead of 1/2.
func TestFloor(t *testing.T) {
	set, e := fakeSet{4000, 1, 1}, Pixels(1, 1, 1)
	want := func(n, m int) float64 { return 1.0 / 12 * (1/float64(n) + 1/float64(m)) * 1.2 }
	f, err := Floor(t.Context(), e, set, 40, 400)
	if err != nil {
		t.Fatal(err)
	}
	if f.Metric != "FD (pixels)" || f.Reference != "fake" || f.Real != "fake" || f.HalfN != 2000 || len(f.At) != 2 {
		t.Errorf("got %+v", f)
	}
	for i, n := range []int{40, 400} {
		at := f.At[i]
		// The distance is about χ² with two degrees of freedom: its mean over
		// ten draws is within a factor of three of the truth in all but few cases,
		// and the draws are fixed.
		if w := want(n, 4000-n); at.N != n || at.M != 4000-n || at.Draws != 10 || at.Mean < w/3 || at.Mean > 3*w || at.SD <= 0 || at.SD > 3*w {
			t.Errorf("%+v, want about %g", at, w)
		}
	}
	if w := want(2000, 2000); f.Halves <= 0 || f.Halves > 10*w {
		t.Errorf("halves %g, want about %g", f.Halves, w)
	}
	against, err := FloorAgainst(t.Context(), e, fakeSet{3000, 1, 2}, set, 400)
	if err != nil || against.At[0].M != 4000 || against.At[0].Mean > 3*want(400, 4000) {
		t.Errorf("against another set: %+v, %v", against, err)
	}
	if s := f.String(); !strings.Contains(s, "FD (pixels)") || !strings.Contains(s, "40 against 3960") {
		t.Errorf("got %s", s)
	}
}

func TestFloorRefusals(t *testing.T) {
	set, e := fakeSet{40, 1, 1}, Pixels(1, 1, 1)
	if _, err := Floor(t.Context(), e, set, 21); err == nil || !strings.Contains(err.Error(), "want 2 to 20") {
		t.Errorf("error %v", err)
	}
	if _, err := FloorAgainst(t.Context(), e, set, set, 5); err == nil || !strings.Contains(err.Error(), "use Floor") {
		t.Errorf("error %v", err)
	}
	if _, err := Floor(t.Context(), Pixels(2, 2, 1), set, 5); err == nil || !strings.Contains(err.Error(), "want 2×2×1") {
		t.Errorf("error %v", err)
	}
}

// What goes into an extractor of pixels comes out.
func TestPixels(t *testing.T) {
	e := Pixels(1, 2, 1)
	f, err := e.Features(t.Context(), []float32{1, -1, 0.5, 0.25}, 2, 1, 2, 1)
	if err != nil || e.Dim() != 2 || len(f) != 4 || f[3] != 0.25 || math.Abs(f[1]+1) > 0 {
		t.Errorf("got %v, %v", f, err)
	}
	if _, err := e.Features(t.Context(), []float32{1}, 1, 1, 1, 1); err == nil {
		t.Error("no error for another shape")
	}
}
