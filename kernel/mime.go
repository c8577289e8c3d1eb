package kernel

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"maps"
	"reflect"
	"strings"

	"ddpmlab/internal/render"
	"ddpmlab/kernel/display"
	"ddpmlab/kernel/svg"
	"ddpmlab/plots"
)

// mimeBundle is what a message carries of something to show.
type mimeBundle struct {
	Data     map[string]any `json:"data"`
	Metadata map[string]any `json:"metadata"`
}

// toMIME makes a message's bundle: images as base64, JSON as a value, everything else as
// text; there is always text/plain.
func toMIME(b render.Bundle) mimeBundle {
	m := mimeBundle{Data: map[string]any{}, Metadata: map[string]any{}}
	for mime, data := range b.Data {
		switch {
		case mime == render.SVG || mime == display.MIMETypeJavaScript || strings.HasPrefix(mime, "text/"):
			m.Data[mime] = string(data)
		case mime == render.JSON || strings.HasSuffix(mime, "+json"):
			m.Data[mime] = json.RawMessage(data)
			if !json.Valid(data) {
				m.Data[mime] = string(data)
			}
		default:
			m.Data[mime] = base64.StdEncoding.EncodeToString(data)
		}
	}
	if _, ok := m.Data[render.Plain]; !ok {
		m.Data[render.Plain] = ""
	}
	for mime, meta := range b.Meta {
		m.Metadata[mime] = meta
	}
	return m
}

// bundleOf is how a cell's value is shown: its own bundle or the forms its methods give,
// an image or a plot as a picture, rows of records as a table, else its String method,
// else as fmt prints it. A method that panics counts for nothing.
func bundleOf(v value) render.Bundle {
	if b, ok := richBundle(v); ok {
		return b
	}
	return render.Text(textOf(v))
}

func richBundle(v value) (b render.Bundle, ok bool) {
	defer func() {
		if recover() != nil {
			b, ok = render.Bundle{}, false
		}
	}()
	for _, x := range v.candidates() {
		if isNil(x) {
			continue
		}
		forms := ownForms(x)
		for mime, data := range forms.Data {
			if _, has := b.Data[mime]; !has { // a later candidate adds what is missing
				b.Set(mime, data)
			}
		}
		if b.Meta == nil {
			b.Meta = forms.Meta
		}
	}
	if b.Empty() && !saysItself(v) {
		if t := tableOf(v); t != nil {
			return t.Bundle(), true
		}
	}
	if b.Empty() {
		return b, false
	}
	if _, has := b.Data[render.Plain]; !has {
		b.Set(render.Plain, []byte(textOf(v)))
	}
	return b, true
}

// ownForms are the forms that the value has by what it is; none is empty.
func ownForms(x any) render.Bundle {
	switch x := x.(type) {
	case render.Bundler:
		b := x.Bundle()
		return render.Bundle{Data: maps.Clone(b.Data), Meta: b.Meta}
	case image.Image:
		return imageBundle(x)
	}
	if f := plots.Of(x); f != nil {
		return f.Bundle()
	}
	return dataBundle(display.Of(x))
}

// dataBundle is gophernotes' form of a bundle as ours.
func dataBundle(d display.Data) (b render.Bundle) {
	for mime, x := range d.Data {
		switch x := x.(type) {
		case string:
			b.Set(mime, []byte(x))
		case []byte:
			b.Set(mime, x)
		default:
			if data, err := json.Marshal(x); err == nil {
				b.Set(mime, data)
			} else {
				b.Set(render.Plain, []byte(err.Error()))
			}
		}
	}
	drawSVG(&b)
	for mime, meta := range d.Metadata {
		if m, ok := meta.(map[string]any); ok {
			if b.Meta == nil {
				b.Meta = map[string]map[string]any{}
			}
			b.Meta[mime] = m
		}
	}
	return b
}

// drawSVG adds to an SVG document what notebooks show that are not trusted: a PNG, or, of a
// document that cannot be drawn here, the document as an image.
func drawSVG(b *render.Bundle) {
	doc := b.Data[render.SVG]
	if doc == nil || b.Data[render.PNG] != nil {
		return
	}
	const scale = 2 // for screens with fine pixels
	if m, err := svg.Draw(doc, scale); err == nil {
		var file bytes.Buffer
		if err := png.Encode(&file, m); err == nil {
			b.Set(render.PNG, file.Bytes())
			b.SetSize(render.PNG, m.Rect.Dx()/scale, m.Rect.Dy()/scale)
			return
		}
	}
	if b.Data[render.HTML] == nil && bytes.Contains(doc, []byte("http://www.w3.org/2000/svg")) {
		b.Set(render.HTML, fmt.Appendf(nil, `<img alt="SVG image" src="data:image/svg+xml;base64,%s">`, base64.StdEncoding.EncodeToString(doc)))
	}
}

// imageBundle is an image as PNG.
func imageBundle(m image.Image) (b render.Bundle) {
	size := m.Bounds().Size()
	b.Set(render.Plain, fmt.Appendf(nil, "image of %d by %d pixels", size.X, size.Y))
	var file bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&file, m); err == nil {
		b.Set(render.PNG, file.Bytes())
		b.SetSize(render.PNG, size.X, size.Y)
	}
	return b
}

// saysItself reports whether the value has a text of its own.
func saysItself(v value) bool {
	for _, x := range v.candidates() {
		if b := unbox(x); b != nil {
			if b.g.prints(b.t) {
				return true
			}
			continue
		}
		switch x.(type) {
		case fmt.Stringer, error:
			return true
		}
	}
	return false
}

func textOf(v value) (s string) {
	defer func() {
		if e := recover(); e != nil {
			s = fmt.Sprintf("%s (its String method panicked: %v)", v.Type, e)
		}
	}()
	if !v.V.IsValid() {
		return "<nil>"
	}
	if v.Type != "" && isAddress(v.V) && !saysItself(v) {
		return v.Type
	}
	for _, x := range v.candidates() {
		if isNil(x) {
			continue
		}
		if b := unbox(x); b != nil && !b.g.prints(b.t) {
			continue
		}
		switch x := x.(type) {
		case fmt.Stringer:
			return x.String()
		case error:
			return x.Error()
		}
	}
	if v.Converted != nil {
		return fmt.Sprint(v.Converted)
	}
	if !v.V.CanInterface() {
		return fmt.Sprint(v.V)
	}
	return fmt.Sprintf("%v", v.V.Interface())
}

// isAddress reports whether fmt would print no more of x than where it is.
func isAddress(x reflect.Value) bool {
	switch x.Kind() {
	case reflect.Func, reflect.Chan:
		return true
	case reflect.Pointer:
		switch x.Type().Elem().Kind() {
		case reflect.Struct, reflect.Map, reflect.Slice, reflect.Array: // as &{...}
			return false
		}
		return !x.IsNil()
	}
	return false
}

// candidates are the values whose methods may show v: its box, itself, and pointers to
// these.
func (v value) candidates() []any {
	var c []any
	if v.Converted != nil {
		c = append(c, v.Converted)
		if p := unbox(v.Converted).pointer(); p != nil {
			c = append(c, p)
		}
	}
	if v.V.IsValid() && v.V.CanInterface() {
		c = append(c, v.V.Interface())
		if v.V.Kind() != reflect.Pointer && v.V.Kind() != reflect.Interface {
			p := reflect.New(v.V.Type())
			p.Elem().Set(v.V)
			c = append(c, p.Interface())
		}
	}
	return c
}

func isNil(x any) bool {
	rv := reflect.ValueOf(x)
	switch rv.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Interface, reflect.Chan:
		return rv.IsNil()
	}
	return false
}

// asError is the value as an error, nil when it is none or a nil one.
func (v value) asError() error {
	if err, ok := v.Converted.(error); ok {
		return err
	}
	if v.V.IsValid() && v.V.CanInterface() {
		if err, ok := v.V.Interface().(error); ok && !isNil(err) {
			return err
		}
	}
	return nil
}

// showResult is what an execute_result shows of a cell's last values, and the error
// among them. Nothing is shown for nil alone, as an error that is none.
func showResult(vs []value) (b render.Bundle, err error) {
	var shown []value
	for i, v := range vs {
		if i == len(vs)-1 {
			if e := v.asError(); e != nil {
				return b, e
			}
		}
		if v.Type == "error" || !v.V.IsValid() {
			continue
		}
		shown = append(shown, v)
	}
	switch len(shown) {
	case 0:
		return b, nil
	case 1:
		b = bundleOf(shown[0])
		if len(b.Data) == 1 && b.String() == "" { // as a display, which has shown itself
			return render.Bundle{}, nil
		}
		return b, nil
	}
	var texts []string
	for _, v := range shown {
		texts = append(texts, textOf(v))
	}
	return render.Text(strings.Join(texts, " ")), nil
}
