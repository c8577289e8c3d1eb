package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"strings"

	"ddpmlab/experiments"
	"ddpmlab/plots"
)

var runsVerify = command{
	name:     "runs verify",
	args:     "[FIGURE]",
	synopsis: "Draw figures again from the data and compare",
	help: `A figure is recorded with its runs when it is shown in a notebook or saved: curves, grids of samples, the drift and errors of
exposure bias. FIGURE is its id or the beginning, or an SVG file that was saved; without it, all figures are verified.
Samples that are not kept are drawn again from the checkpoints. Exits with 1 when a figure has changed.

With --json: an array of {figure, points, picture, problem}.`,
	examples: []string{"runs verify", "runs verify 3f8a", "runs verify fd.svg --json"},
	setup: func(f *flag.FlagSet) action {
		db := dbFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			id := strings.Join(args, "")
			if strings.HasSuffix(id, ".svg") {
				text, err := os.ReadFile(id)
				if err != nil {
					return err
				}
				id = fmt.Sprintf("%x", sha256.Sum256(text))
			}
			return withExisting(*db, 0, func(s *experiments.Store) error {
				shown, done := watch(ctx, w)
				all, err := plots.VerifyIn(shown, s, id)
				done()
				if err != nil {
					return err
				}
				if *asJSON {
					err = printJSON(w.out, append(plots.Verifications{}, all...))
				} else {
					err = printf(w.out, "%v\n", all)
				}
				for _, v := range all {
					if !v.OK() && err == nil {
						err = errSaid
					}
				}
				return err
			})
		}
	},
}
