package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"ddpmlab/experiments"
)

var runsList = command{
	name:     "runs list",
	args:     "[QUERY]",
	synopsis: "List all runs, or those that a query finds, with loss and score",
	help: `QUERY is a condition as "gamma >= 0.1 and (fd < 20 or status = crashed) order by fd limit 10". It may use all fields
of configuration and variant, id, status, variant, seed, step, group, sweep, parent, started, age, took, host, commit, series (fd
is the last value; also min(fd), max, mean, first, count; in a context, validation/accuracy), and tag.NAME; with = != < <= > >= in (...), ~ for a text within, and,
or, not.

The first column is as much of a run's id as tells it from the others; other commands take that.

With --json: an array of {id, variant, status, step, seed, preset, metrics}, where metrics holds the last value of
each series and null stands for what is not a number.`,
	examples: []string{"runs list", "runs list 'gamma >= 0.1 and fd < 20 order by fd'", "runs list 'age < 2d' --json"},
	setup: func(f *flag.FlagSet) action {
		db := dbFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			return withExisting(*db, 0, func(s *experiments.Store) error {
				query := strings.Join(args, "")
				all, err := s.Query(ctx, query)
				switch {
				case err != nil:
					return err
				case *asJSON:
					return printJSON(w.out, all.Summaries())
				case len(all) == 0 && query != "":
					return printf(w.out, "no runs in %s for %q\n", s.Path(), query)
				case len(all) == 0:
					return printf(w.out, "no runs in %s yet; `ddpmlab train` makes one\n", s.Path())
				}
				return printf(w.out, "%v\n", all)
			})
		}
	},
}

// found are the runs that an optional query finds; that a query finds none is an error.
func found(ctx context.Context, s *experiments.Store, query []string) (experiments.Runs, error) {
	text := strings.Join(query, "")
	runs, err := s.Query(ctx, text)
	if err == nil && len(runs) == 0 && text != "" {
		err = fmt.Errorf("no run in %s matches %q; `ddpmlab runs list` shows all", s.Path(), text)
	}
	return runs, err
}

var runsSQL = command{
	name:     "runs sql",
	args:     "QUERY",
	synopsis: "Answer a query in SQL, which can only read",
	help: `The tables are those of experiments/schema: run, session, param, series, point, artifact, tag, note, protocol, result,
cell, reference and more. Times are microseconds since 1970.

With --json: an object {columns, rows}, whose cells are texts.`,
	examples: []string{`runs sql "SELECT status, count(*) FROM run GROUP BY status"`},
	setup: func(f *flag.FlagSet) action {
		db := dbFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			return withExisting(*db, 0, func(s *experiments.Store) error {
				rows, err := s.SQL(ctx, args[0])
				if err != nil {
					return err
				}
				if *asJSON {
					return printJSON(w.out, struct {
						Columns []string   `json:"columns"`
						Rows    [][]string `json:"rows"`
					}{rows.Columns, rows.Cells})
				}
				return printf(w.out, "%v\n", rows)
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

var runsNotebook = command{
	name:     "runs notebook",
	args:     "RUN",
	synopsis: "Write a notebook that repeats a run",
	help: `It trains with the configuration and variant of the run, as another attempt, and compares the numbers with those that
were recorded. Configuration, variant and numbers stand in the notebook, so that it needs no database that has the run; the cells that
led to the run, and what its working tree had beyond the commit, are quoted.`,
	examples: []string{"runs notebook 01JZ8M", "runs notebook 01JZ8M --out again.ipynb", "notebook run again.ipynb"},
	setup: func(f *flag.FlagSet) action {
		out := f.String("out", "", "write to `FILE`; default: run-ID.ipynb")
		db := dbFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			return withExisting(*db, 0, func(s *experiments.Store) error {
				r, err := s.Run(ctx, args[0])
				if err != nil {
					return err
				}
				text, err := s.Notebook(ctx, r.ID)
				if err != nil {
					return err
				}
				path := *out
				if path == "" {
					path = "run-" + r.ID + ".ipynb"
				}
				if _, err := os.Stat(path); err == nil { // somebody may have worked in it
					return fmt.Errorf("%s exists; name another file by --out", path)
				}
				if err := checkOut("--out", path); err != nil {
					return err
				}
				if err := writeFile(path, text); err != nil {
					return err
				}
				return printf(w.out, "%s repeats run %s: `ddpmlab notebook run %[1]s`, or open it in Jupyter\n", path, r.ID)
			})
		}
	},
}
