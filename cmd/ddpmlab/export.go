package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ddpmlab/experiments"
)

var runsExport = command{
	name:     "runs export",
	args:     "[QUERY]",
	synopsis: "Write runs for other programs: tables, TensorBoard, MLflow",
	help: `QUERY is as for ` + "`ddpmlab runs list`" + `; without it, all runs are written.

csv and parquet are a table with a line a run: its fields, tags and last values; with --points, a line for each recorded
point. json is all that is known of each run, with its points. latex is the table of ` + "`runs compare`" + ` with booktabs
rules. tensorboard is a folder for ` + "`tensorboard --logdir`" + `. mlflow is a database that MLflow 2 and later open as they
are (` + "`mlflow server --backend-store-uri sqlite:////FILE`" + `), with the runs' files in a folder beside it.`,
	examples: []string{
		"runs export --out runs.csv",
		"runs export 'fd < 20' --points --out points.parquet",
		"runs export --format tensorboard --out logs",
		"runs export --format mlflow --out mlflow.db",
	},
	setup: func(f *flag.FlagSet) action {
		var o experiments.ExportOptions
		f.StringVar(&o.Format, "format", "", "`NAME`: "+strings.Join(experiments.ExportFormats(), ", ")+"; default: by the ending of --out")
		out := f.String("out", "", "write to `FILE`, for tensorboard to a folder")
		f.BoolVar(&o.Points, "points", false, "csv and parquet: all points instead of a line a run")
		f.StringVar(&o.Experiment, "experiment", "", "mlflow: the `NAME` of the experiment; default: ddpmlab")
		f.BoolVar(&o.Light, "light", false, "mlflow: leave checkpoints out, which are most of the bytes")
		db := dbFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if *out == "" {
				return usagef("--out is missing; name a file, as --out runs.csv")
			}
			return withExisting(*db, 0, func(s *experiments.Store) error {
				runs, err := found(ctx, s, args)
				if err != nil {
					return err
				}
				path, err := filepath.Abs(*out)
				if err != nil {
					return err
				}
				if err := s.Export(ctx, runs, path, o); err != nil {
					return err
				}
				return printf(w.err, "%s written to %s\n", countedRuns(len(runs)), path)
			})
		}
	},
}

var runsImport = command{
	name:     "runs import",
	args:     "PATH",
	synopsis: "Take over the runs of MLflow, TensorBoard or Weights & Biases",
	help: `PATH is a database of MLflow's (mlflow.db), a folder with TensorBoard's event files, or an offline run of W&B's: its .wandb
file, or its history as JSON lines (.jsonl). Runs that ` + "`runs export --format mlflow`" + ` wrote come back whole; others have the tag
"imported", and their parameters and metrics are found by queries like any run's. Importing the same again changes
nothing.`,
	examples: []string{"runs import mlflow.db", "runs import logs", "runs import wandb/latest-run/run-x1.wandb"},
	setup: func(f *flag.FlagSet) action {
		format := f.String("format", "", "`NAME`: "+strings.Join(experiments.ImportFormats(), ", ")+"; default: found out")
		db := dbFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if _, err := os.Stat(args[0]); errors.Is(err, fs.ErrNotExist) { // before a database is made to take it into
				return fmt.Errorf("no file or folder %s to import", args[0])
			}
			return withStore(*db, 0, func(s *experiments.Store) error {
				done, err := s.Import(ctx, args[0], *format)
				if err != nil {
					return err
				}
				return printf(w.out, "%v\n", done)
			})
		}
	},
}

var runsPush = command{
	name:     "runs push",
	args:     "[QUERY]",
	synopsis: "Send runs to an MLflow server",
	help: `QUERY is as for ` + "`ddpmlab runs list`" + `; without it, all runs are sent. What was sent before is known again there, so a run
that has grown sends what is new. MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, log in.`,
	examples: []string{"runs push --mlflow http://localhost:5000", "runs push 'age < 1d' --mlflow http://localhost:5000"},
	setup: func(f *flag.FlagSet) action {
		server := f.String("mlflow", "", "the server's `URL`, as http://localhost:5000")
		experiment := f.String("experiment", "", "the `NAME` of the experiment; default: ddpmlab")
		db := dbFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if *server == "" {
				return usagef("--mlflow is missing; name the server, as --mlflow http://localhost:5000")
			}
			return withExisting(*db, 0, func(s *experiments.Store) error {
				runs, err := found(ctx, s, args)
				if err != nil {
					return err
				}
				if err := s.PushMLflow(ctx, runs, *server, *experiment); err != nil {
					return err
				}
				return printf(w.err, "%s sent to %s\n", countedRuns(len(runs)), *server)
			})
		}
	},
}

func countedRuns(n int) string {
	if n == 1 {
		return "1 run"
	}
	return fmt.Sprintf("%d runs", n)
}
