// Package display makes things to show in a notebook from HTML, Markdown, images and the
// like. Its names are those of the package that gophernotes gives its cells, so that
// notebooks written for gophernotes run unchanged. Cells can use it without importing it:
//
//	display.HTML("<b>bold</b>")           // as a cell's last value
//	Display(display.Markdown("**now**"))  // at once
package display

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
)

// MIME types of what a notebook can show.
const (
	MIMETypeHTML       = "text/html"
	MIMETypeJavaScript = "application/javascript"
	MIMETypeJPEG       = "image/jpeg"
	MIMETypeJSON       = "application/json"
	MIMETypeLatex      = "text/latex"
	MIMETypeMarkdown   = "text/markdown"
	MIMETypePNG        = "image/png"
	MIMETypePDF        = "application/pdf"
	MIMETypeSVG        = "image/svg+xml"
	MIMETypeText       = "text/plain"
	MIMETypeVegaLite   = "application/vnd.vegalite.v5+json"
)

// MIMEMap maps MIME types to a text, bytes, or what JSON can hold.
type MIMEMap = map[string]interface{}

// Data is something to show, in one or several forms.
type Data struct {
	Data      MIMEMap
	Metadata  MIMEMap
	Transient MIMEMap
}

// String is the text form.
func (d Data) String() string { return text(d.Data) }

func text(m MIMEMap) string {
	s, _ := m[MIMETypeText].(string)
	return s
}

// MakeData is data of one MIME type, with its text as fmt prints it.
func MakeData(mimeType string, data interface{}) Data {
	return MakeData3(mimeType, fmt.Sprint(data), data)
}

// MakeData3 is data of one MIME type with a text of its own.
func MakeData3(mimeType string, plaintext string, data interface{}) Data {
	return Data{Data: MIMEMap{MIMETypeText: plaintext, mimeType: data}}
}

// MIME is data in the given forms.
func MIME(data, metadata MIMEMap) Data { return Data{Data: data, Metadata: metadata} }

// HTML shows a piece of HTML.
func HTML(html string) Data { return MakeData(MIMETypeHTML, html) }

// JavaScript runs JavaScript, where the front end trusts the notebook.
func JavaScript(javascript string) Data { return MakeData(MIMETypeJavaScript, javascript) }

// JPEG shows the bytes of a JPEG file.
func JPEG(jpeg []byte) Data { return file(MIMETypeJPEG, jpeg) }

// JSON shows a value as a tree.
func JSON(json map[string]interface{}) Data { return MakeData(MIMETypeJSON, json) }

// VegaLite draws a Vega-Lite specification.
func VegaLite(spec map[string]interface{}) Data {
	return MakeData3(MIMETypeVegaLite, "Vega-Lite chart", spec)
}

// Latex shows LaTeX within a line; dollar signs around it are not needed.
func Latex(latex string) Data {
	return MakeData3(MIMETypeLatex, latex, "$"+strings.Trim(latex, "$")+"$")
}

// Math shows LaTeX as a formula of its own line.
func Math(latex string) Data {
	return MakeData3(MIMETypeLatex, latex, "$$"+strings.Trim(latex, "$")+"$$")
}

// Markdown shows Markdown.
func Markdown(markdown string) Data { return MakeData(MIMETypeMarkdown, markdown) }

// PDF shows the bytes of a PDF file.
func PDF(pdf []byte) Data { return file(MIMETypePDF, pdf) }

// PNG shows the bytes of a PNG file.
func PNG(png []byte) Data { return file(MIMETypePNG, png) }

// SVG shows an SVG document. Notebooks that are not trusted show the text instead.
func SVG(svg string) Data { return MakeData3(MIMETypeSVG, "SVG image", svg) }

// Image shows a picture, as a PNG. It panics with a message when the picture cannot be one.
func Image(img image.Image) Data {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(&cellError{err})
	}
	size := img.Bounds().Size()
	return MakeData3(MIMETypePNG, fmt.Sprintf("image of %d by %d pixels", size.X, size.Y), b.Bytes())
}

// file is a file's bytes, which are no text to read.
func file(mimeType string, data []byte) Data {
	return MakeData3(mimeType, fmt.Sprintf("%s, %d bytes", mimeType, len(data)), data)
}

// File shows a file of the given MIME type, "" for what its contents look like. It panics
// with a message when the file cannot be read.
func File(mimeType string, path string) Data {
	b, err := os.ReadFile(path)
	if err != nil {
		panic(&cellError{err})
	}
	return Any(mimeType, b)
}

// Auto is Any with the MIME type that the data look like.
func Auto(data interface{}) Data { return Any("", data) }

// Any shows data of the given MIME type: Data itself, a text, bytes, or what can be read
// from an io.Reader or io.WriterTo. Any other value is shown as a cell's last value is.
func Any(mimeType string, data interface{}) Data {
	switch x := data.(type) {
	case Data:
		return x
	case string:
		return anyText(mimeType, x)
	case []byte:
		return anyBytes(mimeType, x)
	case io.WriterTo:
		var b bytes.Buffer
		if _, err := x.WriteTo(&b); err != nil {
			panic(&cellError{err})
		}
		return anyBytes(mimeType, b.Bytes())
	case io.Reader:
		b, err := io.ReadAll(x)
		if err != nil {
			panic(&cellError{err})
		}
		return anyBytes(mimeType, b)
	}
	d := Of(data)
	if d.Data == nil {
		d = MakeData(MIMETypeText, data)
	}
	return d
}

func anyText(mimeType, s string) Data {
	if mimeType == "" {
		mimeType = MIMETypeText
	}
	return MakeData(mimeType, s)
}

func anyBytes(mimeType string, b []byte) Data {
	if mimeType == "" {
		mimeType, _, _ = strings.Cut(http.DetectContentType(b), ";")
	}
	if strings.HasPrefix(mimeType, "text/") || mimeType == MIMETypeSVG {
		return anyText(mimeType, string(b))
	}
	return file(mimeType, b)
}

// merge adds the forms of more to d.
func (d *Data) merge(more Data) {
	add := func(to *MIMEMap, from MIMEMap) {
		if *to == nil && from != nil {
			*to = MIMEMap{}
		}
		maps.Copy(*to, from)
	}
	add(&d.Data, more.Data)
	add(&d.Metadata, more.Metadata)
	add(&d.Transient, more.Transient)
}

// cellError is a panic that the kernel shows as a message with the cell's line.
type cellError struct{ err error }

func (e *cellError) Error() string       { return e.err.Error() }
func (e *cellError) CellMessage() string { return e.err.Error() }
