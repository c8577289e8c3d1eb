package fid

import (
	"fmt"
	"slices"
)

// Between scores one set's statistics against another's: the Fréchet distances alone. Of
// files that do not tell their extractor no FID comes.
func Between(a, b *Reference, keys []string) (*Evaluation, error) {
	extractor, sum := a.Extractor, a.ExtractorSHA256
	switch {
	case a.Extractor != b.Extractor && a.Extractor != "" && b.Extractor != "", a.ExtractorSHA256 != b.ExtractorSHA256 && a.Extractor == b.Extractor:
		return nil, fmt.Errorf("%s was made with the extractor %s (weights %.12s), and %s with %s (weights %.12s)", a.Name, a.Extractor, a.ExtractorSHA256, b.Name, b.Extractor, b.ExtractorSHA256)
	case a.Extractor == b.Extractor && (a.Resize != b.Resize || a.Pixels != b.Pixels):
		return nil, fmt.Errorf("%s was made of %s pixels with the resizing %q, and %s of %s pixels with %q", a.Name, a.Pixels, a.Resize, b.Name, b.Pixels, b.Resize)
	case a.Pool.Dim != b.Pool.Dim:
		return nil, fmt.Errorf("%s has statistics of %d features, and %s of %d; want those of one extractor", a.Name, a.Pool.Dim, b.Name, b.Pool.Dim)
	case a.Extractor == "" || b.Extractor == "":
		extractor, sum = "unknown extractor", ""
	}
	if len(keys) == 0 {
		keys = []string{MetricFD}
		if a.Spatial.Dim > 0 && a.Spatial.Dim == b.Spatial.Dim {
			keys = append(keys, MetricSpatialFD)
		}
	}
	out := &Evaluation{Samples: Described{a.Name, a.N, a.SHA256}, Reference: Described{b.Name, b.N, b.SHA256}}
	for _, r := range []*Reference{a, b} {
		if r.Extractor == "" {
			out.Notes = append(out.Notes, fmt.Sprintf("The file %s does not tell its extractor or number of images.", r.Name))
		}
	}
	var dims []int
	for _, key := range keys {
		if !slices.Contains([]string{MetricFD, MetricSpatialFD}, key) {
			return nil, fmt.Errorf("%s needs images, and %s has statistics alone", key, a.Name)
		}
		x, y := a.Pool, b.Pool
		if key == MetricSpatialFD {
			x, y = a.Spatial, b.Spatial
		}
		if x.Dim == 0 || x.Dim != y.Dim {
			return nil, fmt.Errorf("%s: %s has %d such features, and %s %d", key, a.Name, x.Dim, b.Name, y.Dim)
		}
		fd, err := Frechet(x, y)
		if err != nil {
			return nil, err
		}
		p := Protocol{
			Metric: metricOf(key).name(extractor), Extractor: extractor, ExtractorSHA256: sum, Resize: a.Resize, Pixels: a.Pixels,
			N: a.N, Reference: b.Name, ReferenceSHA256: b.SHA256, ReferenceN: b.N, Samples: Found,
		}
		if err := p.Validate(); err != nil {
			return nil, err
		}
		out.Values = append(out.Values, Value{Metric: key, Name: p.Metric, Value: fd, Protocol: p, ID: p.Hash()})
		dims = append(dims, x.Dim)
	}
	out.Notes = append(append(out.Notes, few(out.Samples, dims)...), few(out.Reference, dims)...)
	return out, nil
}
