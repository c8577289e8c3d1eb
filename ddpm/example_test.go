package ddpm_test

import (
	"bytes"
	"context"
	"fmt"

	"ddpmlab/ddpm"
)

func Example() {
	ctx := context.Background()
	cfg := ddpm.Tour()
	cfg.Seed = 1
	cfg.Iterations, cfg.Batch = 2, 4 // so that the example takes no time
	c, err := ddpm.Train(ctx, cfg, ddpm.InputPerturbation(0.1))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c)
	net, err := ddpm.NewNetwork(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer net.Close()
	schedule, err := ddpm.NewSchedule(cfg.Schedule, cfg.T)
	if err != nil {
		fmt.Println(err)
		return
	}
	x, err := ddpm.Sample(ctx, net, schedule, ddpm.Sampling{Steps: 3, Variance: ddpm.FixedSmall, ClipDenoised: true}, 0, 4, 14, 14, 1)
	fmt.Println(x, err)
	// Output:
	// DDPM-IP (γ 0.1), seed 1, 2 of 2 iterations, 208369 weights
	// 4 images of 14×14×1 <nil>
}

func ExampleVariant_Name() {
	for _, v := range []ddpm.Variant{
		ddpm.ADM(),
		ddpm.WeightDecay(0.03),
		ddpm.GradPenalty(1e-6),
		ddpm.InputPerturbation(0.1),
		{Gamma: 0.1, WeightDecay: 0.03},
	} {
		fmt.Println(v.Name())
	}
	// Output:
	// ADM
	// ADM-WD
	// ADM-GP
	// DDPM-IP
	// DDPM-IP+WD
}

func ExampleParseVariant() {
	v, err := ddpm.ParseVariant("gp")
	fmt.Println(v, err)
	_, err = ddpm.ParseVariant("adamw")
	fmt.Println(err)
	// Output:
	// ADM-GP (λ_gp 1e-06) <nil>
	// unknown variant "adamw"; there are: adm, wd, gp, ip; combine others by --gamma, --weight-decay and --grad-penalty
}

func ExamplePreset() {
	cfg, err := ddpm.Preset("fashion")
	fmt.Println(cfg.Model.Size, cfg.Batch, cfg.Iterations, err)
	_, err = ddpm.Preset("cifar11")
	fmt.Println(err)
	// Output:
	// 28 64 20000 <nil>
	// unknown preset "cifar11"; there are: tour, fashion, toy, cifar10, imagenet32, lsun-tower64, celeba64, ffhq128
}

func ExampleConfig_Validate() {
	cfg := ddpm.Tour()
	cfg.Iterations = 0
	fmt.Println(cfg.Validate())
	// Output: config: iterations is 0; want 1 or more; the tour has 800
}

func ExampleParseConfig() {
	cfg, err := ddpm.ParseConfig([]byte(`{"preset": "tour", "batch": 32}`))
	fmt.Println(cfg.Batch, cfg.Iterations, err)
	_, err = ddpm.ParseConfig([]byte(`{"preset": "tour", "bach": 32}`))
	fmt.Println(err)
	// Output:
	// 32 800 <nil>
	// read config: there is no field "bach"; `ddpmlab train --help` and ddpm.Config list them
}

func ExampleConfig_EvalSteps() {
	fmt.Println(ddpm.Tour().EvalSteps())
	// Output: [10 200 400 600 800]
}

func ExampleSchedule_Respace() {
	s, err := ddpm.NewSchedule("cosine", 1000)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Respace("10"))
	fmt.Println(s.Respace("3,2"))
	// Output:
	// [0 111 222 333 444 555 666 777 888 999] <nil>
	// [0 250 499 500 999] <nil>
}

// In a Gaussian world everything is known: the shrinkage of few steps is the
// sampler's own.
func ExampleGaussian_Sampled() {
	s, err := ddpm.NewSchedule("cosine", 1000)
	if err != nil {
		fmt.Println(err)
		return
	}
	g := ddpm.Gaussian{Schedule: s, Var: 0.25}
	for _, steps := range []int{10, 50, 1000} {
		_, v, err := g.Sampled(steps, ddpm.FixedSmall)
		fmt.Printf("%4d steps: variance %.3f %v\n", steps, v, err)
	}
	// Output:
	//   10 steps: variance 0.145 <nil>
	//   50 steps: variance 0.218 <nil>
	// 1000 steps: variance 0.248 <nil>
}

// In a Gaussian world the chain of Alg. 3 ends where the one-step prediction is: a
// mean of means. What Alg. 3 measures there is lost information, not accumulated error.
func ExampleExposureBias() {
	s, err := ddpm.NewSchedule("cosine", 1000)
	if err != nil {
		fmt.Println(err)
		return
	}
	g := ddpm.Gaussian{Schedule: s, Var: 0.25}
	bias, err := ddpm.ExposureBias(context.Background(), g, s, g.Images(1, 64, 8, 8, 1), []int{100, 300}, ddpm.BiasOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range bias {
		fmt.Println(b)
	}
	want, err := g.Bias(300)
	fmt.Printf("300 steps, exact: %.4f %v\n", want.L1, err)
	// Output:
	// 100 steps: L1 0.1282 ± 0.0018, one-step prediction 0.1282 ± 0.0018 (n = 64)
	// 300 steps: L1 0.2807 ± 0.0036, one-step prediction 0.2807 ± 0.0036 (n = 64)
	// 300 steps, exact: 0.2877 <nil>
}

func ExampleReadCheckpoint() {
	_, err := ddpm.ReadCheckpoint(bytes.NewReader([]byte("something else, longer than a header")))
	fmt.Println(err)
	// Output: read checkpoint: this is not a ddpmlab checkpoint
}
