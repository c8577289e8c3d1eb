package bench

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"
)

// recordedText is the last full run that was kept with --record, which a quick one takes
// from what it does not measure.
//
//go:embed recorded.json
var recordedText []byte

// A record is a work as a run measured it: all modes of PyTorch, not the best alone.
type record struct {
	Date    string             `json:"date"`
	Machine string             `json:"machine"`
	Torch   string             `json:"torch"`
	Threads int                `json:"threads"`
	Unit    string             `json:"unit"`
	Ours    float64            `json:"ours"`
	Modes   map[string]float64 `json:"modes"`
}

// recorded are the works of a file of records, by name.
func recorded(text []byte) (map[string]record, error) {
	all := map[string]record{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read the recorded run: %w", err)
	}
	return all, nil
}

// Record writes the works of r that PyTorch has run into a file of records. Those that r
// has not measured stay as they are.
func (r *Report) Record(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte("{}"), nil
	}
	if err != nil {
		return err
	}
	all, err := recorded(text)
	if err != nil {
		return err
	}
	for _, x := range r.Results {
		if modes := r.modes[x.Name]; len(modes) > 0 {
			all[x.Name] = record{time.Now().UTC().Format(time.DateOnly), r.Machine, r.Torch, r.Threads, x.Unit, x.Ours, modes}
		}
	}
	if text, err = json.MarshalIndent(all, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// machine names the processor and how many cores it has here.
func machine() string {
	name := runtime.GOARCH
	text, _ := os.ReadFile("/proc/cpuinfo") // elsewhere the architecture must do
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			name = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%s, %d cores", name, runtime.NumCPU())
}
