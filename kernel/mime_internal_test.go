package kernel

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// TestForms shows values in every form there is.
func TestForms(t *testing.T) {
	b := newBench(t)
	setup := b.execute(`import (
	"image"
	"gonum.org/v1/plot"
)
type both struct{ n int }
func (b both) HTML() string { return "<b>both</b>" }
func (b both) String() string { return "both as text" }
type simple struct{}
func (s simple) SimpleRender() map[string]interface{} { return map[string]interface{}{"text/plain": "simple", "text/html": "<i>simple</i>"} }
type chart struct{}
func (chart) VegaLite() map[string]interface{} { return map[string]interface{}{"mark": "bar"} }
type broken struct{}
func (broken) HTML() string { panic("no HTML") }
type row struct { Name string; Score float64; note int }
type quiet struct{ A int }
func (quiet) String() string { return "quiet" }
type square struct{}
func (square) SVG() string { return "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><rect width='9' height='9'/></svg>" }
func (square) String() string { return "a square" }
type label struct{ n int }
func (*label) SVG() string { return "<svg xmlns='http://www.w3.org/2000/svg'><text>a</text></svg>" }
func (l *label) String() string { return fmt.Sprint("label ", l.n) }
picture := image.NewRGBA(image.Rect(0, 0, 4, 2))
curve := plot.New()
curve.X.Label.Text, curve.Y.Label.Text = "step", "loss"`)
	if setup.reply["status"] != "ok" {
		t.Fatal(setup.reply["traceback"])
	}
	for _, tt := range []struct{ src, mimes, text string }{
		{`display.HTML("<b>x</b>")`, "text/html text/plain", "<b>x</b>"},
		{`display.Markdown("**x**")`, "text/markdown text/plain", "**x**"},
		{`display.Math("x^2")`, "text/latex text/plain", "x^2"},
		{`display.SVG("<svg/>")`, "image/png image/svg+xml text/plain", "SVG image"},
		{`display.SVG("no SVG")`, "image/svg+xml text/plain", "SVG image"},
		{`square{}`, "image/png image/svg+xml text/plain", "a square"},
		{`label{3}`, "image/svg+xml text/html text/plain", "label 3"}, // its methods are the pointer's
		{`l := label{4}; l`, "image/svg+xml text/html text/plain", "label 4"},
		{`fmt.Sprint(label{5})`, "text/plain", "{5}"},
		{`display.JavaScript("1")`, "application/javascript text/plain", "1"},
		{`display.JSON(map[string]interface{}{"a": 1})`, "application/json text/plain", "map[a:1]"},
		{`display.PNG([]byte{1, 2, 3})`, "image/png text/plain", "image/png, 3 bytes"},
		{`display.Image(picture)`, "image/png text/plain", "image of 4 by 2 pixels"},
		{`display.Image(image.NewRGBA(image.Rectangle{}))`, "", "png: invalid format: invalid image size: 0x0"},
		{`display.MIME(display.MIMEMap{"text/html": "a", "text/plain": "b"}, nil)`, "text/html text/plain", "b"},
		{`display.Auto([]byte("<html>x</html>"))`, "text/html text/plain", "<html>x</html>"},
		{`display.Any("", both{})`, "text/html text/plain", ""},
		{`both{}`, "text/html text/plain", "both as text"},
		{`&both{}`, "text/html text/plain", "both as text"},
		{`simple{}`, "text/html text/plain", "simple"},
		{`chart{}`, "application/vnd.vegalite.v5+json text/plain", "{}"},
		{`broken{}`, "text/plain", "{}"},
		{`picture`, "image/png text/plain", "image of 4 by 2 pixels"},
		{`curve`, "image/png image/svg+xml text/plain", "plot of loss by step"},
		{`[]row{{"a", 1.5, 1}, {"b", 2, 2}}`, "text/html text/latex text/markdown text/plain", "Name  Score  note\n----  -----  ----\na       1.5     1\nb         2     2"},
		{`[]*row{{"a", 1.5, 1}, nil}`, "text/html text/latex text/markdown text/plain", "Name   Score  note\n-----  -----  ----\na        1.5     1\n<nil>"},
		{`[]struct{ A, B int }{{1, 2}}`, "text/html text/latex text/markdown text/plain", "A  B\n-  -\n1  2"},
		{`map[int]string{10: "b", 9: "a"}`, "text/html text/latex text/markdown text/plain", "key  value\n---  -----\n  9  a\n 10  b"},
		{`[]map[string]int{{"x": 1}, {"y": 2}}`, "text/html text/latex text/markdown text/plain", "x  y\n-  -\n1\n   2"},
		{`map[string]int{}`, "text/plain", "map[]"},
		{`[]row{}`, "text/plain", "[]"},
		{`[]int{1, 2}`, "text/plain", "[1 2]"},
		{`row{"a", 1, 2}`, "text/plain", "{a 1 2}"},
		{`quiet{1}`, "text/plain", "quiet"},
	} {
		a := b.execute(tt.src)
		if tt.mimes == "" && a.reply["evalue"] == tt.text {
			continue
		}
		if a.reply["status"] != "ok" {
			t.Errorf("%s: %v", tt.src, a.reply["traceback"])
			continue
		}
		data := a.content[len(a.content)-1]["data"].(map[string]any)
		var mimes []string
		for mime := range data {
			mimes = append(mimes, mime)
		}
		slices.Sort(mimes)
		var text []string
		for l := range strings.Lines(a.text()) {
			text = append(text, strings.TrimRight(l, " \n"))
		}
		if got := strings.Join(mimes, " "); got != tt.mimes || tt.text != "" && strings.Join(text, "\n") != tt.text {
			t.Errorf("%s: shown as %s\n%q\nwant %s\n%q", tt.src, got, strings.Join(text, "\n"), tt.mimes, tt.text)
		}
		if png, ok := data["image/png"].(string); ok {
			if file, err := base64.StdEncoding.DecodeString(png); err != nil || len(file) < 3 {
				t.Errorf("%s: PNG %q", tt.src, png)
			}
		}
	}
	a := b.execute("Display(display.HTML(\"now\"))")
	if len(a.outputs) < 2 || a.outputs[1] != "display_data" || a.text() != "now" {
		t.Errorf("Display: %v %v", a.outputs, a.content)
	}
	a = b.execute("many := make([]row, 250)\nmany")
	if got := strings.Count(a.text(), "\n"); got > 110 || !strings.Contains(a.text(), "150 more rows") {
		t.Errorf("250 rows are shown in %d lines", got)
	}
	a = b.execute("kernel.Show(ctx, display.Markdown(\"*m*\"))")
	if data := a.content[1]["data"].(map[string]any); data["text/markdown"] != "*m*" {
		t.Errorf("kernel.Show of data: %v", data)
	}
}
