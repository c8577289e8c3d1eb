package experiments

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/internal/exchange"
	"ddpmlab/internal/tfevents"
)

// exportStore has a finished run with a score, checkpoint, tag and note, and a diverged one.
func exportStore(t *testing.T) (*Store, Runs) {
	t.Helper()
	s := labStore(t)
	r, err := s.Train(WithParent(WithGroup(t.Context(), "study"), "01ARZ3NDEKTSV4RRFFQ69G5FAV"), small(), ddpm.InputPerturbation(0.1))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{s.Tag(t.Context(), r.ID, "sampler", "ddim"), s.Note(t.Context(), r.ID, "a *note*")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	testRun(t, s, testOrder(3), StatusDiverged, 0.5, math.Inf(1), math.NaN())
	runs, err := s.AllRuns(t.Context())
	if err != nil || len(runs) != 2 {
		t.Fatalf("%d runs, error %v", len(runs), err)
	}
	return s, runs
}

func TestExportTables(t *testing.T) {
	s, runs := exportStore(t)
	dir := t.TempDir()
	export := func(name string, o ExportOptions) []byte {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := s.Export(t.Context(), runs, path, o); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	rows, err := csv.NewReader(bytes.NewReader(export("runs.csv", ExportOptions{}))).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d lines, error %v, want a head and two runs", len(rows), err)
	}
	cell := func(row int, name string) string {
		for i, c := range rows[0] {
			if c == name {
				return rows[row][i]
			}
		}
		t.Errorf("no column %s in %v", name, rows[0])
		return ""
	}
	for _, tt := range []struct {
		row        int
		name, want string
	}{
		{1, "run", runs[0].ID},
		{1, "param.variant.gamma", "0.1"},
		{2, "param.variant.gamma", "0"},
		{1, "param.model.mult", "[1]"},
		{1, "tag.sampler", "ddim"},
		{2, "tag.sampler", ""},
		{1, "group", "study"},
		{2, "metric.loss", "NaN"},
		{2, "status", StatusDiverged},
		{1, "started", runs[0].Started.UTC().Format("2006-01-02T15:04:05.000000Z")},
	} {
		if got := cell(tt.row, tt.name); got != tt.want {
			t.Errorf("got %q, want %q, for %s in line %d", got, tt.want, tt.name, tt.row)
		}
	}

	rows, err = csv.NewReader(bytes.NewReader(export("points.csv", ExportOptions{Points: true}))).ReadAll()
	want := 0
	for _, r := range runs {
		for _, key := range r.Keys() {
			want += len(r.Series(key))
		}
	}
	if err != nil || len(rows) != want+1 {
		t.Errorf("%d lines of points, error %v, want %d", len(rows), err, want+1)
	}
	if text := string(export("points.csv", ExportOptions{Points: true})); !strings.Contains(text, runs[1].ID+",loss,2,") || !strings.Contains(text, ",+Inf\n") {
		t.Error("the infinite loss is not in the points")
	}

	var all []struct {
		ID     string
		Tags   map[string]string
		Config ddpm.Config
		Series map[string]struct {
			Steps  []int64
			Values []*float64
		}
	}
	if err := json.Unmarshal(export("runs.json", ExportOptions{}), &all); err != nil || len(all) != 2 {
		t.Fatalf("%d runs in JSON, error %v", len(all), err)
	}
	if loss := all[1].Series["loss"]; fmt.Sprint(loss.Steps) != "[1 2 3]" || *loss.Values[0] != 0.5 || loss.Values[2] != nil || all[0].Config.Batch != 4 {
		t.Errorf("got %+v", all[1])
	}
	tex := string(export("runs.tex", ExportOptions{}))
	for _, want := range []string{`\toprule`, `\bottomrule`, `DDPM-IP ($\gamma$ 0.1)`} {
		if !strings.Contains(tex, want) {
			t.Errorf("%s is not in:\n%s", want, tex)
		}
	}
	if strings.ContainsAny(tex, "▁▂▃▄▅▆▇█") {
		t.Error("curves in block letters, which LaTeX's fonts lack")
	}
	if b := export("runs.parquet", ExportOptions{}); !bytes.HasPrefix(b, []byte("PAR1")) || !bytes.Contains(b, []byte("param.variant.gamma")) {
		t.Error("no Parquet file")
	}

	for _, tt := range []struct {
		path string
		o    ExportOptions
		want string
	}{
		{"runs.xyz", ExportOptions{}, "the ending tells no format"},
		{"runs", ExportOptions{Format: "parqet"}, `unknown format "parqet"; did you mean "parquet"?`},
		{"none/runs.csv", ExportOptions{}, "no such file"},
	} {
		if err := s.Export(t.Context(), runs, filepath.Join(dir, tt.path), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q, for %s", err, tt.want, tt.path)
		}
	}
}

// A column whose kinds differ from run to run becomes the kind that takes all.
func TestFrameKinds(t *testing.T) {
	f := &frame{index: make(map[string]int)}
	for _, v := range []any{int64(1), 0.5, "x", nil} {
		f.rows++
		switch x := v.(type) {
		case int64:
			f.set("a", paramKinds["int"], x)
		case float64:
			f.set("a", paramKinds["float"], x)
		case string:
			f.set("a", paramKinds["string"], x)
		}
	}
	if got := fmt.Sprintf("%q", f.done()[0].Values); got != `["1" "0.5" "x" <nil>]` {
		t.Errorf("got %s", got)
	}
}

// What is exported to MLflow's database comes back as it was: fields, points, files, tags,
// status, group and the protocol of scores.
func TestMLflowRoundTrip(t *testing.T) {
	s, runs := exportStore(t)
	path := filepath.Join(t.TempDir(), "mlflow.db")
	if err := s.Export(t.Context(), runs, path, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Export(t.Context(), runs, path, ExportOptions{}); err == nil || !strings.Contains(err.Error(), "exists; name a file") {
		t.Errorf("got %v of a file that is there", err)
	}
	other := labStore(t)
	done, err := other.Import(t.Context(), path, "")
	if err != nil || done.Runs != 2 {
		t.Fatalf("got %v, error %v", done, err)
	}
	if done, err = other.Import(t.Context(), path, "mlflow"); err != nil || done.Runs != 0 || done.Known != 2 {
		t.Errorf("imported again: %v, error %v", done, err)
	}
	for _, want := range runs {
		got, err := other.Run(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Config.String() != want.Config.String() || got.Variant != want.Variant || got.Status != want.Status || got.Step != want.Step ||
			got.Group != want.Group || got.Parent != want.Parent || fmt.Sprint(got.Tags) != fmt.Sprint(want.Tags) || got.Commit != want.Commit {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
		if fmt.Sprint(got.Keys()) != fmt.Sprint(want.Keys()) {
			t.Errorf("got series %v, want %v", got.Keys(), want.Keys())
		}
		for _, key := range want.Keys() {
			a, b := got.Series(key), want.Series(key)
			if len(a) != len(b) {
				t.Fatalf("%s: got %d points, want %d", key, len(a), len(b))
			}
			for i := range a {
				if same := a[i].Value == b[i].Value || math.IsNaN(a[i].Value) && math.IsNaN(b[i].Value); !same || a[i].Step != b[i].Step ||
					a[i].Time.UnixMilli() != b[i].Time.UnixMilli() {
					t.Errorf("%s: got %v, want %v", key, a[i], b[i])
				}
			}
		}
		a, okA := got.Protocol(MetricFD)
		b, okB := want.Protocol(MetricFD)
		if okA != okB || a.ID != b.ID {
			t.Errorf("got protocol %v %v, want %v %v", a.ID, okA, b.ID, okB)
		}
	}
	if c, err := other.checkpoints(t.Context(), runs[0].ID); err != nil || len(c) == 0 {
		t.Errorf("%d checkpoints, error %v", len(c), err)
	}
	if x, err := other.Samples(t.Context(), runs[0], 1, 2); err == nil && x == nil {
		t.Error("no samples of an imported run")
	}
}

// Runs of others can be queried, told apart, and are not taken for this project's own.
func TestImportForeign(t *testing.T) {
	dir := t.TempDir()
	at := time.UnixMilli(1_700_000_000_000)
	foreign := exchange.Run{
		ID: strings.Repeat("ab", 16), Name: "their run", Status: exchange.Killed, Started: at, Finished: at.Add(time.Minute),
		Params: map[string]string{"lr": "0.001", "optimizer": "adam", "depth": "12", "amp": "True", "seed": "7"},
		Tags:   map[string]string{"team": "blue"}, Note: "theirs",
		Series: []exchange.Series{{Key: "loss", Points: []exchange.Point{{Step: 1, Time: at, Value: 2}, {Step: 2, Time: at, Value: math.NaN()}, {Step: 2, Time: at.Add(1e6), Value: 1}}}},
		Files:  []exchange.File{fileOf("sub/a.txt", []byte("text"))},
	}
	nested := exchange.Run{ID: strings.Repeat("cd", 16), Parent: foreign.ID, Name: "nested", Started: at.Add(-time.Minute)}
	path := filepath.Join(dir, "theirs.db")
	if err := exchange.WriteMLflow(t.Context(), path, "bert", []exchange.Run{nested, foreign}); err != nil {
		t.Fatal(err)
	}
	s := testStore(t)
	if done, err := s.Import(t.Context(), path, ""); err != nil || done.Runs != 2 {
		t.Fatalf("got %v, error %v", done, err)
	}
	if below, err := s.Query(t.Context(), `parent != ""`); err != nil || len(below) != 1 || below[0].Name != "nested" {
		t.Fatalf("got %v, error %v, want the nested run", below, err)
	} else if above, err := s.Run(t.Context(), below[0].Parent); err != nil || above.Name != foreign.Name {
		t.Fatalf("got %v, error %v, want the run it is nested under", above, err)
	} else if err := s.Delete(t.Context(), below[0].ID); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		"lr = 0.001 and depth >= 12", `optimizer = "adam"`, "loss = 1", "status = interrupted", `tag.team = "blue"`, "seed = 7",
		`group = "bert"`, `note ~ "theirs"`, `tag.imported = "mlflow"`,
	} {
		if runs, err := s.Query(t.Context(), query); err != nil || len(runs) != 1 {
			t.Errorf("%d runs, error %v, for %s", len(runs), err, query)
		}
	}
	runs, err := s.AllRuns(t.Context())
	if err != nil || len(runs) != 1 {
		t.Fatal(len(runs), err)
	}
	if text := runs.String(); !strings.Contains(text, "their run") || strings.Contains(text, "ADM") {
		t.Errorf("the run is not called by its name:\n%s", text)
	}
	if points := runs[0].Series("loss"); len(points) != 2 || points[1].Value != 1 {
		t.Errorf("got %v, want the last value of step 2", points)
	}
	c, err := s.Compare(t.Context(), runs)
	if err != nil || c.Same != 5 {
		t.Errorf("got %+v, error %v, want the five parameters", c, err)
	}
	if _, err := s.Resume(t.Context(), runs[0].ID); err == nil || !strings.Contains(err.Error(), "imported") {
		t.Errorf("got %v, want that an imported run cannot be resumed", err)
	}
	d, err := s.Show(t.Context(), runs[0].ID)
	if err != nil || len(d.Artifacts) != 1 || d.Artifacts[0].Name != "sub/a.txt" || len(d.Notes) != 1 {
		t.Errorf("got %+v, error %v", d, err)
	}

	// TensorBoard's folders, one with an end cut off.
	logs := filepath.Join(dir, "logs")
	var b bytes.Buffer
	w := tfevents.NewWriter(&b, at)
	for step := range int64(10) {
		w.Write(tfevents.Scalar{Tag: "train/loss", Step: step, Time: at.Add(time.Duration(step) * time.Second), Value: 1 / float64(step+1)})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"a": b.Len(), "b/c": b.Len() - 5} {
		folder := filepath.Join(logs, filepath.FromSlash(name))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "events.out.tfevents.1"), b.Bytes()[:n], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := s.Import(t.Context(), logs, ""); err != nil || done.Runs != 2 {
		t.Fatalf("got %v, error %v", done, err)
	}
	runs, err = s.Query(t.Context(), `tag.imported = "tensorboard" order by step`)
	if err != nil || len(runs) != 2 || len(runs[0].Series("train/loss")) != 9 || len(runs[1].Series("train/loss")) != 10 {
		t.Errorf("got %v, error %v", runs, err)
	}

	// W&B's history.
	history := filepath.Join(dir, "offline-run-1", "files")
	if err := os.MkdirAll(history, 0o755); err != nil {
		t.Fatal(err)
	}
	lines := `{"_step": 0, "_timestamp": 1700000000.25, "loss": 0.5, "val": {"acc": 0.1}, "note": "NaN is a text"}
{"_step": 5, "_timestamp": 1700000001.25, "loss": NaN, "val": {"acc": -Infinity}, "img": {"_type": "image-file", "size": 3}}
`
	for name, text := range map[string]string{"wandb-history.jsonl": lines, "config.json": `{"lr": {"desc": null, "value": 0.25}, "_wandb": {"value": {}}, "model": {"value": {"width": 8}}}`} {
		if err := os.WriteFile(filepath.Join(history, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := s.Import(t.Context(), filepath.Join(history, "wandb-history.jsonl"), ""); err != nil || done.Runs != 1 {
		t.Fatalf("got %v, error %v", done, err)
	}
	runs, err = s.Query(t.Context(), `tag.imported = "wandb" and lr = 0.25 and model.width = 8`)
	if err != nil || len(runs) != 1 {
		t.Fatalf("%d runs, error %v", len(runs), err)
	}
	r := runs[0]
	loss, acc := r.Series("loss"), r.Series("val.acc")
	if r.Name != "offline-run-1" || len(loss) != 2 || loss[1].Step != 5 || !math.IsNaN(loss[1].Value) || !math.IsInf(acc[1].Value, -1) || len(r.Keys()) != 2 {
		t.Errorf("got %s %v %v, series %v", r.Name, loss, acc, r.Keys())
	}
	for name, want := range map[string]string{"runs.txt": "is none of", "bad.jsonl": "line 1 is no JSON object"} {
		bad := filepath.Join(dir, name)
		if err := os.WriteFile(bad, []byte("xyz\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Import(t.Context(), bad, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q, for %s", err, want, name)
		}
	}
}
