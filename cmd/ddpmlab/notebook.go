package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"ddpmlab/experiments"
	"ddpmlab/kernel"
)

var notebookRun = command{
	name:     "notebook run",
	args:     "NOTEBOOK",
	synopsis: "Run a notebook from top to bottom, without Jupyter",
	help: `Runs the code cells in a kernel of its own, shows their progress, and writes the executed notebook and a page that any
browser shows: NAME.out.ipynb and NAME.out.html beside NOTEBOOK, unless --out or --inplace says otherwise. Both are
written also when a cell fails, after which no more are run; cells tagged raises-exception may fail.

Ctrl-C interrupts the running cell and keeps its runs; a second one ends the kernel at once.`,
	examples: []string{
		"notebook run notebooks/tour.ipynb",
		"notebook run notebooks/tour.ipynb -p cfg.Iterations=200 --out short.ipynb",
	},
	ownSignals: true,
	setup: func(f *flag.FlagSet) action {
		o := kernel.Options{}
		f.StringVar(&o.Out, "out", "", "write the executed notebook to `FILE`, and the page beside it")
		f.BoolVar(&o.Inplace, "inplace", false, "overwrite NOTEBOOK itself")
		f.BoolVar(&o.HTML, "html", true, "write the page too")
		var params assignments
		f.Var(&params, "p", "`NAME=VALUE`, the value a Go expression, assigned after the cell tagged parameters; may be repeated")
		db := dbFlag(f)
		threads := threadsFlag(f)
		deviceFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if o.Inplace && o.Out != "" {
				return usagef("--inplace and --out exclude each other; give one of them")
			}
			for _, p := range params {
				o.Params = append(o.Params, p.name+"="+p.value)
			}
			o.Progress = w.err
			if err := kernelEnvironment(f, *db, *threads); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
			defer stop()
			err := kernel.RunNotebook(ctx, args[0], o)
			if errors.Is(err, kernel.ErrInterrupted) {
				return fmt.Errorf("%w; a run that was training is kept: `ddpmlab runs list` shows it, `ddpmlab train --resume RUN` goes on", err)
			}
			return err
		}
	},
}

// kernelEnvironment passes --db and --threads on to kernels that this process starts.
func kernelEnvironment(f *flag.FlagSet, db string, threads int) error {
	if given(f, "db") {
		var path string
		err := withStore(db, 0, func(s *experiments.Store) error { path = s.Path(); return nil })
		if err != nil {
			return err
		}
		if err := os.Setenv("DDPMLAB_DB", path); err != nil {
			return err
		}
	}
	if threads > 0 {
		return os.Setenv("GOMAXPROCS", strconv.Itoa(threads))
	}
	return nil
}

var notebookLab = command{
	name:     "notebook lab",
	args:     "[FOLDER]",
	synopsis: "Open the notebooks in JupyterLab, with this program as their kernel",
	help: `Makes the kernel known to this JupyterLab alone, in a temporary folder, and starts ` + "`jupyter lab`" + ` on FOLDER (default:
notebooks, where there is such a folder). Where JupyterLab is not on PATH, version ` + labVersion + ` is installed first, once, in a
virtual environment in the cache folder. ` + "`ddpmlab kernel install`" + ` makes the kernel known for good.`,
	examples:   []string{"notebook lab", "notebook lab --browser=false --port 8899"},
	ownSignals: true,
	setup: func(f *flag.FlagSet) action {
		port := f.Int("port", 0, "serve on port `N`; 0: 8888, or the next that is free")
		browser := f.Bool("browser", true, "open a browser; otherwise only print the address")
		db := dbFlag(f)
		threads := threadsFlag(f)
		deviceFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			jupyter, err := findJupyter(ctx, w)
			if err != nil {
				return err
			}
			if err := kernelEnvironment(f, *db, *threads); err != nil {
				return err
			}
			folder := "notebooks"
			if _, err := os.Stat(folder); err != nil {
				folder = "."
			}
			if len(args) > 0 {
				folder = args[0]
			}
			flags := []string{folder}
			if *port != 0 {
				flags = append(flags, fmt.Sprintf("--port=%d", *port))
			}
			if !*browser {
				flags = append(flags, "--no-browser")
			}
			if os.Geteuid() == 0 { // in a container, as a rule; Jupyter refuses to start otherwise
				flags = append(flags, "--allow-root")
			}
			return lab(ctx, jupyter, flags, w)
		}
	},
}

// lab runs JupyterLab until it ends.
func lab(ctx context.Context, jupyter string, flags []string, w world) error {
	prefix, err := os.MkdirTemp("", "ddpmlab-lab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(prefix)
	if _, err := kernel.Install(kernel.InstallOptions{Prefix: prefix}); err != nil {
		return err
	}
	path := filepath.Join(prefix, "share", "jupyter")
	if more := w.env("JUPYTER_PATH"); more != "" {
		path += string(os.PathListSeparator) + more
	}
	c := exec.CommandContext(ctx, jupyter, append([]string{"lab"}, flags...)...)
	c.Env = append(os.Environ(), "JUPYTER_PATH="+path)
	c.Stdin, c.Stdout, c.Stderr = w.in, w.out, w.err
	// Ctrl-C reaches JupyterLab too, which asks whether it is meant; this process waits.
	sigs := make(chan os.Signal, 1)
	signal.Notify(sigs, os.Interrupt)
	defer signal.Stop(sigs)
	if err := c.Run(); err != nil {
		return fmt.Errorf("jupyter lab: %w", err)
	}
	return nil
}

var kernelInstall = command{
	name:     "kernel install",
	synopsis: "Make the kernel known to Jupyter",
	help: `Copies this program into the kernelspec's folder, so that the kernel goes on working when the program is moved or was
only temporary, as under go run. Run it again after an update.

--gophernotes installs another kernel, "Go (gophernotes)": the gophernotes that go.mod names, built with ddpmlab's packages.
It wants Go and the folder of ddpmlab's source, and is a minute's work the first time. In it a notebook begins with a cell
that says ctx := context.Background(); the README tells what else differs.`,
	examples: []string{"kernel install", "kernel install --sys-prefix", "kernel install --gophernotes", "kernel install --uninstall"},
	setup: func(f *flag.FlagSet) action {
		user := f.Bool("user", false, "for this user alone; the default")
		var o kernel.InstallOptions
		f.StringVar(&o.Prefix, "prefix", "", "under `FOLDER`/share/jupyter")
		f.BoolVar(&o.SysPrefix, "sys-prefix", false, "in the active Python environment")
		f.StringVar(&o.Name, "name", "", "call the kernel `NAME` instead of ddpmlab, or ddpmlab-gophernotes")
		gophernotes := f.Bool("gophernotes", false, "install gophernotes with ddpmlab's packages, beside ddpmlab's own kernel")
		uninstall := f.Bool("uninstall", false, "remove the kernel instead")
		return func(ctx context.Context, _ []string, w world) error {
			places := 0
			for _, chosen := range []bool{*user, o.Prefix != "", o.SysPrefix} {
				if chosen {
					places++
				}
			}
			if places > 1 {
				return usagef("--user, --prefix and --sys-prefix exclude each other; give one of them")
			}
			var dir string
			var err error
			switch {
			case *uninstall && *gophernotes:
				dir, err = kernel.UninstallGophernotes(o)
			case *uninstall:
				dir, err = kernel.Uninstall(o)
			case *gophernotes:
				dir, err = kernel.InstallGophernotes(ctx, o)
			default:
				dir, err = kernel.Install(o)
			}
			if err != nil {
				return err
			}
			if *uninstall {
				return printf(w.out, "removed %s\n", dir)
			}
			name := o.Name
			switch {
			case name != "":
			case *gophernotes:
				name = "gophernotes"
			default:
				name = "ddpmlab"
			}
			return printf(w.out, "installed in %s; choose \"Go (%s)\" in Jupyter\n", dir, name)
		}
	},
}

var kernelServe = command{
	name:       "kernel serve",
	synopsis:   "Be a Jupyter kernel; Jupyter calls this",
	ownSignals: true, // SIGINT interrupts the running cell
	setup: func(f *flag.FlagSet) action {
		file := f.String("f", "", "connection `FILE`, made by Jupyter")
		return func(ctx context.Context, _ []string, _ world) error {
			if *file == "" {
				return usagef("-f is missing; Jupyter gives the connection file when it starts a kernel: see `ddpmlab kernel install`")
			}
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
			defer stop()
			return kernel.Serve(ctx, *file)
		}
	},
}
