package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/experiments"
	"ddpmlab/internal/suggest"
)

var train = command{
	name:     "train",
	synopsis: "Train one variant and keep the run",
	help: `A preset gives the configuration, --variant the paper's method with the paper's strength; other flags change single
values of either. A finished run with the same configuration, variant, data and seed is not repeated but shown;
--rerun trains it once more.

Ctrl-C stops after the current step and keeps the run; --resume goes on from its last checkpoint, also after a crash,
to the numbers of a run that was not interrupted. A run that crashed before its first checkpoint is trained anew by
--resume with --rerun, and not otherwise. The two newest checkpoints are kept, and the one of the best score.

--set reaches every field of the configuration; ` + "`ddpmlab runs show RUN --json`" + ` prints them all, under config. A
field of the model is written model.NAME.`,
	examples: []string{
		"train --preset fashion --variant ip --iterations 200",
		"train --preset tour --variant ip --gamma 0.15 --weight-decay 0.01 --seed 2",
		"train --set eval_samples=100 --set model.channels=32",
		"train --resume 01JZ8M",
	},
	setup: func(f *flag.FlagSet) action {
		o := newTrainFlags(f)
		return func(ctx context.Context, _ []string, w world) error { return o.run(ctx, f, w) }
	},
}

// trainFlags are the flags of train that describe a run.
type trainFlags struct {
	preset, variant string
	config          ddpm.Config  // fields that have a flag of their own
	switches        ddpm.Variant // likewise
	fields          assignments
	resume, db      *string
	trouble         string
	group           *string
	rerun           *bool
	checkpoints     *int
	broken          *string
	threads         *int
}

func newTrainFlags(f *flag.FlagSet) *trainFlags {
	o := &trainFlags{}
	f.StringVar(&o.preset, "preset", "tour", "start from the configuration `NAME`: "+strings.Join(ddpm.PresetNames(), ", "))
	f.StringVar(&o.variant, "variant", "adm", "method `NAME`: "+strings.Join(variantNames, ", "))
	f.Float64Var(&o.switches.Gamma, "gamma", 0, "input perturbation `X`, Eq. 7; the paper has 0.1")
	f.Float64Var(&o.switches.WeightDecay, "weight-decay", 0, "weight decay `X`, Eq. 10; the paper has 0.03")
	f.StringVar(&o.switches.WeightDecayMode, "weight-decay-mode", "", "`MODE` of the decay: decoupled (AdamW; the default) or coupled (in the loss)")
	f.Float64Var(&o.switches.GradPenalty, "grad-penalty", 0, "gradient penalty `X`, Eq. 9; the paper has 1e-6")
	f.StringVar(&o.switches.GradPenaltyMode, "grad-penalty-mode", "", "`MODE` of the penalty: hutchinson (the default), ones or exact")
	f.IntVar(&o.switches.GradPenaltyDraws, "grad-penalty-draws", 0, "`N` random vectors for hutchinson; default 1")
	f.StringVar(&o.switches.GammaSchedule, "gamma-schedule", "", "`SHAPE` of γ over t: constant (the default), rising, falling or points as 0:0,999:1")
	f.StringVar(&o.config.Data, "data", "", "train on the images in the file or folder `PATH`, or on the set of that name: "+strings.Join(data.Names(), ", ")+"; default: the preset's")
	o.broken = brokenFlag(f)
	f.IntVar(&o.config.Iterations, "iterations", 0, "train `N` iterations; default: the preset's")
	f.IntVar(&o.config.Batch, "batch", 0, "`N` images an iteration; default: the preset's")
	f.Float64Var(&o.config.LR, "lr", 0, "learning rate `X`; default: the preset's")
	f.Uint64Var(&o.config.Seed, "seed", 0, "seed `N` of all random numbers of the run")
	f.Var(&o.fields, "set", "set the configuration's field, `NAME=VALUE`; may be repeated")
	o.resume = f.String("resume", "", "go on with the interrupted run `ID`")
	o.rerun = f.Bool("rerun", false, "train even if there is such a run already")
	o.checkpoints = f.Int("checkpoints", 0, "save a checkpoint every `N` iterations, besides every ten minutes and before scores; default: 500")
	o.group = f.String("group", "", "put the run into the group `NAME`")
	f.StringVar(&o.trouble, "on-trouble", experiments.Spill, "when the database cannot be written, `DO` this: spill (go on, with a journal) or stop")
	o.db = dbFlag(f)
	o.threads = threadsFlag(f)
	deviceFlag(f)
	return o
}

// networkFlags say what network a file of weights is of.
type networkFlags struct {
	preset string
	fields assignments
}

func newNetworkFlags(f *flag.FlagSet) *networkFlags {
	o := &networkFlags{}
	f.StringVar(&o.preset, "preset", "", "the network of a .pt or .safetensors is that of the configuration `NAME`: "+strings.Join(ddpm.PresetNames(), ", "))
	f.Var(&o.fields, "set", "with the configuration's field, `NAME=VALUE`; may be repeated")
	return o
}

// given names the flags that were given, if any.
func (o *networkFlags) given(f *flag.FlagSet) string {
	var names []string
	for _, name := range []string{"preset", "set"} {
		if given(f, name) {
			names = append(names, "--"+name)
		}
	}
	return strings.Join(names, ", ")
}

// read reads a file of weights.
func (o *networkFlags) read(path string) (*ddpm.Checkpoint, error) {
	needs, err := ddpm.NeedsConfig(path)
	if err != nil || !needs {
		if o.preset != "" && err == nil {
			err = usagef("%s knows its network; leave out --preset", path)
		}
		if err != nil {
			return nil, err
		}
		return ddpm.ReadWeights(path, ddpm.Config{})
	}
	if o.preset == "" {
		fit, err := ddpm.FittingPresets(path)
		if err != nil {
			return nil, err
		}
		cure := "it fits none; start from the nearest, and change it with --set, as --set model.channels=64"
		if len(fit) > 0 {
			cure = "it fits " + strings.Join(fit, " and ")
		}
		return nil, usagef("%s holds weights and not what network they are of: say --preset NAME; %s", path, cure)
	}
	c, err := preset(o.preset)
	if err != nil {
		return nil, err
	}
	for _, a := range o.fields {
		if err := setField(&c, a); err != nil {
			return nil, err
		}
	}
	return ddpm.ReadWeights(path, c)
}

// preset is the configuration with that name.
func preset(name string) (ddpm.Config, error) {
	c, err := ddpm.Preset(name)
	if err != nil {
		return c, errors.New(suggest.Unknown("preset", name, ddpm.PresetNames(), "there are: "+strings.Join(ddpm.PresetNames(), ", ")))
	}
	return c, nil
}

// variantNames are those that ddpm.ParseVariant takes, in the paper's order.
var variantNames = []string{"adm", "wd", "gp", "ip"}

func (o *trainFlags) run(ctx context.Context, f *flag.FlagSet, w world) error {
	if *o.checkpoints < 0 {
		return usagef("--checkpoints is %d; want a number of iterations, or 0 for the default", *o.checkpoints)
	}
	if o.trouble != experiments.Spill && o.trouble != experiments.Stop {
		return usagef("--on-trouble is %q; want spill or stop", o.trouble)
	}
	if given(f, "resume") {
		var extra []string
		f.Visit(func(g *flag.Flag) {
			if !slices.Contains([]string{"resume", "rerun", "checkpoints", "db", "threads", "device", "on-trouble"}, g.Name) {
				extra = append(extra, "--"+g.Name)
			}
		})
		if len(extra) > 0 {
			return usagef("--resume goes on with the run as it was begun; leave out %s", strings.Join(extra, ", "))
		}
		return o.train(ctx, w, withExisting, func(ctx context.Context, s *experiments.Store) (*experiments.Run, error) {
			if !*o.rerun {
				return s.Resume(ctx, *o.resume)
			}
			r, err := s.Run(ctx, *o.resume)
			if err != nil {
				return nil, err
			}
			return s.Rerun(ctx, r.Config, r.Variant)
		})
	}
	c, v, err := o.order(f)
	if err != nil {
		return err
	}
	ctx = experiments.WithGroup(ctx, *o.group)
	return o.train(ctx, w, withStore, func(ctx context.Context, s *experiments.Store) (*experiments.Run, error) {
		if *o.rerun {
			return s.Rerun(ctx, c, v)
		}
		return s.Train(ctx, c, v)
	})
}

// order is the configuration and variant that the flags describe.
func (o *trainFlags) order(f *flag.FlagSet) (c ddpm.Config, v ddpm.Variant, err error) {
	if c, err = preset(o.preset); err != nil {
		return c, v, err
	}
	if v, err = ddpm.ParseVariant(o.variant); err != nil {
		return c, v, errors.New(suggest.Unknown("variant", o.variant, variantNames,
			"there are: "+strings.Join(variantNames, ", ")+"; combine others by --gamma, --weight-decay and --grad-penalty"))
	}
	for _, a := range o.fields {
		if err := setField(&c, a); err != nil {
			return c, v, err
		}
	}
	f.Visit(func(g *flag.Flag) {
		switch g.Name {
		case "broken":
			c.Broken = *o.broken
		case "iterations":
			c.Iterations = o.config.Iterations
		case "batch":
			c.Batch = o.config.Batch
		case "lr":
			c.LR = o.config.LR
		case "seed":
			c.Seed = o.config.Seed
		case "gamma":
			v.Gamma = o.switches.Gamma
		case "weight-decay":
			v.WeightDecay = o.switches.WeightDecay
		case "weight-decay-mode":
			v.WeightDecayMode = o.switches.WeightDecayMode
		case "grad-penalty":
			v.GradPenalty = o.switches.GradPenalty
		case "grad-penalty-mode":
			v.GradPenaltyMode = o.switches.GradPenaltyMode
		case "grad-penalty-draws":
			v.GradPenaltyDraws = o.switches.GradPenaltyDraws
		case "gamma-schedule":
			v.GammaSchedule = o.switches.GammaSchedule
		}
	})
	if c, err = o.onData(c, v, given(f, "data")); err != nil {
		return c, v, err
	}
	return c, v, cmp.Or(c.Validate(), v.Validate())
}

// onData is the configuration for the data asked for: with their channels and, where the
// command line leaves it open, their size. Data that are not here are refused now.
func (o *trainFlags) onData(c ddpm.Config, v ddpm.Variant, asked bool) (ddpm.Config, error) {
	if c.Broken == data.Refuse {
		c.Broken = ""
	}
	if err := cmp.Or(c.Validate(), v.Validate()); err != nil {
		return c, err
	}
	if !asked {
		_, err := c.OpenData()
		return c, err
	}
	name := o.config.Data
	if err := misspelt(name); err != nil {
		return c, err
	}
	on, err := c.On(name)
	if err != nil {
		return c, err
	}
	for _, a := range o.fields { // what was asked for stays as it is, and CheckData says whether it fits
		if err := setField(&on, a); err != nil {
			return c, err
		}
	}
	return on, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// setField sets one field of the configuration, by its name in JSON.
func setField(c *ddpm.Config, a assignment) error {
	value := json.RawMessage(a.value)
	if !json.Valid(value) {
		value, _ = json.Marshal(a.value) // a string needs no quotes
	}
	names := fieldNames(*c)
	if name, ok := strings.CutPrefix(a.name, "variant."); ok {
		return fmt.Errorf("%s is the variant's, not the configuration's; a flag sets it, as --%s %s", a.name, strings.ReplaceAll(name, "_", "-"), a.value)
	}
	if !slices.Contains(names, a.name) {
		return errors.New(suggest.Unknown("field", a.name, names, "there are: "+strings.Join(names, ", ")))
	}
	var object any = value
	for _, part := range slices.Backward(strings.Split(a.name, ".")) {
		object = map[string]any{part: object}
	}
	text, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("--set %s=%s: %w", a.name, a.value, err)
	}
	if err := c.Merge(text); err != nil {
		return fmt.Errorf("--set %s=%s: %w", a.name, a.value, err)
	}
	return nil
}

// fieldNames lists the fields of a configuration by their names in JSON, those of the
// model as model.NAME.
func fieldNames(c ddpm.Config) []string {
	var names []string
	var list func(prefix string, t reflect.Type)
	list = func(prefix string, t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Type.Kind() == reflect.Struct {
				list(prefix+name+".", f.Type)
			} else {
				names = append(names, prefix+name)
			}
		}
	}
	list("", reflect.TypeOf(c))
	slices.Sort(names)
	return names
}

// train runs do with a progress bar, on the database that with opens, and prints the run's
// card.
func (o *trainFlags) train(ctx context.Context, w world, with func(string, int, func(*experiments.Store) error) error,
	do func(context.Context, *experiments.Store) (*experiments.Run, error),
) error {
	return with(*o.db, *o.threads, func(s *experiments.Store) error {
		s.CheckpointEvery = *o.checkpoints
		s.OnTrouble = o.trouble
		began := time.Now()
		ctx, done := watch(ctx, w)
		r, err := do(ctx, s)
		done()
		if r == nil {
			return o.inTerminal(err)
		}
		e := printf(w.out, "%v\n", r)
		if err = cmp.Or(err, e, printf(w.err, "kept in %s\n", s.Path())); err == nil && r.Finished.Before(began) {
			return printf(w.err, "this run was finished before; --rerun trains it once more\n")
		}
		return o.inTerminal(err)
	})
}

// inTerminal is err with the cures that a terminal has, where a notebook would have others.
func (o *trainFlags) inTerminal(err error) error {
	resume := func(run string) string {
		cure := "ddpmlab train --resume " + run
		if *o.db != experiments.DefaultName {
			cure += " --db " + *o.db
		}
		return cure
	}
	if e, ok := errors.AsType[*experiments.StoppedError](err); ok && !errors.Is(err, experiments.ErrSpilled) {
		switch e.Status {
		case experiments.StatusInterrupted:
			return fmt.Errorf("%w after %d of %d steps; the run is kept, and `%s` goes on with it",
				experiments.ErrInterrupted, e.Step, e.Of, resume(e.Run))
		case experiments.StatusDiverged:
			return err
		}
		return fmt.Errorf("run %s stopped after %d of %d steps: %w; once that is solved, `%s` goes on with it", e.Run, e.Step, e.Of, e.Err, resume(e.Run))
	}
	if errors.Is(err, experiments.ErrNoCheckpoint) && *o.resume != "" {
		text := strings.TrimSuffix(err.Error(), "; train it anew by `ddpmlab train --rerun`")
		return &inWords{text + "; `" + resume(*o.resume) + " --rerun` trains it anew", err}
	}
	return err
}

// inWords is an error with a text of its own.
type inWords struct {
	text string
	err  error
}

func (e *inWords) Error() string { return e.text }

func (e *inWords) Unwrap() error { return e.err }
