package ddpm_test

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm"
)

func TestPresetsAreValidAndIndependent(t *testing.T) {
	for _, name := range ddpm.PresetNames() {
		c, err := ddpm.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("Preset(%q): %v", name, err)
		}
		c.Model.Mult[0] = 99
		if again, _ := ddpm.Preset(name); again.Model.Mult[0] == 99 {
			t.Errorf("changing one %s changes the next", name)
		}
	}
	if _, err := ddpm.Preset("cifar11"); err == nil || !strings.Contains(err.Error(), "tour, fashion") {
		t.Errorf("Preset(\"cifar11\") = %v, want an error that lists the presets", err)
	}
}

// The weights of the paper's networks, as the authors' code counts them.
func TestPaperPresets(t *testing.T) {
	for _, tt := range []struct {
		c                 ddpm.Config
		params            int
		batch, iterations int // Table 4
		dropout           float64
	}{
		{ddpm.CIFAR10(), 57_094_662, 128, 200_000, 0.3},
		{ddpm.ImageNet32(), 57_094_662, 512, 3_500_000, 0.3},
		{ddpm.LSUNTower64(), 295_136_454, 256, 340_000, 0.1},
		{ddpm.CelebA64(), 295_136_454, 256, 540_000, 0.1},
		{ddpm.FFHQ128(), 542_811_398, 128, 480_000, 0.1},
	} {
		if n := tt.c.Model.NumParams(); n != tt.params {
			t.Errorf("%s has %d weights, want %d", tt.c.Preset, n, tt.params)
		}
		if tt.c.Batch != tt.batch || tt.c.Iterations != tt.iterations || tt.c.Model.Dropout != tt.dropout ||
			tt.c.LR != 1e-4 || tt.c.EMA != 0.9999 || tt.c.EMAWarmup || tt.c.T != 1000 || tt.c.Schedule != "cosine" || tt.c.Loss != ddpm.Hybrid {
			t.Errorf("%s is not Table 4: %v", tt.c.Preset, tt.c)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*ddpm.Config)
		want   string // part of the error: field, value, range
	}{
		{"no data", func(c *ddpm.Config) { c.Data = "" }, `data is ""; want`},
		{"one diffusion step", func(c *ddpm.Config) { c.T = 1 }, "t is 1; want 2 or more"},
		{"schedule", func(c *ddpm.Config) { c.Schedule = "cubic" }, `schedule is "cubic"; want "cosine"`},
		{"loss", func(c *ddpm.Config) { c.Loss = "" }, `loss is ""; want "simple"`},
		{"time sampler", func(c *ddpm.Config) { c.TimeSampler = "x" }, `time_sampler is "x"; want "uniform"`},
		{"hybrid without outputs", func(c *ddpm.Config) { c.Loss = ddpm.Hybrid }, "model.out_channels is 1; want 2·in_channels = 2"},
		{"learned variance", func(c *ddpm.Config) { c.SamplingVariance = ddpm.LearnedRange }, `sampling_variance is "learned-range"; want`},
		{"micro-batch", func(c *ddpm.Config) { c.MicroBatch = 10 }, "micro_batch is 10; want a divisor of batch = 64"},
		{"odd size", func(c *ddpm.Config) { c.Model.Size = 15 }, "config: model.size is 15; want a multiple of 2, as 16, for the 2 levels of mult"},
		{"heads", func(c *ddpm.Config) { c.Model.HeadChannels = 20 }, "config: model.head_channels is 20; want a divisor of 32, the channels of "},
		{"groups", func(c *ddpm.Config) { c.Model.Groups = 5 }, "config: model.groups is 5; want a divisor of 16, the channels of "},
		{"width", func(c *ddpm.Config) { c.Model.Channels = 15 }, "config: model.channels is 15; want an even number"},
		{"infinite rate", func(c *ddpm.Config) { c.LR = math.Inf(1) }, "lr is +Inf; want"},
		{"no rate", func(c *ddpm.Config) { c.EMA = math.NaN() }, "ema is NaN; want"},
		{"averages", func(c *ddpm.Config) { c.ExtraEMA = []float64{1} }, "extra_ema is [1]; want rates in [0, 1)"},
		{"batch", func(c *ddpm.Config) { c.Batch = 0 }, "batch is 0; want 1 or more"},
		{"iterations", func(c *ddpm.Config) { c.Iterations = 0 }, "iterations is 0; want 1 or more; the tour has 800"},
		{"negative rate", func(c *ddpm.Config) { c.LR = -1 }, "lr is -1; want"},
		{"ema", func(c *ddpm.Config) { c.EMA = 1 }, "ema is 1; want a rate in [0, 1)"},
		{"too many steps", func(c *ddpm.Config) { c.SamplingSteps = 1001 }, "sampling_steps is 1001; want 1 to t = 1000"},
		{"variance", func(c *ddpm.Config) { c.SamplingVariance = "learned" }, `sampling_variance is "learned"`},
		{"outputs", func(c *ddpm.Config) { c.Model.OutChannels = 2 }, "model.out_channels is 2; want in_channels = 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := ddpm.Tour()
			tt.change(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Validate = %v, want %q in it", err, tt.want)
			}
		})
	}
	c := ddpm.Tour()
	c.EvalSamples, c.SamplingSteps, c.SamplingVariance = 0, 0, ""
	if err := c.Validate(); err != nil {
		t.Errorf("Validate without evaluation = %v, want nil", err)
	}
}

func TestConfigJSON(t *testing.T) {
	c := ddpm.Fashion()
	c.Seed = 1<<63 + 1
	back, err := ddpm.ParseConfig([]byte(c.String()))
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("ParseConfig(String()) = %v, %v, want %v", back, err, c)
	}
	tour, err := ddpm.ParseConfig([]byte(`{"preset": "tour", "iterations": 7, "model": {"channels": 32}}`))
	want := ddpm.Tour()
	want.Iterations, want.Model.Channels = 7, 32
	if err != nil || !reflect.DeepEqual(tour, want) {
		t.Errorf("ParseConfig of a preset and two fields = %v, %v, want %v", tour, err, want)
	}
	for _, tt := range []struct{ text, want string }{
		{`{"iteration": 7}`, `there is no field "iteration"`},
		{`{"iterations": "many"}`, `field "iterations" is a string; want a whole number`},
		{`{"iterations": 7} {}`, "want one|pass one JSON object"},
		{`{`, "read config"},
	} {
		c := ddpm.Tour()
		err := c.Merge([]byte(tt.text))
		if err == nil || !slices.ContainsFunc(strings.Split(tt.want, "|"), func(w string) bool { return strings.Contains(err.Error(), w) }) {
			t.Errorf("Merge(%s) = %v, want %q in it", tt.text, err, tt.want)
		}
		if !reflect.DeepEqual(c, ddpm.Tour()) {
			t.Errorf("Merge(%s) changed the config before it failed", tt.text)
		}
	}
}

func TestEvalSteps(t *testing.T) {
	tests := []struct {
		iterations, first, every, samples int
		want                              []int
	}{
		{1500, 10, 500, 100, []int{10, 500, 1000, 1500}},
		{1500, 10, 0, 100, []int{10, 1500}},
		{5, 10, 500, 100, []int{5}},
		{500, 500, 500, 100, []int{500}},
		{600, 0, 500, 100, []int{500, 600}},
		{1500, 10, 500, 0, nil},
	}
	for _, tt := range tests {
		c := ddpm.Config{Iterations: tt.iterations, EvalFirst: tt.first, EvalEvery: tt.every, EvalSamples: tt.samples}
		if got := c.EvalSteps(); !slices.Equal(got, tt.want) {
			t.Errorf("EvalSteps = %v, want %v (%+v)", got, tt.want, tt)
		}
	}
}

func TestKey(t *testing.T) {
	c, v := ddpm.Tour(), ddpm.InputPerturbation(0.1)
	key := ddpm.Key(c, v, "abc")
	if len(key) != 64 {
		t.Errorf("Key = %q, want 64 hex digits", key)
	}
	same := c
	same.Preset = "mine"
	if got := ddpm.Key(same, v, "abc"); got != key {
		t.Error("another preset name changes the key; it decides no number")
	}
	spelled := v
	spelled.GradPenaltyMode = ddpm.Ones // of no effect without a penalty
	if got := ddpm.Key(c, spelled, "abc"); got != key {
		t.Error("a mode that is not used changes the key")
	}
	seen := map[string]string{key: "base"}
	for name, k := range map[string]string{
		"seed":    func() string { c := c; c.Seed = 2; return ddpm.Key(c, v, "abc") }(),
		"gamma":   ddpm.Key(c, ddpm.InputPerturbation(0.2), "abc"),
		"data":    ddpm.Key(c, v, "abd"),
		"model":   func() string { c := ddpm.Tour(); c.Model.Channels = 24; return ddpm.Key(c, v, "abc") }(),
		"coupled": ddpm.Key(c, ddpm.Variant{WeightDecay: 0.03, WeightDecayMode: ddpm.Coupled}, "abc"),
		"decoupl": ddpm.Key(c, ddpm.Variant{WeightDecay: 0.03}, "abc"),
	} {
		if seen[k] != "" {
			t.Errorf("key of %s = key of %s", name, seen[k])
		}
		seen[k] = name
	}
}
