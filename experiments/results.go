package experiments

import "ddpmlab/ddpm"

// BiasResult is the exposure bias of several runs (Alg. 3, as in Table 1).
type BiasResult struct {
	Rows     []BiasRow
	Steps    []int  // of the reverse chains, as 100, 300, 600, 1000
	N        int    // images each value is a mean over
	Protocol string // one line: data, images, network weights
}

// BiasRow is one run's exposure bias.
type BiasRow struct {
	Run  *Run
	Bias []ddpm.Bias // one for each of BiasResult.Steps, in their order
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
	Run    *Run
	Images ddpm.Images
	Steps  int    // of the reverse chain
	Seed   uint64 // of the chain's noise
}
