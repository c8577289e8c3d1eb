package ddpm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/unet"
)

// What is minimised. The paper writes Eq. 6; every command of the authors' README trains
// with a learned variance, which is also where the 57 and 295 million weights of Table 4
// come from.
const (
	Simple = "simple" // Eq. 6: the mean over pixels of (ε - ε_θ)²
	// Hybrid is L_hybrid (Nichol and Dhariwal 2021): Eq. 6 plus T/1000 times the variational
	// bound in bits per value, in which ε_θ is held fixed, so that it trains the variance.
	Hybrid = "hybrid"
)

// How the time steps of a batch are drawn.
const (
	Uniform = "uniform" // as in Alg. 1
	// LossSecondMoment draws t in proportion to the root of the mean of its last 10 squared
	// losses, and weights the loss by 1/(T·p_t) (Nichol and Dhariwal 2021); all commands of
	// the authors' README do so. It is uniform until every t has 10 losses.
	LossSecondMoment = "loss-second-moment"
)

// What is multiplied in which numbers.
const (
	Float32  = ""      // nothing in less
	Mixed    = "mixed" // 1x1 convolutions, linear layers and attention in bfloat16
	BFloat16 = "bf16"  // 3x3 convolutions besides, and what goes from products to normalisations and back
)

var precisions = map[string]engine.Precision{Float32: engine.Float32, Mixed: engine.Mixed, BFloat16: engine.BFloat16}

// DefaultBadSteps is the MaxBadSteps of the presets.
const DefaultBadSteps = 10

// Config is everything but the Variant that decides the numbers of a training
// run: plain data, stored as JSON with the run and inside its checkpoints. Start
// from a preset, as Tour or Fashion, and change fields.
//
// The optimizer is AdamW with betas 0.9 and 0.999 and eps 1e-8, as the authors'.
type Config struct {
	Preset string      `json:"preset"`           // where the fields came from; decides no number
	Data   string      `json:"data"`             // a name that data.Open knows, or the path of files: see On
	Broken string      `json:"broken,omitempty"` // what to do with broken files: data.Refuse or data.Skip; empty: refuse
	Model  unet.Config `json:"model"`

	T           int    `json:"t"`            // diffusion steps of training
	Schedule    string `json:"schedule"`     // "cosine" or "linear"
	Loss        string `json:"loss"`         // Simple or Hybrid
	TimeSampler string `json:"time_sampler"` // Uniform or LossSecondMoment

	Batch      int     `json:"batch"`
	MicroBatch int     `json:"micro_batch,omitempty"` // images that go through the network at once, a divisor of Batch; 0: all
	Iterations int     `json:"iterations"`
	LR         float64 `json:"lr"`
	Warmup     int     `json:"warmup"`           // iterations of linear rise to LR
	Anneal     bool    `json:"anneal,omitempty"` // let LR fall linearly, to 0 after Iterations
	EMA        float64 `json:"ema"`
	EMAWarmup  bool    `json:"ema_warmup"` // rate min(EMA, (1+n)/(10+n)) at iteration n
	Flip       bool    `json:"flip"`       // mirror half of the images, left to right

	// Precision is what products are computed in: Float32, Mixed or BFloat16. The last two need a
	// GPU, or a processor with tiles for them (AMX). Sums, weights and all else are float32. The tour's last
	// losses in BFloat16 are within 0.1 % of those in float32, its distances within 0.6 %.
	Precision string `json:"precision,omitempty"`

	// ExtraEMA are the rates of further moving averages, kept beside EMA.
	ExtraEMA []float64 `json:"extra_ema,omitempty"`
	// MaxBadSteps is how many iterations in a row may have a loss or gradient that is not
	// finite, and are skipped, before the run ends as diverged. 0: DefaultBadSteps.
	MaxBadSteps int `json:"max_bad_steps,omitempty"`

	// Evaluation: at iteration EvalFirst, at multiples of EvalEvery and at the end,
	// from EvalSamples images in SamplingSteps steps of Alg. 2. EvalSamples 0: none.
	EvalFirst        int    `json:"eval_first"`
	EvalEvery        int    `json:"eval_every"`
	EvalSamples      int    `json:"eval_samples"`
	SamplingSteps    int    `json:"sampling_steps"`
	SamplingVariance string `json:"sampling_variance"` // FixedSmall, FixedLarge or, with Hybrid, LearnedRange

	Seed uint64 `json:"seed"` // of every random stream of the run
}

// clone copies the slices too, so that a caller may change all of it.
func (c Config) clone() Config {
	c.Model.Mult = slices.Clone(c.Model.Mult)
	c.Model.Attention = slices.Clone(c.Model.Attention)
	c.ExtraEMA = slices.Clone(c.ExtraEMA)
	return c
}

// ParseConfig reads a Config from JSON. Fields that are absent keep the value of
// the preset named by "preset" (of none: zero); a field that does not exist is
// an error.
func ParseConfig(text []byte) (Config, error) {
	var head struct {
		Preset string `json:"preset"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return Config{}, fmt.Errorf("read config: %w", jsonError(err))
	}
	c := Config{}
	if slices.Contains(PresetNames(), head.Preset) {
		c, _ = Preset(head.Preset)
	}
	return c, c.Merge(text)
}

// Merge sets the fields that the JSON object text names and leaves the others. On
// an error, as a field that does not exist, c is unchanged.
func (c *Config) Merge(text []byte) error {
	merged := c.clone()
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&merged); err != nil {
		return fmt.Errorf("read config: %w", jsonError(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read config: text after the object; pass one JSON object")
	}
	*c = merged
	return nil
}

// jsonError says what encoding/json found in the words of a Config.
func jsonError(err error) error {
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("there is no field %s; `ddpmlab train --help` and ddpm.Config list them", field)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("field %q is a %s; want %s", e.Field, e.Value, inWords(e.Type))
	}
	return err
}

// inWords is a field's type as people say it.
func inWords(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Float64:
		return "a number"
	case reflect.Int:
		return "a whole number"
	case reflect.Uint64:
		return "a whole number, 0 or more"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list, as [1, 2]"
	}
	return "an object with fields"
}

// Validate reports the first field that cannot be trained with: its name, value,
// the wanted range, and what to do. That the batch fits the data is checked by
// Train, which opens them.
func (c Config) Validate() error {
	for _, f := range []struct {
		ok    bool
		field string
		value any
		want  string
	}{
		{c.Data != "", "data", c.Data, "the name of a data set, as \"fashion-mnist\", or a path; start from ddpm.Tour()"},
		{c.Broken == "" || c.Broken == data.Refuse || c.Broken == data.Skip, "broken", c.Broken, fmt.Sprintf("%q or %q", data.Refuse, data.Skip)},
		{c.T >= 2 && c.T <= 1<<20, "t", c.T, "2 or more diffusion steps; the paper has 1000"},
		{scheduleNames[c.Schedule] != nil, "schedule", c.Schedule, "\"cosine\" (the paper's) or \"linear\""},
		{c.Loss == Simple || c.Loss == Hybrid, "loss", c.Loss, "\"simple\" (Eq. 6) or \"hybrid\" (with a learned variance)"},
		{
			c.TimeSampler == Uniform || c.TimeSampler == LossSecondMoment, "time_sampler", c.TimeSampler,
			"\"uniform\" (Alg. 1) or \"loss-second-moment\" (importance sampling)",
		},
		{known(precisions, c.Precision), "precision", c.Precision, "\"\" (float32), \"mixed\" or \"bf16\""},
		{c.Batch >= 1, "batch", c.Batch, "1 or more images; presets have 64"},
		{
			c.MicroBatch == 0 || c.MicroBatch >= 1 && c.Batch%c.MicroBatch == 0, "micro_batch", c.MicroBatch,
			fmt.Sprintf("a divisor of batch = %d, or 0 for all at once", c.Batch),
		},
		{c.MaxBadSteps >= 0, "max_bad_steps", c.MaxBadSteps, "a number of iterations, or 0 for the default"},
		{!slices.ContainsFunc(c.ExtraEMA, func(r float64) bool { return !(r >= 0 && r < 1) }), "extra_ema", c.ExtraEMA, "rates in [0, 1), as [0.99, 0.9999]"},
		{len(c.ExtraEMA) <= 8, "extra_ema", c.ExtraEMA, "at most 8 rates"},
		{c.Iterations >= 1, "iterations", c.Iterations, "1 or more; the tour has 800"},
		{positive(c.LR), "lr", c.LR, "a learning rate above 0, as 1e-4"},
		{c.Warmup >= 0, "warmup", c.Warmup, "0 or more iterations"},
		{c.EMA >= 0 && c.EMA < 1, "ema", c.EMA, "a rate in [0, 1), as 0.999"},
		{c.EvalFirst >= 0, "eval_first", c.EvalFirst, "an iteration, or 0 for none"},
		{c.EvalEvery >= 0, "eval_every", c.EvalEvery, "a number of iterations, or 0 for the end alone"},
		{c.EvalSamples >= 0, "eval_samples", c.EvalSamples, "a number of images, or 0 for no evaluation"},
		{
			c.EvalSamples == 0 || c.SamplingSteps >= 1 && c.SamplingSteps <= c.T, "sampling_steps", c.SamplingSteps,
			fmt.Sprintf("1 to t = %d steps", c.T),
		},
		{
			c.EvalSamples == 0 || c.SamplingVariance == FixedSmall || c.SamplingVariance == FixedLarge ||
				c.SamplingVariance == LearnedRange && c.Loss == Hybrid,
			"sampling_variance", c.SamplingVariance, fmt.Sprintf("%q, %q or, with the loss %q, %q", FixedSmall, FixedLarge, Hybrid, LearnedRange),
		},
		{c.Model.Size <= 1<<12, "model.size", c.Model.Size, "at most 4096 pixels"},
		{c.Model.Channels <= 1<<14, "model.channels", c.Model.Channels, "at most 16384"},
		{len(c.Model.Mult) <= 12, "model.mult", c.Model.Mult, "at most 12 levels"},
		{c.Model.ResBlocks <= 64, "model.res_blocks", c.Model.ResBlocks, "at most 64"},
		{
			c.Loss == Hybrid || c.Model.OutChannels == c.Model.InChannels, "model.out_channels", c.Model.OutChannels,
			fmt.Sprintf("in_channels = %d: the network predicts the noise alone", c.Model.InChannels),
		},
		{
			c.Loss != Hybrid || c.Model.OutChannels == 2*c.Model.InChannels, "model.out_channels", c.Model.OutChannels,
			fmt.Sprintf("2·in_channels = %d: the network predicts noise and variance", 2*c.Model.InChannels),
		},
	} {
		if !f.ok {
			return fieldError("config", f.field, f.value, f.want)
		}
	}
	if err := c.Model.Validate(); err != nil {
		return fmt.Errorf("config: model.%w", err)
	}
	return nil
}

func known[K comparable, V any](m map[K]V, k K) bool {
	_, ok := m[k]
	return ok
}

// fieldError is how Config and Variant refuse a field.
func fieldError(of, field string, value any, want string) error {
	if s, ok := value.(string); ok {
		value = fmt.Sprintf("%q", s)
	}
	return fmt.Errorf("%s: %s is %v; want %s", of, field, value, want)
}

// positive reports whether x is finite and above 0.
func positive(x float64) bool { return x > 0 && !math.IsInf(x, 1) }

// EvalSteps lists the iterations after which a run is evaluated, in order.
func (c Config) EvalSteps() []int {
	if c.EvalSamples == 0 || c.Iterations < 1 {
		return nil
	}
	steps := []int{c.Iterations}
	if c.EvalFirst >= 1 && c.EvalFirst < c.Iterations {
		steps = append(steps, c.EvalFirst)
	}
	if c.EvalEvery >= 1 {
		for s := c.EvalEvery; s < c.Iterations; s += c.EvalEvery {
			steps = append(steps, s)
		}
	}
	slices.Sort(steps)
	return slices.Compact(steps)
}

// learningRate is LR after the linear warm-up and with its annealing, at iteration
// n ≥ 1. The authors' code anneals one iteration later, as it sets the rate after it used
// it.
func (c Config) learningRate(n int64) float64 {
	lr := c.LR
	if n < int64(c.Warmup) {
		lr = c.LR * float64(n) / float64(c.Warmup)
	}
	if c.Anneal {
		lr *= 1 - float64(n-1)/float64(c.Iterations)
	}
	return lr
}

// microBatch is how many images go through the network at once.
func (c Config) microBatch() int {
	if c.MicroBatch == 0 {
		return c.Batch
	}
	return c.MicroBatch
}

// maxBadSteps is MaxBadSteps or its default.
func (c Config) maxBadSteps() int {
	if c.MaxBadSteps == 0 {
		return DefaultBadSteps
	}
	return c.MaxBadSteps
}

// emaRate is the rate of the moving average at iteration n ≥ 1. A constant 0.999
// would leave 13 % of the initial weights in the average after 2,000 iterations,
// and reverse the sign of what input perturbation does to short runs.
func (c Config) emaRate(n int64) float64 { return c.warm(c.EMA, n) }

// warm is the rate r of a moving average at iteration n ≥ 1.
func (c Config) warm(r float64, n int64) float64 {
	if !c.EMAWarmup {
		return r
	}
	return min(r, float64(1+n)/float64(10+n))
}

// String is the configuration as indented JSON.
func (c Config) String() string {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Sprintf("config: %v", err) // NaN or an infinity: Validate refuses it
	}
	return string(b)
}
