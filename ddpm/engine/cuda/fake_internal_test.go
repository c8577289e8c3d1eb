//go:build ddpmcuda

package cuda

import (
	"errors"
	"math"
	"os"
	osexec "os/exec"
	"regexp"
	"strings"
	"testing"

	"gorgonia.org/cu"

	"ddpmlab/ddpm/engine/cuda/cudnn"
	"ddpmlab/ddpm/engine/cuda/cudrv"
)

// onFake skips on a real driver.
func onFake(t *testing.T) {
	t.Helper()
	if r := Inspect(); len(r.Devices) == 0 || r.Devices[0].Name != FakeName {
		t.Skip("not the fake driver")
	}
}

// Machines without a usable GPU are told in one sentence.
func TestInspect(t *testing.T) {
	onFake(t)
	if r := Inspect(); !r.Built || r.Err != nil || r.Version < DriverWanted || !strings.HasSuffix(r.Library, "libcuda.so.1") {
		t.Errorf("report %+v", r)
	}
	for _, tt := range []struct{ variable, value, want string }{
		{"FAKECUDA_VERSION", "12080", "the NVIDIA driver speaks CUDA 12.8, and 13.0 is needed; install driver 580 or newer"},
		{"FAKECUDA_DEVICES", "0", "the NVIDIA driver finds no GPU"},
	} {
		t.Run(tt.variable, func(t *testing.T) {
			t.Setenv(tt.variable, tt.value)
			if r := Inspect(); r.Err == nil || r.Err.Error() != tt.want {
				t.Errorf("got error %v, want %s", r.Err, tt.want)
			}
			if _, err := New(); err == nil || err.Error() != tt.want {
				t.Errorf("New returns error %v, want %s", err, tt.want)
			}
		})
	}
}

// The library is looked for where there is a GPU, and asked about that.
func TestInspectCUDNN(t *testing.T) {
	onFake(t)
	if fake := os.Getenv("FAKE_CUDNN"); fake != "" {
		t.Setenv("DDPMLAB_CUDNN", fake)
	}
	if !cudnn.Forbidden() && os.Getenv(cudnn.Env) != "" { // or by `make test-cudnn`
		if text, err := InspectCuDNN(); err != nil || !regexp.MustCompile(`libcudnn.so.9, version 9\.\d+\.\d+, with [1-9]\d* plans for`).MatchString(text) {
			t.Errorf("got %q and error %v", text, err)
		}
	}
	t.Setenv("DDPMLAB_CUDNN", "off")
	if _, err := InspectCuDNN(); err == nil || err.Error() != "DDPMLAB_CUDNN=off forbids it" {
		t.Errorf("got error %v for a library that is forbidden", err)
	}
	t.Setenv("DDPMLAB_CUDNN", "/nowhere/libcudnn.so.9")
	if _, err := InspectCuDNN(); err == nil || !strings.HasPrefix(err.Error(), "cuDNN does not load: /nowhere/libcudnn.so.9") {
		t.Errorf("got error %v for a library that is not there", err)
	}
	t.Setenv("FAKECUDA_DEVICES", "0")
	if _, err := InspectCuDNN(); err == nil || err.Error() != "the NVIDIA driver finds no GPU" {
		t.Errorf("got error %v without a GPU", err)
	}
}

// Programs start without a driver, and with one that does not.
func TestStartsWithout(t *testing.T) {
	onFake(t)
	fake := os.Getenv("DDPMLAB_LIBCUDA")
	for _, tt := range []struct{ env, want string }{
		{"DDPMLAB_LIBCUDA=/nowhere/libcuda.so.1", "no NVIDIA driver is installed"},
		{"FAKECUDA_INIT=100", "the NVIDIA driver finds no GPU"},
		{"FAKECUDA_INIT=999", "the NVIDIA driver " + fake + " does not start"},
	} {
		text, err := again(t, "inspect", tt.env)
		if err != nil || !strings.Contains(text, tt.want) {
			t.Errorf("%s: got %q and error %v, want %q", tt.env, text, err, tt.want)
		}
	}
}

// again runs this test program as TestAgain alone, with a part to play.
func again(t *testing.T, part string, env ...string) (string, error) {
	t.Helper()
	c := osexec.Command(os.Args[0], "-test.run=^TestAgain$", "-test.v")
	c.Env = append(append(os.Environ(), "CUDA_TEST_PART="+part), env...)
	text, err := c.CombinedOutput()
	return string(text), err
}

// TestAgain is the program that again runs.
func TestAgain(t *testing.T) {
	switch os.Getenv("CUDA_TEST_PART") {
	case "":
		t.Skip("run by other tests")
	case "inspect":
		t.Log(Inspect().Err)
	case "beyond": // writes one number more than there are
		d := open(t)
		_ = d.do(func() error {
			m, err := d.allocate(64)
			if err != nil {
				return err
			}
			return errors.Join(d.launch(call{"fill", [3]int{1, 1, 1}, 128, []any{m.at, int64(65), float32(1)}}), d.stream.Synchronize())
		})
	}
}

// What the fake driver is there to see.
func TestFakeSees(t *testing.T) {
	onFake(t)
	if text, err := again(t, "beyond"); err == nil || !strings.Contains(text, "SIGSEGV") {
		t.Errorf("a write beyond an allocation: error %v and %q, want a crash", err, text)
	}
	d := open(t)
	var m *memory
	err := d.do(func() (err error) { m, err = d.allocate(64); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer d.do(func() error { return m.free() })
	fill := func(p cu.DevicePtr, blocks, threads int) error {
		return d.do(func() error {
			return d.launch(call{"fill", [3]int{blocks, 1, 1}, threads, []any{p, int64(64), float32(1)}})
		})
	}
	for name, f := range map[string]func() error{
		"a pointer of nowhere":  func() error { return fill(4096, 1, 64) },
		"no blocks":             func() error { return fill(m.at, 0, 64) },
		"too many threads":      func() error { return fill(m.at, 1, 1025) },
		"a copy beyond the end": func() error { return d.do(func() error { return cudrv.Upload(m.at, make([]float32, 65)) }) },
		"a call on no context":  func() error { _, err := cu.MemAlloc(4); return err },
		"a wait while capturing": func() error {
			return d.do(func() error {
				_, err := cudrv.Capture(d.stream, d.stream.Synchronize)
				return err
			})
		},
	} {
		if err := f(); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	// Memory that was never written is not a number.
	x := make([]float32, 64)
	if err := d.do(func() error { return cudrv.Download(x, m.at) }); err != nil || !math.IsNaN(float64(x[7])) {
		t.Errorf("fresh memory has %v, error %v; want NaN", x[7], err)
	}
	// A launch is done when somebody waits for it.
	if err := errors.Join(fill(m.at, 1, 64), d.do(d.stream.Synchronize), d.do(func() error { return cudrv.Download(x, m.at) })); err != nil || x[63] != 1 {
		t.Errorf("after a launch: %v, error %v", x[63], err)
	}
}
