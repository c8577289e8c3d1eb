package bench

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed store.py
var storePeer string

// storePeers are the trackers that the run store is measured beside, in versions that
// were tried.
var storePeers = []struct{ name, title, version string }{
	{"mlflow", "MLflow", "3.17.2"},
	{"trackio", "trackio", "0.43.0"},
	{"wandb", "W&B offline", "0.31.0"},
}

// TrackerSpeed is what was measured of another tracker. ReadBack is 0 where it cannot
// read back.
type TrackerSpeed struct {
	Name      string  `json:"name"`
	Version   string  `json:"version"`
	Points    int     `json:"points"`
	LogP50    float64 `json:"log_p50_us"`
	LogP99    float64 `json:"log_p99_us"`
	PerSecond float64 `json:"points_per_s"`
	ReadBack  float64 `json:"read_s_per_million"` // scaled from Points
	Megabytes float64 `json:"mb_per_million"`     // likewise
	Note      string  `json:"note,omitempty"`
}

// Trackers measures the other trackers with so many points each, in new folders below dir.
// They are installed on first use.
func Trackers(ctx context.Context, dir string, points int, log func(format string, args ...any)) ([]TrackerSpeed, error) {
	script := filepath.Join(dir, "store.py")
	if err := os.WriteFile(script, []byte(storePeer), 0o644); err != nil {
		return nil, err
	}
	var all []TrackerSpeed
	for _, p := range storePeers {
		python, err := install(ctx, p.name+"-"+p.version, p.title+" "+p.version, []string{p.name + "==" + p.version}, log)
		if err != nil {
			return nil, err
		}
		log("measure %s", p.title)
		folder := filepath.Join(dir, p.name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			return nil, err
		}
		v, err := measureTracker(ctx, python, script, p.name, folder, points)
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", p.title, err)
		}
		v.Name = p.title
		all = append(all, *v)
	}
	return all, nil
}

func measureTracker(ctx context.Context, python, script, name, folder string, points int) (*TrackerSpeed, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, python, script, name, folder, fmt.Sprint(points))
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		const last = 2000
		text := said.Bytes()
		return nil, fmt.Errorf("%w; it said: %s", err, text[max(0, len(text)-last):])
	}
	var got struct {
		Version, Note string
		Points        int
		Disk          float64
		Size          int64
		Read          *float64
		Got           *int
		P50, P99      float64
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		return nil, fmt.Errorf("its answer %q: %w", out.String(), err)
	}
	if got.Got != nil && *got.Got != points {
		return nil, fmt.Errorf("%d of %d points came back", *got.Got, points)
	}
	million := 1e6 / float64(points)
	v := &TrackerSpeed{
		Version: got.Version, Points: points, LogP50: got.P50, LogP99: got.P99, PerSecond: float64(points) / got.Disk,
		Megabytes: float64(got.Size) / 1e6 * million, Note: got.Note,
	}
	if got.Read != nil {
		v.ReadBack = *got.Read * million
	}
	return v, nil
}
