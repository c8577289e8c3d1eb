package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/internal/suggest"
)

var sweepPlan = command{
	name:     "sweep plan",
	args:     "[NAME]",
	synopsis: "Plan trainings over fields and seeds, for one or many processes",
	help: `Trials are every combination of the grid's values, every --point, and --draws random points of the --range fields, each
with every seed. Fields are those of configuration and variant, as ` + "`ddpmlab runs show`" + ` prints them; a variant's
may be written without "variant.". --preset, --variant and --set say what they change.

Nothing is trained: ` + "`ddpmlab sweep run NAME`" + ` does that. Planning again under the same name adds what is new.`,
	examples: []string{
		`sweep plan "gamma study" --preset fashion --grid gamma=0,0.1,0.15,0.2 --seeds 1-3`,
		"sweep plan rates --range lr=1e-5..1e-3:log --range gamma=0..0.3 --draws 20",
		`sweep plan pairs --point "gamma=0.1 lr=1e-4" --point "gamma=0.2 lr=3e-4"`,
	},
	setup: func(f *flag.FlagSet) action {
		preset := f.String("preset", "tour", "start from the configuration `NAME`: "+strings.Join(ddpm.PresetNames(), ", "))
		variant := f.String("variant", "adm", "start from the method `NAME`: "+strings.Join(variantNames, ", "))
		var fields assignments
		var axes axisFlags
		f.Var(&fields, "set", "set a field for all trials, `NAME=VALUE`; may be repeated")
		f.Func("grid", "vary a field, `NAME=VALUE,VALUE,...`; may be repeated", axes.add(experiments.ParseGrid))
		f.Func("range", "draw a field at random, `NAME=FROM..TO`, or FROM..TO:log; may be repeated", axes.add(experiments.ParseRange))
		f.Func("point", "add the `SETTING` to a list, as \"gamma=0.1 lr=1e-4\"; may be repeated", axes.point)
		f.Func("seeds", "repeat each trial with the `SEEDS`, as 1,2,3 or 1-5", axes.add(experiments.ParseSeeds))
		draws := f.Int("draws", 0, "draw `N` times from the ranges")
		drawSeed := f.Uint64("draw-seed", 1, "seed `N` of the draws: the same draws the same")
		file := f.String("file", "", "take the plan from `FILE`, which `ddpmlab sweep slurm` wrote")
		db := dbFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			return withStore(*db, 0, func(s *experiments.Store) error {
				var status *experiments.SweepStatus
				var err error
				switch {
				case *file != "" && len(args) > 0:
					return usagef("the plan in %s has its name; leave out %q", *file, args[0])
				case *file != "":
					status, err = s.PlanFile(ctx, *file)
				case len(args) == 0:
					return usagef("name the sweep, as `ddpmlab sweep plan \"gamma study\" --grid gamma=0,0.1`")
				default:
					c, v, e := base(*preset, *variant, fields)
					if e != nil {
						return e
					}
					list := axes.all()
					if given(f, "draws") || len(list) == 0 && *draws != 0 {
						list = append(list, experiments.Draws(*draws, *drawSeed))
					}
					status, err = s.Plan(ctx, args[0], c, v, list...)
				}
				if err != nil {
					return err
				}
				return printf(w.out, "%v\n", status)
			})
		}
	},
}

// base is the configuration and variant that a sweep's trials change.
func base(preset, variant string, fields assignments) (c ddpm.Config, v ddpm.Variant, err error) {
	if c, err = ddpm.Preset(preset); err != nil {
		return c, v, errors.New(suggest.Unknown("preset", preset, ddpm.PresetNames(), "there are: "+strings.Join(ddpm.PresetNames(), ", ")))
	}
	if v, err = ddpm.ParseVariant(variant); err != nil {
		return c, v, errors.New(suggest.Unknown("variant", variant, variantNames, "there are: "+strings.Join(variantNames, ", ")))
	}
	for _, a := range fields {
		if err := experiments.SetField(&c, &v, a.name, a.value); err != nil {
			return c, v, fmt.Errorf("--set: %w", err)
		}
	}
	return c, v, misspelt(c.Data)
}

// axisFlags collects the axes of several flags.
type axisFlags struct {
	axes   []experiments.Axis
	points []string
}

func (a *axisFlags) add(parse func(string) (experiments.Axis, error)) func(string) error {
	return func(text string) error {
		axis, err := parse(text)
		a.axes = append(a.axes, axis)
		return err
	}
}

func (a *axisFlags) point(text string) error {
	a.points = append(a.points, text)
	return nil
}

func (a *axisFlags) all() []experiments.Axis {
	if len(a.points) == 0 {
		return a.axes
	}
	return append(a.axes, experiments.Points(a.points...))
}

var sweepRun = command{
	name:     "sweep run",
	args:     "NAME",
	synopsis: "Train what is open of a sweep; run again, it goes on",
	help: `Trials that were interrupted or crashed go on from their last checkpoint; finished ones are not repeated. Start it in as
many processes as you like, also on other machines that see the same disk: each trial belongs to one of them, and a
process that dies loses its trial to the next.

A trial that fails is left and said at the end; --retry takes those up again. Ctrl-C keeps the run and gives the trial
back.`,
	examples: []string{`sweep run "gamma study"`, `sweep run "gamma study" --trials 1 --threads 4`},
	setup: func(f *flag.FlagSet) action {
		var limits experiments.SweepLimits
		f.IntVar(&limits.Trials, "trials", 0, "train at most `N` trials; 0: all that are open")
		f.IntVar(&limits.Number, "trial", 0, "train only trial `N`")
		f.BoolVar(&limits.Retry, "retry", false, "also trials that failed before")
		db := dbFlag(f)
		threads := threadsFlag(f)
		deviceFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if limits.Trials < 0 || limits.Number < 0 {
				return usagef("--trials and --trial are numbers from 1")
			}
			return withExisting(*db, *threads, func(s *experiments.Store) error {
				ctx, done := watch(ctx, w)
				status, err := s.RunSweep(ctx, args[0], limits)
				done()
				if status != nil {
					err = cmp.Or(err, printf(w.out, "%v\n", status))
				}
				return err
			})
		}
	},
}

var sweepStatus = command{
	name:     "sweep status",
	args:     "[NAME]",
	synopsis: "Show how the trials of a sweep stand, or list the sweeps",
	help:     "With --json: an object {name, axes, trials}, or without NAME an array of names.",
	examples: []string{"sweep status", `sweep status "gamma study"`},
	setup: func(f *flag.FlagSet) action {
		db := dbFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			return withExisting(*db, 0, func(s *experiments.Store) error {
				if len(args) == 0 {
					return listSweeps(ctx, s, *asJSON, w)
				}
				status, err := s.Sweeping(ctx, args[0])
				switch {
				case err != nil:
					return err
				case *asJSON:
					return printJSON(w.out, newSweepJSON(status))
				}
				return printf(w.out, "%v\n", status)
			})
		}
	},
}

func listSweeps(ctx context.Context, s *experiments.Store, asJSON bool, w world) error {
	names, err := s.Sweeps(ctx)
	switch {
	case err != nil:
		return err
	case asJSON:
		return printJSON(w.out, append([]string{}, names...))
	case len(names) == 0:
		return printf(w.out, "no sweeps in %s yet; `ddpmlab sweep plan` makes one\n", s.Path())
	}
	for _, name := range names {
		status, err := s.Sweeping(ctx, name)
		if err != nil {
			return err
		}
		if err := printf(w.out, "%s\n", status.Table().Caption); err != nil {
			return err
		}
	}
	return nil
}

// sweepJSON is what sweep status prints as JSON.
type sweepJSON struct {
	Name   string      `json:"name"`
	Axes   []string    `json:"axes"`
	Trials []trialJSON `json:"trials"`
}

type trialJSON struct {
	Number int                  `json:"number"`
	Fields map[string]string    `json:"fields"`
	Status string               `json:"status"`
	By     string               `json:"by,omitempty"`
	Error  string               `json:"error,omitempty"`
	Run    *experiments.Summary `json:"run,omitempty"`
}

func newSweepJSON(w *experiments.SweepStatus) sweepJSON {
	out := sweepJSON{Name: w.Name, Axes: w.Axes}
	for _, t := range w.Trials {
		x := trialJSON{Number: t.Number, Fields: make(map[string]string), Status: t.Status, By: t.By, Error: t.Error}
		for i, a := range w.Axes {
			x.Fields[a] = t.Values[i]
		}
		if t.Run != nil {
			s := t.Run.Summary()
			x.Run = &s
		}
		out.Trials = append(out.Trials, x)
	}
	return out
}

var sweepSlurm = command{
	name:     "sweep slurm",
	args:     "NAME",
	synopsis: "Write a script that runs a sweep as an array job of Slurm",
	help: `Writes FILE for sbatch and its plan beside it. Each task trains one trial into a database of its own, since databases on
network disks cannot be shared. ` + "`sbatch FILE`" + ` again goes on with what was stopped, and ` + "`bash FILE merge`" + `
gathers all runs in the database.`,
	examples: []string{`sweep slurm "gamma study" --out gamma.sh --cpus 8 --time 04:00:00`},
	setup: func(f *flag.FlagSet) action {
		out := f.String("out", "", "write the script to `FILE`, as gamma.sh")
		var job experiments.SlurmJob
		f.StringVar(&job.Program, "program", "", "the `PATH` of ddpmlab on the cluster; default: this program's here")
		f.IntVar(&job.Threads, "cpus", 4, "processor cores for a trial, `N`")
		f.StringVar(&job.Time, "time", "", "time limit of a trial, as Slurm writes it: `HH:MM:SS`")
		f.IntVar(&job.AtOnce, "at-once", 0, "run at most `N` trials at one time; 0: as many as Slurm lets")
		f.Func("sbatch", "add an `OPTION` for sbatch, as --partition=long; may be repeated", func(s string) error {
			job.Lines = append(job.Lines, s)
			return nil
		})
		db := dbFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if *out == "" {
				return usagef("--out is missing; name the script's file, as --out sweep.sh")
			}
			return withExisting(*db, 0, func(s *experiments.Store) (err error) {
				if job.Program == "" {
					if job.Program, err = os.Executable(); err != nil {
						return err
					}
				}
				status, err := s.Sweeping(ctx, args[0])
				if err != nil {
					return err
				}
				path, err := filepath.Abs(*out)
				if err != nil {
					return err
				}
				if err := status.WriteSlurm(path, s.Path(), job); err != nil {
					return err
				}
				return printf(w.err, "written to %s; submit it with sbatch\n", path)
			})
		}
	},
}
