package fid

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Protocol is everything but the model that a score depends on. Two scores may
// be compared, averaged or drawn in one plot only if their protocols are equal.
// It is stored beside the value; all fields are plain data, and a field that does
// not apply is left at zero.
type Protocol struct {
	// Metric is the name under which the score is shown: "FD (" + Extractor + ")",
	// as MetricName gives it, or another of the extractor's MetricNames. Only
	// "inception-2015-12-05" may be called "FID".
	Metric     string
	Parameters string // of the metric: "3 neighbours", "splits of 5000"

	Extractor       string // name of the extractor
	ExtractorSHA256 string // of its weights
	Resize          string // what it does to the images first

	N      int    // generated images
	Pixels string // as they go in: "float" in [-1, 1], or "uint8", rounded as in image files

	Reference       string // name of the set of real images
	ReferenceSHA256 string
	ReferenceN      int

	// Samples is Found for images that were not drawn for the score; what follows is then
	// not known and left at zero.
	Samples string

	Sampler      string // "ancestral", "ddim"
	Steps        int    // steps of the sampler
	Variance     string // of the ancestral sampler: "fixed-small", "fixed-large", "learned"
	ClipDenoised bool   // predictions of x₀ are clipped to [-1, 1]
	EMA          string // which weights: "0.999", "0.999 warm", or "none"

	Eta         float64 // these are those of ddpm.Sampling
	Respacing   string
	EpsScale    float64
	EpsSlope    float64
	ShiftWindow int
	ShiftCutoff int

	// Seeds are those that images were drawn with, as "0, 1, 2". It is empty for one seed
	// that is the run's own, as for the scores of a training: those of several runs are what
	// means and errors are made of.
	Seeds string
}

// Found is the Protocol.Samples of images in files.
const Found = "images in files"

// Validate tells the first field that is missing or wrong.
func (p Protocol) Validate() error {
	if want := MetricNames(p.Extractor); !slices.Contains(want, p.Metric) {
		return fmt.Errorf("protocol: metric %q of extractor %q, want %q, or for another metric one of %q", p.Metric, p.Extractor, want[0], want[1:])
	}
	if p.Samples != "" {
		if p.Samples != Found || p.Sampler != "" || p.Steps != 0 || p.EMA != "" || p.Seeds != "" {
			return fmt.Errorf("protocol: Samples is %q; want %q without a sampler, or a sampler alone", p.Samples, Found)
		}
		p.Sampler, p.Steps, p.EMA = Found, 1, Found
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
		if f.value < f.min && (f.name == "Steps" || f.value != UnknownN) {
			return fmt.Errorf("protocol: %s is %d, want at least %d", f.name, f.value, f.min)
		}
	}
	return nil
}

// Hash identifies the protocol: the SHA-256, in hexadecimal, of its JSON with
// sorted keys and without the fields that are zero. Neither reordering the
// fields nor adding one changes the hash of protocols that exist.
func (p Protocol) Hash() string {
	b, err := json.Marshal(p.Fields()) // strings, integers and booleans: it cannot fail
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(append([]byte("ddpmlab protocol 1\n"), b...))
	return hex.EncodeToString(sum[:])
}

// Fields are the fields that are not zero, by their names.
func (p Protocol) Fields() map[string]any {
	fields := map[string]any{}
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			fields[v.Type().Field(i).Name] = v.Field(i).Interface()
		}
	}
	return fields
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
	images := "samples"
	if p.Samples != "" {
		images = "images"
	}
	s := fmt.Sprintf("%s of %d %s against %s of %s", p.Metric, p.N, images, p.referenceImages(), p.Reference)
	if p.Samples != "" {
		return s
	}
	s += fmt.Sprintf("; %s sampling, %d steps", p.Sampler, p.Steps)
	if p.Variance != "" {
		s += ", " + p.Variance + " variance"
	}
	if p.Seeds != "" {
		s += ", seeds " + p.Seeds
	}
	return s + ", EMA " + p.EMA
}

func (p Protocol) referenceImages() string {
	if p.ReferenceN == UnknownN {
		return "the statistics"
	}
	return fmt.Sprintf("%d images", p.ReferenceN)
}
