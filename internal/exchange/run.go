// Package exchange moves runs between trackers: MLflow's database and server, Weights &
// Biases' offline runs, and TensorBoard's event files. It knows their formats and neither
// diffusion nor this project's own database.
package exchange

import (
	"io"
	"slices"
	"strings"
	"time"
)

// Run is a run as trackers have it.
type Run struct {
	ID       string // 32 lower-case hex digits for MLflow; else as its tracker names it
	Name     string
	Parent   string // ID of the run that it is nested under, or ""
	Status   Status
	Started  time.Time
	Finished time.Time // zero while it runs
	User     string
	Params   map[string]string
	Tags     map[string]string
	Note     string // Markdown
	Series   []Series
	Files    []File
}

// Status is how a run stands.
type Status int

// The statuses that trackers tell apart.
const (
	Running Status = iota
	Finished
	Failed
	Killed // stopped on request
)

// Series is the values of one metric, in the order they were recorded.
type Series struct {
	Key    string
	Points []Point
}

// Point is one value.
type Point struct {
	Step  int64
	Time  time.Time
	Value float64 // NaN and infinities too
}

// File is an artifact.
type File struct {
	Path string // relative, with slashes
	Open func() (io.ReadCloser, error)
}

// add appends a point to the series of that key, made where there is none.
func (r *Run) add(key string, p Point) {
	i := slices.IndexFunc(r.Series, func(s Series) bool { return s.Key == key })
	if i < 0 {
		i = len(r.Series)
		r.Series = append(r.Series, Series{Key: key})
	}
	r.Series[i].Points = append(r.Series[i].Points, p)
}

// Metric is a key as MLflow takes it: letters, digits and _-./ and spaces.
func Metric(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("_-. /:", r):
			return r
		}
		return '_'
	}, key)
}
