package experiments

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/internal/render"
)

// Recorded is what a run came to, short enough to be written into a notebook that repeats
// it.
type Recorded struct {
	Run    string // id
	Key    string // of configuration, variant, data and numerics version: ddpm.Key
	Step   int64  // training steps done
	Series []RecordedSeries
}

// RecordedSeries is a series up to the run's last step.
type RecordedSeries struct {
	Name   string
	Last   float64
	SHA256 string // of all its steps and values
}

// Recorded sums the run up: its series but those that tell of the machine.
func (r *Run) Recorded() Recorded {
	was := Recorded{Run: r.ID, Key: r.Key, Step: r.Step}
	for _, name := range r.Keys() {
		switch name {
		case MetricImagesPerSec, MetricCPU, MetricMemory:
		default:
			was.Series = append(was.Series, r.recordedSeries(name, r.Step))
		}
	}
	return was
}

func (r *Run) recordedSeries(name string, until int64) RecordedSeries {
	points := r.Series(name)
	n := sort.Search(len(points), func(i int) bool { return points[i].Step > until })
	s := RecordedSeries{Name: name, Last: math.NaN()}
	if n > 0 {
		s.Last = points[n-1].Value
	}
	h := sha256.New()
	hashPoints(h, points[:n])
	s.SHA256 = hex.EncodeToString(h.Sum(nil))
	return s
}

// Repetition is a run beside the one that it repeats.
type Repetition struct {
	Of       Recorded
	Again    []RecordedSeries // one for each of Of.Series
	SameWork bool             // configuration, variant, data and numerics version are the same
}

// Against puts the run beside the one that it repeats: whether it did the same work, and
// whether its numbers are the same bit for bit, as they are on the same kind of processor.
func (r *Run) Against(was Recorded) *Repetition {
	x := &Repetition{Of: was, SameWork: r.Key == was.Key}
	for _, s := range was.Series {
		x.Again = append(x.Again, r.recordedSeries(s.Name, was.Step))
	}
	return x
}

// Same reports that all numbers are the same, bit for bit.
func (x *Repetition) Same() bool {
	return x.SameWork && slices.EqualFunc(x.Of.Series, x.Again, func(a, b RecordedSeries) bool { return a.SHA256 == b.SHA256 })
}

// Table is one line a series.
func (x *Repetition) Table() *render.Table {
	t := &render.Table{
		Caption: fmt.Sprintf("Repetition of run %s, up to its step %d", x.Of.Run, x.Of.Step),
		Columns: append(append(render.Left("series"), render.Right("last, recorded", "last, repeated")...), render.Left("all values")...),
	}
	for i, was := range x.Of.Series {
		words := "differ"
		if was.SHA256 == x.Again[i].SHA256 {
			words = "the same, bit for bit"
		}
		t.Add(was.Name, fmt.Sprintf("%.6g", was.Last), fmt.Sprintf("%.6g", x.Again[i].Last), words)
	}
	if !x.SameWork {
		t.Notes = []string{"Not the same work: the configuration, the variant, the data, or ddpmlab's numerics differ from what was recorded."}
	}
	return t
}

// Bundle is the table.
func (x *Repetition) Bundle() render.Bundle { return x.Table().Bundle() }

// String is the table as text.
func (x *Repetition) String() string { return x.Table().String() }

// Notebook is a Jupyter notebook that repeats the run whose id begins with prefix: it trains
// with the same configuration and variant, as another attempt, and compares. The cells that
// led to the run, and what its working tree had beyond the commit, are quoted in it.
func (s *Store) Notebook(ctx context.Context, prefix string) ([]byte, error) {
	d, err := s.Show(ctx, prefix)
	if err != nil {
		return nil, err
	}
	if d.run.Imported() {
		return nil, fmt.Errorf("run %s was imported, and trained by another program, which alone can repeat it", d.run.ID)
	}
	patch, err := s.text(ctx, d, nameDiff)
	if err != nil {
		return nil, err
	}
	var nb ipynb
	nb.markdown("title", d.repeatTitle())
	nb.code("imports", "import (\n    \"ddpmlab/ddpm\"\n    \"ddpmlab/experiments\"\n    \"ddpmlab/plots\"\n)\n\nlab := experiments.MustOpen(\"runs.db\")")
	nb.code("configuration", goConfig(d.run.Config)+"\n"+goVariant(d.run.Variant), "parameters")
	nb.code("train", "again := lab.Rerun(ctx, cfg, variant)")
	nb.code("compare", "again.Against("+d.run.Recorded().literal()+")")
	nb.code("loss", "plots.LossCurve(experiments.Runs{again})")
	if _, scored := d.run.Last(MetricFD); scored {
		nb.code("score", "plots.FDCurve(experiments.Runs{again})")
	}
	if n := len(d.Cells); n > 0 {
		last := d.Cells[n-1].Session // with the cells before it in that kernel
		text := "## The cells that led to the run"
		for _, c := range d.Cells {
			if c.Session == last {
				text += "\n\n" + fenced("go", c.Source)
			}
		}
		nb.markdown("cells", text)
	}
	if patch != "" {
		nb.markdown("patch", "## What the working tree had beyond the commit\n\n"+fenced("diff", patch))
	}
	return nb.encode()
}

// repeatTitle says what the notebook repeats, and how it went then.
func (d *Detail) repeatTitle() string {
	r := d.run
	text := fmt.Sprintf("# Run %s, once more\n\n%s, seed %d, on %s: %d of %d steps, %s, begun %s on %s.",
		r.ID, r.Title(), r.Seed, r.Config.Data, r.Step, r.Config.Iterations, r.Status+r.after(), r.Started.Format(minute), r.place())
	if r.Commit != "" {
		text += fmt.Sprintf(" Code: commit %s.", r.code())
	}
	return text + "\n\nTrains it again, as another attempt, and compares. On the same kind of processor the numbers are the same bit for bit."
}

// literal is the value as Go.
func (was Recorded) literal() string {
	var b strings.Builder
	fmt.Fprintf(&b, "experiments.Recorded{\n    Run: %q, Step: %d,\n    Key: %q,\n    Series: []experiments.RecordedSeries{\n", was.Run, was.Step, was.Key)
	for _, s := range was.Series {
		fmt.Fprintf(&b, "        {Name: %q, Last: %s, SHA256: %q},\n", s.Name, goNumber(s.Last), s.SHA256)
	}
	b.WriteString("    },\n}")
	return b.String()
}

// goConfig is Go that makes the configuration: its preset, and what differs from that.
func goConfig(c ddpm.Config) string {
	text := "var cfg ddpm.Config"
	preset, err := ddpm.Preset(c.Preset)
	if err == nil {
		text = fmt.Sprintf("cfg, _ := ddpm.Preset(%q)", c.Preset)
	}
	return text + goFields("cfg", reflect.ValueOf(preset), reflect.ValueOf(c))
}

func goVariant(v ddpm.Variant) string {
	return "variant := ddpm.ADM()" + goFields("variant", reflect.ValueOf(ddpm.ADM()), reflect.ValueOf(v))
}

// goFields assigns to the variable of that name the fields in which to differs from from.
func goFields(name string, from, to reflect.Value) string {
	var b strings.Builder
	for i := range to.NumField() {
		field := name + "." + to.Type().Field(i).Name
		switch x, y := from.Field(i), to.Field(i); {
		case y.Kind() == reflect.Struct:
			b.WriteString(goFields(field, x, y))
		case !reflect.DeepEqual(x.Interface(), y.Interface()):
			fmt.Fprintf(&b, "\n%s = %s", field, goValue(y))
		}
	}
	return b.String()
}

// goValue is a field's value as Go.
func goValue(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Float64:
		return goNumber(v.Float())
	case reflect.Slice:
		if v.IsNil() {
			return "nil"
		}
		var parts []string
		for i := range v.Len() {
			parts = append(parts, goValue(v.Index(i)))
		}
		return fmt.Sprintf("%s{%s}", v.Type(), strings.Join(parts, ", "))
	}
	return fmt.Sprint(v.Interface())
}

func goNumber(x float64) string {
	switch {
	case math.IsNaN(x):
		return "math.NaN()"
	case math.IsInf(x, 0):
		return fmt.Sprintf("math.Inf(%d)", int(math.Copysign(1, x)))
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

// fenced is a text as a block of Markdown, between more backquotes than it has in a row.
func fenced(language, text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + language + "\n" + strings.TrimSuffix(text, "\n") + "\n" + fence
}

// ipynb is a notebook of nbformat 4.5 for this project's kernel.
type ipynb struct{ cells []map[string]any }

func (n *ipynb) markdown(id, text string) { n.add("markdown", id, text, map[string]any{}) }

func (n *ipynb) code(id, text string, tags ...string) {
	meta := map[string]any{}
	if len(tags) > 0 {
		meta["tags"] = tags
	}
	c := n.add("code", id, text, meta)
	c["outputs"], c["execution_count"] = []any{}, nil
}

func (n *ipynb) add(kind, id, text string, meta map[string]any) map[string]any {
	c := map[string]any{"cell_type": kind, "id": id, "metadata": meta, "source": strings.SplitAfter(text, "\n")}
	n.cells = append(n.cells, c)
	return c
}

func (n *ipynb) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(map[string]any{
		"cells": n.cells, "nbformat": 4, "nbformat_minor": 5,
		"metadata": map[string]any{
			"kernelspec":    map[string]any{"display_name": "Go (ddpmlab)", "language": "go", "name": "ddpmlab"},
			"language_info": map[string]any{"name": "go"},
		},
	})
	return b.Bytes(), err
}
