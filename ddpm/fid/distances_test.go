package fid_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat"

	"ddpmlab/ddpm/fid"
)

// golden are the values of NumPy 2.3.4, SciPy 1.16.3 and scikit-learn 1.7.2 that
// testdata/make.py wrote.
type golden struct {
	First       []float64
	FD          float64
	Deficient   float64    `json:"fd_deficient"`
	OneSide     float64    `json:"fd_one_deficient"`
	IS          [2]float64 `json:"is"`
	PR          [2]float64
	KID         float64
	Line        float64
	FD2048      float64 `json:"fd_2048"`
	Deficient2k float64 `json:"fd_2048_deficient"`
}

func readGolden(tb testing.TB) golden {
	tb.Helper()
	var g golden
	b, err := os.ReadFile("testdata/distances.json")
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// made are the features of make.py.
func made(n, dim int, seed uint64, shift, scale float64) fid.Rows {
	uniform := func(i uint64) float64 { // SplitMix64
		z := (i + seed<<40) * 0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		return float64((z^z>>31)>>11) * 0x1p-53
	}
	x, left := make([]float32, n*dim), 0.0
	for i := range x {
		v := -2.0
		for k := range 4 {
			v += uniform(uint64(4*i + k))
		}
		y := v
		if i%dim > 0 {
			y += 0.5 * left
		}
		left = v
		x[i] = float32(y*scale + shift)
	}
	return fid.NewRows(x, dim)
}

func close6(t *testing.T, name string, got, want float64, err error) {
	t.Helper()
	if err != nil || !(math.Abs(got-want) <= 1e-6*max(1, math.Abs(want))) {
		t.Errorf("%s: got %.10g, %v, want %.10g", name, got, err, want)
	}
}

func TestDistancesGolden(t *testing.T) {
	g, ctx := readGolden(t), t.Context()
	a, b := made(500, 64, 1, 0, 1), made(400, 64, 2, 0.1, 1.1)
	for i, want := range g.First {
		if got := float64(a.Row(i / 3)[i%3]); math.Abs(got-want) > 1e-7 {
			t.Fatalf("feature %d: %g, want %g: not the features of make.py", i, got, want)
		}
	}
	few := made(30, 64, 3, 0, 1)
	fd, err := fid.Frechet(a.Stats(), b.Stats())
	close6(t, "Fréchet", fd, g.FD, err)
	fd, err = fid.Frechet(few.Stats(), made(40, 64, 4, 0.2, 1).Stats())
	close6(t, "Fréchet of too few images", fd, g.Deficient, err)
	fd, err = fid.Frechet(a.Stats(), few.Stats())
	close6(t, "Fréchet of too few images on one side", fd, g.OneSide, err)

	score := fid.NewClassScore(10, 100)
	logits := made(230, 10, 5, 0, 3).X
	for piece := range slices.Chunk(logits, 70) {
		score.Add(piece)
	}
	mean, sd, err := score.Score()
	close6(t, "class score", mean, g.IS[0], err)
	close6(t, "its deviation", sd, g.IS[1], err)

	p, r, err := fid.PrecisionRecall(ctx, made(300, 16, 6, 0, 1), made(250, 16, 7, 0.3, 0.8), fid.Neighbours)
	close6(t, "precision", p, g.PR[0], err)
	close6(t, "recall", r, g.PR[1], err)

	k, sd, err := fid.KernelDistance(ctx, made(200, 16, 8, 0, 1), made(200, 16, 9, 0.2, 1.1), 10, 1000)
	close6(t, "kernel distance", k, g.KID, err)
	if sd != 0 {
		t.Errorf("deviation %g of the one subset of all images", sd)
	}
}

// The statistics of Inception's size, with and without full rank.
func TestFrechet2048(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute on a busy machine")
	}
	g := readGolden(t)
	fd, err := fid.Frechet(made(2500, 2048, 10, 0, 1).Stats(), made(2500, 2048, 11, 0.05, 1.1).Stats())
	close6(t, "full rank", fd, g.FD2048, err)
	a := made(1000, 2048, 12, 0, 1).Stats()
	fd, err = fid.Frechet(a, made(1200, 2048, 13, 0.05, 1).Stats())
	close6(t, "1,000 and 1,200 images", fd, g.Deficient2k, err)
	if fd, err = fid.Frechet(a, a); err != nil || !(fd < 1e-6) {
		t.Errorf("1,000 images against themselves: %g, %v", fd, err)
	}
}

// A set is at distance zero from itself, whatever its rank and scale.
func TestFrechetSelf(t *testing.T) {
	for _, tt := range []struct {
		name string
		rows fid.Rows
	}{
		{"full rank", made(500, 64, 1, 0, 1)},
		{"too few", made(20, 64, 1, 0, 1)},
		{"two images", made(2, 64, 1, 0, 1)},
		{"large numbers", made(300, 64, 1, 1e3, 30)},
		{"equal images", fid.NewRows(slices.Repeat(made(1, 64, 1, 0, 1).X, 10), 64)},
	} {
		s := tt.rows.Stats()
		if fd, err := fid.Frechet(s, s); err != nil || !(fd < 1e-6) {
			t.Errorf("%s: %g, %v, want less than 1e-6", tt.name, fd, err)
		}
	}
	s := made(64, 64, 1, 0, 1).Stats()
	if !s.Deficient() || made(65, 64, 1, 0, 1).Stats().Deficient() {
		t.Error("64 images of 64 features are too few for full rank, 65 are not")
	}
}

// Plain loops, with every distance computed directly, and images that occur several
// times, at which radii are zero.
func TestPrecisionRecallLoops(t *testing.T) {
	const dim, k = 5, 3
	real, fake := made(700, dim, 20, 0, 1), made(550, dim, 21, 0.4, 0.7)
	for i := range 6 { // image 0 of the real ones six times there, and once among the samples
		copy(real.Row(100*i), real.Row(0))
	}
	copy(fake.Row(7), real.Row(0))
	d := func(x, y []float32) float64 {
		s := 0.0
		for i := range x {
			s += math.Pow(float64(x[i])-float64(y[i]), 2)
		}
		return s
	}
	share := func(of, by fid.Rows) float64 {
		in := 0
		radius := make([]float64, by.N)
		for i := range by.N {
			var all []float64
			for j := range by.N {
				all = append(all, d(by.Row(i), by.Row(j)))
			}
			slices.Sort(all)
			radius[i] = all[k] // all[0] is the image itself
		}
		for i := range of.N {
			for j := range by.N {
				if d(of.Row(i), by.Row(j)) <= radius[j] {
					in++
					break
				}
			}
		}
		return float64(in) / float64(of.N)
	}
	p, r, err := fid.PrecisionRecall(t.Context(), real, fake, k)
	if err != nil || p != share(fake, real) || r != share(real, fake) {
		t.Errorf("precision %g, recall %g, %v, want %g, %g", p, r, err, share(fake, real), share(real, fake))
	}
	if p, r, err = fid.PrecisionRecall(t.Context(), real, real, k); err != nil || p != 1 || r != 1 {
		t.Errorf("a set in itself: precision %g, recall %g, %v", p, r, err)
	}
}

// Over subsets the mean stays, within its deviation, and equal sides are near zero.
func TestKernelDistanceSubsets(t *testing.T) {
	a, b := made(600, 16, 8, 0, 1), made(500, 16, 9, 0.2, 1.1)
	all, _, err := fid.KernelDistance(t.Context(), a, fid.NewRows(b.X, 16), 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	mean, sd, err := fid.KernelDistance(t.Context(), a, b, 50, 100)
	if err != nil || !(sd > 0) || math.Abs(mean-all) > sd {
		t.Errorf("subsets: %g ± %g, %v, all images: %g", mean, sd, err, all)
	}
	same, sd, err := fid.KernelDistance(t.Context(), a, made(600, 16, 30, 0, 1), 50, 100)
	if err != nil || math.Abs(same) > 2*sd || same > all/10 {
		t.Errorf("equal distributions: %g ± %g, %v", same, sd, err)
	}
}

// The distance between samples of one distribution is all bias; the extrapolation
// takes out that of the side it thins. Its line is NumPy's.
func TestExtrapolate(t *testing.T) {
	e, err := fid.Extrapolate(t.Context(), made(20000, 16, 40, 0, 1).Stats(), made(2000, 16, 41, 0, 1))
	if err != nil || len(e.N) != 15 || e.N[0] != 200 || e.N[14] != 2000 {
		t.Fatalf("%+v, %v", e, err)
	}
	if !(e.FD[0] > 3*e.FD[14]) || math.Abs(e.Infinity) > e.FD[14]/3 {
		t.Errorf("distances %.4g, extrapolated %.4g", e.FD, e.Infinity)
	}
	if _, err := fid.Extrapolate(t.Context(), made(50, 4, 1, 0, 1).Stats(), made(19, 4, 1, 0, 1)); err == nil || !strings.Contains(err.Error(), "19 images; want 20") {
		t.Errorf("19 images: %v", err)
	}
}

// Pairs that share their noise tell a small difference that independent sets do not.
func TestPairedBootstrap(t *testing.T) {
	reference := made(4000, 8, 50, 0, 1).Stats()
	a := made(800, 8, 51, 0.1, 1)
	b := fid.NewRows(slices.Clone(a.X), 8)
	for i := range b.X {
		b.X[i] *= 0.97
	}
	d, err := fid.PairedBootstrap(t.Context(), reference, a, b, 200)
	if err != nil {
		t.Fatal(err)
	}
	fa, _ := fid.Frechet(a.Stats(), reference)
	fb, _ := fid.Frechet(b.Stats(), reference)
	if d.A != fa || d.B != fb || d.Diff != fa-fb || !(d.Low <= d.Diff && d.Diff <= d.High) {
		t.Errorf("%+v, want distances %g and %g", d, fa, fb)
	}
	unpaired, err := fid.PairedBootstrap(t.Context(), reference, a, made(800, 8, 52, 0.1, 0.97), 200)
	if err != nil || !(unpaired.SD > 2*d.SD) {
		t.Errorf("deviation %g paired, %g unpaired, %v", d.SD, unpaired.SD, err)
	}
	if text := d.String(); !strings.Contains(text, "800 pairs, 200 draws") || strings.Contains(text, "\n") {
		t.Errorf("%q, want a line without a protocol", text)
	}
	again, err := fid.PairedBootstrap(t.Context(), reference, a, b, 200)
	if err != nil || again != d {
		t.Errorf("the second time %+v, %v", again, err)
	}
	// The deviation is that of independent sets of pairs, drawn anew.
	var diffs []float64
	for s := range uint64(60) {
		x := made(800, 8, 100+s, 0.1, 1)
		y := fid.NewRows(slices.Clone(x.X), 8)
		for i := range y.X {
			y.X[i] *= 0.97
		}
		fx, _ := fid.Frechet(x.Stats(), reference)
		fy, _ := fid.Frechet(y.Stats(), reference)
		diffs = append(diffs, fx-fy)
	}
	if want := stat.StdDev(diffs, nil); math.Abs(d.SD/want-1) > 0.4 { // 60 draws know it to 9 %
		t.Errorf("deviation %g, of new sets %g", d.SD, want)
	}
}

func TestDistanceRefusals(t *testing.T) {
	ctx, a, b := t.Context(), made(10, 4, 1, 0, 1), made(10, 3, 1, 0, 1)
	for name, f := range map[string]func() error{
		"features of 4 and of 3": func() error { _, _, err := fid.PrecisionRecall(ctx, a, b, 3); return err },
		"10 images; want more":   func() error { _, _, err := fid.PrecisionRecall(ctx, a, a, 10); return err },
		"of 4 and of 3 numbers":  func() error { _, _, err := fid.KernelDistance(ctx, a, b, 1, 5); return err },
		"subsets of 1 images":    func() error { _, _, err := fid.KernelDistance(ctx, a, a, 1, 1); return err },
		"score of no images":     func() error { _, _, err := fid.NewClassScore(4, 10).Score(); return err },
		"10 and 4 images":        func() error { _, err := fid.PairedBootstrap(ctx, a.Stats(), a, made(4, 4, 1, 0, 1), 5); return err },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want %q", err, name)
		}
	}
}

// BenchmarkFrechet2048 is the distance of Inception's features, from finished
// statistics.
func BenchmarkFrechet2048(b *testing.B) {
	x, y := made(2500, 2048, 10, 0, 1).Stats(), made(2500, 2048, 11, 0.05, 1.1).Stats()
	for b.Loop() {
		start := time.Now()
		if _, err := fid.Frechet(x, y); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s/distance")
	}
}
