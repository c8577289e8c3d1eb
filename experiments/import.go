package experiments

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/exchange"
	"ddpmlab/internal/suggest"

	"github.com/oklog/ulid/v2"
)

// presetImported is the preset of runs that another program trained. What its network and
// loss were is not known here: only fields of the same name are.
const presetImported = "imported"

// TagImported is the tag of imported runs: what they were imported from.
const TagImported = "imported"

// Imported reports whether another program trained the run.
func (r *Run) Imported() bool { return r.Config.Preset == presetImported }

// Title is the variant with its values, or of an imported run the name it has there.
func (r *Run) Title() string {
	if r.Imported() {
		return r.Name
	}
	return r.Variant.String()
}

// importFormats reads what Import takes.
var importFormats = []struct {
	name string
	is   func(ctx context.Context, path string, info os.FileInfo) bool
	read func(ctx context.Context, path string) ([]exchange.Run, error)
}{
	{
		"mlflow", func(ctx context.Context, path string, info os.FileInfo) bool {
			return info.Mode().IsRegular() && exchange.IsMLflow(ctx, path)
		},
		exchange.ReadMLflow,
	},
	{
		"wandb", func(_ context.Context, path string, _ os.FileInfo) bool {
			return strings.HasSuffix(path, ".jsonl") || strings.HasSuffix(path, ".wandb")
		},
		func(_ context.Context, path string) ([]exchange.Run, error) {
			read := exchange.ReadWandb
			if strings.HasSuffix(path, ".wandb") {
				read = exchange.ReadWandbFile
			}
			r, err := read(path)
			return []exchange.Run{r}, err
		},
	},
	{
		"tensorboard", func(_ context.Context, path string, info os.FileInfo) bool {
			return info.IsDir() || strings.Contains(filepath.Base(path), "tfevents")
		},
		func(_ context.Context, path string) ([]exchange.Run, error) { return exchange.ReadTensorBoard(path) },
	},
}

// ImportFormats lists the names of the formats that Import knows.
func ImportFormats() []string {
	var names []string
	for _, f := range importFormats {
		names = append(names, f.name)
	}
	return names
}

// Imports is what Import did.
type Imports struct {
	Runs  int // taken over
	Known int // that were here already
}

// String counts the runs.
func (i Imports) String() string {
	s := fmt.Sprintf("imported: runs %d", i.Runs)
	if i.Known > 0 {
		s += fmt.Sprintf(", here already %d", i.Known)
	}
	return s
}

// Import takes over the runs of a database of MLflow's, of a folder with TensorBoard's event
// files, or of an offline run of W&B's: its
// .wandb file, or its history as JSON lines. format is one of ImportFormats, or "" to
// look at the file. Importing the same again changes nothing.
//
// Runs that Export wrote come back as they were. Others get the tag "imported"; their
// parameters and metrics can be queried like any run's, and they can be neither resumed
// nor sampled from.
func (s *Store) Import(ctx context.Context, path, format string) (Imports, error) {
	var done Imports
	info, err := os.Stat(path)
	if err != nil {
		return done, err
	}
	i := slices.IndexFunc(importFormats, func(f struct {
		name string
		is   func(ctx context.Context, path string, info os.FileInfo) bool
		read func(ctx context.Context, path string) ([]exchange.Run, error)
	},
	) bool {
		return f.name == format || format == "" && f.is(ctx, path, info)
	})
	switch {
	case i < 0 && format == "":
		return done, fmt.Errorf("%s is none of: a database of MLflow's, a folder with TensorBoard's event files, a run of W&B's as .wandb or .jsonl", path)
	case i < 0:
		return done, errors.New(suggest.Unknown("format", format, ImportFormats(), "there are: "+strings.Join(ImportFormats(), ", ")))
	}
	runs, err := importFormats[i].read(ctx, path)
	if err != nil {
		return done, err
	}
	if len(runs) == 0 {
		return done, fmt.Errorf("%s holds no runs with numbers", path)
	}
	arrivals, ids := make([]*arrival, len(runs)), make(map[string]string)
	for j, x := range runs {
		if arrivals[j], err = newArrival(x, importFormats[i].name); err != nil {
			return done, fmt.Errorf("%s: run %s: %w", path, x.Name, err)
		}
		ids[x.ID] = arrivals[j].id
	}
	for j, x := range runs {
		if id := ids[x.Parent]; id != "" {
			arrivals[j].parent = id
		}
		taken, err := s.takeIn(ctx, arrivals[j], x, importFormats[i].name)
		if err != nil {
			return done, fmt.Errorf("%s: run %s: %w", path, x.Name, err)
		}
		if taken {
			done.Runs++
		} else {
			done.Known++
		}
	}
	return done, nil
}

const (
	selectThere = `SELECT count(*) FROM run WHERE id = ?`
	insertGuest = `INSERT INTO run (id, key, attempt, name, preset, data, data_sha256, seed, config, variant, status, step, started, finished, error, label, parent)
		VALUES (?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	insertOrigin = `INSERT INTO session (run, number, from_step, started, heartbeat, pid, born, boot, host, commit_id, dirty, device, environment)
		VALUES (?, 1, 0, ?, ?, 0, 0, '', ?, ?, ?, '', '{}')`
)

// arrival is an imported run on its way into the database.
type arrival struct {
	id, key, name string
	config        ddpm.Config
	variant       ddpm.Variant
	params        []param
	status        string
	reason        string
	step          int64
	tags          map[string]string
	group, parent string
	protocols     map[string]Protocol
}

// takeIn stores the run, unless it is here already.
func (s *Store) takeIn(ctx context.Context, g *arrival, x exchange.Run, from string) (bool, error) {
	config, err1 := json.Marshal(g.config)
	variant, err2 := json.Marshal(g.variant.Normal())
	if err := errors.Join(err1, err2); err != nil {
		return false, err
	}
	taken := false
	err := s.do(true, func(tx *sql.Tx) error {
		var there int
		if err := tx.QueryRowContext(ctx, selectThere, g.id).Scan(&there); err != nil || there > 0 {
			taken = false
			return err
		}
		taken = true
		var end any
		if !x.Finished.IsZero() {
			end = x.Finished.UnixMicro()
		} else if g.status != StatusRunning {
			end = x.Started.UnixMicro()
		}
		c := g.config
		if _, err := tx.ExecContext(ctx, insertGuest, g.id, g.key, 1, g.name, c.Preset, c.Data, int64(c.Seed), string(config), string(variant),
			g.status, g.step, x.Started.UnixMicro(), end, g.reason, g.group, g.parent); err != nil {
			return err
		}
		host, dirty := from, x.Tags["mlflow.source.git.dirty"] == "true"
		if _, err := tx.ExecContext(ctx, insertOrigin, g.id, x.Started.UnixMicro(), x.Started.UnixMicro(), host, x.Tags["mlflow.source.git.commit"], dirty); err != nil {
			return err
		}
		params := g.params
		if params == nil {
			params = flatten(config, variant)
		}
		for _, p := range params {
			if _, err := tx.ExecContext(ctx, insertParam, g.id, p.name, p.kind, p.value); err != nil {
				return err
			}
		}
		for name, v := range g.tags {
			if _, err := tx.ExecContext(ctx, upsertTag, g.id, name, v); err != nil {
				return err
			}
		}
		if x.Note != "" {
			if _, err := tx.ExecContext(ctx, insertNote, g.id, s.micros(), x.Note); err != nil {
				return err
			}
		}
		if err := g.points(ctx, tx, s, x.Series); err != nil {
			return err
		}
		return s.takeFiles(ctx, tx, g.id, x.Files)
	})
	if err != nil || !taken {
		return false, explain(s.path, err)
	}
	return true, s.pack(ctx, g.id)
}

func newArrival(x exchange.Run, from string) (*arrival, error) {
	g := &arrival{name: x.Name, tags: make(map[string]string), protocols: make(map[string]Protocol)}
	for _, series := range x.Series {
		for _, p := range series.Points {
			g.step = max(g.step, p.Step)
		}
	}
	switch x.Status {
	case exchange.Finished:
		g.status = StatusFinished
	case exchange.Failed:
		g.status = StatusFailed
	default:
		g.status = StatusInterrupted
		if x.Status == exchange.Running {
			g.reason = "it was running there when it was imported"
		}
	}
	for name, v := range x.Tags {
		if !strings.HasPrefix(name, "mlflow.") && !strings.HasPrefix(name, "ddpmlab.") {
			g.tags[name] = v
		}
	}
	own, err := g.restore(x)
	if err != nil || own {
		return g, err
	}
	g.config = ddpm.Config{Preset: presetImported}
	g.tags[TagImported] = from
	if e := x.Tags["mlflow.experiment"]; e != "" {
		g.group = e
	}
	for _, name := range slices.Sorted(mapKeys(x.Params)) {
		value := x.Params[name]
		g.params = append(g.params, typed(name, value))
		if name != "preset" {
			_ = SetField(&g.config, &g.variant, name, value) // where it has a field of that name and type
		}
	}
	if g.params == nil {
		g.params = []param{}
	}
	// The same run always gets the same id, which sorts by its start.
	sum := sha256.Sum256([]byte(from + "\x00" + x.ID))
	id, err := ulid.New(ulid.Timestamp(notBefore1970(x.Started)), bytes.NewReader(sum[:]))
	if err != nil {
		return nil, err
	}
	g.id, g.key = id.String(), "imported "+sha256Hex(sum[:])
	return g, nil
}

func notBefore1970(t time.Time) time.Time {
	if t.UnixMilli() < 0 {
		return time.UnixMilli(0)
	}
	return t
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// typed is a parameter with the type that its text has.
func typed(name, text string) param {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return param{name, "int", n}
	}
	if x, err := strconv.ParseFloat(text, 64); err == nil {
		return param{name, "float", x}
	}
	if text == "true" || text == "True" || text == "false" || text == "False" {
		return param{name, "bool", strings.EqualFold(text, "true")}
	}
	return param{name, "string", text}
}

// restore reads a run that Export wrote; ok is false for others.
func (g *arrival) restore(x exchange.Run) (ok bool, err error) {
	id, err := ulid.ParseStrict(x.Tags[tagRunID])
	if err != nil {
		return false, nil //nolint:nilerr // not ours
	}
	config, err1 := fileNamed(x, fileConfig)
	variant, err2 := fileNamed(x, fileVariant)
	if err := errors.Join(err1, err2); err != nil {
		return false, err
	}
	if config == nil || variant == nil {
		return false, nil
	}
	if err := errors.Join(g.config.Merge(config), json.Unmarshal(variant, &g.variant)); err != nil {
		return false, err
	}
	g.id, g.name = id.String(), g.variant.Name()
	g.key = "imported " + g.id // its data are not at hand, of which the key is made
	g.group, g.parent = x.Tags[tagGroup], x.Tags[tagParent]
	if st := x.Tags[tagStatus]; st != "" && st != StatusRunning {
		g.status = st
	}
	if n, err := strconv.ParseInt(x.Tags[tagStep], 10, 64); err == nil {
		g.step = n
	}
	for name, text := range x.Tags {
		key, ok := strings.CutPrefix(name, tagProtocol)
		if !ok {
			continue
		}
		var p fid.Protocol
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return false, fmt.Errorf("tag %s: %w", name, err)
		}
		g.protocols[key] = Protocol{Protocol: p, ID: p.Hash()}
	}
	return true, nil
}

func fileNamed(x exchange.Run, name string) ([]byte, error) {
	for _, f := range x.Files {
		if f.Path == name {
			in, err := f.Open()
			if err != nil {
				return nil, err
			}
			defer in.Close()
			return io.ReadAll(in)
		}
	}
	return nil, nil
}

// points stores the series: of several values at one step the last.
func (g *arrival) points(ctx context.Context, tx *sql.Tx, s *Store, all []exchange.Series) error {
	at := &session{store: s, run: g.id, number: 1}
	for _, series := range all {
		ref := &seriesRef{session: at, name: series.Key}
		if p, ok := g.protocols[series.Key]; ok {
			ref.protocol = p.ID
			m := method{id: p.ID, metric: p.Metric, detail: p.Protocol}
			if err := m.save(ctx, tx); err != nil {
				return err
			}
		}
		place := make(map[int64]int)
		var points []queued
		for _, p := range series.Points {
			q := queued{series: ref, step: p.Step, time: p.Time.UnixMicro(), value: p.Value}
			if i, ok := place[p.Step]; ok {
				points[i] = q
				continue
			}
			place[p.Step] = len(points)
			points = append(points, q)
		}
		if err := insertPoints(tx, points); err != nil {
			return err
		}
	}
	return nil
}

// takeFiles keeps the run's files. Those that Export wrote of the run's own fields are in
// the database already.
func (s *Store) takeFiles(ctx context.Context, tx *sql.Tx, run string, files []exchange.File) error {
	for _, f := range files {
		if f.Path == fileConfig || f.Path == fileVariant {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return err
		}
		sum, err := s.putFile(ctx, tx, in)
		if err := errors.Join(err, in.Close()); err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
		name, step := f.Path, int64(0)
		if i := strings.LastIndexByte(name, '-'); i > 0 && len(name)-i-1 == 8 { // as "checkpoint-00000200"
			if n, err := strconv.ParseInt(name[i+1:], 10, 64); err == nil {
				name, step = name[:i], n
			}
		}
		if _, err := tx.ExecContext(ctx, insertLink, run, name, step, sum, s.micros()); err != nil {
			return err
		}
	}
	return nil
}

// putFile stores a file inside the database, or in the store folder when it is large.
func (s *Store) putFile(ctx context.Context, tx *sql.Tx, in io.Reader) (sum string, err error) {
	head, err := io.ReadAll(io.LimitReader(in, maxInside+1))
	if err != nil {
		return "", err
	}
	if len(head) <= maxInside {
		return s.putInside(ctx, tx, head)
	}
	sum, size, err := s.saveFile(func(w io.Writer) error {
		_, err := io.Copy(w, io.MultiReader(bytes.NewReader(head), in))
		return err
	})
	if err != nil {
		return "", err
	}
	_, err = tx.ExecContext(ctx, insertArtifact, sum, size, nil, s.micros())
	return sum, err
}

// storedParams are the fields of an imported run, which are more than the configuration's.
func (r *Run) storedParams() ([]param, error) {
	var all []param
	err := r.store.each(context.Background(), `SELECT name, kind, value FROM param WHERE run = ? ORDER BY name`, r.ID, func(rows *sql.Rows) error {
		var p param
		if err := rows.Scan(&p.name, &p.kind, &p.value); err != nil {
			return err
		}
		if p.kind == "bool" {
			p.value = p.value == int64(1) || p.value == true
		}
		all = append(all, p)
		return nil
	})
	return all, err
}

// Export writes runs to a file in the format of its ending: .csv, .parquet, .json, .tex, or
// .db for MLflow.
func (l *Lab) Export(runs Runs, path string) {
	check(l.store.Export(context.Background(), runs, path, ExportOptions{}))
}

// ExportAs is Export in the format of that name, as "tensorboard".
func (l *Lab) ExportAs(format string, runs Runs, path string) {
	check(l.store.Export(context.Background(), runs, path, ExportOptions{Format: format}))
}

// ExportPoints writes all points of runs to a file, .csv or .parquet.
func (l *Lab) ExportPoints(runs Runs, path string) {
	check(l.store.Export(context.Background(), runs, path, ExportOptions{Points: true}))
}

// Import takes over the runs of a database of MLflow's, a folder of TensorBoard's or a
// history of W&B's.
func (l *Lab) Import(path string) Imports {
	return must(l.store.Import(context.Background(), path, ""))
}

// PushMLflow sends runs to an MLflow server, as "http://localhost:5000".
func (l *Lab) PushMLflow(ctx context.Context, runs Runs, address string) {
	check(l.store.PushMLflow(ctx, runs, address, ""))
}
