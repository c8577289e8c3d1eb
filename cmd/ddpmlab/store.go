package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"ddpmlab/ddpm/engine/device"
	"ddpmlab/experiments"
	"ddpmlab/internal/display"
)

// dbFlag declares the flag that names the database.
func dbFlag(f *flag.FlagSet) *string {
	return f.String("db", experiments.DefaultName, "database `FILE`; a bare name is looked for here and in the folders above, up to go.mod's")
}

func jsonFlag(f *flag.FlagSet) *bool { return f.Bool("json", false, "print JSON, for programs") }

func threadsFlag(f *flag.FlagSet) *int {
	n := new(int)
	f.Var((*threadCount)(n), "threads", "compute on `N` threads; 0: one a core; no result depends on it")
	return n
}

// deviceFlag declares the flag that names the device, which it passes on to stores and
// to kernels that this process starts in the environment.
func deviceFlag(f *flag.FlagSet) {
	f.Var(deviceName{}, "device", "compute on `NAME`: auto (a GPU if there is one that this program can use), cpu or cuda")
}

// deviceName is a flag: the name of a device.
type deviceName struct{}

func (deviceName) String() string { return "" }

func (deviceName) Set(s string) error {
	if err := device.Check(s); err != nil {
		return errors.New(strings.Join(device.Names(), ", "))
	}
	return os.Setenv(experiments.EnvDevice, s)
}

// threadCount is a flag: a number of threads.
type threadCount int

func (t *threadCount) String() string { return strconv.Itoa(int(*t)) }

func (t *threadCount) Set(s string) error {
	n, err := strconv.Atoi(s)
	if most := max(64, 8*runtime.NumCPU()); err == nil && n > most {
		return fmt.Errorf("0 to %d: this machine has %d cores, and more threads than that only wait for each other", most, runtime.NumCPU())
	}
	if err != nil || n < 0 {
		return errors.New("1 or more threads, or 0 for one a core")
	}
	*t = threadCount(n)
	return nil
}

// withStore calls use with the database that --db named, and closes it. It makes the
// database where there is none.
func withStore(db string, threads int, use func(*experiments.Store) error) error {
	s, err := experiments.Open(db)
	return with(s, err, threads, use)
}

// withExisting is withStore for commands that read runs: it makes no database.
func withExisting(db string, threads int, use func(*experiments.Store) error) error {
	s, err := experiments.OpenExisting(db)
	return with(s, err, threads, use)
}

func with(s *experiments.Store, err error, threads int, use func(*experiments.Store) error) error {
	if err != nil {
		return err
	}
	s.Threads = threads
	err = use(s)
	if e := s.Close(); err == nil {
		err = e
	}
	return err
}

// watch returns a context whose computations show their progress on w.err, and what to
// call when they are over. It says why a GPU is not used by a program that could.
func watch(ctx context.Context, w world) (_ context.Context, done func()) {
	if note := device.Note(w.env(experiments.EnvDevice)); note != "" {
		fmt.Fprintln(w.err, note)
	}
	t := display.NewTerminalWriter(w.err)
	if f, ok := w.err.(*os.File); ok {
		t = display.NewTerminal(f)
	}
	return display.NewContext(ctx, t), func() { t.Close() }
}

// printJSON prints v as indented JSON and a line end.
func printJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("print as JSON: %w", err)
	}
	return printf(w, "%s\n", text)
}

// printf is fmt.Fprintf with the error alone.
func printf(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format, args...)
	return err
}
