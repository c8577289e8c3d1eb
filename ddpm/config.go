package ddpm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"ddpmlab/ddpm/unet"
)

// Config is everything but the Variant that decides the numbers of a training
// run: plain data, stored as JSON with the run and inside its checkpoints. Start
// from a preset, as Tour or Fashion, and change fields.
//
// The optimizer is AdamW with betas 0.9 and 0.999 and eps 1e-8, as the authors'.
type Config struct {
	Preset string      `json:"preset"` // where the fields came from; decides no number
	Data   string      `json:"data"`   // a name that data.Open knows
	Model  unet.Config `json:"model"`

	T           int    `json:"t"`            // diffusion steps of training
	Schedule    string `json:"schedule"`     // "cosine" or "linear"
	Loss        string `json:"loss"`         // "simple": Eq. 6, the mean over pixels
	TimeSampler string `json:"time_sampler"` // "uniform": as in Alg. 1

	Batch      int     `json:"batch"`
	Iterations int     `json:"iterations"`
	LR         float64 `json:"lr"`
	Warmup     int     `json:"warmup"` // iterations of linear rise to LR
	EMA        float64 `json:"ema"`
	EMAWarmup  bool    `json:"ema_warmup"` // rate min(EMA, (1+n)/(10+n)) at iteration n
	Flip       bool    `json:"flip"`       // mirror half of the images, left to right

	// Evaluation: at iteration EvalFirst, at multiples of EvalEvery and at the end,
	// from EvalSamples images in SamplingSteps steps of Alg. 2. EvalSamples 0: none.
	EvalFirst        int    `json:"eval_first"`
	EvalEvery        int    `json:"eval_every"`
	EvalSamples      int    `json:"eval_samples"`
	SamplingSteps    int    `json:"sampling_steps"`
	SamplingVariance string `json:"sampling_variance"` // FixedSmall or FixedLarge

	Seed uint64 `json:"seed"` // of every random stream of the run
}

// presets holds one row for each preset. Tour and Fashion are this project's own;
// where their numbers come from is said in ARCHITECTURE.md.
var presets = []Config{
	{
		Preset: "tour",
		Data:   "fashion-mnist",
		Model: unet.Config{
			Size: 14, InChannels: 1, OutChannels: 1, Channels: 16, Mult: []int{1, 2},
			ResBlocks: 1, Attention: []int{7}, HeadChannels: 32, Groups: 8,
		},
		T: 1000, Schedule: "cosine", Loss: "simple", TimeSampler: "uniform",
		Batch: 64, Iterations: 800, LR: 1e-3, Warmup: 50, EMA: 0.999, EMAWarmup: true,
		EvalFirst: 10, EvalEvery: 200, EvalSamples: 200, SamplingSteps: 50, SamplingVariance: FixedSmall,
	},
	{
		Preset: "fashion",
		Data:   "fashion-mnist",
		Model: unet.Config{
			Size: 28, InChannels: 1, OutChannels: 1, Channels: 32, Mult: []int{1, 2, 2},
			ResBlocks: 1, Attention: []int{7}, HeadChannels: 32, Groups: 8, Dropout: 0.1,
		},
		T: 1000, Schedule: "cosine", Loss: "simple", TimeSampler: "uniform",
		Batch: 64, Iterations: 20_000, LR: 4e-4, Warmup: 500, EMA: 0.999, EMAWarmup: true,
		EvalFirst: 10, EvalEvery: 5000, EvalSamples: 2000, SamplingSteps: 100, SamplingVariance: FixedSmall,
	},
}

// Tour is a run of minutes on a laptop: Fashion-MNIST at 14×14, 208 thousand
// weights. It is far too small to show the paper's effects.
func Tour() Config { return presets[0].clone() }

// Fashion is a run for studies: Fashion-MNIST at 28×28, 1.4 million weights.
func Fashion() Config { return presets[1].clone() }

// Preset returns the preset called name: "tour" or "fashion".
func Preset(name string) (Config, error) {
	for _, c := range presets {
		if c.Preset == strings.ToLower(name) {
			return c.clone(), nil
		}
	}
	return Config{}, fmt.Errorf("unknown preset %q; there are: %s", name, strings.Join(PresetNames(), ", "))
}

// PresetNames lists what Preset knows.
func PresetNames() []string {
	var names []string
	for _, c := range presets {
		names = append(names, c.Preset)
	}
	return names
}

// clone copies the slices too, so that a caller may change all of it.
func (c Config) clone() Config {
	c.Model.Mult = slices.Clone(c.Model.Mult)
	c.Model.Attention = slices.Clone(c.Model.Attention)
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
		return fmt.Errorf("field %q is a %s; want %s", e.Field, e.Value, e.Type)
	}
	return err
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
		{c.Data != "", "data", c.Data, "the name of a data set, as \"fashion-mnist\"; start from ddpm.Tour()"},
		{c.T >= 2 && c.T <= 1<<20, "t", c.T, "2 or more diffusion steps; the paper has 1000"},
		{scheduleNames[c.Schedule] != nil, "schedule", c.Schedule, "\"cosine\" (the paper's) or \"linear\""},
		{c.Loss == "simple", "loss", c.Loss, "\"simple\" (Eq. 6)"},
		{c.TimeSampler == "uniform", "time_sampler", c.TimeSampler, "\"uniform\" (Alg. 1)"},
		{c.Batch >= 1, "batch", c.Batch, "1 or more images; presets have 64"},
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
			c.EvalSamples == 0 || c.SamplingVariance == FixedSmall || c.SamplingVariance == FixedLarge,
			"sampling_variance", c.SamplingVariance, fmt.Sprintf("%q or %q", FixedSmall, FixedLarge),
		},
		{c.Model.Size <= 1<<12, "model.size", c.Model.Size, "at most 4096 pixels"},
		{c.Model.Channels <= 1<<14, "model.channels", c.Model.Channels, "at most 16384"},
		{len(c.Model.Mult) <= 12, "model.mult", c.Model.Mult, "at most 12 levels"},
		{c.Model.ResBlocks <= 64, "model.res_blocks", c.Model.ResBlocks, "at most 64"},
		{
			c.Model.OutChannels == c.Model.InChannels, "model.out_channels", c.Model.OutChannels,
			fmt.Sprintf("in_channels = %d: the network predicts the noise alone", c.Model.InChannels),
		},
	} {
		if !f.ok {
			return fieldError("config", f.field, f.value, f.want)
		}
	}
	if err := c.Model.Validate(); err != nil {
		return fmt.Errorf("config: model: %w", err)
	}
	return nil
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

// learningRate is LR after the linear warm-up, at iteration n ≥ 1.
func (c Config) learningRate(n int64) float64 {
	if n < int64(c.Warmup) {
		return c.LR * float64(n) / float64(c.Warmup)
	}
	return c.LR
}

// emaRate is the rate of the moving average at iteration n ≥ 1. A constant 0.999
// would leave 13 % of the initial weights in the average after 2,000 iterations,
// and reverse the sign of what input perturbation does to short runs.
func (c Config) emaRate(n int64) float64 {
	if !c.EMAWarmup {
		return c.EMA
	}
	return min(c.EMA, float64(1+n)/float64(10+n))
}

// String is the configuration as indented JSON.
func (c Config) String() string {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Sprintf("config: %v", err) // NaN or an infinity: Validate refuses it
	}
	return string(b)
}
