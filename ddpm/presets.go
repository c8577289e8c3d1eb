package ddpm

import (
	"fmt"
	"slices"
	"strings"

	"ddpmlab/ddpm/unet"
)

// presets holds one row for each preset. Tour, Fashion and Toy are this project's own;
// where their numbers come from is said in ARCHITECTURE.md. The others are the paper's:
// see paper.
var presets = []Config{
	{
		Preset: "tour",
		Data:   "fashion-mnist",
		Model: unet.Config{
			Size: 14, InChannels: 1, OutChannels: 1, Channels: 16, Mult: []int{1, 2},
			ResBlocks: 1, Attention: []int{7}, HeadChannels: 32, Groups: 8,
		},
		T: 1000, Schedule: "cosine", Loss: Simple, TimeSampler: Uniform,
		Batch: 64, Iterations: 800, LR: 1e-3, Warmup: 50, EMA: 0.999, EMAWarmup: true, MaxBadSteps: DefaultBadSteps,
		EvalFirst: 10, EvalEvery: 200, EvalSamples: 200, SamplingSteps: 50, SamplingVariance: FixedSmall,
	},
	{
		Preset: "fashion",
		Data:   "fashion-mnist",
		Model: unet.Config{
			Size: 28, InChannels: 1, OutChannels: 1, Channels: 32, Mult: []int{1, 2, 2},
			ResBlocks: 1, Attention: []int{7}, HeadChannels: 32, Groups: 8, Dropout: 0.1,
		},
		T: 1000, Schedule: "cosine", Loss: Simple, TimeSampler: Uniform,
		Batch: 64, Iterations: 20_000, LR: 4e-4, Warmup: 500, EMA: 0.999, EMAWarmup: true, MaxBadSteps: DefaultBadSteps,
		EvalFirst: 10, EvalEvery: 5000, EvalSamples: 2000, SamplingSteps: 100, SamplingVariance: FixedSmall,
	},
	{
		Preset: "toy",
		Data:   "toy",
		Model: unet.Config{
			Size: 8, InChannels: 1, OutChannels: 1, Channels: 16, Mult: []int{1, 2},
			ResBlocks: 1, Attention: []int{4}, HeadChannels: 16, Groups: 8,
		},
		T: 1000, Schedule: "cosine", Loss: Simple, TimeSampler: Uniform,
		Batch: 64, Iterations: 300, LR: 1e-3, Warmup: 50, EMA: 0.999, EMAWarmup: true, MaxBadSteps: DefaultBadSteps,
		SamplingSteps: 50, SamplingVariance: FixedSmall,
	},
	paper("cifar10", net57M(), 128, 200_000),
	paper("imagenet32", net57M(), 512, 3_500_000),
	paper("lsun-tower64", net295M(), 256, 340_000),
	paper("celeba64", net295M(), 256, 540_000),
	paper("ffhq128", unet.Config{
		Size: 128, InChannels: 3, OutChannels: 6, Channels: 256, Mult: []int{1, 1, 2, 3, 4},
		ResBlocks: 3, Attention: []int{32, 16, 8}, HeadChannels: 64, Groups: 32, Dropout: 0.1,
	}, 128, 480_000),
}

// paper is a preset of the paper. From Table 4 and Sec. A.3 come the network, batch (the
// sum over all ranks), iterations, learning rate 1e-4, cosine schedule, T = 1000 and
// EMA 0.9999, constant. From the authors' code (README) come what the tables leave out:
// the hybrid loss with its learned variance, without which the networks would not have
// the 57 and 295 million weights of Table 4, group norms of 32 groups, mirrored images,
// no warm-up. Paper and README differ in how t is drawn (here uniform as in Alg. 1, there
// LossSecondMoment). CelebA and FFHQ are in the README alone; their iterations are the
// ends of the authors' published curves.
//
// There is no evaluation: no feature extractor for colour images is built in.
func paper(name string, model unet.Config, batch, iterations int) Config {
	return Config{
		Preset: name, Data: name, Model: model,
		T: 1000, Schedule: "cosine", Loss: Hybrid, TimeSampler: Uniform,
		Batch: batch, Iterations: iterations, LR: 1e-4, EMA: 0.9999, Flip: true, MaxBadSteps: DefaultBadSteps,
		SamplingSteps: 100, SamplingVariance: LearnedRange,
	}
}

// net57M is Table 4's network for 32×32 images: 57,094,662 weights.
func net57M() unet.Config {
	return unet.Config{
		Size: 32, InChannels: 3, OutChannels: 6, Channels: 128, Mult: []int{1, 2, 2, 2},
		ResBlocks: 3, Attention: []int{16, 8}, HeadChannels: 32, Groups: 32, Dropout: 0.3,
	}
}

// net295M is Table 4's network for 64×64 images: 295,136,454 weights.
func net295M() unet.Config {
	return unet.Config{
		Size: 64, InChannels: 3, OutChannels: 6, Channels: 192, Mult: []int{1, 2, 3, 4},
		ResBlocks: 3, Attention: []int{32, 16, 8}, HeadChannels: 64, Groups: 32, Dropout: 0.1,
	}
}

// Tour is a run of minutes on a laptop: Fashion-MNIST at 14×14, 208 thousand
// weights. It is far too small to show the paper's effects.
func Tour() Config { return mustPreset("tour") }

// Fashion is a run for studies: Fashion-MNIST at 28×28, 1.4 million weights.
func Fashion() Config { return mustPreset("fashion") }

// Toy is a run of seconds on normal noise at 8×8, of which Gaussian knows all: Mean 0 and
// Var 0.0625.
func Toy() Config { return mustPreset("toy") }

// CIFAR10 is the paper's run on CIFAR-10: Table 4, and from the authors' code the hybrid
// loss. The 60,000 training images of Table 4 are 50,000 in the code. The README trains
// DDPM-IP with gamma 0.15 here and 0.1 elsewhere; the paper has 0.1 everywhere.
func CIFAR10() Config { return mustPreset("cifar10") }

// ImageNet32 is the paper's run on ImageNet at 32×32: Table 4, and from the authors' code
// the hybrid loss. The README finds dropout 0.1 as good as Table 4's 0.3.
func ImageNet32() Config { return mustPreset("imagenet32") }

// LSUNTower64 is the paper's run on LSUN tower at 64×64: Table 4, and from the authors'
// code the hybrid loss.
func LSUNTower64() Config { return mustPreset("lsun-tower64") }

// CelebA64 is the authors' run on CelebA at 64×64: from their README alone, with the
// network of LSUNTower64.
func CelebA64() Config { return mustPreset("celeba64") }

// FFHQ128 is the authors' run on FFHQ at 128×128: from their README alone.
func FFHQ128() Config { return mustPreset("ffhq128") }

func mustPreset(name string) Config {
	c, err := Preset(name)
	if err != nil {
		panic(err)
	}
	return c
}

// Preset returns the preset called name, one of PresetNames.
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
	return slices.Clip(names)
}
