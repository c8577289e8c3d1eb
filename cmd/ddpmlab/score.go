package main

import (
	"context"
	"flag"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/internal/render"
	"ddpmlab/plots"
)

var bias = command{
	name:     "bias",
	args:     "RUN",
	synopsis: "Measure a run's exposure bias (Alg. 3, Table 1; δ_t; ν_t)",
	help: `Four measures on real images:

The mean L1 distance per pixel between images and what the deterministic reverse chain makes of them, from noise of
step N back to step 0 (Alg. 3), with predictions clipped as in the authors' code and as written; beside it that of a
single step. The paper's row of Table 1 is printed for orientation only: its data and network are others.

The drift of a sampling chain: δ_t and the norm of the predicted noise (Ning et al. 2024, ADM-ES).

The error of one-step predictions: its deviation ν_t, and at how many pixels it is not normal (Shapiro and Wilk's test).

What was measured before is looked up.

With --json: an object {run, variant, n, protocol, bias, as_written, sampling, drift, errors}, where bias and
as_written are arrays with one entry for each length, drift one for each step of the chain that sampling describes, and
errors one for each of a hundred times.`,
	examples: []string{"bias 01JZ8M --steps 25,50,100", "bias 01JZ8M -n 500 --json"},
	setup: func(f *flag.FlagSet) action {
		steps := intList{100, 300, 600, 1000}
		f.Var(&steps, "steps", "chain lengths `N,N,...`")
		n := f.Int("n", experiments.BiasImages, "measure on the first `N` images")
		db := dbFlag(f)
		threads := threadsFlag(f)
		deviceFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if *n < 1 {
				return usagef("-n is %d; want 1 or more images", *n)
			}
			return withExisting(*db, *threads, func(s *experiments.Store) error {
				r, err := s.Run(ctx, args[0])
				if err != nil {
					return err
				}
				ctx, done := watch(ctx, w)
				b, err := s.Bias(ctx, experiments.Runs{r}, *n, steps...)
				done()
				if err != nil {
					return err
				}
				if *asJSON {
					return printJSON(w.out, newBiases(r, b))
				}
				for _, table := range []func(*experiments.BiasResult) (*render.Table, error){plots.BiasTable, plots.DriftTable, plots.ErrorTable} {
					t, err := table(b)
					if err != nil {
						return err
					}
					if err := printf(w.out, "%v\n\n", t); err != nil {
						return err
					}
					if *n < 3 { // of few images there is the first alone
						break
					}
				}
				return nil
			})
		}
	},
}

// biases is what bias prints as JSON.
type biases struct {
	Run       string                 `json:"run"`
	Variant   string                 `json:"variant"`
	N         int                    `json:"n"`
	Protocol  string                 `json:"protocol"`
	Bias      []ddpm.Bias            `json:"bias"`
	AsWritten []ddpm.Bias            `json:"as_written"`
	Sampling  ddpm.Sampling          `json:"sampling"`
	Drift     []ddpm.Drift           `json:"drift"`
	Errors    []ddpm.PredictionError `json:"errors"`
}

func newBiases(r *experiments.Run, b *experiments.BiasResult) biases {
	row := b.Rows[0]
	return biases{r.ID, r.Name, b.N, b.Protocol, row.Bias, row.AsWritten, b.Sampling, row.Drift, row.Errors}
}

// scores is what evaluate prints as JSON.
type scores struct {
	Run      string             `json:"run"`
	Variant  string             `json:"variant"`
	Metric   string             `json:"metric"`
	N        int                `json:"n"`
	Floor    experiments.Number `json:"floor"`
	Protocol string             `json:"protocol"` // id of all but the number of steps
	Scores   []score            `json:"scores"`
}

type score struct {
	Steps int                `json:"steps"`
	FD    experiments.Number `json:"fd"`
}

func newScores(r *experiments.Run, s *experiments.SweepResult) scores {
	out := scores{
		Run: r.ID, Variant: r.Name, Metric: s.Protocol.Metric, N: s.Protocol.N,
		Floor: experiments.Number(s.Protocol.Floor), Protocol: s.Protocol.ID,
	}
	for i, n := range s.Steps {
		out.Scores = append(out.Scores, score{n, experiments.Number(s.Rows[0].FD[i])})
	}
	return out
}
