//go:build ddpmcuda

package cudnn

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build makes a library of C source.
func build(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	path, text := filepath.Join(dir, file), filepath.Join(dir, "library.c")
	if err := os.WriteFile(text, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", path, text).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// Libraries that cannot be used are told in one sentence.
func TestOpenErrors(t *testing.T) {
	library := func(version string) string {
		return build(t, `#include <stddef.h>
size_t cudnnGetVersion(void) { return `+version+`; }
size_t cudnnGetCudartVersion(void) { return 99000; }
void cudnnBackendCreateDescriptor(void) {}
void cudnnBackendDestroyDescriptor(void) {}
void cudnnBackendFinalize(void) {}
void cudnnBackendSetAttribute(void) {}
void cudnnBackendGetAttribute(void) {}
void cudnnGetErrorString(void) {}
void cudnnGetLastErrorString(void) {}
void cudnnCreate(void) {}
void cudnnDestroy(void) {}
void cudnnSetStream(void) {}
void cudnnBackendExecute(void) {}
`)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"none", "/nowhere/libcudnn.so.9", "cuDNN does not load: /nowhere/libcudnn.so.9: cannot open shared object file: No such file or directory"},
		{"another library", build(t, "int x;"), "undefined symbol: cudnnGetVersion"},
		{"an old one", library("90701"), "is version 9.7.1, and 9.8.0 is needed"},
		{"one without cuBLAS", library("91900"), "needs libcublasLt.so.99, which is neither beside it nor"},
	} {
		t.Setenv("DDPMLAB_CUDNN", tt.path)
		if l, err := Open(); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v and error %v, want %q", tt.name, l, err, tt.want)
		}
	}
}

// real is the library that `make test-cudnn` installs.
func real(t *testing.T) *Library {
	t.Helper()
	if os.Getenv(Env) == "" || Forbidden() {
		t.Skip("run by `make test-cudnn`")
	}
	l, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCUDNNPlans(t *testing.T) {
	l := real(t)
	t.Logf("version %s", l.Version())
	for _, tt := range []struct {
		Type
		fewest int
	}{{BFloat16, 4}, {Float32, 1}} {
		for d := Forward; d <= Filters; d++ {
			plans, err := l.Plans(Conv{128, 32, 32, 128, 128, 3, 3, 1, 1, 1, tt.Type}, d, H100)
			if err != nil || len(plans) < tt.fewest {
				t.Errorf("%v in %v: plans %v, error %v; want at least %d", d, tt.Type, plans, err, tt.fewest)
				continue
			}
			t.Logf("%v in %v: %d plans, the first %+v", d, tt.Type, len(plans), *plans[0])
		}
	}
	// What the library refuses, with its reason.
	_, err := l.Plans(Conv{1, 2, 2, 16, 16, 3, 3, 1, -2, -2, BFloat16}, Forward, H100)
	if err == nil || !strings.HasPrefix(err.Error(), "forward of 1x2x2x16") || !strings.Contains(err.Error(), "CUDNN_STATUS") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a convolution without pixels: error %v, want the library's in one line", err)
	}
}
