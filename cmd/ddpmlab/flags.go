package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"ddpmlab/internal/suggest"
)

// parse parses flags that stand anywhere among the arguments, up to "--", and returns
// the other arguments. Package flag alone stops at the first argument that is no flag.
func parse(f *flag.FlagSet, line []string) (args []string, err error) {
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	for {
		if err := f.Parse(line); err != nil {
			return nil, flagError(f, err)
		}
		used := len(line) - f.NArg()
		if used > 0 && line[used-1] == "--" || f.NArg() == 0 {
			return append(args, f.Args()...), nil
		}
		args, line = append(args, f.Arg(0)), f.Args()[1:]
	}
}

// flagError says what package flag found in the words of this program.
func flagError(f *flag.FlagSet, err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	text := err.Error()
	where := fmt.Sprintf("`ddpmlab %s --help` lists the flags", f.Name())
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		if positive, ok := strings.CutPrefix(name, "no-"); ok && isBool(f.Lookup(positive)) {
			return usagef("unknown flag %q; did you mean %q?", dashed(name), dashed(positive)+"=false")
		}
		var names []string
		f.VisitAll(func(g *flag.Flag) { names = append(names, dashed(g.Name)) })
		return usagef("%s", suggest.Unknown("flag", dashed(name), names, where))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return usagef("%s needs a value; %s", dashed(name), where)
	}
	// As: invalid value "x" for flag -seed: parse error
	if rest, ok := strings.CutPrefix(text, "invalid value "); ok {
		if value, rest, ok := cutQuoted(rest, " for flag -"); ok {
			name, reason, _ := strings.Cut(rest, ": ")
			return usagef("%s is %s; want %s", dashed(name), value, wanted(f.Lookup(name), reason))
		}
	}
	if rest, ok := strings.CutPrefix(text, "invalid boolean value "); ok {
		if value, rest, ok := cutQuoted(rest, " for -"); ok {
			name, _, _ := strings.Cut(rest, ": ")
			return usagef("%s is %s; want true or false", dashed(name), value)
		}
	}
	return usagef("%s; %s", text, where)
}

// isBool reports whether the flag, which may be nil, is a switch.
func isBool(g *flag.Flag) bool {
	if g == nil {
		return false
	}
	b, ok := g.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// dashed is a flag's name as help and errors write it; one dash or two mean the same.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// cutQuoted cuts s after the Go string it begins with and sep.
func cutQuoted(s, sep string) (quoted, rest string, ok bool) {
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", "", false
	}
	rest, ok = strings.CutPrefix(s[len(quoted):], sep)
	return quoted, rest, ok
}

// wanted says what the value of a flag should be, by its kind; reason is what the flag's
// own Set said.
func wanted(g *flag.Flag, reason string) string {
	if g == nil {
		return reason
	}
	getter, ok := g.Value.(flag.Getter)
	if !ok {
		return reason
	}
	switch getter.Get().(type) {
	case int, int64:
		return "a whole number"
	case uint, uint64:
		return "a whole number, 0 or more"
	case float64:
		return "a number, as 0.1 or 1e-6"
	case time.Duration:
		return "a time, as 10s, 5m or 12h"
	}
	return reason
}

// given reports whether the flag stands on the command line.
func given(f *flag.FlagSet, name string) bool {
	found := false
	f.Visit(func(g *flag.Flag) { found = found || g.Name == name })
	return found
}

// intList is a flag of whole numbers from 1 with commas between, as "25,50,100".
type intList []int

func (l *intList) String() string {
	parts := make([]string, len(*l))
	for i, n := range *l {
		parts[i] = strconv.Itoa(n)
	}
	return strings.Join(parts, ",")
}

func (l *intList) Set(s string) error {
	*l = nil
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 {
			return errors.New("whole numbers from 1 with commas between, as 25,50,100")
		}
		*l = append(*l, n)
	}
	return nil
}

// assignments is a flag that may be repeated, each time NAME=VALUE.
type assignments []assignment

type assignment struct{ name, value string }

func (a *assignments) String() string {
	parts := make([]string, len(*a))
	for i, s := range *a {
		parts[i] = s.name + "=" + s.value
	}
	return strings.Join(parts, " ")
}

func (a *assignments) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if name = strings.TrimSpace(name); !ok || name == "" {
		return errors.New("NAME=VALUE")
	}
	*a = append(*a, assignment{name, strings.TrimSpace(value)})
	return nil
}
