package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"ddpmlab/internal/bench"
	"ddpmlab/internal/render"
)

var benchEngine = command{
	name:     "bench engine",
	synopsis: "Measure the engine, and PyTorch on the same cores",
	help: `Training steps, steps of the reverse chain, the gradient penalty and memory. Times are medians over rounds
in which all sides take turns.

--torch adds PyTorch, in float32 and bfloat16 autocast, eager and compiled, with the same network on the same weights, which
is checked; the base is the fastest mode. It is installed on first use, several GB, unless --torch=PYTHON names an interpreter that has it.

--quick takes the compiled modes of the other networks from the run that is recorded, and says so.

With --json: an array of {name, ours, base, base_mode, unit, ratio}; base is 0 where there is none.`,
	examples: []string{"bench engine --only '^step/'", "bench engine --torch --quick"},
	setup: func(f *flag.FlagSet) action {
		o := bench.Options{}
		var only pattern
		var torch optional
		f.Var(&only, "only", "measure the works whose name matches `REGEXP`")
		f.Var(&torch, "torch", "add PyTorch; --torch=`PYTHON` names an interpreter that has it")
		f.BoolVar(&o.Quick, "quick", false, "fewer rounds; torch.compile for the first network only")
		f.IntVar(&o.Rounds, "rounds", 0, "`N` turns of each side; 0: 7, with --quick 5")
		f.DurationVar(&o.Limit, "limit", 0, "`TIME` for one mode of PyTorch to get warm, then it is left out; 0: 15m, with --quick 150s")
		guard := f.String("guard", "", "run each round while `COMMAND` cat runs, as one that waits until the machine is free")
		f.IntVar(&o.Threads, "threads", 0, "compute on `N` threads, on both sides; 0: one a core")
		asJSON := jsonFlag(f)
		asMarkdown := f.Bool("markdown", false, "print Markdown, as in the README")
		out := f.String("out", "", "write each round's times to `FILE`, to be read by benchstat")
		record := f.String("record", "", "keep the times of all of PyTorch's modes in `FILE`, for --quick: internal/bench/recorded.json")
		growth := f.Bool("growth", false, "measure instead how a training step grows with batch, channels and size")
		return func(ctx context.Context, _ []string, w world) error {
			o.Only, o.Guard = only.Regexp, strings.Fields(*guard)
			self, err := os.Executable()
			if err != nil {
				return err
			}
			o.Worker = append([]string{self}, strings.Fields(benchWorker.name)...)
			start := time.Now()
			o.Log = func(format string, args ...any) {
				fmt.Fprintf(w.err, "%5.0fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
			}
			if o.Python, err = torch.python(ctx, o.Log); err != nil {
				return err
			}
			show := func(t *render.Table) error {
				if *asMarkdown {
					return printf(w.out, "%s\n", t.Markdown())
				}
				return printf(w.out, "%v\n\n", t)
			}
			if *growth {
				t, err := bench.Growth(ctx, o)
				if err != nil {
					return err
				}
				return show(t)
			}
			r, err := bench.Run(ctx, o)
			if r != nil && len(r.Results)+len(r.Ops)+len(r.Peaks) > 0 {
				err = errors.Join(err, writeReport(r, *out, *record))
			}
			if err != nil {
				return err
			}
			tables := r.Tables()
			switch {
			case len(tables) == 0:
				return usagef("no work's name matches --only %q", only.String())
			case *asJSON:
				return printJSON(w.out, slices.Concat(r.Results, r.Ops))
			}
			for _, t := range tables {
				if err := show(t); err != nil {
					return err
				}
			}
			return nil
		}
	},
}

var benchEvaluate = command{
	name:     "bench evaluate",
	synopsis: "Measure the network of the FID, and PyTorch on the same cores",
	help: `Images a second of the Inception network, with random weights, from 299x299 pixels to its features and logits. It
needs no file of weights.

--torch adds PyTorch in float32: eager in both memory layouts, compiled with constant weights, and as oneDNN's graph, on the
same weights with the normalisations folded in, which is checked; the base is the fastest. It is installed on first use, several
GB, unless --torch=PYTHON names an interpreter that has it.

With --json: an array of {name, ours, base, base_mode, unit, ratio}; more is better; base is 0 where there is none.`,
	examples: []string{"bench evaluate", "bench evaluate --torch --json"},
	setup: func(f *flag.FlagSet) action {
		o := bench.Options{}
		var torch optional
		f.Var(&torch, "torch", "add PyTorch; --torch=`PYTHON` names an interpreter that has it")
		batch := f.Int("batch", 16, "`N` images at a time, on both sides")
		f.IntVar(&o.Rounds, "rounds", 0, "`N` turns of each side; 0: 7")
		f.DurationVar(&o.Limit, "limit", 0, "`TIME` for one mode of PyTorch to get warm, then it is left out; 0: 15m")
		guard := f.String("guard", "", "run each round while `COMMAND` cat runs, as one that waits until the machine is free")
		f.IntVar(&o.Threads, "threads", 0, "compute on `N` threads, on both sides; 0: one a core")
		asJSON := jsonFlag(f)
		asMarkdown := f.Bool("markdown", false, "print Markdown, as in the README")
		return func(ctx context.Context, _ []string, w world) error {
			if *batch < 1 || *batch > 1024 {
				return usagef("--batch %d: want 1 to 1024", *batch)
			}
			o.Guard = strings.Fields(*guard)
			self, err := os.Executable()
			if err != nil {
				return err
			}
			o.Worker = append([]string{self}, strings.Fields(benchWorker.name)...)
			start := time.Now()
			o.Log = func(format string, args ...any) {
				fmt.Fprintf(w.err, "%5.0fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
			}
			if o.Python, err = torch.python(ctx, o.Log); err != nil {
				return err
			}
			r, err := bench.Evaluate(ctx, o, *batch)
			switch {
			case err != nil:
				return err
			case *asJSON:
				return printJSON(w.out, r.Results)
			case *asMarkdown:
				return printf(w.out, "%s\n", r.Tables()[0].Markdown())
			}
			return printf(w.out, "%v\n", r.Tables()[0])
		}
	},
}

// writeReport writes the files that are asked for, also of a run that was broken off.
func writeReport(r *bench.Report, out, record string) error {
	if out != "" {
		var b bytes.Buffer
		if err := r.WriteSamples(&b); err != nil {
			return err
		}
		if err := writeFile(out, b.Bytes()); err != nil {
			return err
		}
	}
	if record != "" {
		return r.Record(record)
	}
	return nil
}

var benchWorker = command{
	name:     "bench worker",
	synopsis: "Be one side of a benchmark, as `bench engine` starts it",
	help:     "Reads a job and what to do of it on standard input and answers on standard output, JSON objects a line each.",
	setup: func(*flag.FlagSet) action {
		return func(ctx context.Context, _ []string, w world) error { return bench.Work(ctx, w.in, w.out) }
	},
}

// pattern is a flag that is a regular expression.
type pattern struct{ *regexp.Regexp }

func (p *pattern) String() string {
	if p.Regexp == nil {
		return ""
	}
	return p.Regexp.String()
}

func (p *pattern) Set(s string) (err error) {
	p.Regexp, err = regexp.Compile(s)
	return err
}

// optional is a flag that may stand alone or with a value.
type optional struct {
	given bool
	value string
}

func (o *optional) String() string   { return o.value }
func (o *optional) IsBoolFlag() bool { return true }

func (o *optional) Set(s string) error {
	switch s {
	case "true":
		*o = optional{given: true}
	case "false":
		*o = optional{}
	default:
		*o = optional{true, s}
	}
	return nil
}

// python is the interpreter that --torch names, or the one that is installed for it.
func (o *optional) python(ctx context.Context, log func(string, ...any)) (string, error) {
	if !o.given || o.value != "" {
		return o.value, nil
	}
	return bench.InstallTorch(ctx, log)
}
