package kernel_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ddpmlab/kernel"
)

func TestInstall(t *testing.T) {
	prefix := t.TempDir()
	for range 2 { // installing over it is fine
		dir, err := kernel.Install(kernel.InstallOptions{Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(prefix, "share", "jupyter", "kernels", "ddpmlab"); dir != want {
			t.Errorf("installed in %s, want %s", dir, want)
		}
	}
	dir := filepath.Join(prefix, "share", "jupyter", "kernels", "ddpmlab")
	b, err := os.ReadFile(filepath.Join(dir, "kernel.json"))
	if err != nil {
		t.Fatal(err)
	}
	var spec struct {
		Argv      []string
		Language  string
		Display   string `json:"display_name"`
		Interrupt string `json:"interrupt_mode"`
		Protocol  string `json:"kernel_protocol_version"`
	}
	if err := json.Unmarshal(b, &spec); err != nil {
		t.Fatal(err)
	}
	if spec.Language != "go" || spec.Interrupt != "message" || spec.Protocol != "5.5" || spec.Display != "Go (ddpmlab)" {
		t.Errorf("kernelspec %+v", spec)
	}
	if got := strings.Join(spec.Argv[1:], " "); got != "kernel serve -f {connection_file}" {
		t.Errorf("argv %q", spec.Argv)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 5 {
		t.Errorf("files %q", files)
	}

	// the copy works on its own
	nb := notebook(t, "40 + 2")
	if err := kernel.RunNotebook(t.Context(), nb, kernel.Options{Inplace: true, KernelArgv: spec.Argv}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, nb).texts(0); got != "42" {
		t.Errorf("got %q, want 42", got)
	}
}

func TestInstallPlaces(t *testing.T) {
	small := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(small, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"JUPYTER_DATA_DIR", "XDG_DATA_HOME", "VIRTUAL_ENV", "CONDA_PREFIX"} {
		t.Setenv(name, "")
	}
	home, data, env := t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	install := func(opt kernel.InstallOptions) string {
		t.Helper()
		opt.Executable = small
		dir, err := kernel.Install(opt)
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	if got := install(kernel.InstallOptions{}); !strings.HasPrefix(got, home) {
		t.Errorf("for the user: %s, want it under %s", got, home)
	}
	t.Setenv("JUPYTER_DATA_DIR", data)
	if got, want := install(kernel.InstallOptions{Name: "other"}), filepath.Join(data, "kernels", "other"); got != want {
		t.Errorf("with JUPYTER_DATA_DIR: %s, want %s", got, want)
	}
	t.Setenv("VIRTUAL_ENV", env)
	if got := install(kernel.InstallOptions{SysPrefix: true}); !strings.HasPrefix(got, env) {
		t.Errorf("sys-prefix: %s, want it under %s", got, env)
	}

	for want, opt := range map[string]kernel.InstallOptions{
		"not both":     {Prefix: env, SysPrefix: true},
		"kernel name":  {Name: "../up"},
		"and . are":    {Name: ".."},
		"no such file": {Prefix: env, Executable: "/no/such/program"},
		"not a direct": {Prefix: small, Executable: small},
	} {
		if opt.Executable == "" {
			opt.Executable = small
		}
		if _, err := kernel.Install(opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", opt, err, want)
		}
	}
}

func TestUninstall(t *testing.T) {
	small := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(small, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	opt := kernel.InstallOptions{Prefix: t.TempDir(), Name: "other", Executable: small}
	if _, err := kernel.Uninstall(opt); err == nil || !strings.Contains(err.Error(), "there is none in ") {
		t.Errorf("with none installed: %v", err)
	}
	dir, err := kernel.Install(opt)
	if err != nil {
		t.Fatal(err)
	}
	spec := filepath.Join(dir, "kernel.json")
	if b, err := os.ReadFile(spec); err != nil || !strings.Contains(string(b), `"display_name": "Go (other)"`) {
		t.Errorf("%s, %v", b, err)
	}
	if got, err := kernel.Uninstall(opt); err != nil || got != dir {
		t.Errorf("uninstalled %s, %v", got, err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spec, []byte(`{"argv": ["python", "-m", "ipykernel"]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := kernel.Uninstall(opt); err == nil || !strings.Contains(err.Error(), "is not of ddpmlab") {
		t.Errorf("another program's kernel: %v", err)
	}
}
