package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ddpmlab/experiments"
)

// aboutRun is a command that does one thing to the run that its first argument names, and
// prints nothing.
func aboutRun(do func(ctx context.Context, s *experiments.Store, args []string) error) func(f *flag.FlagSet) action {
	return func(f *flag.FlagSet) action {
		db := dbFlag(f)
		return func(ctx context.Context, args []string, _ world) error {
			return withExisting(*db, 0, func(s *experiments.Store) error { return do(ctx, s, args) })
		}
	}
}

var runsTag = command{
	name:     "runs tag",
	args:     "RUN NAME",
	synopsis: "Give a run a tag, NAME or NAME=VALUE, or take it away with -NAME",
	help:     `A tag of that name is replaced. Lists show tags, and queries find them: tag.good, tag.sampler = "ddim".`,
	examples: []string{"runs tag 01JZ8M good", "runs tag 01JZ8M sampler=ddim", "runs tag 01JZ8M -- -good"},
	setup: aboutRun(func(ctx context.Context, s *experiments.Store, args []string) error {
		name, value, _ := strings.Cut(args[1], "=")
		if bare, ok := strings.CutPrefix(name, "-"); ok {
			return s.Untag(ctx, args[0], bare)
		}
		return s.Tag(ctx, args[0], name, value)
	}),
}

var runsNote = command{
	name:     "runs note",
	args:     "RUN TEXT",
	synopsis: "Add a note to a run",
	examples: []string{`runs note 01JZ8M "the learning rate was a mistake"`},
	setup: aboutRun(func(ctx context.Context, s *experiments.Store, args []string) error {
		return s.Note(ctx, args[0], args[1])
	}),
}

var runsGroup = command{
	name:     "runs group",
	args:     "RUN [GROUP]",
	synopsis: "Put a run into a group, or take it out of its group",
	help:     "New runs are put into one by `ddpmlab train --group NAME`.",
	examples: []string{`runs group 01JZ8M "gamma study"`, "runs group 01JZ8M"},
	setup: aboutRun(func(ctx context.Context, s *experiments.Store, args []string) error {
		return s.SetGroup(ctx, args[0], strings.Join(args[1:], ""))
	}),
}

var runsDelete = command{
	name:     "runs delete",
	args:     "RUN",
	synopsis: "Take a run out of all lists; `runs restore` brings it back",
	help:     "Nothing is removed before `ddpmlab runs gc`. A deleted run is trained again when it is asked for.",
	setup: aboutRun(func(ctx context.Context, s *experiments.Store, args []string) error {
		return s.Delete(ctx, args[0])
	}),
}

var runsRestore = command{
	name:     "runs restore",
	args:     "RUN",
	synopsis: "Bring a deleted run back",
	setup: aboutRun(func(ctx context.Context, s *experiments.Store, args []string) error {
		_, err := s.Restore(ctx, args[0])
		return err
	}),
}

var runsMerge = command{
	name:     "runs merge",
	args:     "FILE",
	synopsis: "Take over the runs of another database, with their checkpoints",
	help: `Runs are known by their ids everywhere, so merging the same again changes nothing. Of a run that both have, the one
that went on farther counts; tags and notes of both are kept. FILE is only read, also while it is written to.`,
	examples: []string{"runs merge ../other/runs.db"},
	setup: func(f *flag.FlagSet) action {
		db := dbFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if _, err := os.Stat(args[0]); errors.Is(err, fs.ErrNotExist) { // before a database is made to merge it into
				return fmt.Errorf("no database at %s to merge", args[0])
			}
			return withStore(*db, 0, func(s *experiments.Store) error {
				merged, err := s.Merge(ctx, args[0])
				if err != nil {
					return err
				}
				return printf(w.out, "%v\n", merged)
			})
		}
	},
}

var runsCopy = command{
	name:     "runs copy",
	args:     "FILE",
	synopsis: "Write a compact copy of the database, also while runs are recorded",
	help:     "Without the checkpoints, which lie in the folder beside it.",
	examples: []string{"runs copy backup.db"},
	setup: aboutRun(func(ctx context.Context, s *experiments.Store, args []string) error {
		path, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		return s.Copy(ctx, path)
	}),
}

var runsGC = command{
	name:     "runs gc",
	synopsis: "Remove deleted runs for good, and files that no run has",
	help:     "Checkpoints that several runs share, and all of runs that are not deleted, stay.",
	examples: []string{"runs gc", "runs gc --age 0s"},
	setup: func(f *flag.FlagSet) action {
		age := f.Duration("age", 7*24*time.Hour, "only runs deleted longer ago than `AGE`, as 12h")
		db := dbFlag(f)
		return func(ctx context.Context, _ []string, w world) error {
			return withExisting(*db, 0, func(s *experiments.Store) error {
				freed, err := s.GC(ctx, *age)
				if err != nil {
					return err
				}
				return printf(w.out, "%v\n", freed)
			})
		}
	},
}
