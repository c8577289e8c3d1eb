package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// gophernotesName is the kernelspec of gophernotes as this project builds it. Its own
// installation calls it gophernotes.
const gophernotesName = "ddpmlab-gophernotes"

// InstallGophernotes builds stock gophernotes with this project's packages and makes it
// known to Jupyter, as a kernel beside ours; it returns the kernelspec's folder.
func InstallGophernotes(ctx context.Context, opt InstallOptions) (string, error) {
	name := opt.name(gophernotesName)
	return opt.install(name, "gophernotes", func(program string) (kernelSpec, error) {
		display := "Go (gophernotes)"
		if opt.Name != "" {
			display = "Go (" + name + ")"
		}
		return kernelSpec{
			Argv:        []string{program, "{connection_file}"},
			DisplayName: display,
			Env:         gophernotesEnv,
		}, BuildGophernotes(ctx, program)
	})
}

// UninstallGophernotes removes what InstallGophernotes with the same options has put there.
func UninstallGophernotes(opt InstallOptions) (string, error) {
	return opt.uninstall(opt.name(gophernotesName), "gophernotes")
}

// gophernotesEnv is what gophernotes starts with. Its interpreter asks the Go installation
// for the types of packages, and panics at those of today's; without one it takes them from
// its tables.
var gophernotesEnv = map[string]string{"GOROOT": "/nonexistent"}

// linked is the one file that is added to gophernotes. It links the tables of what cells can
// import.
const linked = "package main\n\nimport _ \"ddpmlab/kernel/symbols\"\n"

// BuildGophernotes builds the gophernotes that this project's go.mod names, unchanged but
// for one file that links this project's packages, as the file program. It needs Go and
// this project's source, in or above the working directory.
//
// Its main package is laid over a folder of this module that does not exist: Go lets
// nobody add a file to a package of a module that it has downloaded.
func BuildGophernotes(ctx context.Context, program string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("gophernotes is built from source, and the go command is not on PATH")
	}
	root, err := goOutput(ctx, "list", "-m", "-f", "{{.Dir}}", "ddpmlab")
	if err != nil {
		return errors.New("gophernotes is built from ddpmlab's source, and this folder is not part of it; run this where ddpmlab's go.mod is")
	}
	list, err := goOutput(ctx, "list", "-f", `{{.Dir}}{{range .GoFiles}}{{"\n"}}{{.}}{{end}}`, "github.com/gopherdata/gophernotes")
	if err != nil {
		return fmt.Errorf("find gophernotes: %w", err)
	}
	program, err = filepath.Abs(program)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "ddpmlab-gophernotes-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	added := filepath.Join(temp, "ddpmlab.go")
	folder := filepath.Join(root, "cmd", "gophernotes")
	replace := map[string]string{filepath.Join(folder, "ddpmlab.go"): added}
	dir, files, _ := strings.Cut(list, "\n")
	for name := range strings.SplitSeq(files, "\n") {
		replace[filepath.Join(folder, name)] = filepath.Join(dir, name)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	o := filepath.Join(temp, "overlay.json")
	if err := errors.Join(os.WriteFile(added, []byte(linked), 0o644), os.WriteFile(o, overlay, 0o644)); err != nil {
		return err
	}
	if _, err := goOutput(ctx, "build", "-C", root, "-buildvcs=false", "-overlay", o, "-o", program, "./cmd/gophernotes"); err != nil {
		return fmt.Errorf("build gophernotes: %w", err)
	}
	return nil
}

// goOutput runs the go command and returns what it prints, without line ends.
func goOutput(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return "", err
	}
	return strings.TrimSpace(string(out)), nil
}
