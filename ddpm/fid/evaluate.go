package fid

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Against is what samples are compared with: images, or statistics of images. One of
// the two is set.
type Against struct {
	Images     *Source
	Statistics *Reference
}

// Request says what to evaluate, and how the samples came about.
type Request struct {
	// Metrics are keys as ParseMetrics gives them; none: those of the usual evaluation
	// that reference and extractor allow.
	Metrics []string
	// Drawn has the sampler's fields of samples that a run drew. Without a Sampler the
	// samples were found.
	Drawn Protocol
	// Floats compares pixels as they are drawn instead of whole grey levels, where both
	// sides have them and the extractor takes them.
	Floats bool
	// Keep returns each sample's features, whatever the metrics need.
	Keep bool
	// Progress is told how many images of both sides were read.
	Progress func(done, total int)
}

// Evaluation is the scores of a set of images.
type Evaluation struct {
	Samples   Described `json:"samples"`
	Reference Described `json:"reference"`
	Values    []Value   `json:"values"`
	Notes     []string  `json:"notes,omitempty"` // what a reader of the numbers has to know

	SampleRows     Rows  `json:"-"` // each sample's features, if a metric needed them
	ReferenceStats Stats `json:"-"` // of the pooled features
}

// Described is one of the two sides.
type Described struct {
	Name   string `json:"name"`
	N      int    `json:"n"` // UnknownN: not known
	SHA256 string `json:"sha256"`
}

// Value is one score.
type Value struct {
	Metric   string        `json:"metric"` // its key
	Name     string        `json:"name"`
	Value    float64       `json:"value"`
	SD       float64       `json:"sd,omitempty"` // over splits or subsets, where it has them
	Protocol Protocol      `json:"protocol"`
	ID       string        `json:"id"` // the protocol's hash
	Fit      Extrapolation `json:"fit,omitzero"`
}

// usual are the metrics of the authors' evaluation, and the distance of pixels for
// extractors of this project.
func usual(extractor string) []string {
	keys := []string{MetricFD, MetricSpatialFD, MetricPrecision, MetricRecall}
	if extractor == inceptionName {
		return append(keys, MetricScore)
	}
	return append(keys, MetricPixelFD)
}

// Evaluate scores the samples by the features of e against the reference, and closes both.
// It returns all values asked for, or an error.
func Evaluate(ctx context.Context, e Network, samples *Source, against Against, r Request) (*Evaluation, error) {
	keys := r.Metrics
	if len(keys) == 0 {
		keys = possible(e, samples, against)
	}
	wants := func(f func(metric) bool) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return f(metricOf(k)) })
	}
	has := func(key string) bool { return slices.Contains(keys, key) }
	o := CollectOptions{
		Spatial: has(MetricSpatialFD), Score: has(MetricScore), Pixel: has(MetricPixelFD),
		Keep:   r.Keep || wants(func(m metric) bool { return m.kept }),
		Floats: r.Floats && samples.Floats != nil && against.Images != nil && against.Images.Floats != nil,
	}
	ref := o
	ref.Score, ref.Keep = false, wants(func(m metric) bool { return m.reference })
	total, before := samples.N, 0
	if against.Images != nil {
		total += against.Images.N
	}
	progress := func(done, _ int) {
		if r.Progress != nil {
			r.Progress(before+done, max(total, before+done))
		}
	}
	o.Progress, ref.Progress = progress, progress
	notes, err := refuse(e, samples, against, keys)
	if err != nil {
		return nil, errors.Join(err, samples.shut())
	}
	b, err := measureReference(ctx, e, against, ref)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reference: %w", err), samples.shut())
	}
	before = total - samples.N
	a, err := Collect(ctx, e, samples, o)
	if err != nil {
		return nil, fmt.Errorf("samples: %w", err)
	}
	if a.PixelKind != b.PixelKind && b.PixelKind != "" {
		return nil, fmt.Errorf("reference %s was made of %s pixels, and the samples are %s; make it again with `ddpmlab evaluate ref`", b.Name, b.PixelKind, a.PixelKind)
	}
	out := &Evaluation{
		Samples: Described{a.Name, a.N, a.SHA256}, Reference: Described{b.Name, b.N, b.SHA256},
		Notes: append(notes, few(a, b)...), SampleRows: a.Rows, ReferenceStats: b.Pool,
	}
	for _, key := range keys {
		v, err := a.value(ctx, e, b, metricOf(key), r.Drawn)
		if err != nil {
			return nil, err
		}
		out.Values = append(out.Values, v)
	}
	return out, nil
}

// possible are the usual metrics that the two sides allow.
func possible(e Network, samples *Source, against Against) []string {
	return slices.DeleteFunc(usual(e.Name()), func(key string) bool {
		switch key {
		case MetricSpatialFD:
			return e.SpatialDim() == 0 || against.Statistics != nil && against.Statistics.Spatial.Dim == 0
		case MetricScore:
			return e.Classes() == 0
		case MetricPrecision, MetricRecall:
			return against.Images == nil && !against.Statistics.images
		case MetricPixelFD:
			return against.Images == nil || samples.H*samples.W*samples.C > maxPixelDim
		}
		return false
	})
}

// refuse says what cannot be evaluated before anything is read.
func refuse(e Network, samples *Source, against Against, keys []string) (notes []string, err error) {
	if samples.N < 2 {
		return nil, fmt.Errorf("%s has %d image; want 2 or more", samples.Name, samples.N)
	}
	if b := against.Images; b != nil {
		if b.N < 2 {
			return nil, fmt.Errorf("%s has %d image; want 2 or more", b.Name, b.N)
		}
		if samples.H != b.H || samples.W != b.W || samples.C != b.C {
			return nil, fmt.Errorf("images of two sizes: %v; %v; bring them to one size first", samples, b)
		}
	} else {
		note, err := against.Statistics.fits(e)
		if err != nil {
			return nil, err
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	for _, key := range keys {
		m := metricOf(key)
		switch r := against.Statistics; {
		case key == MetricSpatialFD && e.SpatialDim() == 0, key == MetricScore && e.Classes() == 0:
			return nil, fmt.Errorf("%s: the extractor %s has no such layer", key, e.Name())
		case r == nil:
		case key == MetricSpatialFD && r.Spatial.Dim != e.SpatialDim():
			return nil, fmt.Errorf("%s: the reference %s has %d spatial features, and %s gives %d; it needs mu_s and sigma_s", key, r.Name, r.Spatial.Dim, e.Name(), e.SpatialDim())
		case key == MetricPixelFD, m.reference && !r.images:
			return nil, fmt.Errorf("%s: the reference %s has statistics alone; the metric needs its images", key, r.Name)
		}
	}
	return notes, nil
}

// measureReference finds what the metrics need of the reference.
func measureReference(ctx context.Context, e Network, against Against, o CollectOptions) (*Measured, error) {
	if against.Images != nil {
		return Collect(ctx, e, against.Images, o)
	}
	r := against.Statistics
	m := &Measured{Name: r.Name, SHA256: r.SHA256, N: r.N, Pool: r.Pool, Spatial: r.Spatial, PixelKind: r.Pixels}
	if !o.Keep {
		return m, nil
	}
	s, err := r.openImages()
	if err != nil {
		return nil, err
	}
	images, err := Collect(ctx, e, s, CollectOptions{Keep: true, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	m.Rows = images.Rows
	return m, nil
}

// few says where there are too few images for a covariance of full rank.
func few(sides ...*Measured) []string {
	var notes []string
	for _, m := range sides {
		for _, s := range []Stats{m.Pool, m.Spatial, m.Pixel} {
			if s.Dim > 0 && s.Deficient() {
				notes = append(notes, fmt.Sprintf("%s: %d images are too few for a covariance of %d features to have full rank, which takes %d; the distance is computed, and far above that of more images.",
					m.Name, s.N, s.Dim, s.Dim+1))
			}
		}
	}
	return notes
}

// Plan returns the values that Evaluate would find, each with its protocol and without
// its number: what to look up before images are drawn. Of samples the size and number
// count. The reference is images whose SHA256 is known.
func Plan(e Network, samples, reference *Source, r Request) ([]Value, error) {
	keys := r.Metrics
	if len(keys) == 0 {
		keys = possible(e, samples, Against{Images: reference})
	}
	if _, err := refuse(e, samples, Against{Images: reference}, keys); err != nil {
		return nil, err
	}
	kind := "uint8"
	if _, ok := e.(FloatNetwork); ok && r.Floats && samples.Floats != nil && reference.Floats != nil {
		kind = "float"
	}
	var values []Value
	for _, key := range keys {
		m := metricOf(key)
		p := m.protocol(e, pixels{samples.H, samples.W, samples.C}, r.Drawn)
		p.N, p.Pixels = samples.N, kind
		p.Reference, p.ReferenceSHA256, p.ReferenceN = reference.Name, reference.SHA256, reference.N
		values = append(values, Value{Metric: key, Name: p.Metric, Protocol: p, ID: p.Hash()})
	}
	return values, nil
}

// protocol is what the metric and the extractor say of a score's protocol.
func (k metric) protocol(e Extractor, pixel pixels, drawn Protocol) Protocol {
	p := drawn
	if p.Sampler == "" {
		p = Protocol{Samples: Found}
	}
	if k.key == MetricPixelFD {
		e = pixel
	}
	p.Metric, p.Parameters = k.name(e.Name()), k.parameters
	p.Extractor, p.ExtractorSHA256, p.Resize = e.Name(), e.SHA256(), e.Resize()
	return p
}

// value is one score of a against b.
func (m *Measured) value(ctx context.Context, e Network, b *Measured, k metric, drawn Protocol) (v Value, err error) {
	p := k.protocol(e, m.pixel, drawn)
	p.N, p.Pixels = m.N, m.PixelKind
	p.Reference, p.ReferenceSHA256, p.ReferenceN = b.Name, b.SHA256, b.N
	if k.reference {
		p.ReferenceN = b.Rows.N
	}
	switch k.key {
	case MetricFD:
		v.Value, err = Frechet(m.Pool, b.Pool)
	case MetricSpatialFD:
		v.Value, err = Frechet(m.Spatial, b.Spatial)
	case MetricPixelFD:
		v.Value, err = Frechet(m.Pixel, b.Pixel)
	case MetricScore:
		v.Value, v.SD, err = m.Score.Score()
	case MetricPrecision, MetricRecall:
		if m.manifolds == nil {
			m.manifolds = new([2]float64)
			m.manifolds[0], m.manifolds[1], err = PrecisionRecall(ctx, b.Rows, m.Rows, Neighbours)
		}
		v.Value = m.manifolds[0]
		if k.key == MetricRecall {
			v.Value = m.manifolds[1]
		}
	case MetricKernel:
		v.Value, v.SD, err = KernelDistance(ctx, m.Rows, b.Rows, KernelSubsets, KernelSubsetSize)
	case MetricFDInfinity:
		v.Fit, err = Extrapolate(ctx, b.Pool, m.Rows)
		v.Value = v.Fit.Infinity
	}
	if err == nil && (math.IsNaN(v.Value) || math.IsInf(v.Value, 0)) {
		err = fmt.Errorf("the result is %g", v.Value)
	}
	if err == nil {
		err = p.Validate()
	}
	if err != nil {
		return v, fmt.Errorf("%s: %w", p.Metric, err)
	}
	v.Metric, v.Name, v.Protocol, v.ID = k.key, p.Metric, p, p.Hash()
	return v, nil
}
