package main

import (
	"context"
	"flag"
	"os"

	"ddpmlab/experiments"
)

var benchStore = command{
	name:     "bench store",
	synopsis: "Measure the run store: recording, reading, comparing",
	help:     "In a new database in the folder for temporary files, which is removed afterwards; --dir chooses another disk.",
	examples: []string{"bench store", "bench store --points 10000000 --json"},
	setup: func(f *flag.FlagSet) action {
		points := f.Int("points", 1_000_000, "record and read `N` points")
		runs := f.Int("runs", 2000, "compare `N` runs")
		dir := f.String("dir", "", "make the database in the folder `DIR`")
		asJSON := jsonFlag(f)
		return func(ctx context.Context, _ []string, w world) (err error) {
			if *points < 1 || *runs < 1 {
				return usagef("--points is %d and --runs is %d; want 1 or more of both", *points, *runs)
			}
			folder, err := os.MkdirTemp(*dir, "ddpmlab-bench-*")
			if err != nil {
				return err
			}
			defer func() {
				if e := os.RemoveAll(folder); err == nil {
					err = e
				}
			}()
			v, err := experiments.Measure(ctx, folder, *points, *runs)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(w.out, v)
			}
			return printf(w.out, "%v\n", v)
		}
	},
}
