package experiments

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"ddpmlab/ddpm"
)

// environment is where a run is trained. It is recorded, and decides no number.
type environment struct {
	Host      string `json:"host"`
	OS        string `json:"os"`
	Arch      string `json:"arch"`
	Processor string `json:"processor,omitempty"` // as the system names it
	Cores     int    `json:"cores"`
	Go        string `json:"go"`
	Build     string `json:"build,omitempty"`  // version of the ddpmlab module
	Binary    string `json:"binary,omitempty"` // SHA-256 of the running program: kernel or command
	Numerics  int    `json:"numerics"`         // ddpm.NumericsVersion

	commit string
	dirty  bool
	device string // as "cpu avx512 2 threads"
	files  []aboutFile
}

// aboutFile is a text about the environment that is kept as an artifact, once for all runs
// that share it.
type aboutFile struct {
	name string
	body []byte
}

// Names of the artifacts that tell of a run's environment.
const (
	nameDiff    = "git diff"   // what the working tree had beyond the commit, for git apply; its first maxInside bytes
	nameModules = "go modules" // the modules in the program, with their sums
)

// observe describes this process, training on the device of that name.
func observe(ctx context.Context, device string) environment {
	e := environment{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Processor: processor(), Cores: runtime.NumCPU(),
		Go: runtime.Version(), Numerics: ddpm.NumericsVersion, device: device,
	}
	e.Host, _ = os.Hostname() // "" where the system does not say
	if info, ok := debug.ReadBuildInfo(); ok {
		e.Build = info.Main.Version
		e.files = append(e.files, aboutFile{nameModules, []byte(info.String())})
	}
	e.Binary = binarySum()
	var diff []byte
	if e.commit, e.dirty, diff = codeState(ctx, "."); len(diff) > 0 {
		e.files = append(e.files, aboutFile{nameDiff, diff[:min(len(diff), maxInside)]})
	}
	return e
}

// binarySum is the SHA-256 of the running program, or "" where it cannot be read.
var binarySum = sync.OnceValue(func() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
})

// processor is the processor's name, where Linux says it.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// sha256Hex is the SHA-256 of b in hex digits.
func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
