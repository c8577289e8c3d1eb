package experiments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// SlurmJob is how a sweep is to run on a cluster under Slurm.
type SlurmJob struct {
	Program string   // this program's path there
	Threads int      // processor cores a trial; 0: 1
	Time    string   // a trial's time limit, as Slurm writes it: "04:00:00"
	AtOnce  int      // trials at one time; 0: as many as Slurm lets
	Lines   []string // more of sbatch's options, as "--partition=long"
}

// planFile is a sweep as a file: what WriteSlurm writes beside the script and PlanFile reads.
type planFile struct {
	Sweep  string         `json:"sweep"`
	Axes   []string       `json:"axes"`
	Trials []plannedTrial `json:"trials"`
}

// PlanFile plans the sweep of a file that WriteSlurm wrote, with the same numbers of
// trials.
func (s *Store) PlanFile(ctx context.Context, path string) (*SweepStatus, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var p planFile
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("%s: %w; want a plan that `ddpmlab sweep slurm` wrote", path, err)
	}
	if p.Sweep == "" || len(p.Trials) == 0 {
		return nil, fmt.Errorf("%s holds no sweep; want a plan that `ddpmlab sweep slurm` wrote", path)
	}
	for i, t := range p.Trials {
		if err := errors.Join(t.Config.Validate(), t.Variant.Validate()); err != nil {
			return nil, fmt.Errorf("%s: trial %d: %w", path, i+1, err)
		}
	}
	if err := s.addTrials(ctx, p.Sweep, p.Axes, p.Trials); err != nil {
		return nil, err
	}
	return s.Sweeping(ctx, p.Sweep)
}

// WriteSlurm writes a script for sbatch, whose tasks are the trials that are not done,
// and beside it the plan, as NAME.plan.json.
//
// Each task has a database of its own, because databases on network file systems cannot
// be shared; called with the argument "merge" the script merges them into db.
func (w *SweepStatus) WriteSlurm(path, db string, job SlurmJob) error {
	p := planFile{Sweep: w.Name, Axes: w.Axes}
	var open []int
	for _, t := range w.Trials {
		fields := make(map[string]string)
		for i, a := range w.Axes {
			fields[a] = t.Values[i]
		}
		p.Trials = append(p.Trials, plannedTrial{fields, t.Config, t.Variant})
		if !t.done(true) {
			open = append(open, t.Number)
		}
	}
	if len(open) == 0 {
		return fmt.Errorf("sweep %s has no open trials; `ddpmlab sweep plan` adds some", w.Name)
	}
	text, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return fmt.Errorf("write the plan of %s: %w", w.Name, err)
	}
	base := strings.TrimSuffix(path, filepath.Ext(path))
	if err := os.WriteFile(base+".plan.json", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(job.script(w.Name, filepath.Base(base), db, open)), 0o755)
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

func (j SlurmJob) script(sweep, base, db string, open []int) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	name := notInName.ReplaceAllString(sweep, "-")
	array := ranges(open)
	if j.AtOnce > 0 {
		array += "%" + strconv.Itoa(j.AtOnce)
	}
	line("#!/bin/bash")
	line("#SBATCH --job-name=%s", name)
	line("#SBATCH --array=%s", array)
	line("#SBATCH --cpus-per-task=%d", max(1, j.Threads))
	if j.Time != "" {
		line("#SBATCH --time=%s", j.Time)
	}
	line("#SBATCH --signal=B:INT@60   # stop after the current step and keep the run, a minute before the limit")
	for _, l := range j.Lines {
		line("#SBATCH %s", l)
	}
	line("")
	line("# Sweep %s: submit with `sbatch %s.sh`, again to go on with what was stopped; then", oneLineText(sweep), base)
	line("# `bash %s.sh merge` gathers the runs in one database.", base)
	line("set -euo pipefail")
	line(`cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")}"`)
	line(`ddpmlab=${DDPMLAB:-%s}`, quoteShell(j.Program))
	line("sweep=%s", quoteShell(sweep))
	line("trials=%s", quoteShell(base+".trials"))
	line("")
	line(`if [ "${1:-}" = merge ]; then`)
	line(`	for db in "$trials"/trial-*.db; do`)
	line(`		"$ddpmlab" runs merge "$db" --db %s`, quoteShell(db))
	line("	done")
	line(`	exec "$ddpmlab" sweep status "$sweep" --db %s`, quoteShell(db))
	line("fi")
	line("")
	line(`mkdir -p "$trials"`)
	line(`db=$trials/trial-$SLURM_ARRAY_TASK_ID.db`)
	line(`[ -e "$db" ] || "$ddpmlab" sweep plan --file %s --db "$db"`, quoteShell(base+".plan.json"))
	line(`exec "$ddpmlab" sweep run "$sweep" --trial "$SLURM_ARRAY_TASK_ID" --retry --threads "${SLURM_CPUS_PER_TASK:-0}" --db "$db"`)
	return b.String()
}

func oneLineText(s string) string { return strings.Join(strings.Fields(s), " ") }

// quoteShell is s as one word of a shell.
func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// ranges writes ascending numbers as "1-4,7".
func ranges(n []int) string {
	var parts []string
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, strconv.Itoa(n[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", n[i], n[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}
