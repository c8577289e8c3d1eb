// Package ddpm trains and measures the models of "Input Perturbation Reduces
// Exposure Bias in Diffusion Models" (Ning et al. 2023): ADM, ADM-WD, ADM-GP and
// DDPM-IP.
//
// A run is described by two plain structs: [Config] says what is trained on what
// for how long, [Variant] which of the paper's methods is used. [Train] returns a
// [Checkpoint], [NewNetwork] makes a [Denoiser] of it, and [Sample] and
// [ExposureBias] work on any Denoiser, also on [Gaussian], for which the right
// answers are known.
//
//	c, err := ddpm.Train(ctx, ddpm.Tour(), ddpm.InputPerturbation(0.1))
//
// Where the paper is:
//
//	Eq. 1-2   forward process, schedules       Schedule, NewSchedule (schedule.go)
//	Eq. 3-4   reverse process, σ_t             Schedule.posterior, FixedSmall, FixedLarge
//	Eq. 5     x_t from x_0 and ε               buildLoss (loss.go), forward (bias.go)
//	Eq. 6     loss of ADM                      buildLoss, ADM
//	Eq. 7     y_t, input perturbation          buildLoss, InputPerturbation
//	Eq. 8     Lipschitz condition              what Eq. 9 and 10 are for
//	Eq. 9     gradient penalty                 buildLoss, jacobianNorm, GradPenalty
//	Eq. 10    weight decay                     buildLoss, WeightDecay
//	Alg. 1    training                         batches.fill (batch.go), Train (train.go)
//	Alg. 2    sampling                         Sample (sample.go), Ancestral (samplers.go)
//	Alg. 3    exposure bias, Table 1           ExposureBias (bias.go)
//	Sec. 5    ν_t, is the error normal?        PredictionErrors (prederror.go), ShapiroWilk
//	Alg. 4    training of DDPM-IP              as Alg. 1, with ξ
//	Table 4   hyperparameters                  Config (config.go), presets (presets.go)
//
// Of their later paper (Ning et al. 2024, ADM-ES): epsilon scaling is in Sampling, δ_t and
// ‖ε‖ along a sampling chain in SamplingDrift (drift.go).
//
// Where paper and authors' code (forever208/DDPM-IP 1f76719) differ, this package
// follows:
//
//   - loss: Simple is Eq. 6, ε alone, t uniform, as the paper says. The authors' commands
//     add a learned variance (L_hybrid) and importance-sampled t: Hybrid (the paper's
//     presets have it, as Table 4's numbers of weights do) and LossSecondMoment.
//   - Eq. 6 is a mean over pixels, as in the code; Eq. 9 and Eq. 10 are sums.
//   - weight decay: AdamW's decoupled one by default, which is what the code offers;
//     Coupled is Eq. 10 as printed. Both touch all parameters.
//   - gradient penalty: Hutchinson's unbiased estimate of Eq. 9 by default; the code
//     for it is not public, Ones is its diagnostic's way.
//   - sampling clips the predicted x_0 to [-1, 1] like the code, unless told not to;
//     so does Alg. 3 with BiasOptions.Clip. Dropout is off in both; the code leaves it on
//     while it measures.
//   - the moving average warms up in this project's presets; the code's does not.
//   - t runs from 0 to T-1 in Go, as in the code; the paper counts from 1.
//
// Random numbers are functions of seed, stream name, iteration and place (package
// philox). Nothing here prints, stores or draws: numbers go to a [Recorder] and to
// the display of the context.
package ddpm
