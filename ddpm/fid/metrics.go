package fid

import (
	"fmt"
	"slices"
	"strings"
)

// The metrics, as Evaluate takes them.
const (
	MetricFD         = "fd"          // Fréchet distance; FID in Inception's features
	MetricSpatialFD  = "sfd"         // the same of a layer that knows places; sFID
	MetricScore      = "is"          // the Inception score, of the samples alone
	MetricPrecision  = "precision"   // and
	MetricRecall     = "recall"      // of Kynkäänniemi et al. 2019
	MetricKernel     = "kid"         // kernel distance
	MetricFDInfinity = "fd-infinity" // FD extrapolated to infinitely many samples
	MetricPixelFD    = "pixel-fd"    // Fréchet distance of the pixels themselves
)

// metric is a row of the table of metrics.
type metric struct {
	key        string
	inception  string // its name in the features of the Inception network
	other      string // before an extractor's name in brackets
	parameters string
	kept       bool // needs each image's features, not only their statistics, of the samples
	reference  bool // and of the reference
}

var metrics = []metric{
	{key: MetricFD, inception: "FID", other: "FD"},
	{key: MetricSpatialFD, inception: "sFID", other: "sFD"},
	{key: MetricScore, inception: "IS", other: "class score", parameters: fmt.Sprintf("splits of %d", ScoreSplit)},
	{key: MetricPrecision, inception: "precision", other: "precision", parameters: neighbours, kept: true, reference: true},
	{key: MetricRecall, inception: "recall", other: "recall", parameters: neighbours, kept: true, reference: true},
	{
		key: MetricKernel, inception: "KID", other: "KD", kept: true, reference: true,
		parameters: fmt.Sprintf("%d subsets of at most %d", KernelSubsets, KernelSubsetSize),
	},
	{key: MetricFDInfinity, inception: "FID∞", other: "FD∞", parameters: fmt.Sprintf("%d sizes", extrapolationPoints), kept: true},
	{key: MetricPixelFD, other: "FD"},
}

var neighbours = fmt.Sprintf("%d neighbours", Neighbours)

// inceptionName is the one extractor whose distance is the FID.
const inceptionName = "inception-2015-12-05"

// Metrics lists the keys of all metrics.
func Metrics() []string {
	keys := make([]string, len(metrics))
	for i, m := range metrics {
		keys[i] = m.key
	}
	return keys
}

// ParseMetrics reads keys with commas between; "all" are all of them.
func ParseMetrics(s string) ([]string, error) {
	if s == "all" {
		return Metrics(), nil
	}
	var keys []string
	for key := range strings.SplitSeq(s, ",") {
		key = strings.TrimSpace(key)
		if !slices.Contains(Metrics(), key) {
			return nil, fmt.Errorf("unknown metric %q; there are %s (with weights of Inception, fd is the FID)", key, strings.Join(Metrics(), ", "))
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// metricOf is the row of a key, which exists.
func metricOf(key string) metric {
	return metrics[slices.IndexFunc(metrics, func(m metric) bool { return m.key == key })]
}

// name is what the metric is called in the features of an extractor.
func (m metric) name(extractor string) string {
	if extractor == inceptionName {
		return m.inception
	}
	return m.other + " (" + extractor + ")"
}

// MetricName is the name of the distance in the features of an extractor.
func MetricName(extractor string) string { return metricOf(MetricFD).name(extractor) }

// MetricNames are the names of all metrics of an extractor.
func MetricNames(extractor string) []string {
	var names []string
	for _, m := range metrics {
		if m.key != MetricPixelFD { // whose extractor is always the pixels
			names = append(names, m.name(extractor))
		}
	}
	return names
}
