package experiments

import (
	"encoding/json"
	"math"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/fid"
)

// What a run's Status can be.
const (
	StatusRunning     = "running"     // a living process trains it now
	StatusFinished    = "finished"    // all iterations done, scores and checkpoint stored
	StatusInterrupted = "interrupted" // stopped on request; Resume continues it
	StatusCrashed     = "crashed"     // its process ended without a word; Resume continues it
	StatusFailed      = "failed"      // an error stopped it, as a full disk; Error says which
	StatusDiverged    = "diverged"    // the loss or a gradient was no longer a finite number
)

// Metric keys of the series that every training run has.
const (
	MetricLoss         = "loss"         // Eq. 6, 7, 9 or 10 by the variant, mean over the batch
	MetricGradNorm     = "grad_norm"    // L2 norm over all parameters
	MetricImagesPerSec = "images_per_s" // training images a second
	MetricFD           = "fd"           // Fréchet distance of samples; Run.Protocol says how measured
)

// Point is one recorded value of a series.
type Point struct {
	Step  int64     // training step, from 1
	Time  time.Time // when it was recorded, to the microsecond
	Value float64   // NaN and infinities are kept as they are
}

// Run is one training of one variant: what was asked for, how it went, and what was
// measured. It is a snapshot of the moment it was read; its series are read on demand.
type Run struct {
	ID       string // ULID: sorts by start time, unique across databases
	Name     string // the variant's name, as "DDPM-IP"
	Status   string // one of the Status constants
	Group    string // that people put it into, or ""
	Parent   string // id of the run that it was made from, or ""
	Tags     map[string]string
	Attempt  int    // 1 for the first run with this key, 2 for its first repetition
	Key      string // SHA-256 of config, variant, data and numerics version: ddpm.Key
	Config   ddpm.Config
	Variant  ddpm.Variant
	Seed     uint64
	Step     int64 // training steps done
	Started  time.Time
	Finished time.Time // zero while it runs
	Commit   string    // git commit of the code, or "" outside a repository
	Dirty    bool      // tracked code differed from Commit
	Host     string
	Device   string // as "cpu avx512 2 threads"
	Error    string // why it failed or diverged, else ""

	store     *Store              // where series are read from; nil for Detached
	series    map[string][]Point  // of a Detached run
	last      map[string]float64  // the last value of each series
	loss      float64             // mean of the last lossPoints losses
	protocols map[string]Protocol // of the series that are scores
}

// Runs is a list of runs, shown as a table.
type Runs []*Run

// Protocol is how a score was measured. Scores compare only when their protocols have
// the same ID.
type Protocol struct {
	fid.Protocol
	ID    string  // SHA-256 of the protocol, as hex digits
	Floor float64 // the same metric between N real images and the other real ones; 0: there are too few
}

// Detached returns a run that lives in memory only, with the series and protocols given:
// what a test, or a reader of another tracker's file, hands to a plot.
func Detached(r Run, series map[string][]Point, protocols map[string]Protocol) *Run {
	r.store, r.series, r.protocols = nil, series, protocols
	r.last = make(map[string]float64)
	for key, points := range series {
		if n := len(points); n > 0 {
			r.last[key] = points[n-1].Value
		}
	}
	r.loss = meanOfLast(series[MetricLoss])
	return &r
}

// meanOfLast is the mean of the last lossPoints values that are numbers.
func meanOfLast(points []Point) float64 {
	sum, n := 0.0, 0
	for _, p := range points[max(0, len(points)-lossPoints):] {
		if !math.IsNaN(p.Value) {
			sum, n = sum+p.Value, n+1
		}
	}
	return sum / float64(n)
}

// Summary is one line of `ddpmlab runs list --json`.
type Summary struct {
	ID      string            `json:"id"`
	Variant string            `json:"variant"`
	Status  string            `json:"status"`
	Step    int64             `json:"step"`
	Seed    uint64            `json:"seed"`
	Preset  string            `json:"preset"`
	Group   string            `json:"group,omitempty"`
	Parent  string            `json:"parent,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	Metrics map[string]Number `json:"metrics"` // the last value of each series
}

// Summaries returns one Summary for each run.
func (rs Runs) Summaries() []Summary {
	out := make([]Summary, 0, len(rs)) // JSON: an empty list, not null
	for _, r := range rs {
		out = append(out, r.Summary())
	}
	return out
}

// Summary returns the run in short.
func (r *Run) Summary() Summary {
	metrics := make(map[string]Number)
	for key, value := range r.last {
		metrics[key] = Number(value)
	}
	return Summary{
		ID: r.ID, Variant: r.Name, Status: r.Status, Step: r.Step,
		Seed: r.Seed, Preset: r.Config.Preset, Group: r.Group, Parent: r.Parent, Tags: r.Tags, Metrics: metrics,
	}
}

// Number is a float64 whose NaN and infinities are null in JSON, which has none.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	if x := float64(n); math.IsNaN(x) || math.IsInf(x, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}
