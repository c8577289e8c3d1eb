package svg_test

import (
	"image/color"
	"strings"
	"testing"

	"ddpmlab/kernel/svg"
)

const open = `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">`

// TestDraw looks at pixels of small drawings.
func TestDraw(t *testing.T) {
	red, green, blue := color.RGBA{255, 0, 0, 255}, color.RGBA{0, 128, 0, 255}, color.RGBA{0, 0, 255, 255}
	none := color.RGBA{}
	for _, tt := range []struct {
		name, doc string
		at        map[[2]int]color.RGBA
	}{
		{"rect", open + `<title>x</title><rect x="10" y="10" width="20" height="20" fill="red"/></svg>`, map[[2]int]color.RGBA{{20, 20}: red, {5, 5}: none, {29, 29}: red, {30, 30}: none}},
		{"rounded", open + `<rect width="40" height="40" rx="10" fill="#f00"/></svg>`, map[[2]int]color.RGBA{{0, 0}: none, {20, 0}: red, {39, 39}: none, {20, 39}: red}},
		{"group", open + `<g fill="blue" transform="translate(20) scale(2)"><circle cx="5" cy="5" r="4"/></g></svg>`, map[[2]int]color.RGBA{{30, 10}: blue, {10, 10}: none, {21, 1}: none}},
		{"view box", `<svg viewBox="0 0 4 4" width="40px" height="40"><path d="M1 1h2v2h-2z" style="fill: green"/></svg>`, map[[2]int]color.RGBA{{20, 20}: green, {5, 20}: none, {29, 10}: green}},
		{"stroke", open + `<polyline points="0,20 40,20" fill="none" stroke="red" stroke-width="10"/></svg>`, map[[2]int]color.RGBA{{20, 16}: red, {20, 24}: red, {20, 14}: none, {20, 26}: none}},
		{"stroke both ways", open + `<path d="M5 20H35M35 20H5" stroke="red" stroke-width="8"/></svg>`, map[[2]int]color.RGBA{{20, 20}: red}},
		{"curves", open + `<path d="M0 40C0 0 40 0 40 40S0 40 0 40"/><path fill="blue" d="M20 0q5 5 10 0t10 0V-5H20Z"/></svg>`, map[[2]int]color.RGBA{{20, 20}: {0, 0, 0, 255}, {25, 1}: blue, {2, 2}: none}},
		{"arc", open + `<path d="M0 20A20 20 0 0140 20z" fill="red"/></svg>`, map[[2]int]color.RGBA{{20, 5}: red, {20, 25}: none, {1, 1}: none}},
		{"rotation", open + `<line x1="0" y1="0" x2="40" y2="0" stroke="red" stroke-width="4" transform="rotate(90 20 20)"/></svg>`, map[[2]int]color.RGBA{{39, 20}: red, {20, 1}: none}},
	} {
		img, err := svg.Draw([]byte(tt.doc), 1)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for at, want := range tt.at {
			if got := img.RGBAAt(at[0], at[1]); got != want {
				t.Errorf("%s: pixel %v is %v, want %v", tt.name, at, got, want)
			}
		}
	}
	if img, err := svg.Draw([]byte(open+"</svg>"), 2); err != nil || img.Bounds().Dx() != 80 {
		t.Errorf("twice as large: %v, %v", img.Bounds(), err)
	}
}

// TestRefused has what would be drawn wrongly.
func TestRefused(t *testing.T) {
	for inner, want := range map[string]string{
		`<text x="1">a</text>`:                        "element <text>",
		`<rect width="1" height="1" fill="url(#a)"/>`: `colour "url(#a)"`,
		`<g clip-path="url(#a)"></g>`:                 "clip-path",
		`<path d="M0 0L1"/>`:                          "ends in the middle of L",
		`<path d="M0 0 $"/>`:                          "path data",
		`<circle r="10%"/>`:                           "10%",
		`<g transform="skewX(3)"></g>`:                "skewX",
		`<rect`:                                       "",
	} {
		if _, err := svg.Draw([]byte(open+inner+"</svg>"), 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", inner, err, want)
		}
	}
	for _, doc := range []string{"", "<html></html>", `<svg width="1e9" height="1"/>`, `<svg width="0" height="1"/>`} {
		if _, err := svg.Draw([]byte(doc), 1); err == nil {
			t.Errorf("%q was drawn", doc)
		}
	}
}

// FuzzDraw draws whatever comes.
func FuzzDraw(f *testing.F) {
	f.Add([]byte(open + `<path d="M0 20A20 20 0 0140 20zq1-2.5.5e1"/></svg>`))
	f.Add([]byte(`<svg viewBox="0 0 4 4"><g transform="matrix(1 0 0 1 2 3)"><ellipse rx="1" ry="2"/></g></svg>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if img, err := svg.Draw(doc, 1); err == nil && img == nil {
			t.Error("neither a picture nor an error")
		}
	})
}
