// Package render holds what a notebook cell can show: MIME bundles, and tables that
// write themselves as HTML, LaTeX, Markdown and aligned text. It is a leaf: it knows
// neither Jupyter nor diffusion, and imports only the standard library.
package render

import "strings"

// The MIME types a Bundle may hold. JupyterLab shows the one with the lowest rank, in
// this order: HTML, Markdown, LaTeX, SVG, PNG, Plain; an untrusted notebook skips SVG.
const (
	HTML     = "text/html"
	Markdown = "text/markdown"
	LaTeX    = "text/latex"
	SVG      = "image/svg+xml"
	PNG      = "image/png"
	JSON     = "application/json"
	Plain    = "text/plain"
)

// Bundle is one output in several forms, as Jupyter's display_data carries it.
type Bundle struct {
	// Data maps a MIME type to its bytes: UTF-8 text, or raw bytes for image/png (the
	// kernel encodes base64 when it sends them).
	Data map[string][]byte
	// Meta maps a MIME type to its metadata, as {"width": 640, "height": 400} of a PNG
	// drawn at twice that size.
	Meta map[string]map[string]any
}

// Bundler is what a cell's last value may implement to be shown as more than text.
// A type that does also has a String method, for terminals and logs.
type Bundler interface {
	Bundle() Bundle
}

// Text is a bundle of plain text alone.
func Text(s string) Bundle {
	return Bundle{Data: map[string][]byte{Plain: []byte(s)}}
}

// Set stores data under the MIME type, making the map when it is nil.
func (b *Bundle) Set(mime string, data []byte) {
	if b.Data == nil {
		b.Data = make(map[string][]byte)
	}
	b.Data[mime] = data
}

// SetSize records the size in CSS pixels at which the image of that MIME type is shown.
func (b *Bundle) SetSize(mime string, width, height int) {
	if b.Meta == nil {
		b.Meta = make(map[string]map[string]any)
	}
	b.Meta[mime] = map[string]any{"width": width, "height": height}
}

// Empty reports whether the bundle holds nothing to show.
func (b Bundle) Empty() bool { return len(b.Data) == 0 }

// String is the text/plain form, without trailing line ends.
func (b Bundle) String() string {
	return strings.TrimRight(string(b.Data[Plain]), "\n")
}
