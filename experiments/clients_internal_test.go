//go:build clients

package experiments

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// venv makes a Python environment with the packages of testdata/exchange-requirements.txt, once: in
// the user's cache, by their versions.
func venv(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "exchange-requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "ddpmlab", "exchange-"+sha256Hex(text)[:12])
	python := filepath.Join(dir, "bin", "python")
	ready := filepath.Join(dir, "ready")
	if exists(ready) {
		return python
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", "--clear", dir},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", filepath.Join("testdata", "exchange-requirements.txt")},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	if err := os.WriteFile(ready, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return python
}

// ask runs testdata/exchange.py and reads the JSON that it prints.
func ask(t *testing.T, python string, into any, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var said strings.Builder
	cmd := exec.CommandContext(ctx, python, append([]string{filepath.Join("testdata", "exchange.py")}, args...)...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, said.String())
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%q answered %q: %v", args, out, err)
	}
}

// seen is a run as another program tells it.
type seen struct {
	ID, Name, Status string
	Params           map[string]string
	Tags             map[string]string
	Last             map[string]float64
	History          map[string][][2]float64 // step, value
	Files            []string
}

// TestClientMLflowFile lets MLflow's client and its server read an exported database.
func TestClientMLflowFile(t *testing.T) {
	python := venv(t)
	s, runs := exportStore(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "mlflow.db")
	if err := s.Export(t.Context(), runs, path, ExportOptions{Experiment: "study"}); err != nil {
		t.Fatal(err)
	}
	var got []seen
	ask(t, python, &got, "mlflow", "sqlite:///"+path, "study")
	sameRuns(t, got, runs, func(r *Run) string { return foreignID(r.ID) })

	// The server, over REST: a search with its filter, and one run's history.
	address := serve(t, python, "sqlite:///"+path, dir)
	for filter, want := range map[string]int{
		"params.`variant.gamma` = '0.1' and metrics.loss < 100":           1,
		"attributes.status = 'FAILED'":                                    1,
		"tags.sampler = 'ddim'":                                           1,
		"metrics.loss > 1e300":                                            0,
		"tags.`mlflow.parentRunId` = '" + foreignID(runs[0].Parent) + "'": 1,
	} {
		var found struct {
			Runs []struct {
				Info struct {
					ID string `json:"run_id"`
				} `json:"info"`
			} `json:"runs"`
		}
		post(t, address+"/api/2.0/mlflow/runs/search", map[string]any{"experiment_ids": []string{"1"}, "filter": filter}, &found)
		if len(found.Runs) != want {
			t.Errorf("the server finds %d runs, want %d, for %s", len(found.Runs), want, filter)
		}
	}

	// What MLflow has migrated is read back as it was.
	other := testStore(t)
	if done, err := other.Import(t.Context(), path, ""); err != nil || done.Runs != 2 {
		t.Errorf("read back: %v, error %v", done, err)
	}
}

// TestClientMLflowPush pushes to a live server, twice, and the second time more.
func TestClientMLflowPush(t *testing.T) {
	python := venv(t)
	s, runs := exportStore(t)
	dir := t.TempDir()
	uri := "sqlite:///" + filepath.Join(dir, "server.db")
	address := serve(t, python, uri, dir)
	for range 2 {
		if err := s.PushMLflow(t.Context(), runs, address, "pushed"); err != nil {
			t.Fatal(err)
		}
	}
	var got []seen
	ask(t, python, &got, "mlflow", address, "pushed")
	sameRuns(t, got, runs, nil)

	// A run that has grown.
	a, _, err := s.begin(t.Context(), testOrder(9))
	if err != nil {
		t.Fatal(err)
	}
	a.start(t.Context())
	for want := int64(1); want <= 2; want++ {
		a.Record(want, MetricLoss, float64(want))
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		r, err := s.Run(t.Context(), a.run)
		if err == nil {
			err = s.PushMLflow(t.Context(), Runs{r}, address, "grows")
		}
		if err != nil {
			t.Fatal(err)
		}
		ask(t, python, &got, "mlflow", address, "grows")
		if len(got) != 1 || len(got[0].History["loss"]) != int(want) || got[0].Status != "RUNNING" {
			t.Fatalf("got %+v, want one running run with %d losses", got, want)
		}
	}
	if err := a.finish(StatusFinished, 2, ""); err != nil {
		t.Fatal(err)
	}

	// Runs that MLflow's own client makes are imported.
	ask(t, python, &got, "make", "sqlite:///"+filepath.Join(dir, "theirs.db"))
	other := testStore(t)
	if done, err := other.Import(t.Context(), filepath.Join(dir, "theirs.db"), ""); err != nil || done.Runs != 1 {
		t.Fatalf("got %v, error %v", done, err)
	}
	theirs, err := other.Query(t.Context(), "depth = 12 and loss = 0.25 and status = finished")
	if err != nil || len(theirs) != 1 || len(theirs[0].Series("loss")) != 4 {
		t.Errorf("got %v, error %v, of a run made by MLflow", theirs, err)
	}
	if err := s.PushMLflow(t.Context(), runs, "http://127.0.0.1:1", ""); err == nil || !strings.Contains(err.Error(), "push run") {
		t.Errorf("got %v of a server that is not there", err)
	}
}

// sameRuns compares what MLflow tells with the runs.
func sameRuns(t *testing.T, got []seen, runs Runs, id func(*Run) string) {
	t.Helper()
	if len(got) != len(runs) {
		t.Fatalf("MLflow has %d runs, want %d", len(got), len(runs))
	}
	for _, r := range runs {
		var x *seen
		for i := range got {
			if got[i].Tags[tagRunID] == r.ID {
				x = &got[i]
			}
		}
		if x == nil {
			t.Fatalf("MLflow does not have run %s", r.ID)
		}
		status := map[string]string{StatusFinished: "FINISHED", StatusDiverged: "FAILED"}[r.Status]
		if id != nil && x.ID != id(r) || x.Status != status || x.Name != fmt.Sprintf("%v, seed %d", r.Variant, r.Seed) {
			t.Errorf("MLflow has %s %s %q, want %s %q", x.ID, x.Status, x.Name, status, r.Variant)
		}
		params, err := r.params()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range params {
			if x.Params[p.name] != fmt.Sprint(p.value) {
				t.Errorf("MLflow has %s = %q, want %v", p.name, x.Params[p.name], p.value)
			}
		}
		for name, v := range r.Tags {
			if x.Tags[name] != v {
				t.Errorf("MLflow has the tag %s = %q, want %q", name, x.Tags[name], v)
			}
		}
		for _, key := range r.Keys() {
			want := r.Series(key)
			h := x.History[key]
			if len(h) != len(want) {
				t.Errorf("MLflow has %d points of %s, want %d", len(h), key, len(want))
				continue
			}
			for i, p := range want {
				if v, _ := mlflowValue(p.Value); int64(h[i][0]) != p.Step || h[i][1] != v {
					t.Errorf("MLflow has %v of %s, want %v", h[i], key, p)
				}
			}
		}
		if r.Status == StatusFinished {
			for _, want := range []string{fileConfig, fileVariant, "checkpoint"} {
				if !strings.Contains(strings.Join(x.Files, " "), want) {
					t.Errorf("MLflow lists the files %v, want %s among them", x.Files, want)
				}
			}
		}
	}
}

// mlflowValue is a value as testdata/exchange.py prints it: -999 for NaN, ±1e999 cut.
func mlflowValue(x float64) (float64, bool) {
	switch {
	case x != x:
		return -999, true
	case x > 1e308:
		return 1e308, false
	case x < -1e308:
		return -1e308, false
	}
	return x, false
}

// serve starts `mlflow server` and returns its address.
func serve(t *testing.T, python, uri, dir string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-m", "mlflow", "server", "--backend-store-uri", uri, "--artifacts-destination", filepath.Join(dir, "served"),
		"--host", "127.0.0.1", "--port", fmt.Sprint(port), "--workers", "1")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it starts workers, which end with it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		log.Close()
	})
	address := fmt.Sprintf("http://127.0.0.1:%d", port)
	for begun := time.Now(); time.Since(begun) < 2*time.Minute; time.Sleep(200 * time.Millisecond) {
		resp, err := http.Get(address + "/health")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return address
			}
		}
	}
	text, _ := os.ReadFile(log.Name())
	t.Fatalf("the server did not come up:\n%s", text)
	return ""
}

func post(t *testing.T, address string, body, into any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(address, "application/json", strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(bufio.NewReader(resp.Body)).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answered %d, error %v", address, resp.StatusCode, err)
	}
}

// TestClientTables lets TensorBoard read exported event files and pyarrow the Parquet.
func TestClientTables(t *testing.T) {
	python := venv(t)
	s, runs := exportStore(t)
	dir := t.TempDir()
	logs := filepath.Join(dir, "logs")
	if err := s.Export(t.Context(), runs, logs, ExportOptions{Format: "tensorboard"}); err != nil {
		t.Fatal(err)
	}
	var got map[string]map[string][][2]float64 // by folder and tag
	ask(t, python, &got, "tensorboard", logs)
	if len(got) != len(runs) {
		t.Fatalf("TensorBoard has %d runs, want %d", len(got), len(runs))
	}
	for folder, series := range got {
		for _, r := range runs {
			if !strings.HasSuffix(folder, foreignID(r.ID)) {
				continue
			}
			for _, key := range r.Keys() {
				want := r.Series(key)
				if len(series[key]) != len(want) {
					t.Errorf("TensorBoard has %d points of %s, want %d", len(series[key]), key, len(want))
					continue
				}
				for i, p := range want {
					if v, _ := mlflowValue(float64(float32(p.Value))); int64(series[key][i][0]) != p.Step || series[key][i][1] != v {
						t.Errorf("TensorBoard has %v of %s, want %v", series[key][i], key, p)
					}
				}
			}
		}
	}
	path := filepath.Join(dir, "points.parquet")
	if err := s.Export(t.Context(), runs, path, ExportOptions{Points: true}); err != nil {
		t.Fatal(err)
	}
	var table struct {
		Columns map[string]string
		Rows    int
		Steps   int64
		Values  float64
	}
	ask(t, python, &table, "parquet", path)
	rows, steps, values := 0, int64(0), 0.0
	for _, r := range runs {
		for _, key := range r.Keys() {
			for _, p := range r.Series(key) {
				rows, steps = rows+1, steps+p.Step
				if v, _ := mlflowValue(p.Value); v == p.Value {
					values += v
				}
			}
		}
	}
	if table.Rows != rows || table.Steps != steps || !(table.Values-values < 1e-6*values && values-table.Values < 1e-6*values) {
		t.Errorf("pyarrow has %+v, want %d rows, steps %d, values %g", table, rows, steps, values)
	}
	if table.Columns["time"] != "timestamp[us, tz=UTC]" || table.Columns["value"] != "double" || table.Columns["run"] != "string" {
		t.Errorf("pyarrow has the columns %v", table.Columns)
	}
	var equal string
	out, err := exec.Command(python, filepath.Join("..", "internal", "parquet", "testdata", "check.py")).CombinedOutput()
	if equal = strings.TrimSpace(string(out)); err != nil || equal != "equal" {
		t.Errorf("pyarrow on the golden table: %v\n%s", errors.Join(err), out)
	}
}
