package plots_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
	"ddpmlab/plots"

	"gonum.org/v1/plot"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// figures is one of each kind, and the hard cases of layout.
func figures(t *testing.T) map[string]*plots.Figure {
	t.Helper()
	figure := func(f *plots.Figure, err error) *plots.Figure {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	var seeds experiments.Runs
	for s := range uint64(3) {
		seeds = append(seeds, run(ddpm.ADM(), s+1, 0.62), run(ddpm.InputPerturbation(0.1), s+1, 0.5))
	}
	seeds = append(seeds, run(ddpm.InputPerturbation(0.2), 1, 0.8), run(ddpm.Variant{Gamma: 0.1, WeightDecay: 0.03}, 1, 0.9))
	var many []display.Line
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		many = append(many, display.Line{Name: strings.Repeat(name, 40), X: []float64{0, 1}, Y: []float64{1, 2}})
	}
	return map[string]*plots.Figure{
		"fd":      figure(plots.FDCurve(tour())),
		"seeds":   figure(plots.FDCurve(seeds)),
		"loss":    figure(plots.LossCurve(tour()[:2])),
		"samples": figure(plots.SampleGrid(samples(tour()[0], 4, 14, 1), samples(tour()[3], 4, 14, 1))),
		"colour":  figure(plots.SampleGrid(samples(nil, 10, 32, 3))),
		"drift":   figure(plots.DriftCurve(bias(tour()...))),
		"norms":   figure(plots.NormCurve(bias(tour()...))),
		"errors":  figure(plots.ErrorCurve(bias(tour()...))),
		"empty":   plots.Curve(display.Curve{}),
		"crowded": plots.Curve(display.Curve{
			Title: strings.Repeat("a long title ", 20), XLabel: strings.Repeat("x", 300), YLabel: strings.Repeat("y", 300), Lines: many,
		}),
	}
}

// TestGolden compares SVG byte by byte: coordinates are rounded to a hundredth of a
// pixel, so that they do not depend on the processor.
func TestGolden(t *testing.T) {
	all := figures(t)
	for _, name := range []string{"fd", "seeds", "loss", "samples", "drift", "norms", "errors"} {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".svg", all[name].SVG(), bytes.Equal)
		})
	}
	// The raster differs by a shade between processors where edges are smoothed.
	for _, name := range []string{"fd", "samples"} {
		t.Run(name+" png", func(t *testing.T) {
			golden(t, name+".png", all[name].PNG(), samePixels)
		})
	}
}

func golden(t *testing.T, name string, got []byte, equal func(got, want []byte) bool) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !equal(got, want) {
		bad := filepath.Join(os.TempDir(), "ddpmlab-"+name)
		if err := os.WriteFile(bad, got, 0o644); err != nil {
			t.Error(err)
		}
		t.Errorf("differs from %s; got %s; look at both and run `go test ./plots -update`", path, bad)
	}
}

// samePixels reports whether two PNGs differ by at most 2 of 255 anywhere.
func samePixels(got, want []byte) bool {
	a, errA := png.Decode(bytes.NewReader(got))
	b, errB := png.Decode(bytes.NewReader(want))
	if errA != nil || errB != nil || a.Bounds() != b.Bounds() {
		return false
	}
	near := func(x, y uint32) bool { return max(x, y)-min(x, y) <= 2*0x101 }
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			ar, ag, ab, _ := a.At(x, y).RGBA()
			br, bg, bb, _ := b.At(x, y).RGBA()
			if !near(ar, br) || !near(ag, bg) || !near(ab, bb) {
				return false
			}
		}
	}
	return true
}

func TestFiguresAreDeterministic(t *testing.T) {
	one, two := figures(t), figures(t)
	for name := range one {
		if !bytes.Equal(one[name].SVG(), two[name].SVG()) {
			t.Errorf("%s: two SVGs differ", name)
		}
	}
	if !bytes.Equal(one["samples"].PNG(), two["samples"].PNG()) {
		t.Error("two PNGs differ")
	}
}

// wellFormed checks an SVG's syntax and that no number in it is broken.
func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("SVG is not well formed: %v", err)
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if name := element.Name.Local; name == "text" || name == "style" || name == "script" {
			t.Errorf("<%s> in an SVG; text is to be paths", name)
		}
		for _, a := range element.Attr {
			if a.Name.Local != "aria-label" && regexp.MustCompile(`NaN|Inf`).MatchString(a.Value) && a.Name.Local != "href" {
				t.Errorf("<%s %s=%q>", element.Name.Local, a.Name.Local, a.Value)
			}
		}
	}
}

func TestFigureForms(t *testing.T) {
	for name, f := range figures(t) {
		t.Run(name, func(t *testing.T) {
			wellFormed(t, f.SVG())
			if testing.Short() && name != "crowded" && name != "samples" {
				t.Skip("drawing PNGs takes seconds")
			}
			b := f.Bundle()
			if len(b.Data[render.SVG]) > 100_000 {
				t.Errorf("SVG of %d bytes, want at most 100,000", len(b.Data[render.SVG]))
			}
			img, err := png.Decode(bytes.NewReader(b.Data[render.PNG]))
			if err != nil {
				t.Fatal(err)
			}
			w, h := img.Bounds().Dx(), img.Bounds().Dy()
			if b.Meta[render.PNG]["width"] != w/2 || b.Meta[render.PNG]["height"] != h/2 {
				t.Errorf("PNG of %d×%d is to be shown at %v, want half of it", w, h, b.Meta[render.PNG])
			}
			if w/2 > 640 {
				t.Errorf("figure is %d CSS pixels wide, want at most 640", w/2)
			}
			// Nothing is cut off: a white frame remains.
			inked := func(x, y int) bool {
				r, g, b, _ := img.At(x, y).RGBA()
				return r+g+b != 3*0xffff
			}
			for frame := range 6 {
				for x := range w {
					if inked(x, frame) || inked(x, h-1-frame) {
						t.Fatalf("ink in the upper or lower margin, at x = %d of %d×%d", x, w, h)
					}
				}
				for y := range h {
					if inked(frame, y) || inked(w-1-frame, y) {
						t.Fatalf("ink in the left or right margin, at y = %d of %d×%d", y, w, h)
					}
				}
			}
			if live := f.LiveBundle(); len(live.Data) != 2 || !bytes.Equal(live.Data[render.SVG], b.Data[render.SVG]) {
				t.Error("the live bundle is not the same SVG and text")
			}
		})
	}
}

func TestNilFigure(t *testing.T) {
	var f *plots.Figure
	if !f.Bundle().Empty() || !f.LiveBundle().Empty() || f.String() != "" {
		t.Error("a nil figure shows something")
	}
}

func TestSave(t *testing.T) {
	f := plots.Curve(display.Curve{Title: "loss", Lines: []display.Line{{Name: "ADM", X: []float64{1, 2}, Y: []float64{2, 1}}}})
	dir := t.TempDir()
	for name, want := range map[string][]byte{
		"a.svg": f.SVG(), "b.PNG": f.PNG(), "c.txt": []byte(f.String() + "\n"),
	} {
		path := filepath.Join(dir, name)
		if err := f.Save(path); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d; %v", name, len(got), len(want), err)
		}
	}
	if err := f.Save(filepath.Join(dir, "none", "a.svg")); err == nil {
		t.Error("saved into a folder that is not there")
	}
	if err := os.Mkdir(filepath.Join(dir, "taken.png"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(filepath.Join(dir, "taken.png")); err == nil {
		t.Error("saved over a folder")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("folder holds %v, want the three files and the folder; %v", entries, err)
	}
}

func TestOf(t *testing.T) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = "T", "x", "y"
	b := plots.Of(p).Bundle()
	if !bytes.Contains(b.Data[render.SVG], []byte("<svg")) || !bytes.HasPrefix(b.Data[render.PNG], []byte("\x89PNG")) || b.String() != "T\nplot of y by x" {
		t.Errorf("a plot is shown as %q", b.String())
	}
	if f := plots.Of("no plot"); f != nil {
		t.Errorf("a string is the figure %v", f)
	}
}
