package fid

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Against is what samples are compared with: images, or statistics of images. One of
// the two is set.
type Against struct {
	Images     *Source
	Statistics *Reference

	measured *Measured // what an evaluation found of them
}

func (a Against) shut() error {
	if a.Images == nil {
		return nil
	}
	return a.Images.shut()
}

// Request says what to evaluate.
type Request struct {
	// Metrics are keys as ParseMetrics gives them; none: those of the usual evaluation
	// that reference and extractor allow.
	Metrics []string
	// Floats compares pixels as they are drawn instead of whole grey levels, where both
	// sides have them and the extractor takes them.
	Floats bool
	// Keep returns each sample's features, whatever the metrics need.
	Keep bool
	// Progress is told how many images of both sides were read.
	Progress func(done, total int)
	// Scoring is told how many of the scores are computed from what was read, and which
	// is next; at last, with "", all of them.
	Scoring func(done, total int, next string)
}

// Evaluation is the scores of a set of images.
type Evaluation struct {
	Samples   Described `json:"samples"`
	Reference Described `json:"reference"`
	Values    []Value   `json:"values"`
	Notes     []string  `json:"notes,omitempty"` // what a reader of the numbers has to know

	SampleRows Rows `json:"-"` // each sample's features, if a metric needed them
	// Against is what the samples were compared with, to compare others with it by the same
	// metrics: its images are not read again.
	Against Against `json:"-"`
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
func usual(e Network) []string {
	keys := []string{MetricFD, MetricSpatialFD, MetricPrecision, MetricRecall}
	if _, ok := e.(*Inception); ok {
		return append(keys, MetricScore)
	}
	return append(keys, MetricPixelFD)
}

// Evaluate scores the samples by the features of e against the reference, and closes both.
// It returns all values asked for, or an error.
func Evaluate(ctx context.Context, e Network, samples *Source, against Against, r Request) (*Evaluation, error) {
	out, err := Plan(e, samples, against, r)
	if err != nil {
		return nil, errors.Join(err, samples.shut(), against.shut())
	}
	wants := func(f func(metric) bool) bool {
		return slices.ContainsFunc(out.Values, func(v Value) bool { return f(metricOf(v.Metric)) })
	}
	has := func(key string) bool { return wants(func(m metric) bool { return m.key == key }) }
	o := CollectOptions{
		Spatial: has(MetricSpatialFD), Score: has(MetricScore), Pixel: has(MetricPixelFD),
		Keep:   r.Keep || wants(func(m metric) bool { return m.kept }),
		Floats: takesFloats(e, samples, against, r),
	}
	ref := o
	ref.Score, ref.Keep = false, wants(func(m metric) bool { return m.reference })
	total, before := samples.N, 0
	if against.Images != nil && against.measured == nil {
		total += against.Images.N
	}
	progress := func(done, _ int) {
		if r.Progress != nil {
			r.Progress(before+done, max(total, before+done))
		}
	}
	o.Progress, ref.Progress = progress, progress
	progress(0, 0) // the time before this was another's
	b, err := measureReference(ctx, e, against, ref)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reference: %w", err), samples.shut())
	}
	before = total - samples.N
	a, err := Collect(ctx, e, samples, o)
	if err != nil {
		return nil, fmt.Errorf("samples: %w", err)
	}
	out.Samples.SHA256, out.Reference.SHA256 = a.SHA256, b.SHA256
	out.SampleRows, out.Against.measured = a.Rows, b
	scoring := func(done int, next string) {
		if r.Scoring != nil {
			r.Scoring(done, len(out.Values), next)
		}
	}
	for i, v := range out.Values {
		scoring(i, v.Name)
		if out.Values[i], err = a.value(ctx, b, v); err != nil {
			return nil, err
		}
	}
	scoring(len(out.Values), "")
	return out, nil
}

// takesFloats reports whether pixels go in as they are drawn.
func takesFloats(e Network, samples *Source, against Against, r Request) bool {
	_, ok := e.(FloatNetwork)
	return ok && r.Floats && samples.Floats != nil && against.Images != nil && against.Images.Floats != nil
}

// Plan returns what Evaluate would find, without its numbers, or why it would not: to be
// asked before images are drawn. Of the samples count their number and size and how they are
// drawn; nothing is read. Protocols are whole, and have their IDs, if the SHA256 of the
// reference is known.
func Plan(e Network, samples *Source, against Against, r Request) (*Evaluation, error) {
	keys := r.Metrics
	if len(keys) == 0 {
		keys = possible(e, samples, against)
	}
	kind := "uint8"
	if takesFloats(e, samples, against, r) {
		kind = "float"
	}
	if err := refuse(e, samples, against, keys, kind); err != nil {
		return nil, err
	}
	out := &Evaluation{Samples: Described{samples.Name, samples.N, samples.SHA256}, Against: against}
	inside := 0 // images in a file of statistics
	if b := against.Images; b != nil {
		out.Reference = Described{b.Name, b.N, b.SHA256}
	} else {
		b := against.Statistics
		out.Reference, inside = Described{b.Name, b.N, b.SHA256}, b.images
		if b.Extractor == "" {
			out.Notes = append(out.Notes, fmt.Sprintf("The file %s does not tell its extractor or number of images: it is taken to be of %s, by its %d features.", b.Name, e.Name(), b.Pool.Dim))
		}
	}
	pixel := pixels{samples.H, samples.W, samples.C}
	for _, key := range keys {
		m := metricOf(key)
		p := m.protocol(e, pixel, samples.Drawn)
		p.N, p.Pixels = samples.N, kind
		p.Reference, p.ReferenceSHA256, p.ReferenceN = out.Reference.Name, out.Reference.SHA256, out.Reference.N
		if (m.reference || key == MetricPixelFD) && inside > 0 {
			p.ReferenceN = inside
		}
		out.Values = append(out.Values, Value{Metric: key, Name: p.Metric, Protocol: p, ID: p.Hash()})
	}
	dims := covariances(e, pixel, keys)
	out.Notes = append(out.Notes, few(out.Samples, dims)...)
	out.Notes = append(out.Notes, few(out.Reference, dims)...)
	return out, nil
}

// possible are the usual metrics that the two sides allow.
func possible(e Network, samples *Source, against Against) []string {
	return slices.DeleteFunc(usual(e), func(key string) bool {
		switch key {
		case MetricSpatialFD:
			return e.SpatialDim() == 0 || against.Statistics != nil && against.Statistics.Spatial.Dim == 0
		case MetricScore:
			return e.Classes() == 0
		case MetricPrecision, MetricRecall:
			return against.Images == nil && against.Statistics.images == 0
		case MetricPixelFD:
			return against.Images == nil && against.Statistics.images == 0 || samples.H*samples.W*samples.C > maxPixelDim
		}
		return false
	})
}

// refuse says what cannot be evaluated before anything is read.
func refuse(e Network, samples *Source, against Against, keys []string, kind string) error {
	if samples.N < 2 {
		return fmt.Errorf("%s has %d image; want 2 or more", samples.Name, samples.N)
	}
	r := against.Statistics
	if b := against.Images; b != nil {
		if b.N < 2 {
			return fmt.Errorf("%s has %d image; want 2 or more", b.Name, b.N)
		}
		if samples.H != b.H || samples.W != b.W || samples.C != b.C {
			return fmt.Errorf("images of two sizes: %v; %v; bring them to one size first", samples, b)
		}
	} else {
		if err := r.fits(e); err != nil {
			return err
		}
		if r.Pixels != "" && r.Pixels != kind {
			return fmt.Errorf("reference %s was made of %s pixels, and the samples are %s; make it again with `ddpmlab evaluate ref`", r.Name, r.Pixels, kind)
		}
	}
	for _, key := range keys {
		m := metricOf(key)
		switch {
		case key == MetricSpatialFD && e.SpatialDim() == 0, key == MetricScore && e.Classes() == 0:
			return fmt.Errorf("%s: the extractor %s has no such layer", key, e.Name())
		case r == nil:
		case key == MetricSpatialFD && r.Spatial.Dim != e.SpatialDim():
			return fmt.Errorf("%s: the reference %s has %d spatial features, and %s gives %d; it needs mu_s and sigma_s", key, r.Name, r.Spatial.Dim, e.Name(), e.SpatialDim())
		case (key == MetricPixelFD || m.reference) && r.images == 0:
			return fmt.Errorf("%s: the reference %s has statistics alone; the metric needs its images", key, r.Name)
		}
	}
	return nil
}

// measureReference finds what the metrics need of the reference.
func measureReference(ctx context.Context, e Network, against Against, o CollectOptions) (*Measured, error) {
	if m := against.measured; m != nil {
		if m.Extractor != e.Name() || m.ExtractorSHA256 != e.SHA256() || o.Keep && m.Rows.N == 0 || o.Spatial && m.Spatial.Dim == 0 || o.Pixel && m.Pixel.Dim == 0 {
			return nil, fmt.Errorf("%s was measured for other metrics; open it again", m.Name)
		}
		return m, nil
	}
	if against.Images != nil {
		return Collect(ctx, e, against.Images, o)
	}
	r := against.Statistics
	m := &Measured{
		Name: r.Name, SHA256: r.SHA256, N: r.N, Extractor: e.Name(), ExtractorSHA256: e.SHA256(),
		Pool: r.Pool, Spatial: r.Spatial, PixelKind: r.Pixels,
	}
	if !o.Keep && !o.Pixel {
		return m, nil
	}
	s, err := OpenArchive(r.path)
	if err != nil {
		return nil, err
	}
	images, err := Collect(ctx, e, s, CollectOptions{Keep: o.Keep, Pixel: o.Pixel, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	m.Rows, m.Pixel = images.Rows, images.Pixel
	return m, nil
}

// covariances are the numbers of features of which the metrics compare covariances.
func covariances(e Network, pixel pixels, keys []string) []int {
	var dims []int
	for _, c := range []struct {
		dim  int
		keys []string
	}{{e.Dim(), []string{MetricFD, MetricFDInfinity}}, {e.SpatialDim(), []string{MetricSpatialFD}}, {pixel.Dim(), []string{MetricPixelFD}}} {
		if slices.ContainsFunc(c.keys, func(k string) bool { return slices.Contains(keys, k) }) {
			dims = append(dims, c.dim)
		}
	}
	return dims
}

// few says of which covariances a side has too few images for full rank.
func few(side Described, dims []int) []string {
	var short []string
	most := 0
	for _, dim := range dims {
		if (Stats{N: side.N, Dim: dim}).Deficient() {
			short, most = append(short, strconv.Itoa(dim)), max(most, dim)
		}
	}
	if most == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: %d images are too few for a covariance of %s features to have full rank, which takes %d; the distance is computed, and far above that of more images.",
		side.Name, side.N, strings.Join(short, " or "), most+1)}
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

// value is the score that v plans, of m against b.
func (m *Measured) value(ctx context.Context, b *Measured, v Value) (_ Value, err error) {
	switch v.Metric {
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
		if v.Metric == MetricRecall {
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
	if v.Protocol.ReferenceSHA256 = b.SHA256; err == nil {
		err = v.Protocol.Validate()
	}
	if err != nil {
		return v, fmt.Errorf("%s: %w", v.Name, err)
	}
	v.ID = v.Protocol.Hash()
	return v, nil
}
