package main

import (
	"context"
	"flag"
	"os"
	"strings"
	"time"

	"ddpmlab/internal/gpukit"
)

var gpuCheck = command{
	name:     "gpu check",
	synopsis: "Try whether the GPU computes what it should",
	help: `Every kernel against float64, every convolution of cuDNN against ours, gradients and the losses of a short training
against the processor's (and PyTorch's), graphs against direct launches, and the kernels under compute-sanitizer if
that is installed. A line for each phase; the details go to report.json, with what earlier
phases have found.`,
	examples: []string{"gpu check", "gpu check --only kernels,graph --dir /tmp/gpu"},
	setup:    gpuPhases(gpukit.Check),
}

var gpuSpeed = command{
	name:     "gpu speed",
	synopsis: "Measure the GPU, and PyTorch on it",
	help: `What the plan of an iteration takes; what the GPU copies and multiplies; the time of each kernel; whole steps beside
PyTorch's, eager and compiled in bfloat16, on the same network with the same weights in turns; short trainings of the four
variants into runs.db; samples; exposure bias. A line for each phase; the details go to report.json.

PyTorch is that of --python, if it has one that finds the GPU.`,
	examples: []string{"gpu speed", "gpu speed --only plan"},
	setup:    gpuPhases(gpukit.Speed),
}

// gpuPhases are the flags of both commands.
func gpuPhases(name string) func(f *flag.FlagSet) action {
	return func(f *flag.FlagSet) action {
		o := gpuFlags(f)
		o.Command = name
		only := f.String("only", "", "run the phases `NAME,...` alone")
		f.DurationVar(&o.Limit, "limit", 570*time.Second, "stop after `TIME`; phases that have not run then have failed")
		return func(ctx context.Context, _ []string, w world) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			if *only != "" {
				o.Only = strings.Split(*only, ",")
			}
			o.Self, o.Program, o.Out = append([]string{self}, strings.Fields(gpuPhase.name)...), build(), w.out
			return gpukit.Run(ctx, *o)
		}
	}
}

func gpuFlags(f *flag.FlagSet) *gpukit.Options {
	o := &gpukit.Options{}
	f.StringVar(&o.Dir, "dir", ".", "write to the folder `DIR`")
	f.BoolVar(&o.Small, "small", false, "sizes for the test double of the driver")
	f.StringVar(&o.Python, "python", "python3", "the interpreter `FILE` that has PyTorch")
	return o
}

var gpuPhase = command{
	name:     "gpu phase",
	args:     "NAME",
	synopsis: "Run one phase, as `gpu check` and `gpu speed` start it",
	help:     "Prints what it finds as it goes on, JSON objects a line each, the last of which counts.",
	setup: func(f *flag.FlagSet) action {
		o := gpuFlags(f)
		return func(ctx context.Context, args []string, w world) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			o.Self, o.Out = append([]string{self}, strings.Fields("gpu phase")...), w.out
			return gpukit.RunPhase(ctx, args[0], *o)
		}
	},
}

var gpuReport = command{
	name:     "gpu report",
	args:     "FILE",
	synopsis: "Show what `gpu check` and `gpu speed` have found",
	examples: []string{"gpu report report.json", "gpu report report.json --markdown"},
	setup: func(f *flag.FlagSet) action {
		asMarkdown := f.Bool("markdown", false, "print Markdown")
		return func(_ context.Context, args []string, w world) error {
			r, err := gpukit.ReadReport(args[0])
			if err != nil {
				return err
			}
			for _, t := range r.Rendered() {
				if *asMarkdown {
					err = printf(w.out, "%s\n", t.Markdown())
				} else {
					err = printf(w.out, "%v\n\n", t)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}
	},
}
