package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"ddpmlab/internal/render"
	"ddpmlab/kernel"
)

var benchKernel = command{
	name:     "bench kernel",
	synopsis: "Measure the kernel as its clients see it, beside others",
	help: `Measures, in one run, of this program, ipykernel and stock gophernotes: start, a cell's round trip, 10 MB of output, an
interrupt, and the growth of memory over 10,000 cells. ipykernel ` + ipykernelVersion + ` is installed on first use, and gophernotes built,
for which Go and the folder of ddpmlab's source are wanted; it is started with GOROOT=/nonexistent, without which it panics on
today's Go. Takes three minutes, and wants a quiet machine.`,
	examples: []string{"bench kernel", "bench kernel --only ddpmlab --json"},
	setup: func(f *flag.FlagSet) action {
		var only pattern
		f.Var(&only, "only", "measure the kernels whose name matches `REGEXP`")
		python := f.String("python", "", "the ipykernel of this `PYTHON` instead")
		gophernotes := f.String("gophernotes", "", "this `PROGRAM` as gophernotes instead")
		starts := f.Int("starts", 20, "how many `TIMES` each kernel is started")
		asJSON := jsonFlag(f)
		return func(ctx context.Context, _ []string, w world) (err error) {
			temp, err := os.MkdirTemp("", "ddpmlab-bench-")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
			kernels := []struct {
				name string
				make func() (kernel.Candidate, error)
			}{
				{"ddpmlab", func() (kernel.Candidate, error) { return kernel.This(), nil }},
				{"ipykernel", func() (kernel.Candidate, error) {
					path := *python
					if path == "" {
						if path, err = pythonWith(ctx, w, "ipykernel-"+ipykernelVersion, "ipykernel=="+ipykernelVersion); err != nil {
							return kernel.Candidate{}, err
						}
					}
					return kernel.IPykernel(path), nil
				}},
				{"gophernotes", func() (kernel.Candidate, error) {
					path := filepath.Join(temp, "gophernotes")
					if *gophernotes != "" {
						path, err = exec.LookPath(*gophernotes)
					} else {
						err = kernel.BuildGophernotes(ctx, path)
					}
					return kernel.Gophernotes(path), err
				}},
			}
			var list []kernel.Candidate
			for _, k := range kernels { // all is made before anything is measured
				if only.Regexp != nil && !only.MatchString(k.name) {
					continue
				}
				c, err := k.make()
				if err != nil {
					return fmt.Errorf("%w; --only leaves %s out", err, k.name)
				}
				list = append(list, c)
			}
			if len(list) == 0 {
				return usagef("no kernel's name matches --only %q", only.String())
			}
			var all []kernel.Measured
			for _, c := range list {
				m, err := kernel.Bench(ctx, c, *starts)
				if err != nil {
					return err
				}
				all = append(all, m)
			}
			if *asJSON {
				return printJSON(w.out, all)
			}
			return printf(w.out, "%v\n", benchTable(all))
		}
	},
}

// ipykernelVersion is the ipykernel that ours is measured beside.
const ipykernelVersion = "7.4.0"

// benchTable has a row for each kernel.
func benchTable(all []kernel.Measured) *render.Table {
	t := &render.Table{Columns: append(render.Left("kernel"),
		render.Right("start", "cell, median", "cell, p99", "10 MB of output", "interrupt", "memory")...)}
	ms := func(values []float64, q float64) string {
		if len(values) == 0 {
			return "fails"
		}
		return fmt.Sprintf("%.3g ms", 1000*kernel.Quantile(values, q))
	}
	for _, m := range all {
		t.Add(m.Kernel, ms(m.Start, 0.5), ms(m.Cell, 0.5), ms(m.Cell, 0.99), ms(m.Print, 0.5), ms(m.Interrupt, 1),
			fmt.Sprintf("%+.1f MB", float64(m.Growth)/1e6))
		if m.Failure != "" {
			t.Notes = append(t.Notes, m.Kernel+": "+m.Failure)
		}
	}
	t.Notes = append(t.Notes, fmt.Sprintf("start: to the first answer, median of %d; cell: 11,000 round trips of 1+1; output: median of 3; interrupt: the slowest of 5 loops; memory: growth over 10,000 cells", len(all[0].Start)))
	return t
}
