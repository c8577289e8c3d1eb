package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine/cuda"
	"ddpmlab/ddpm/engine/device"
	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

var doctor = command{
	name:     "doctor",
	synopsis: "Check this machine: compiler, processor, data, database, Jupyter",
	help: `Changes nothing. Exits with 1 when something that ddpmlab cannot do
without is missing.

With --json: an array of {name, state, value, cure}, with state one of ok, optional (missing, and needed for some
things only) and failed.`,
	examples: []string{"doctor", "doctor --json"},
	setup: func(f *flag.FlagSet) action {
		db := dbFlag(f)
		threads := threadsFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, _ []string, w world) error {
			checks := examine(ctx, *db, *threads, w.env)
			err := printChecks(w, checks, *asJSON)
			for _, c := range checks {
				if c.State == stateFailed && err == nil {
					err = errSaid
				}
			}
			return err
		}
	},
}

// check is one line of the doctor.
type check struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Value string `json:"value"`
	Cure  string `json:"cure,omitempty"`
}

// States of a check.
const (
	stateOK       = "ok"
	stateOptional = "optional"
	stateFailed   = "failed"
)

func examine(ctx context.Context, db string, threads int, env func(string) string) []check {
	checks := []check{
		{Name: "ddpmlab", State: stateOK, Value: build()},
		checkGo(ctx),
		checkCompiler(ctx, env),
	}
	checks = append(checks, checkGPU()...)
	checks = append(checks, checkDevice(env(experiments.EnvDevice), threads))
	for _, name := range data.Names() {
		if data.Fixed(name) {
			checks = append(checks, checkData(name))
		}
	}
	return append(checks, checkDatabase(ctx, db),
		checkTool(ctx, "Python", "needed for JupyterLab and some tests", "install Python 3.11 or newer", "python3", "--version"),
		checkTool(ctx, "Jupyter", "`ddpmlab notebook lab` installs one for itself, and `ddpmlab notebook run` works without",
			"for one of your own: pip install jupyterlab, or conda env create -f environment.yml", "jupyter", "lab", "--version"),
	)
}

func printChecks(w world, checks []check, asJSON bool) error {
	if asJSON {
		return printJSON(w.out, checks)
	}
	t := &render.Table{Columns: render.Left("Check", "State", "Found")}
	for _, c := range checks {
		t.Add(c.Name, c.State, strings.TrimSuffix(c.Value+"; "+c.Cure, "; "))
	}
	return printf(w.out, "%v\n", t)
}

func checkGo(ctx context.Context) check {
	c := check{Name: "Go", State: stateOK, Value: "built by " + runtime.Version()}
	if path, line, err := firstLine(ctx, "go", "version"); err == nil {
		c.Value += fmt.Sprintf("; %s is %s", path, strings.TrimPrefix(line, "go version "))
	}
	return c
}

// checkCompiler looks for what cgo would use.
func checkCompiler(ctx context.Context, env func(string) string) check {
	for _, name := range []string{env("CC"), "gcc", "clang", "cc"} {
		if words := strings.Fields(name); len(words) > 0 { // CC may hold flags
			if path, line, err := firstLine(ctx, words[0], "--version"); err == nil {
				return check{Name: "C compiler", State: stateOK, Value: fmt.Sprintf("%s, %s", path, line)}
			}
		}
	}
	return check{
		Name: "C compiler", State: stateOptional, Value: "none found; needed to build ddpmlab, not to run it",
		Cure: "apt install gcc, or conda install gxx_linux-64",
	}
}

// checkGPU says what there is of a GPU: the driver, then a line each.
func checkGPU() []check {
	r := cuda.Inspect()
	driver := check{Name: "GPU driver", State: stateOK}
	switch {
	case !r.Built:
		return []check{{Name: "GPU driver", State: stateOptional, Value: "not looked for: " + r.Err.Error()}}
	case r.Err != nil:
		return []check{{Name: "GPU driver", State: stateOptional, Value: r.Err.Error() + "; the processor is used"}}
	}
	driver.Value = r.String()
	checks := []check{driver}
	for i, d := range r.Devices {
		value := d.String()
		if i > 0 {
			value += "; not used"
		}
		checks = append(checks, check{Name: fmt.Sprintf("GPU %d", i), State: stateOK, Value: value})
	}
	return append(checks, checkCuDNN())
}

// checkCuDNN looks for NVIDIA's library.
func checkCuDNN() check {
	value, err := cuda.InspectCuDNN()
	if err != nil {
		return check{Name: "cuDNN", State: stateOptional, Value: err.Error() + "; convolutions are computed by ddpmlab's own kernels"}
	}
	return check{Name: "cuDNN", State: stateOK, Value: value}
}

// checkDevice says where trainings would run.
func checkDevice(name string, threads int) check {
	d, err := device.Open(name, threads)
	if err != nil {
		return check{Name: "device", State: stateFailed, Value: err.Error()}
	}
	defer d.Close()
	if strings.HasPrefix(d.Name(), "cuda") {
		return check{Name: "device", State: stateOK, Value: d.Name()}
	}
	return check{Name: "device", State: stateOK, Value: fmt.Sprintf("%s, of %d cores", d.Name(), runtime.NumCPU())}
}

// nowhere is a folder that cannot be: a data set found there is built in.
const nowhere = os.DevNull

// checkData opens a data set and tells where its files are.
func checkData(name string) check {
	c := check{Name: "data " + name, State: stateOK}
	for _, dir := range append([]string{nowhere}, data.Folders()...) {
		s, err := data.OpenFrom(name, fullSizeOf(name), dir)
		if missing, ok := errors.AsType[*data.NotFoundError](err); ok {
			c.State, c.Value = stateOptional, fmt.Sprintf("%s is in none of the data folders; needed for `ddpmlab data train-extractor`", missing.File)
			c.Cure = "run `ddpmlab data fetch " + name + "`"
			continue
		}
		if err != nil {
			return check{Name: c.Name, State: stateFailed, Value: err.Error()}
		}
		where := "in " + dir
		if dir == nowhere {
			where = "built in"
		}
		return check{Name: c.Name, State: stateOK, Value: fmt.Sprintf("%d images, %s", s.Len(), where)}
	}
	return c
}

// checkDatabase opens the database and tries whether it can be written to.
func checkDatabase(ctx context.Context, db string) check {
	c := check{Name: "database", State: stateFailed}
	err := withExisting(db, 0, func(s *experiments.Store) error {
		runs, err := s.AllRuns(ctx)
		if err != nil {
			return err
		}
		c.Value = fmt.Sprintf("%s, %d runs", s.Path(), len(runs))
		if len(runs) == 1 {
			c.Value = s.Path() + ", 1 run"
		}
		if err := writable(s.Path()); err != nil {
			c.Value += fmt.Sprintf("; it cannot be written to: %v", err)
			c.Cure = "make file and folder writable, or name another file by --db or DDPMLAB_DB"
			return nil
		}
		c.State = stateOK
		c.Value += ", writable"
		if left := s.Waiting(); len(left) > 0 {
			c.State = stateFailed
			c.Value += fmt.Sprintf("; what trainings recorded waits in %s", strings.Join(left, ", "))
			c.Cure = "make room on the disk; the next command that opens the database takes it over, if no training that still runs does"
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return checkNoDatabase(db)
	}
	if err != nil {
		return check{Name: "database", State: stateFailed, Value: err.Error()}
	}
	return c
}

// checkNoDatabase tries whether a database could be made where there is none.
func checkNoDatabase(db string) check {
	c := check{Name: "database", State: stateFailed}
	path, err := experiments.Path(db)
	if err == nil {
		err = writableFolder(filepath.Dir(path))
	}
	if err != nil {
		c.Value = fmt.Sprintf("none at %s, and none can be made there: %v", path, err)
		c.Cure = "make the folder writable, or name another file by --db or DDPMLAB_DB"
		return c
	}
	c.State, c.Value = stateOK, fmt.Sprintf("none at %s yet; the first training makes it", path)
	return c
}

// writable tries to write to the file, which it leaves as it is, and beside it, where
// SQLite keeps its log.
func writable(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	f.Close()
	return writableFolder(filepath.Dir(path))
}

func writableFolder(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// checkTool runs a program that ddpmlab can do without.
func checkTool(ctx context.Context, name, use, cure, program string, args ...string) check {
	path, line, err := firstLine(ctx, program, args...)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return check{Name: name, State: stateOptional, Value: "not found; " + use, Cure: cure}
	case err != nil:
		return check{Name: name, State: stateOptional, Value: fmt.Sprintf("%s does not run: %v; %s", path, err, use), Cure: cure}
	}
	return check{Name: name, State: stateOK, Value: fmt.Sprintf("%s, %s", path, line)}
}

// firstLine runs a program on PATH for at most 20 s and returns where it is and the first
// line that it prints.
func firstLine(ctx context.Context, program string, args ...string) (path, line string, err error) {
	if path, err = exec.LookPath(program); err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	line, _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		err = errors.New(cmp.Or(line, err.Error()))
	}
	return path, line, err
}
