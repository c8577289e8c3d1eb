package main

import (
	"context"
	"flag"
	"runtime"
	"runtime/debug"

	"ddpmlab/ddpm"
)

var version = command{
	name:     "version",
	synopsis: "Print the version of ddpmlab, of Go, and of the numerics",
	help:     "Two builds with the same numerics give the same losses for the same seed.",
	setup: func(*flag.FlagSet) action {
		return func(_ context.Context, _ []string, w world) error {
			return printf(w.out, "ddpmlab %s, %s %s/%s, numerics %d\n",
				build(), runtime.Version(), runtime.GOOS, runtime.GOARCH, ddpm.NumericsVersion)
		}
	},
}

// build is the module's version, and the commit where the build has it.
func build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	s := info.Main.Version
	for _, set := range info.Settings {
		switch set.Key {
		case "vcs.revision":
			s += " " + set.Value[:min(12, len(set.Value))]
		case "vcs.modified":
			if set.Value == "true" {
				s += " with changes"
			}
		}
	}
	return s
}
