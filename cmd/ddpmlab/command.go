package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"ddpmlab/experiments"
	"ddpmlab/internal/suggest"
	"ddpmlab/kernel"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2   // the command line cannot mean anything
	exitInterrupted = 130 // as shells report a process that SIGINT ended
)

// world is what a command may touch of the process it runs in.
type world struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
}

// command is one row of the table of commands.
type command struct {
	name     string   // as it is typed, "runs list"
	args     string   // what it takes besides flags: "RUN", "[NAME]"
	synopsis string   // one line of the overview
	help     string   // paragraphs with an empty line between; wrapped anew
	examples []string // without the leading "ddpmlab"

	// setup declares the command's flags and returns what runs once they are parsed.
	setup func(f *flag.FlagSet) action
	// ownSignals leaves SIGINT to the command; otherwise it cancels the context.
	ownSignals bool
}

// action runs a command with its positional arguments.
type action func(ctx context.Context, args []string, w world) error

// usageError is a command line that cannot mean anything.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// run runs the command line and returns the process's exit code.
func run(ctx context.Context, line []string, w world) int {
	err := dispatch(ctx, line, w)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSaid):
		return exitFailed
	}
	fmt.Fprintf(w.err, "ddpmlab: %v\n", err)
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	for _, interrupted := range []error{context.Canceled, experiments.ErrInterrupted, kernel.ErrInterrupted} {
		if errors.Is(err, interrupted) {
			return exitInterrupted
		}
	}
	return exitFailed
}

// errSaid is a failure that the command's output has told already.
var errSaid = errors.New("failed, as printed")

func dispatch(ctx context.Context, line []string, w world) error {
	if len(line) == 0 {
		if _, err := io.WriteString(w.err, overview()); err != nil {
			return err
		}
		return usagef("name a command, as `ddpmlab doctor`")
	}
	switch line[0] {
	case "help", "-h", "-help", "--help":
		return help(line[1:], w)
	case "-version", "--version":
		line = []string{"version"}
	}
	c, rest, err := find(line)
	if err != nil {
		return err
	}
	if c == nil { // a group: "runs"
		if len(rest) > 0 && isHelp(rest[0]) {
			return help(line[:1], w)
		}
		return usagef("%s needs one of: %s", line[0], strings.Join(members(line[0]), ", "))
	}
	f := flag.NewFlagSet(c.name, flag.ContinueOnError)
	act := c.setup(f)
	args, err := parse(f, rest)
	if errors.Is(err, flag.ErrHelp) {
		return help(strings.Fields(c.name), w)
	}
	if err != nil {
		return err
	}
	if err := c.count(args); err != nil {
		return err
	}
	if !c.ownSignals {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	}
	return act(ctx, args, w)
}

// find returns the command that the line begins with and what follows it; nil when the
// line names a group of commands alone.
func find(line []string) (c *command, rest []string, err error) {
	for i := range commands {
		words := strings.Fields(commands[i].name)
		if len(line) >= len(words) && slices.Equal(line[:len(words)], words) {
			return &commands[i], line[len(words):], nil
		}
	}
	group := members(line[0])
	switch {
	case strings.HasPrefix(line[0], "-"):
		return nil, nil, usagef("%q stands before the command; flags follow it, as `ddpmlab runs list --db FILE`", line[0])
	case len(group) == 0:
		return nil, nil, usagef("%s", suggest.Unknown("command", line[0], topNames(), "`ddpmlab help` lists them"))
	case len(line) == 1 || strings.HasPrefix(line[1], "-"):
		return nil, line[1:], nil
	}
	return nil, nil, usagef("%s", suggest.Unknown(line[0]+" command", line[1], group, "there are: "+strings.Join(group, ", ")))
}

// members lists the second words of the commands in a group, or nothing.
func members(group string) []string {
	var names []string
	for _, c := range commands {
		if first, second, ok := strings.Cut(c.name, " "); ok && first == group {
			names = append(names, second)
		}
	}
	return names
}

// topNames lists the first words of all commands.
func topNames() []string {
	var names []string
	for _, c := range commands {
		first, _, _ := strings.Cut(c.name, " ")
		names = append(names, first)
	}
	return slices.Compact(names)
}

// count refuses too many or too few positional arguments.
func (c *command) count(args []string) error {
	wanted := strings.Fields(c.args)
	for i, name := range wanted {
		if i >= len(args) && !strings.HasPrefix(name, "[") {
			return usagef("%s: %s is missing; usage: %s", c.name, name, c.usage())
		}
	}
	if len(args) > len(wanted) {
		return usagef("%s: unexpected argument %q; usage: %s", c.name, args[len(wanted)], c.usage())
	}
	return nil
}

// usage is the command's line in its own help.
func (c *command) usage() string {
	s := "ddpmlab " + c.name
	if c.args != "" {
		s += " " + c.args
	}
	if !c.flagless() {
		s += " [flags]"
	}
	return s
}

func (c *command) flagless() bool {
	f := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.setup(f)
	none := true
	f.VisitAll(func(*flag.Flag) { none = false })
	return none
}
