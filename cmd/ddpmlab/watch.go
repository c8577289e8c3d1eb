package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"ddpmlab/experiments"
)

var runsWatch = command{
	name:     "runs watch",
	args:     "[QUERY]",
	synopsis: "Show runs while they are trained, by whatever process",
	help: `QUERY is as for ` + "`ddpmlab runs list`" + `; without it, the runs that are being trained. In a terminal the table is drawn
over; elsewhere, as in a file, each change is a line. It ends when no run is being trained any more; Ctrl-C ends it
earlier.`,
	examples: []string{"runs watch", "runs watch 'age < 1d' --every 10s", "runs watch --once"},
	setup: func(f *flag.FlagSet) action {
		every := f.Duration("every", time.Second, "look every `TIME`, as 10s")
		once := f.Bool("once", false, "show the table once")
		wait := f.Bool("wait", false, "wait for runs to begin, and do not end")
		db := dbFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if *every < 10*time.Millisecond {
				return usagef("--every is %v; want 10ms or more", *every)
			}
			return withExisting(*db, 0, func(s *experiments.Store) error {
				show := newScreen(w.out)
				defer show.close()
				watching := s.NewWatching(strings.Join(args, ""))
				for {
					b, err := watching.Next(ctx)
					switch {
					case errors.Is(err, context.Canceled):
						return nil
					case err != nil:
						return err
					case *once:
						return printf(w.out, "%v\n", b)
					}
					if err := show.draw(b); err != nil {
						return err
					}
					if b.Running() == 0 && !*wait {
						return nil
					}
					select {
					case <-ctx.Done():
						return nil
					case <-time.After(*every):
					}
				}
			})
		}
	},
}

// screen shows a board again and again: over the old one in a terminal, and a line for each
// change elsewhere.
type screen struct {
	out      io.Writer
	terminal bool
	last     *experiments.Board
	said     map[string]string // without a terminal: the last line of each run
	begun    bool
}

func newScreen(out io.Writer) *screen {
	return &screen{out: out, terminal: isTerminal(out), said: make(map[string]string)}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Control sequences of terminals (ECMA-48, and xterm's alternate screen).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearRest   = "\x1b[J"
)

func (s *screen) draw(b *experiments.Board) error {
	s.last = b
	if !s.terminal {
		return s.lines(b)
	}
	if !s.begun {
		s.begun = true
		if err := printf(s.out, "%s", enterScreen); err != nil {
			return err
		}
	}
	text := strings.ReplaceAll(b.String(), "\n", clearLine+"\n")
	return printf(s.out, "%s%s%s\n%s", home, text, clearLine, clearRest)
}

// lines prints the runs that have changed.
func (s *screen) lines(b *experiments.Board) error {
	if len(b.Runs) == 0 && !s.begun {
		s.begun = true
		return printf(s.out, "no runs are being trained\n")
	}
	s.begun = true
	for _, r := range b.Runs {
		line := fmt.Sprintf("%s  %v, seed %d: %s, step %d", r.ID, r.Title(), r.Seed, r.Status, r.Step)
		if of := r.Config.Iterations; of > 0 { // not of an imported run
			line += fmt.Sprintf(" of %d", of)
		}
		if v, ok := r.Last(experiments.MetricLoss); ok {
			line += fmt.Sprintf(", loss %.4f", v)
		}
		if p, ok := r.Protocol(experiments.MetricFD); ok {
			v, _ := r.Last(experiments.MetricFD)
			line += fmt.Sprintf(", %s %.2f", p.Metric, v)
		}
		if s.said[r.ID] == line {
			continue
		}
		s.said[r.ID] = line
		if err := printf(s.out, "%s  %s\n", b.At.Format("15:04:05"), line); err != nil {
			return err
		}
	}
	return nil
}

// close leaves the last board where a terminal's user finds it.
func (s *screen) close() {
	if s.terminal && s.begun {
		fmt.Fprintf(s.out, "%s%v\n", leaveScreen, s.last)
	}
}
