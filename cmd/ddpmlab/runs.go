package main

import (
	"context"
	"flag"

	"ddpmlab/experiments"
)

var runsList = command{
	name:     "runs list",
	synopsis: "List all runs, with their last loss and score",
	help: `The first column is as much of a run's id as tells it from the others; other commands take that.

With --json: an array of {id, variant, status, step, seed, preset, metrics}, where metrics holds the last value of
each series and null stands for what is not a number.`,
	examples: []string{"runs list", "runs list --json"},
	setup: func(f *flag.FlagSet) action {
		db := dbFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, _ []string, w world) error {
			return withExisting(*db, 0, func(s *experiments.Store) error {
				all, err := s.AllRuns(ctx)
				switch {
				case err != nil:
					return err
				case *asJSON:
					return printJSON(w.out, all.Summaries())
				case len(all) == 0:
					return printf(w.out, "no runs in %s yet; `ddpmlab train` makes one\n", s.Path())
				}
				return printf(w.out, "%v\n", all)
			})
		}
	},
}

var runsShow = command{
	name:     "runs show",
	args:     "RUN",
	synopsis: "Show one run: what was asked for, how it went, what was measured",
	help: `RUN is a run's id or its beginning, as ` + "`ddpmlab runs list`" + ` prints it.

With --json: one object with the fields of ` + "`runs list --json`" + ` and the configuration, sessions (machine, commit,
device), the notebook cells that led to the run, artifacts and the protocols of its scores.`,
	examples: []string{"runs show 01JZ8M", "runs show 01JZ8M --json"},
	setup: func(f *flag.FlagSet) action {
		db := dbFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			return withExisting(*db, 0, func(s *experiments.Store) error {
				d, err := s.Show(ctx, args[0])
				if err != nil {
					return err
				}
				if *asJSON {
					return printJSON(w.out, d)
				}
				return printf(w.out, "%v\n", d)
			})
		}
	},
}
