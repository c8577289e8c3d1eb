package experiments

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

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
	Build     string `json:"build,omitempty"` // version of the ddpmlab module
	Numerics  int    `json:"numerics"`        // ddpm.NumericsVersion

	commit string
	dirty  bool
	device string // as "cpu avx512 2 threads"
}

// observe describes this process, training on the device of that name.
func observe(ctx context.Context, device string) environment {
	e := environment{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Processor: processor(), Cores: runtime.NumCPU(),
		Go: runtime.Version(), Numerics: ddpm.NumericsVersion, device: device,
	}
	e.Host, _ = os.Hostname() // "" where the system does not say
	if info, ok := debug.ReadBuildInfo(); ok {
		e.Build = info.Main.Version
	}
	e.commit, e.dirty = codeState(ctx, ".")
	return e
}

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
