package fid_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/fid"
	"ddpmlab/ddpm/npz"
)

// realImages are n real images as bytes, from image number first on.
func realImages(tb testing.TB, first, n int) []byte {
	tb.Helper()
	_, x := images(tb, 28, first+n)
	b := make([]byte, n*784)
	for i := range b {
		b[i] = byte((x[first*784+i]+1)*127.5 + 0.5)
	}
	return b
}

// folder writes images of 28×28 as PNG files.
func folder(tb testing.TB, pix []byte) string {
	tb.Helper()
	dir := tb.TempDir()
	for i := range len(pix) / 784 {
		m := &image.Gray{Pix: pix[i*784 : (i+1)*784], Stride: 28, Rect: image.Rect(0, 0, 28, 28)}
		writePNG(tb, filepath.Join(dir, fmt.Sprintf("%05d.png", i)), m)
	}
	return dir
}

func writePNG(tb testing.TB, path string, m image.Image) {
	tb.Helper()
	var b bytes.Buffer
	if err := errors.Join(png.Encode(&b, m), os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
		tb.Fatal(err)
	}
}

// archive writes images of 28×28 as arr_0.
func archive(tb testing.TB, pix []byte) string {
	tb.Helper()
	return writeNPZ(tb, func(w *npz.Writer) error {
		return w.Bytes("arr_0", []int{len(pix) / 784, 28, 28, 1}, func(w io.Writer) error { _, err := w.Write(pix); return err })
	})
}

func writeNPZ(tb testing.TB, write func(w *npz.Writer) error) string {
	tb.Helper()
	var b bytes.Buffer
	w := npz.NewWriter(&b)
	path := filepath.Join(tb.TempDir(), "x.npz")
	if err := errors.Join(write(w), w.Close(), os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
		tb.Fatal(err)
	}
	return path
}

func opened(tb testing.TB, open func(string) (*fid.Source, error), path string) *fid.Source {
	tb.Helper()
	s, err := open(path)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func against(s *fid.Source) fid.Against { return fid.Against{Images: s} }

// Folder, archive and data set of the same images are the same, and the values are those
// of the functions on the features themselves.
func TestEvaluate(t *testing.T) {
	e, ctx := fashionCNN(t, 0), t.Context()
	a, b := realImages(t, 0, 400), realImages(t, 400, 500)
	dir := folder(t, a)
	path := archive(t, b)
	done := 0
	var scored []string
	got, err := fid.Evaluate(ctx, e, opened(t, fid.OpenFolder, dir), against(opened(t, fid.OpenArchive, path)), fid.Request{Metrics: fid.Metrics(), Progress: func(d, total int) {
		if d < done || total != 900 {
			t.Errorf("%d of %d images after %d", d, total, done)
		}
		done = d
	}, Scoring: func(done, total int, next string) {
		if total != len(fid.Metrics()) || done == total && next != "" {
			t.Errorf("%d of %d scores, next %q", done, total, next)
		}
		scored = append(scored, next)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(scored) != 9 || scored[0] != "FD (fashion-cnn)" || scored[8] != "" {
		t.Errorf("scores in the order %q", scored)
	}
	if done != 900 || got.Samples.N != 400 || got.Reference.N != 500 {
		t.Errorf("read %d; %+v against %+v", done, got.Samples, got.Reference)
	}
	x, err := e.Outputs(ctx, a, 400, 28, 28, 1)
	y, err2 := e.Outputs(ctx, b, 500, 28, 28, 1)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	pool, ref := fid.NewRows(x.Pool, 64), fid.NewRows(y.Pool, 64)
	value := func(f float64, err error) float64 {
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	pixels := func(b []byte) fid.Stats {
		f := make([]float32, len(b))
		for i, v := range b {
			f[i] = float32(v)/127.5 - 1
		}
		return fid.NewRows(f, 784).Stats()
	}
	precision, recall, err := fid.PrecisionRecall(ctx, ref, pool, 3)
	if err != nil {
		t.Fatal(err)
	}
	kernel, _, err := fid.KernelDistance(ctx, pool, ref, 100, 1000)
	score := fid.NewClassScore(10, 5000)
	score.Add(x.Logits)
	mean, _, err2 := score.Score()
	line, err3 := fid.Extrapolate(ctx, ref.Stats(), pool)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"FD (fashion-cnn)":          value(fid.Frechet(pool.Stats(), ref.Stats())),
		"sFD (fashion-cnn)":         value(fid.Frechet(fid.NewRows(x.Spatial, 343).Stats(), fid.NewRows(y.Spatial, 343).Stats())),
		"class score (fashion-cnn)": mean, "precision (fashion-cnn)": precision, "recall (fashion-cnn)": recall,
		"KD (fashion-cnn)": kernel, "FD∞ (fashion-cnn)": line.Infinity,
		"FD (pixels)": value(fid.Frechet(pixels(a), pixels(b))),
	}
	if len(got.Values) != len(want) {
		t.Errorf("%d values, want %d", len(got.Values), len(want))
	}
	for _, v := range got.Values {
		if v.Value != want[v.Name] || v.Protocol.Metric != v.Name || v.ID != v.Protocol.Hash() || v.Protocol.N != 400 || v.Protocol.ReferenceN != 500 {
			t.Errorf("%s is %g with %+v, want %g", v.Name, v.Value, v.Protocol, want[v.Name])
		}
	}
	if n := len(got.Notes); n != 2 || !strings.Contains(got.Notes[0], "400 images are too few for a covariance of 784 features") || !strings.Contains(got.Notes[1], "500 images") {
		t.Errorf("notes %q", got.Notes)
	}

	same, err := fid.Evaluate(ctx, e, opened(t, fid.OpenFolder, dir), against(opened(t, fid.OpenArchive, archive(t, a))), fid.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if same.Samples.SHA256 != same.Reference.SHA256 || same.Samples.SHA256 != got.Samples.SHA256 {
		t.Errorf("the same images are %s and %s", same.Samples.SHA256, same.Reference.SHA256)
	}
	for _, v := range same.Values {
		distance := strings.Contains(v.Name, "FD")
		if distance && !(v.Value < 1e-6) || !distance && v.Value != 1 {
			t.Errorf("a set against itself: %s is %g", v.Name, v.Value)
		}
	}
}

// A reference file serves as the images it was made of, and not for another extractor.
func TestReference(t *testing.T) {
	e, ctx := fashionCNN(t, 0), t.Context()
	a, b := archive(t, realImages(t, 0, 300)), archive(t, realImages(t, 300, 400))
	src := func(path string) *fid.Source { return opened(t, fid.OpenArchive, path) }
	m, err := fid.Collect(ctx, e, src(b), fid.CollectOptions{Spatial: true})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	whole, bare := filepath.Join(dir, "whole.npz"), filepath.Join(dir, "bare.npz")
	if err := errors.Join(fid.WriteReference(whole, m, src(b)), fid.WriteReference(bare, m, nil)); err != nil {
		t.Fatal(err)
	}
	read := func(path string) *fid.Reference {
		r, err := fid.ReadReference(path)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	keys := []string{fid.MetricFD, fid.MetricSpatialFD, fid.MetricPrecision, fid.MetricRecall, fid.MetricPixelFD}
	want, err := fid.Evaluate(ctx, e, src(a), against(src(b)), fid.Request{Metrics: keys})
	if err != nil {
		t.Fatal(err)
	}
	got, err := fid.Evaluate(ctx, e, src(a), fid.Against{Statistics: read(whole)}, fid.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Values) != len(want.Values) {
		t.Fatalf("%d scores by a file, want %d", len(got.Values), len(want.Values))
	}
	for i, v := range got.Values {
		w := want.Values[i]
		w.Protocol.Reference = v.Protocol.Reference // the name of one and the other temporary file
		if v.Value != w.Value || v.Protocol != w.Protocol {
			t.Errorf("%s: %g by %+v, want %g by %+v", v.Name, v.Value, v.Protocol, w.Value, w.Protocol)
		}
	}
	got, err = fid.Evaluate(ctx, e, src(a), fid.Against{Statistics: read(bare)}, fid.Request{})
	if err != nil || len(got.Values) != 2 || got.Values[1].Value != want.Values[1].Value {
		t.Errorf("without images: %+v, %v", got, err)
	}
	between, err := fid.Between(read(whole), read(bare), nil)
	if err != nil || len(between.Values) != 2 || !(between.Values[0].Value < 1e-6) || between.Values[0].Name != "FD (fashion-cnn)" {
		t.Errorf("statistics against themselves: %+v, %v", between, err)
	}
	_, err = fid.Evaluate(ctx, e, src(a), fid.Against{Statistics: read(bare)}, fid.Request{Metrics: []string{fid.MetricRecall}})
	wants(t, "recall of statistics", err, "the metric needs its images")
	pix := fid.Pixels(28, 28, 1).(fid.Network)
	_, err = fid.Evaluate(ctx, pix, src(a), fid.Against{Statistics: read(bare)}, fid.Request{})
	wants(t, "another extractor", err, "was made with the extractor fashion-cnn", "this is pixels")
}

// Files that do not tell their extractor are taken by the number of features, which is
// said, and of two of them nothing is called FID.
func TestForeignReference(t *testing.T) {
	e, ctx := fashionCNN(t, 0), t.Context()
	foreign, err := fid.ReadReference("../npz/testdata/openai-deflated.npz")
	if err != nil || foreign.Pool.Dim != 6 || foreign.Spatial.Dim != 4 || foreign.N != fid.UnknownN || foreign.Pool.N != fid.UnknownN {
		t.Fatalf("%+v, %v", foreign, err)
	}
	src := func() *fid.Source { return opened(t, fid.OpenArchive, archive(t, realImages(t, 0, 100))) }
	_, err = fid.Evaluate(ctx, e, src(), fid.Against{Statistics: foreign}, fid.Request{})
	wants(t, "dimensions", err, "has statistics of 6 features, and the extractor fashion-cnn gives 64")
	m, err := fid.Collect(ctx, e, src(), fid.CollectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	edm := writeNPZ(t, func(w *npz.Writer) error {
		return errors.Join(w.Float64s("mu", []int{64}, m.Pool.Mean), w.Float64s("sigma", []int{64, 64}, m.Pool.Cov))
	})
	r, err := fid.ReadReference(edm)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fid.Evaluate(ctx, e, src(), fid.Against{Statistics: r}, fid.Request{})
	if err != nil || len(got.Values) != 1 || !(got.Values[0].Value < 1e-6) || got.Values[0].Protocol.ReferenceN != fid.UnknownN || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "does not tell its extractor") {
		t.Errorf("%+v, %v", got, err)
	}
	between, err := fid.Between(r, r, nil)
	if err != nil || between.Values[0].Name != "FD (unknown extractor)" {
		t.Errorf("%+v, %v", between, err)
	}
}

func wants(t *testing.T, name string, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: error %v, want %q", name, err, text)
		}
	}
}

// Each input that cannot be scored is refused, and there is no number.
func TestEvaluateRefusals(t *testing.T) {
	e, ctx := fashionCNN(t, 0), t.Context()
	pix := realImages(t, 0, 30)
	good := func() *fid.Source { return opened(t, fid.OpenArchive, archive(t, pix)) }
	mixed := folder(t, pix)
	writePNG(t, filepath.Join(mixed, "x.png"), image.NewGray(image.Rect(0, 0, 20, 28)))
	coloured := folder(t, pix[:784])
	rgb := image.NewRGBA(image.Rect(0, 0, 28, 28))
	rgb.Set(1, 1, color.RGBA{255, 0, 0, 255})
	writePNG(t, filepath.Join(coloured, "y.png"), rgb)
	x := make([]float32, 5*784)
	x[3*784+5] = float32(math.NaN())
	nan := func() *fid.Source { return fid.Truncated("nan", 5, 28, 28, 1, x) }
	floats := func() *fid.Source { return fid.Truncated("zero", 5, 28, 28, 1, make([]float32, 5*784)) }
	for _, tt := range []struct {
		name string
		a, b *fid.Source
		r    fid.Request
		want string
	}{
		{"mixed sizes", opened(t, fid.OpenFolder, mixed), good(), fid.Request{}, "has images of mixed sizes: 00000.png is 28×28×1, x.png is 28×20×1"},
		{"mixed channels", good(), opened(t, fid.OpenFolder, coloured), fid.Request{}, "00000.png is 28×28×1, y.png is 28×28×3"},
		{"two sizes", fid.Truncated("small", 5, 14, 14, 1, make([]float32, 5*196)), good(), fid.Request{}, "images of two sizes: small: 5 images of 14×14×1; x.npz: 30 images of 28×28×1"},
		{"one image", opened(t, fid.OpenFolder, folder(t, pix[:784])), good(), fid.Request{}, "has 1 image; want 2"},
		{"NaN", nan(), floats(), fid.Request{Floats: true}, "feature 1 of image 4 is NaN"},
		{"NaN as bytes", nan(), floats(), fid.Request{}, "number 6 of image 4 of nan is NaN; what drew it has diverged"},
		{"three images", fid.Truncated("three", 3, 28, 28, 1, make([]float32, 3*784)), good(), fid.Request{}, "3 images; want more than the 3 neighbours"},
		{"large pixels", fid.Truncated("large", 5, 99, 99, 1, make([]float32, 5*99*99)), fid.Truncated("large", 5, 99, 99, 1, make([]float32, 5*99*99)), fid.Request{Metrics: []string{fid.MetricPixelFD}}, "takes at most 4096"},
	} {
		got, err := fid.Evaluate(ctx, e, tt.a, against(tt.b), tt.r)
		wants(t, tt.name, err, tt.want)
		if got != nil {
			t.Errorf("%s: numbers %+v", tt.name, got)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := fid.Evaluate(cancelled, e, good(), against(good()), fid.Request{}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "stopped after 0 of 30 images") {
		t.Errorf("cancelled: %v", err)
	}
	_, err := fid.OpenFolder(t.TempDir())
	wants(t, "empty folder", err, "has no images")
	_, err = fid.OpenArchive("../npz/testdata/edm.npz")
	wants(t, "statistics as images", err, "has no array arr_0; it has mu, sigma")
	_, err = fid.ReadReference("../npz/testdata/odd.npz")
	wants(t, "other keys", err, "has the arrays fortran, big", "want mu and sigma (statistics) or arr_0 (images)")
	_, err = fid.ReadReference(writeNPZ(t, func(w *npz.Writer) error {
		return errors.Join(w.Float64s("mu", []int{2}, []float64{1, 2}), w.Float64s("sigma", []int{3}, []float64{1, 2, 3}))
	}))
	wants(t, "shapes", err, "mu has the shape [2] and sigma [3]; want [d] and [d d]")
	_, err = fid.ReadReference(writeNPZ(t, func(w *npz.Writer) error {
		return errors.Join(w.Float64s("mu", []int{2}, []float64{1, 2}), w.Float64s("sigma", []int{2, 2}, []float64{1, 2, 3, 4}))
	}))
	wants(t, "asymmetric", err, "sigma is not symmetric")
	_, err = fid.ReadReference(writeNPZ(t, func(w *npz.Writer) error {
		return errors.Join(w.Float64s("mu", []int{1}, []float64{math.NaN()}), w.Float64s("sigma", []int{1, 1}, []float64{1}))
	}))
	wants(t, "NaN statistics", err, "holds NaN or infinity")
	_, err = fid.OpenArchive(writeNPZ(t, func(w *npz.Writer) error {
		return w.Bytes("arr_0", []int{2, 3, 4, 5}, func(w io.Writer) error { _, err := w.Write(make([]byte, 120)); return err })
	}))
	wants(t, "planes", err, "arr_0 has the shape [2 3 4 5], that is images of 5 channels; want 1 or 3, as the last index")
	_, err = fid.OpenArchive(writeNPZ(t, func(w *npz.Writer) error { return w.Float64s("arr_0", []int{2, 1, 1, 1}, []float64{0, 1}) }))
	wants(t, "images as floats", err, "arr_0 is of type f8", "N×H×W×C bytes")
}

// What Plan foretells is what Evaluate does, for images as bytes and as numbers.
func TestPlan(t *testing.T) {
	e, ctx := fashionCNN(t, 0), t.Context()
	set, x := images(t, 14, 200)
	for _, floats := range []bool{false, true} {
		r := fid.Request{Floats: floats}
		samples := func(x []float32) *fid.Source {
			s := fid.Truncated("run", 200, 14, 14, 1, x)
			s.Drawn = fid.Protocol{Sampler: "ddim", Steps: 10, EMA: "0.999", Eta: 0.5}
			return s
		}
		planned, err := fid.Plan(e, samples(nil), against(fid.OfSet(set)), r)
		if err != nil {
			t.Fatal(err)
		}
		plan := planned.Values
		got, err := fid.Evaluate(ctx, e, samples(x), against(fid.OfSet(set)), r)
		if err != nil || len(got.Values) != len(plan) {
			t.Fatalf("%d values, planned %d, %v", len(got.Values), len(plan), err)
		}
		for i, v := range got.Values {
			if plan[i].ID != v.ID || plan[i].Protocol != v.Protocol || plan[i].Metric != v.Metric || v.Protocol.Sampler != "ddim" {
				t.Errorf("planned %+v, got %+v", plan[i], v.Protocol)
			}
		}
		if want := map[bool]string{false: "uint8", true: "float"}[floats]; plan[0].Protocol.Pixels != want {
			t.Errorf("pixels %s, want %s", plan[0].Protocol.Pixels, want)
		}
		if !slices.Equal(planned.Notes, got.Notes) || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "run: 200 images are too few for a covariance of 343") {
			t.Errorf("notes %q, planned %q", got.Notes, planned.Notes)
		}
	}
}

// Samples of a second seed are compared with what the first found of the reference, which is
// not read again.
func TestEvaluateAgain(t *testing.T) {
	e, ctx := fashionCNN(t, 0), t.Context()
	pix := realImages(t, 0, 300)
	src := func(first, n int) *fid.Source {
		return opened(t, fid.OpenArchive, archive(t, pix[first*784:(first+n)*784]))
	}
	first, err := fid.Evaluate(ctx, e, src(0, 100), against(src(200, 100)), fid.Request{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := fid.Evaluate(ctx, e, src(100, 100), first.Against, fid.Request{Progress: func(_, total int) {
		if total != 100 {
			t.Errorf("%d images to read, want the samples alone", total)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	want, err := fid.Evaluate(ctx, e, src(100, 100), against(src(200, 100)), fid.Request{})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range want.Values {
		if again.Values[i].Value != v.Value || again.Values[i].ID != v.ID || v.Value == first.Values[i].Value {
			t.Errorf("%s: %g, want %g", v.Name, again.Values[i].Value, v.Value)
		}
	}
	short, err := fid.Evaluate(ctx, e, src(0, 100), against(src(200, 100)), fid.Request{Metrics: []string{fid.MetricFD}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = fid.Evaluate(ctx, e, src(0, 100), short.Against, fid.Request{})
	wants(t, "other metrics", err, "was measured for other metrics; open it again")
}

// An archive's comment tells how its images were drawn; one that does not is of images that
// were found.
func TestDrawnArchive(t *testing.T) {
	e, pix := fashionCNN(t, 0), realImages(t, 0, 30)
	told := fid.Protocol{Sampler: "ddim", Steps: 10, EMA: "0.999", Eta: 0.5, Seeds: "3"}
	comment, err := json.Marshal(map[string]any{"n": 30, "protocol": told.Fields()})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]fid.Protocol{string(comment): told, `{"n": 30}`: {Samples: fid.Found}, "x": {Samples: fid.Found}, "": {Samples: fid.Found}} {
		path := writeNPZ(t, func(w *npz.Writer) error {
			return errors.Join(w.Comment(text), w.Bytes("arr_0", []int{30, 28, 28, 1}, func(w io.Writer) error { _, err := w.Write(pix); return err }))
		})
		got, err := fid.Evaluate(t.Context(), e, opened(t, fid.OpenArchive, path), against(opened(t, fid.OpenArchive, archive(t, pix))), fid.Request{Metrics: []string{fid.MetricFD}})
		if err != nil {
			t.Fatal(err)
		}
		p := got.Values[0].Protocol
		p.Metric, p.Extractor, p.ExtractorSHA256, p.Resize, p.Pixels, p.N = "", "", "", "", "", 0
		p.Reference, p.ReferenceSHA256, p.ReferenceN = "", "", 0
		if p != want {
			t.Errorf("comment %s: %+v, want %+v", text, p, want)
		}
	}
}

// Real images of one half are as near the other as noise levels say, and fewer are
// farther.
func TestNoiseLevels(t *testing.T) {
	e := fashionCNN(t, 0)
	m, err := fid.Collect(t.Context(), e, opened(t, fid.OpenArchive, archive(t, realImages(t, 0, 1200))), fid.CollectOptions{Spatial: true, Pixel: true, KeepAll: true})
	if err != nil {
		t.Fatal(err)
	}
	levels, err := fid.NoiseLevels(t.Context(), m, 3, 200, 600)
	if err != nil || len(levels) != 10 {
		t.Fatalf("%d levels, %v", len(levels), err)
	}
	for i, few := range levels[:5] {
		half := levels[i+5]
		if few.Name != half.Name || few.N != 200 || few.M != 1000 || half.N != 600 || half.M != 600 || !(few.SD > 0) {
			t.Errorf("%+v and %+v", few, half)
		}
		if strings.Contains(few.Name, "FD") && !(few.Mean > half.Mean) {
			t.Errorf("%s: %g with 200 images, %g with 600", few.Name, few.Mean, half.Mean)
		}
	}
	if !slices.ContainsFunc(levels, func(l fid.Noise) bool { return l.Name == "FD (pixels)" }) {
		t.Error("no distance of pixels")
	}
	_, err = fid.NoiseLevels(t.Context(), m, 1, 1199)
	wants(t, "too many", err, "want 4 to 1196")
}
