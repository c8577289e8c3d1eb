package kernel

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// InstallOptions are where and under which name Install puts the kernel. The zero value
// installs it for the user, as ddpmlab.
type InstallOptions struct {
	// Name is the kernelspec's name, "" for ddpmlab, or for ddpmlab-gophernotes.
	Name string
	// DisplayName is what notebooks show, "" for one made of the name.
	DisplayName string
	// Prefix installs under PREFIX/share/jupyter.
	Prefix string
	// SysPrefix installs under the prefix of the active Python environment.
	SysPrefix bool
	// Executable is the program that is copied, "" for this one.
	Executable string
}

// Install makes the kernel known to Jupyter and returns the kernelspec's folder. The
// program is copied into that folder: the one that runs may be temporary, as under go run.
func Install(opt InstallOptions) (string, error) {
	name := opt.name("ddpmlab")
	return opt.install(name, "ddpmlab", func(program string) (kernelSpec, error) {
		return kernelSpec{
			Argv:            []string{program, "kernel", "serve", "-f", "{connection_file}"},
			DisplayName:     "Go (" + name + ")",
			InterruptMode:   "message",
			ProtocolVersion: protocolVersion,
			Metadata:        map[string]any{"debugger": false},
		}, copyProgram(opt.Executable, program)
	})
}

// kernelSpec is the content of kernel.json.
type kernelSpec struct {
	Argv            []string          `json:"argv"`
	DisplayName     string            `json:"display_name"`
	Env             map[string]string `json:"env,omitempty"`
	InterruptMode   string            `json:"interrupt_mode,omitempty"`
	ProtocolVersion string            `json:"kernel_protocol_version,omitempty"`
	Language        string            `json:"language"`
	Metadata        map[string]any    `json:"metadata,omitempty"`
}

// install makes the folder of a kernelspec with the program that make puts there.
func (opt InstallOptions) install(name, program string, make func(program string) (kernelSpec, error)) (string, error) {
	dir, err := opt.specDir(name)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("install the kernel: %w", err)
	}
	spec, err := make(filepath.Join(dir, program))
	if err != nil {
		os.Remove(dir) // if it is empty
		return "", fmt.Errorf("install the kernel: %w", err)
	}
	if opt.DisplayName != "" {
		spec.DisplayName = opt.DisplayName
	}
	spec.Language = "go"
	text, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return "", err
	}
	if err := writeLogos(dir); err != nil {
		return "", fmt.Errorf("install the kernel: %w", err)
	}
	// last, because a folder with kernel.json is a kernel
	if err := writeFile(filepath.Join(dir, "kernel.json"), append(text, '\n')); err != nil {
		return "", fmt.Errorf("install the kernel: %w", err)
	}
	return dir, nil
}

//go:embed logo
var logos embed.FS

// writeLogos writes the pictures that JupyterLab shows for a kernel.
func writeLogos(dir string) error {
	files, err := logos.ReadDir("logo")
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := logos.ReadFile("logo/" + f.Name())
		if err == nil {
			err = writeFile(filepath.Join(dir, f.Name()), b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Uninstall removes what Install with the same options has put there, and returns the
// kernelspec's folder. It removes no other program's kernel.
func Uninstall(opt InstallOptions) (string, error) {
	return opt.uninstall(opt.name("ddpmlab"), "ddpmlab")
}

func (opt InstallOptions) uninstall(name, program string) (string, error) {
	dir, err := opt.specDir(name)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(dir, "kernel.json"))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("uninstall the kernel: there is none in %s", dir)
	}
	if err != nil {
		return "", fmt.Errorf("uninstall the kernel: %w", err)
	}
	var spec kernelSpec
	if json.Unmarshal(b, &spec) != nil || len(spec.Argv) == 0 || spec.Argv[0] != filepath.Join(dir, program) {
		return "", fmt.Errorf("uninstall the kernel: the one in %s is not of ddpmlab; remove the folder by hand if that is meant", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("uninstall the kernel: %w", err)
	}
	return dir, nil
}

// name is the kernelspec's name.
func (opt InstallOptions) name(usual string) string {
	if opt.Name == "" {
		return usual
	}
	return opt.Name
}

// specDir is the folder of the kernelspec with that name.
func (opt InstallOptions) specDir(name string) (string, error) {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" || strings.Trim(name, ".") == "" {
		return "", fmt.Errorf("kernel name %q: only letters, digits, -, _ and . are possible", name)
	}
	data, err := dataDir(opt)
	if err != nil {
		return "", err
	}
	return filepath.Join(data, "kernels", name), nil
}

// dataDir is Jupyter's data folder that the options name.
func dataDir(opt InstallOptions) (string, error) {
	switch {
	case opt.Prefix != "" && opt.SysPrefix:
		return "", errors.New("install the kernel: give either a prefix or sys-prefix, not both")
	case opt.Prefix != "":
		abs, err := filepath.Abs(opt.Prefix)
		return filepath.Join(abs, "share", "jupyter"), err
	case opt.SysPrefix:
		prefix, err := sysPrefix()
		return filepath.Join(prefix, "share", "jupyter"), err
	}
	if dir := os.Getenv("JUPYTER_DATA_DIR"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("install the kernel: %w", err)
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Jupyter"), nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "jupyter"), nil
	}
	return filepath.Join(home, ".local", "share", "jupyter"), nil
}

// sysPrefix is the prefix of the Python environment that is active.
func sysPrefix() (string, error) {
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if dir := os.Getenv(name); dir != "" {
			return dir, nil
		}
	}
	out, err := exec.Command("python3", "-c", "import sys; print(sys.prefix)").Output()
	if err != nil {
		return "", fmt.Errorf("ask python3 for its prefix: %w; activate an environment or give --prefix", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// copyProgram copies the program from (this one when empty) to the file to, whole or not
// at all. A kernel that runs from an older copy goes on.
func copyProgram(from, to string) error {
	if from == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		from = self
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.CreateTemp(filepath.Dir(to), ".ddpmlab.*")
	if err != nil {
		return err
	}
	defer os.Remove(dst.Name())
	_, err = io.Copy(dst, src)
	if err := errors.Join(err, dst.Chmod(0o755), dst.Close()); err != nil {
		return err
	}
	return os.Rename(dst.Name(), to)
}
