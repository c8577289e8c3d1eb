package main

import (
	"context"
	"flag"

	"ddpmlab/experiments"
)

var runsCompare = command{
	name:     "runs compare",
	args:     "[QUERY]",
	synopsis: "Put runs side by side, and test variants over seeds",
	help: `QUERY is as for ` + "`ddpmlab runs list`" + `; without it, all runs are compared.

Below, the last scores of finished runs are compared over seeds: the mean of each variant with its 95 % confidence
interval, and its difference from ADM, or else from the first, with p by a paired test where the seeds and the
configuration are the same, and by Welch's otherwise, and after Holm's correction. One seed is marked and has no p. Scores of
different protocols are not compared; it says what differs.

With --json: an object {differs, runs, significance}.`,
	examples: []string{"runs compare", "runs compare 'group = \"gamma study\"'"},
	setup: func(f *flag.FlagSet) action {
		db := dbFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			return withExisting(*db, 0, func(s *experiments.Store) error {
				runs, err := found(ctx, s, args)
				if err != nil {
					return err
				}
				c, err := s.Compare(ctx, runs)
				if err != nil {
					return err
				}
				// Without scores, or with several protocols, there is no second table.
				sig, unfit := s.Significance(ctx, runs)
				if *asJSON {
					return printJSON(w.out, newCompared(c, sig))
				}
				if err := printf(w.out, "%v\n\n", c); err != nil {
					return err
				}
				if unfit != nil {
					return printf(w.out, "No comparison over seeds: %v\n", unfit)
				}
				return printf(w.out, "%v\n", sig)
			})
		}
	},
}

// compared is what runs compare prints as JSON.
type compared struct {
	Differs      []string      `json:"differs"`
	Runs         []comparedRun `json:"runs"`
	Significance []arm         `json:"significance,omitempty"` // the baseline first
}

type comparedRun struct {
	experiments.Summary
	Fields map[string]string `json:"fields"`
}

type arm struct {
	Variant    string             `json:"variant"`
	Seeds      []uint64           `json:"seeds"`
	Mean       experiments.Number `json:"mean"`
	Half       experiments.Number `json:"half"` // width of the mean's 95 % interval
	Difference experiments.Number `json:"difference"`
	P          experiments.Number `json:"p"`
	Holm       experiments.Number `json:"holm"`
	Test       string             `json:"test,omitempty"`
}

func newCompared(c *experiments.Comparison, s *experiments.Significance) compared {
	out := compared{Differs: append([]string{}, c.Differs...)}
	for i, r := range c.Runs {
		x := comparedRun{Summary: r.Summary(), Fields: make(map[string]string)}
		for j, name := range c.Differs {
			x.Fields[name] = c.Values[i][j]
		}
		out.Runs = append(out.Runs, x)
	}
	if s == nil {
		return out
	}
	for _, a := range s.Arms {
		out.Significance = append(out.Significance, arm{
			a.Label, a.Seeds, experiments.Number(a.Mean), experiments.Number(a.Half),
			experiments.Number(a.Difference), experiments.Number(a.P), experiments.Number(a.Holm), a.Test,
		})
	}
	return out
}

var runsDiff = command{
	name:     "runs diff",
	args:     "RUN RUN",
	synopsis: "Show how two runs differ: fields, environment, code, cell, results",
	help: `Changes beyond the commit, modules and the notebook cell are compared line by line. With --json: an array of
{name, rows}, whose rows are {name, a, b}.`,
	examples: []string{"runs diff 01JZ8M 01JZ9A"},
	setup: func(f *flag.FlagSet) action {
		db := dbFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			return withExisting(*db, 0, func(s *experiments.Store) error {
				d, err := s.Diff(ctx, args[0], args[1])
				if err != nil {
					return err
				}
				if *asJSON {
					return printJSON(w.out, append([]experiments.DiffSection{}, d.Sections...))
				}
				return printf(w.out, "%v\n", d)
			})
		}
	},
}
