package fid_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/fid"
)

func protocol() fid.Protocol {
	return fid.Protocol{
		Metric: "FD (fashion-cnn)", Extractor: "fashion-cnn", ExtractorSHA256: "aa", Resize: "2x2 mean",
		N: 2000, Pixels: "float", Reference: "fashion-mnist", ReferenceSHA256: "bb", ReferenceN: 10000,
		Sampler: "ancestral", Steps: 50, Variance: "fixed-small", ClipDenoised: true, EMA: "0.999 warm",
	}
}

// found is the protocol of images in files.
func found() fid.Protocol {
	p := protocol()
	p.Samples, p.Sampler, p.Steps, p.Variance, p.ClipDenoised, p.EMA = fid.Found, "", 0, "", false, ""
	return p
}

// change sets field i of p to another value, zero if zero is set.
func change(p *fid.Protocol, i int, zero bool) {
	f := reflect.ValueOf(p).Elem().Field(i)
	switch {
	case zero:
		f.SetZero()
	case f.Kind() == reflect.String:
		f.SetString(f.String() + "x")
	case f.Kind() == reflect.Bool:
		f.SetBool(!f.Bool())
	case f.Kind() == reflect.Float64:
		f.SetFloat(f.Float() + 1)
	default:
		f.SetInt(f.Int() + 1)
	}
}

// Every field changes the hash, and Diff names that field and no other.
func TestProtocolFields(t *testing.T) {
	p := protocol()
	if d := fid.Diff(p, p); d != "" || fid.Same(p, p) != nil {
		t.Errorf("a protocol differs from itself in %q", d)
	}
	for i := range reflect.TypeFor[fid.Protocol]().NumField() {
		name := reflect.TypeFor[fid.Protocol]().Field(i).Name
		for _, zero := range []bool{false, true} {
			q := p
			if change(&q, i, zero); q == p {
				continue // it was zero
			}
			if q.Hash() == p.Hash() {
				t.Errorf("%s does not change the hash", name)
			}
			if d := fid.Diff(p, q); !strings.HasPrefix(d, name+" ") || strings.Contains(d, ",") {
				t.Errorf("Diff says %q, want %s", d, name)
			}
			if err := fid.Same(p, q); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("Same says %v, want %s", err, name)
			}
		}
	}
}

// Hashes are stored in databases: they must stay what they are. This one is
// the SHA-256 of "ddpmlab protocol 1\n" and the JSON with sorted keys, by Python.
func TestProtocolHash(t *testing.T) {
	const want = "ec3602fe9628c0f00c9f662c53f72d3259e1933a76cb4204ae09803b3480e84e"
	if got := protocol().Hash(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestProtocolValidate(t *testing.T) {
	for _, p := range []fid.Protocol{protocol(), found()} {
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*fid.Protocol)
		want   string
	}{
		{"called FID", func(p *fid.Protocol) { p.Metric = "FID" }, `want "FD (fashion-cnn)"`},
		{"pixels", func(p *fid.Protocol) { p.Extractor = "pixels" }, `want "FD (pixels)"`},
		{"inception", func(p *fid.Protocol) { p.Extractor = "inception-2015-12-05" }, `want "FID"`},
		{"N", func(p *fid.Protocol) { p.N = 1 }, "N is 1"},
		{"Steps", func(p *fid.Protocol) { p.Steps = 0 }, "Steps is 0"},
		{"Sampler", func(p *fid.Protocol) { p.Sampler = "" }, "Sampler is empty"},
		{"EMA", func(p *fid.Protocol) { p.EMA = "" }, "EMA is empty"},
		{"found and drawn", func(p *fid.Protocol) { p.Samples = fid.Found }, "without a sampler"},
		{"another metric's name", func(p *fid.Protocol) { p.Metric = "sFID" }, `"sFD (fashion-cnn)"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := protocol()
			tt.change(&p)
			if err := p.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestProtocolString(t *testing.T) {
	const want = "FD (fashion-cnn) of 2000 samples against 10000 images of fashion-mnist; ancestral sampling, 50 steps, fixed-small variance, EMA 0.999 warm"
	if got := protocol().String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	const files = "FD (fashion-cnn) of 2000 images against the statistics of fashion-mnist"
	p := found()
	p.ReferenceN = fid.UnknownN
	if got := p.String(); got != files {
		t.Errorf("got  %s\nwant %s", got, files)
	}
}

// The names of Inception's metrics belong to its weights alone.
func TestMetricNames(t *testing.T) {
	want := []string{"FID", "sFID", "IS", "precision", "recall", "KID", "FID∞"}
	if got := fid.MetricNames("inception-2015-12-05"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, extractor := range []string{"fashion-cnn", "inception", "inception, weights 01234567", "unknown extractor", "pixels", ""} {
		for i, name := range fid.MetricNames(extractor) {
			if name == want[i] || strings.Contains(name, "FID") || strings.Contains(name, "KID") || strings.Contains(name, "IS") ||
				!strings.HasSuffix(name, " ("+extractor+")") {
				t.Errorf("a metric of extractor %q is called %q", extractor, name)
			}
		}
	}
	if keys, err := fid.ParseMetrics(" fd,kid,fd"); err != nil || !slices.Equal(keys, []string{"fd", "kid"}) {
		t.Errorf("got %v, %v", keys, err)
	}
	if _, err := fid.ParseMetrics("fd,fid"); err == nil || !strings.Contains(err.Error(), `unknown metric "fid"; there are fd, sfd`) {
		t.Errorf("error %v", err)
	}
}
