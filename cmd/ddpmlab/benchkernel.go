package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os/exec"

	"ddpmlab/internal/render"
	"ddpmlab/kernel"
)

var benchKernel = command{
	name:     "bench kernel",
	synopsis: "Measure the kernel as its clients see it, beside others",
	help: `Measures start, a cell's round trip, an interrupt and the growth of memory over 10,000 cells, of this program and, in the
same run, of ipykernel (--python: a Python that has it) and of stock gophernotes (--gophernotes: the program; it is started
with GOROOT=/nonexistent, without which it panics on today's Go). Wants a quiet machine.`,
	examples: []string{"bench kernel", "bench kernel --python python3 --json"},
	setup: func(f *flag.FlagSet) action {
		python := f.String("python", "", "also measure ipykernel under this `PYTHON`")
		gophernotes := f.String("gophernotes", "", "also measure this `PROGRAM`")
		starts := f.Int("starts", 20, "how many `TIMES` each kernel is started")
		asJSON := f.Bool("json", false, "print for programs")
		return func(ctx context.Context, _ []string, w world) error {
			type candidate struct {
				name   string
				argv   []string
				code   kernel.BenchCode
				signal bool
			}
			goCode := kernel.BenchCode{Add: "1+1", Spin: "for {}"}
			list := []candidate{{"ddpmlab", nil, goCode, false}}
			if *python != "" {
				list = append(list, candidate{
					"ipykernel",
					[]string{*python, "-m", "ipykernel_launcher", "-f", "{connection_file}"},
					kernel.BenchCode{Add: "1+1", Spin: "while True: pass"},
					true,
				})
			}
			if *gophernotes != "" {
				path, err := exec.LookPath(*gophernotes)
				if err != nil {
					return err
				}
				list = append(list, candidate{"gophernotes", []string{"env", "GOROOT=/nonexistent", path, "{connection_file}"}, goCode, true})
			}
			var all []kernel.Measured
			for _, c := range list {
				m, err := kernel.Bench(ctx, c.name, c.argv, c.code, max(1, *starts), c.signal)
				if err != nil {
					return err
				}
				all = append(all, m)
			}
			if *asJSON {
				return json.NewEncoder(w.out).Encode(all)
			}
			t := benchTable(all)
			return printf(w.out, "%s\n", t)
		}
	},
}

// benchTable has a row for each kernel.
func benchTable(all []kernel.Measured) *render.Table {
	t := &render.Table{Columns: append(render.Left("kernel"),
		render.Right("start", "cell, median", "cell, p99", "interrupt", "memory")...)}
	ms := func(values []float64, q float64) string {
		if len(values) == 0 {
			return "fails"
		}
		return fmt.Sprintf("%.3g ms", 1000*kernel.Quantile(values, q))
	}
	for _, m := range all {
		t.Add(m.Kernel, ms(m.Start, 0.5), ms(m.Cell, 0.5), ms(m.Cell, 0.99), ms(m.Interrupt, 1),
			fmt.Sprintf("%+.1f MB", float64(m.Growth)/1e6))
		if m.Failure != "" {
			t.Notes = append(t.Notes, m.Kernel+": "+m.Failure)
		}
	}
	t.Notes = append(t.Notes, fmt.Sprintf("start: median of %d; cell: 1,000 round trips of 1+1; interrupt: the slowest of 5 loops; memory: growth over 10,000 cells", len(all[0].Start)))
	return t
}
