package experiments

import "ddpmlab/ddpm"

// BiasResult is the exposure bias of several runs, by four measures; see BiasRow.
type BiasResult struct {
	Rows     []BiasRow
	Steps    []int         // of the reverse chains of Alg. 3, as 100, 300, 600, 1000
	N        int           // images each value is a mean over
	Protocol string        // one line: data, images, network weights
	Sampling ddpm.Sampling // the chain of Drift
}

// BiasRow is one run's exposure bias.
type BiasRow struct {
	Run *Run
	// Bias is the error of Alg. 3 (Table 1) with predictions of x_0 clipped, as in the
	// authors' code, beside that of a single step; one for each of BiasResult.Steps, in their
	// order. AsWritten is the same without clipping, as Alg. 3 is printed.
	Bias, AsWritten []ddpm.Bias
	// Drift is δ_t and ‖ε‖ along a sampling chain (Ning et al. 2024), from its last time to
	// its first; none of one image.
	Drift []ddpm.Drift
	// Errors are ν_t and its test for normality (Ning et al. 2023, Sec. 5 and the authors'
	// branch gaussian_error), at a hundred times from the first; none of fewer than three
	// images.
	Errors []ddpm.PredictionError
}

// SweepResult is the Fréchet distance of several runs by the number of sampling steps
// (as in Table 2).
type SweepResult struct {
	Rows     []SweepRow
	Steps    []int
	Protocol Protocol // of all scores, but for its Steps, which is 0
}

// SweepRow is one run's scores.
type SweepRow struct {
	Run *Run
	FD  []float64 // one for each of SweepResult.Steps, in their order
}

// Samples are images drawn from a run's network (its EMA weights).
type Samples struct {
	Run           *Run
	Images        ddpm.Images
	ddpm.Sampling // how they were drawn: in Steps steps, from noise of Seed, ...
}
