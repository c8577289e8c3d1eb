package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"ddpmlab/experiments"
	"ddpmlab/internal/bench"
	"ddpmlab/internal/render"
)

var benchStore = command{
	name:     "bench store",
	synopsis: "Measure the run store: recording, reading, comparing",
	help: `In a new database in the folder for temporary files, which is removed afterwards; --dir chooses another disk.

--peers measures MLflow, trackio and W&B offline beside it, each in its fastest way, with --peer-points points and scaled
to a million. They are installed on first use, 1.3 GB in all.

With --json: an object; with --peers an object {ours, peers}.`,
	examples: []string{"bench store", "bench store --points 10000000 --json", "bench store --peers"},
	setup: func(f *flag.FlagSet) action {
		points := f.Int("points", 1_000_000, "record and read `N` points")
		runs := f.Int("runs", 2000, "compare `N` runs")
		dir := f.String("dir", "", "make the database in the folder `DIR`")
		peers := f.Bool("peers", false, "measure other trackers beside it")
		peerPoints := f.Int("peer-points", 20_000, "record `N` points with each of the others")
		asJSON := jsonFlag(f)
		return func(ctx context.Context, _ []string, w world) (err error) {
			if *points < 1 || *runs < 1 || *peerPoints < 1 {
				return usagef("--points is %d, --runs is %d and --peer-points is %d; want 1 or more of each", *points, *runs, *peerPoints)
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
			if *peers {
				start := time.Now()
				others, err := bench.Trackers(ctx, folder, *peerPoints, func(format string, args ...any) {
					fmt.Fprintf(w.err, "%5.0fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
				})
				if err != nil {
					return err
				}
				if *asJSON {
					return printJSON(w.out, map[string]any{"ours": v, "peers": others})
				}
				return printf(w.out, "%v\n\n%v\n", v, besideTrackers(v, others))
			}
			if *asJSON {
				return printJSON(w.out, v)
			}
			return printf(w.out, "%v\n", v)
		}
	},
}

// besideTrackers is the store and other trackers, with how many times ours theirs is.
func besideTrackers(v *experiments.StoreSpeed, others []bench.TrackerSpeed) *render.Table {
	million := 1e6 / float64(v.Points)
	t := &render.Table{
		Caption: "Beside other trackers, in one run",
		Columns: append(render.Left("tracker"), render.Right("call, median", "call, 99 %", "points/s to disk", "reading a million back", "a million on disk")...),
	}
	t.Add("ddpmlab", fmt.Sprintf("%.2f µs", v.LogP50), fmt.Sprintf("%.2f µs", v.LogP99), fmt.Sprintf("%.0f", v.PerSecond),
		fmt.Sprintf("%.2f s", v.ReadPack*million), fmt.Sprintf("%.0f MB", v.Megabytes))
	for _, o := range others {
		read := "not possible offline"
		if o.ReadBack > 0 {
			read = fmt.Sprintf("%.1f s (%.0f×)", o.ReadBack, o.ReadBack/(v.ReadPack*million))
		}
		t.Add(o.Name+" "+o.Version,
			fmt.Sprintf("%.1f µs (%.0f×)", o.LogP50, o.LogP50/v.LogP50), fmt.Sprintf("%.1f µs (%.0f×)", o.LogP99, o.LogP99/v.LogP99),
			fmt.Sprintf("%.0f (1/%.0f)", o.PerSecond, v.PerSecond/o.PerSecond), read,
			fmt.Sprintf("%.0f MB (%.1f×)", o.Megabytes, o.Megabytes/v.Megabytes))
	}
	for _, o := range others {
		if o.Note != "" {
			t.Notes = append(t.Notes, o.Name+": "+o.Note+".")
		}
	}
	t.Notes = append(t.Notes, fmt.Sprintf("The others recorded %d points each, scaled to a million; ours %d. Runs are finished when they are read.", others[0].Points, v.Points))
	return t
}
