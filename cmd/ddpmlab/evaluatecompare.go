package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

var evaluateCompare = command{
	name:     "evaluate compare",
	args:     "A B [C] [D]",
	synopsis: "Put evaluations side by side that were made in one way",
	help: `Each is a file of what ` + "`ddpmlab evaluate --json`" + ` printed. Scores of different protocols are refused, and the field that differs is
named; with --force they are shown, greyed out, and it says why they do not compare.`,
	examples: []string{"evaluate compare adm.json ip.json"},
	setup: func(f *flag.FlagSet) action {
		force := f.Bool("force", false, "show what does not compare too")
		return func(_ context.Context, args []string, w world) error {
			var evals []*experiments.Evaluation
			for _, name := range args {
				b, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				e := new(experiments.Evaluation)
				if err := json.Unmarshal(b, e); err != nil || len(e.Scores) == 0 || e.Scores[0].ID != e.Scores[0].Protocol.Hash() {
					return fmt.Errorf("%s is not what `ddpmlab evaluate A B --json` prints", name)
				}
				evals = append(evals, e)
			}
			t, err := experiments.SideBySide(evals, *force)
			if err != nil {
				return err
			}
			return printf(w.out, "%v\n", greyed(t, w))
		}
	},
}

// greyed is the table as text, its rows that are set back in grey on terminals.
func greyed(t *render.Table, w world) string {
	text := t.String()
	file, ok := w.out.(*os.File)
	if info, err := os.Stdout.Stat(); !ok || err != nil || file != os.Stdout || info.Mode()&os.ModeCharDevice == 0 {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, r := range t.Rows {
		at := len(lines) - len(t.Notes) - len(t.Rows) + i
		if r.Class == render.ClassPaper && at >= 0 && at < len(lines) {
			lines[at] = "\x1b[90m" + lines[at] + "\x1b[0m"
		}
	}
	return strings.Join(lines, "\n")
}
