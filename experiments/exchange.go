package experiments

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ddpmlab/internal/exchange"
	"ddpmlab/internal/parquet"
	"ddpmlab/internal/suggest"

	"github.com/oklog/ulid/v2"
)

// ExportOptions say what Export writes beside the runs and the file.
type ExportOptions struct {
	Format     string // one of ExportFormats; "": by the file's ending
	Points     bool   // csv and parquet: all recorded points, a line each, instead of a line a run
	Experiment string // mlflow: the experiment's name; "": "ddpmlab"
	Light      bool   // mlflow: without checkpoints, which are most of the bytes
}

// exportFormat is a row of the table of formats.
type exportFormat struct {
	name, ending string
	write        func(ctx context.Context, s *Store, runs Runs, path string, o ExportOptions) error
}

var exportFormats = []exportFormat{
	{"csv", ".csv", framed(writeCSV)},
	{"parquet", ".parquet", framed(parquet.Write)},
	{"json", ".json", exportJSON},
	{"latex", ".tex", exportLaTeX},
	{"tensorboard", "", exportTensorBoard},
	{"mlflow", ".db", exportMLflow},
}

// ExportFormats lists the names of the formats that Export knows.
func ExportFormats() []string {
	var names []string
	for _, f := range exportFormats {
		names = append(names, f.name)
	}
	return names
}

// Export writes the runs to a file, or for TensorBoard a folder: as a table of runs or of
// points (csv, parquet), as all that is known of them (json), as a table with booktabs rules
// (latex), as event files (tensorboard), or as a database that MLflow opens (mlflow).
func (s *Store) Export(ctx context.Context, runs Runs, path string, o ExportOptions) error {
	if len(runs) == 0 {
		return errors.New("no runs to export")
	}
	i := slices.IndexFunc(exportFormats, func(f exportFormat) bool {
		return f.name == o.Format || o.Format == "" && f.ending != "" && f.ending == strings.ToLower(filepath.Ext(path))
	})
	if i < 0 && o.Format == "" {
		return fmt.Errorf("export to %s: the ending tells no format; name one of %s", path, strings.Join(ExportFormats(), ", "))
	}
	if i < 0 {
		return errors.New(suggest.Unknown("format", o.Format, ExportFormats(), "there are: "+strings.Join(ExportFormats(), ", ")))
	}
	return exportFormats[i].write(ctx, s, runs, path, o)
}

// framed is the export of a table by a function that writes columns.
func framed(write func(io.Writer, []parquet.Column) error) func(context.Context, *Store, Runs, string, ExportOptions) error {
	return func(ctx context.Context, s *Store, runs Runs, path string, o ExportOptions) error {
		columns, err := s.runFrame(ctx, runs)
		if o.Points {
			columns, err = s.pointFrame(ctx, runs)
		}
		if err != nil {
			return err
		}
		return writeWhole(path, func(w io.Writer) error { return write(w, columns) })
	}
}

// writeWhole writes a file that appears whole or not at all.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".export-*")
	if err != nil {
		return explain(path, err)
	}
	defer func() {
		f.Close()           // a second Close does nothing
		os.Remove(f.Name()) // gone already, when all went well
	}()
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return explain(path, err)
	}
	return os.Rename(f.Name(), path)
}

// frame collects columns by name, row by row.
type frame struct {
	columns []parquet.Column
	index   map[string]int
	rows    int
}

// set sets a value of the last row. A column takes the kind of its first value; where
// kinds differ whole numbers become floats, and otherwise all becomes text.
func (f *frame) set(name string, kind parquet.Kind, v any) {
	i, ok := f.index[name]
	if !ok {
		i = len(f.columns)
		f.index[name] = i
		f.columns = append(f.columns, parquet.Column{Name: name, Kind: kind})
	}
	c := &f.columns[i]
	for len(c.Values) < f.rows {
		c.Values = append(c.Values, nil)
	}
	if c.Kind != kind {
		to := parquet.Text
		if numeric(c.Kind) && numeric(kind) {
			to = parquet.Float64
		}
		for j, x := range c.Values {
			c.Values[j] = convert(x, to)
		}
		c.Kind, v = to, convert(v, to)
	}
	c.Values[f.rows-1] = v
}

func numeric(k parquet.Kind) bool { return k == parquet.Int64 || k == parquet.Float64 }

func convert(v any, to parquet.Kind) any {
	if v == nil {
		return nil
	}
	if n, ok := v.(int64); ok && to == parquet.Float64 {
		return float64(n)
	}
	if to == parquet.Text {
		return fmt.Sprint(v)
	}
	return v
}

func (f *frame) text(name, v string) {
	if v != "" {
		f.set(name, parquet.Text, v)
	}
}

func (f *frame) time(name string, t time.Time) {
	if !t.IsZero() {
		f.set(name, parquet.Time, t.UnixMicro())
	}
}

// done is the columns, all of the same length.
func (f *frame) done() []parquet.Column {
	for i := range f.columns {
		for len(f.columns[i].Values) < f.rows {
			f.columns[i].Values = append(f.columns[i].Values, nil)
		}
	}
	return f.columns
}

// paramKinds are the columns' kinds by those of the table param.
var paramKinds = map[string]parquet.Kind{"int": parquet.Int64, "float": parquet.Float64, "bool": parquet.Bool, "string": parquet.Text, "json": parquet.Text}

// runFrame is a line a run: what it is, fields as param.NAME, tags as tag.NAME, and the
// last value of each series as metric.NAME.
func (s *Store) runFrame(_ context.Context, runs Runs) ([]parquet.Column, error) {
	f := &frame{index: make(map[string]int)}
	for _, r := range runs {
		f.rows++
		f.text("run", r.ID)
		f.text("name", r.Title())
		f.text("status", r.Status)
		f.text("group", r.Group)
		f.text("parent", r.Parent)
		f.set("seed", parquet.Int64, int64(r.Seed))
		f.set("attempt", parquet.Int64, int64(r.Attempt))
		f.set("step", parquet.Int64, r.Step)
		f.time("started", r.Started)
		f.time("finished", r.Finished)
		f.text("host", r.Host)
		f.text("device", r.Device)
		f.text("commit", r.Commit)
		f.text("error", r.Error)
	}
	f.rows = 0
	for _, r := range runs {
		f.rows++
		params, err := r.params()
		if err != nil {
			return nil, err
		}
		for _, p := range params {
			f.set("param."+p.name, paramKinds[p.kind], p.value)
		}
	}
	f.rows = 0
	for _, r := range runs {
		f.rows++
		for name, v := range r.Tags {
			f.set("tag."+name, parquet.Text, v)
		}
	}
	f.rows = 0
	for _, r := range runs {
		f.rows++
		for _, key := range r.Keys() {
			if v, ok := r.Last(key); ok {
				f.set("metric."+key, parquet.Float64, v)
			}
			if p, ok := r.Protocol(key); ok {
				f.text("protocol."+key, p.ID)
			}
		}
	}
	return f.done(), nil
}

// pointFrame is a line a point, by run, series and step.
func (s *Store) pointFrame(ctx context.Context, runs Runs) ([]parquet.Column, error) {
	f := &frame{index: make(map[string]int)}
	for _, r := range runs {
		for _, key := range r.Keys() {
			points, err := s.Points(ctx, r.ID, key)
			if err != nil {
				return nil, err
			}
			for _, p := range points {
				f.rows++
				f.set("run", parquet.Text, r.ID)
				f.set("key", parquet.Text, key)
				f.set("step", parquet.Int64, p.Step)
				f.set("time", parquet.Time, p.Time.UnixMicro())
				f.set("value", parquet.Float64, p.Value)
			}
		}
	}
	return f.done(), nil
}

// writeCSV writes columns as RFC 4180 has it: times as RFC 3339, what is missing empty.
func writeCSV(w io.Writer, columns []parquet.Column) error {
	out := csv.NewWriter(w)
	line := make([]string, len(columns))
	rows := 0
	for i, c := range columns {
		line[i], rows = c.Name, len(c.Values)
	}
	if err := out.Write(line); err != nil {
		return err
	}
	for row := range rows {
		for i, c := range columns {
			line[i] = csvCell(c.Kind, c.Values[row])
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func csvCell(kind parquet.Kind, v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case int64:
		if kind == parquet.Time {
			return time.UnixMicro(x).UTC().Format("2006-01-02T15:04:05.000000Z")
		}
		return strconv.FormatInt(x, 10)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// jsonRun is a run in an export as JSON.
type jsonRun struct {
	*Detail
	Series map[string]jsonSeries `json:"series"`
}

type jsonSeries struct {
	Steps  []int64  `json:"steps"`
	Times  []int64  `json:"times_us"` // microseconds since 1970
	Values []Number `json:"values"`   // null: NaN or an infinity
}

func exportJSON(ctx context.Context, s *Store, runs Runs, path string, _ ExportOptions) error {
	all := make([]jsonRun, 0, len(runs))
	for _, r := range runs {
		d, err := s.Show(ctx, r.ID)
		if err != nil {
			return err
		}
		x := jsonRun{d, make(map[string]jsonSeries)}
		for _, key := range r.Keys() {
			points, err := s.Points(ctx, r.ID, key)
			if err != nil {
				return err
			}
			var series jsonSeries
			for _, p := range points {
				series.Steps, series.Times = append(series.Steps, p.Step), append(series.Times, p.Time.UnixMicro())
				series.Values = append(series.Values, Number(p.Value))
			}
			x.Series[key] = series
		}
		all = append(all, x)
	}
	return writeWhole(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(all)
	})
}

// exportLaTeX writes the comparison, without the curves in block letters, which LaTeX's
// fonts lack.
func exportLaTeX(ctx context.Context, s *Store, runs Runs, path string, _ ExportOptions) error {
	c, err := s.Compare(ctx, runs)
	if err != nil {
		return err
	}
	c.curves = nil
	return writeWhole(path, func(w io.Writer) error {
		_, err := io.WriteString(w, c.Table().LaTeX())
		return err
	})
}

func exportTensorBoard(ctx context.Context, s *Store, runs Runs, path string, o ExportOptions) error {
	all, err := s.foreignAll(ctx, runs, o, false)
	if err != nil {
		return err
	}
	return exchange.WriteTensorBoard(path, all)
}

func exportMLflow(ctx context.Context, s *Store, runs Runs, path string, o ExportOptions) error {
	all, err := s.foreignAll(ctx, runs, o, true)
	if err != nil {
		return err
	}
	return exchange.WriteMLflow(ctx, path, experimentName(o), all)
}

func experimentName(o ExportOptions) string {
	if o.Experiment == "" {
		return "ddpmlab"
	}
	return o.Experiment
}

func (s *Store) foreignAll(ctx context.Context, runs Runs, o ExportOptions, files bool) ([]exchange.Run, error) {
	var all []exchange.Run
	for _, r := range runs {
		x, err := s.foreign(ctx, r, o, files)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}

// Tags and files of exported runs, by which an import makes the whole run again.
const (
	tagRunID    = "ddpmlab.run"
	tagStatus   = "ddpmlab.status"
	tagGroup    = "ddpmlab.group"
	tagParent   = "ddpmlab.parent"
	tagStep     = "ddpmlab.step"
	tagProtocol = "ddpmlab.protocol." // and the series
	fileConfig  = "config.json"
	fileVariant = "variant.json"
	fileCell    = "cell.go"
)

// foreign is the run as other trackers have it.
func (s *Store) foreign(ctx context.Context, r *Run, o ExportOptions, files bool) (exchange.Run, error) {
	x := exchange.Run{
		ID: foreignID(r.ID), Name: fmt.Sprintf("%s, seed %d", r.Title(), r.Seed),
		Started: r.Started, Finished: r.Finished, User: "ddpmlab", Params: make(map[string]string),
		Tags: map[string]string{tagRunID: r.ID, tagStatus: r.Status, tagStep: strconv.FormatInt(r.Step, 10), "mlflow.source.name": "ddpmlab", "mlflow.source.type": "LOCAL"},
	}
	if r.Imported() {
		x.Name = r.Name
	}
	switch r.Status {
	case StatusRunning:
	case StatusFinished:
		x.Status = exchange.Finished
	case StatusInterrupted:
		x.Status = exchange.Killed
	default:
		x.Status = exchange.Failed
	}
	if r.Commit != "" {
		x.Tags["mlflow.source.git.commit"] = r.Commit
		x.Tags["mlflow.source.git.dirty"] = strconv.FormatBool(r.Dirty)
	}
	if r.Group != "" {
		x.Tags[tagGroup] = r.Group
	}
	if r.Parent != "" {
		x.Parent, x.Tags[tagParent] = foreignID(r.Parent), r.Parent
	}
	for name, v := range r.Tags {
		x.Tags[name] = v
	}
	params, err := r.params()
	if err != nil {
		return x, err
	}
	for _, p := range params {
		x.Params[p.name] = fmt.Sprint(p.value)
	}
	for _, key := range r.Keys() {
		points, err := s.Points(ctx, r.ID, key)
		if err != nil {
			return x, err
		}
		series := exchange.Series{Key: key}
		for _, p := range points {
			series.Points = append(series.Points, exchange.Point{Step: p.Step, Time: p.Time, Value: p.Value})
		}
		x.Series = append(x.Series, series)
		if p, ok := r.Protocol(key); ok {
			text, err := json.Marshal(p.Protocol)
			if err != nil {
				return x, err
			}
			x.Tags[tagProtocol+key] = string(text)
		}
	}
	if !files {
		return x, nil
	}
	d, err := s.Show(ctx, r.ID)
	if err != nil {
		return x, err
	}
	x.Note = r.note(d)
	if !r.Imported() {
		for name, v := range map[string]any{fileConfig: r.Config, fileVariant: r.Variant} {
			text, err := json.MarshalIndent(v, "", " ")
			if err != nil {
				return x, err
			}
			x.Files = append(x.Files, fileOf(name, append(text, '\n')))
		}
	}
	if n := len(d.Cells); n > 0 {
		x.Files = append(x.Files, fileOf(fileCell, []byte(d.Cells[n-1].Source+"\n")))
	}
	for _, a := range d.Artifacts {
		if !a.Here || o.Light && a.Size > maxInside {
			continue
		}
		name := a.Name
		if a.Step > 0 {
			name = fmt.Sprintf("%s-%08d", a.Name, a.Step)
		}
		x.Files = append(x.Files, exchange.File{Path: name, Open: func() (io.ReadCloser, error) { return s.artifact(ctx, a.SHA256) }})
	}
	slices.SortFunc(x.Files, func(a, b exchange.File) int { return strings.Compare(a.Path, b.Path) })
	return x, nil
}

func fileOf(name string, text []byte) exchange.File {
	return exchange.File{Path: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }}
}

// note is the run's notes, and how its scores were measured.
func (r *Run) note(d *Detail) string {
	var parts []string
	for _, n := range d.Notes {
		parts = append(parts, n.Text)
	}
	if p, ok := r.Protocol(MetricFD); ok {
		parts = append(parts, "fd: "+p.Describe())
	}
	return strings.Join(parts, "\n\n")
}

// foreignID is the run's id as 32 hex digits, which MLflow wants; it holds the same bits.
func foreignID(id string) string {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return sha256Hex([]byte(id))[:32]
	}
	return hex.EncodeToString(u[:])
}

// PushMLflow sends the runs to the MLflow server at address, into the experiment of that
// name, "" for "ddpmlab". What was pushed before is known again there: pushing twice
// changes nothing. The environment variables MLFLOW_TRACKING_USERNAME and _PASSWORD, or
// _TOKEN, log in, as for MLflow's own client.
func (s *Store) PushMLflow(ctx context.Context, runs Runs, address, experiment string) error {
	if len(runs) == 0 {
		return errors.New("no runs to push")
	}
	if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is no server's address; want one as http://localhost:5000", address)
	}
	server := exchange.Server{
		URL: address, User: os.Getenv("MLFLOW_TRACKING_USERNAME"), Password: os.Getenv("MLFLOW_TRACKING_PASSWORD"), Token: os.Getenv("MLFLOW_TRACKING_TOKEN"),
	}
	for _, r := range runs {
		x, err := s.foreign(ctx, r, ExportOptions{}, true)
		if err != nil {
			return err
		}
		x.ID, x.Parent = r.ID, r.Parent
		if _, err := server.Push(ctx, experimentName(ExportOptions{Experiment: experiment}), x); err != nil {
			return err
		}
	}
	return nil
}
