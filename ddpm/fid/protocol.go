package fid

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Protocol is everything but the model that a score depends on. Two scores may
// be compared, averaged or drawn in one plot only if their protocols are equal.
// It is stored beside the value; all fields are plain data, and a field that does
// not apply is left at zero. Seeds are no part of it: scores of several seeds are
// what means and errors are made of.
type Protocol struct {
	// Metric is the name under which the score is shown: "FD (" + Extractor + ")",
	// as MetricName gives it. Only "inception-2015-12-05" may be called "FID".
	Metric string

	Extractor       string // name of the extractor
	ExtractorSHA256 string // of its weights
	Resize          string // what it does to the images first

	N      int    // generated images
	Pixels string // as they go in: "float" in [-1, 1], or "uint8", rounded as in image files

	Reference       string // name of the set of real images
	ReferenceSHA256 string
	ReferenceN      int

	Sampler      string // "ancestral", "ddim"
	Steps        int    // steps of the sampler
	Variance     string // of the ancestral sampler: "fixed-small", "fixed-large", "learned"
	ClipDenoised bool   // predictions of x₀ are clipped to [-1, 1]
	EMA          string // which weights: "0.999", "0.999 warm", or "none"
}

// inceptionName is the one extractor whose distance is the FID.
const inceptionName = "inception-2015-12-05"

// MetricName is the name of the distance in the features of an extractor.
func MetricName(extractor string) string {
	if extractor == inceptionName {
		return "FID"
	}
	return "FD (" + extractor + ")"
}

// Validate tells the first field that is missing or wrong.
func (p Protocol) Validate() error {
	if want := MetricName(p.Extractor); p.Metric != want {
		return fmt.Errorf("protocol: metric %q of extractor %q, want %q", p.Metric, p.Extractor, want)
	}
	for _, f := range []struct{ name, value string }{
		{"Extractor", p.Extractor}, {"Reference", p.Reference}, {"ReferenceSHA256", p.ReferenceSHA256}, {"Sampler", p.Sampler}, {"EMA", p.EMA},
	} {
		if f.value == "" {
			return fmt.Errorf("protocol: %s is empty", f.name)
		}
	}
	for _, f := range []struct {
		name  string
		value int
		min   int
	}{{"N", p.N, 2}, {"ReferenceN", p.ReferenceN, 2}, {"Steps", p.Steps, 1}} {
		if f.value < f.min {
			return fmt.Errorf("protocol: %s is %d, want at least %d", f.name, f.value, f.min)
		}
	}
	return nil
}

// Hash identifies the protocol: the SHA-256, in hexadecimal, of its JSON with
// sorted keys and without the fields that are zero. Neither reordering the
// fields nor adding one changes the hash of protocols that exist.
func (p Protocol) Hash() string {
	fields := map[string]any{}
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			fields[v.Type().Field(i).Name] = v.Field(i).Interface()
		}
	}
	b, err := json.Marshal(fields) // strings, integers and booleans: it cannot fail
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(append([]byte("ddpmlab protocol 1\n"), b...))
	return hex.EncodeToString(sum[:])
}

// Diff names the fields in which a and b differ, with both values, for instance
// "N 1000 against 2000, Steps 20 against 50"; it is empty if they are equal.
func Diff(a, b Protocol) string {
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	var parts []string
	for i := range va.NumField() {
		if x, y := va.Field(i).Interface(), vb.Field(i).Interface(); x != y {
			parts = append(parts, fmt.Sprintf("%s %v against %v", va.Type().Field(i).Name, show(x), show(y)))
		}
	}
	return strings.Join(parts, ", ")
}

func show(v any) any {
	if v == "" {
		return "none"
	}
	return v
}

// Same returns nil if scores under a and b may stand side by side, and otherwise
// an error that says which part of the protocol differs.
func Same(a, b Protocol) error {
	if d := Diff(a, b); d != "" {
		return fmt.Errorf("scores of different protocols cannot be compared: %s", d)
	}
	return nil
}

// String is one line for captions: the metric, N, the reference and the sampler.
func (p Protocol) String() string {
	s := fmt.Sprintf("%s of %d samples against %d images of %s; %s sampling, %d steps", p.Metric, p.N, p.ReferenceN, p.Reference, p.Sampler, p.Steps)
	if p.Variance != "" {
		s += ", " + p.Variance + " variance"
	}
	return s + ", EMA " + p.EMA
}
