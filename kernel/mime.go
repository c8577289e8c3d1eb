package kernel

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"ddpmlab/internal/render"
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
		case mime == render.SVG || strings.HasPrefix(mime, "text/"):
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

// bundleOf is how a cell's value is shown: its own bundle, else its String method, else
// as fmt prints it. A method that panics counts for nothing.
func bundleOf(v value) render.Bundle {
	if b, ok := ownBundle(v); ok {
		return b
	}
	return render.Text(textOf(v))
}

func ownBundle(v value) (b render.Bundle, ok bool) {
	defer func() {
		if recover() != nil {
			b, ok = render.Bundle{}, false
		}
	}()
	for _, x := range v.candidates() {
		r, is := x.(render.Bundler)
		if !is || isNil(x) {
			continue
		}
		b = r.Bundle()
		if _, has := b.Data[render.Plain]; !has {
			b.Data = cloneWith(b.Data, render.Plain, []byte(textOf(v)))
		}
		return b, true
	}
	return b, false
}

func cloneWith(m map[string][]byte, key string, val []byte) map[string][]byte {
	out := map[string][]byte{key: val}
	for k, v := range m {
		out[k] = v
	}
	return out
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
	for _, x := range v.candidates() {
		if isNil(x) {
			continue
		}
		switch x := x.(type) {
		case fmt.Stringer:
			return x.String()
		case error:
			return x.Error()
		}
	}
	if v.V.Kind() == reflect.Func {
		return v.Type
	}
	if !v.V.CanInterface() {
		return fmt.Sprint(v.V)
	}
	return fmt.Sprintf("%v", v.V.Interface())
}

// candidates are the values whose methods may show v: itself, what a cell's type was
// converted to, and a pointer to it.
func (v value) candidates() []any {
	var c []any
	if v.Converted != nil {
		c = append(c, v.Converted)
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
