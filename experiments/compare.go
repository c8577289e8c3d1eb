package experiments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"ddpmlab/internal/render"
)

// Comparison is several runs side by side: first the fields of configuration and variant
// that differ, then how they went.
type Comparison struct {
	Runs    Runs
	Differs []string   // names of the fields that are not the same in all runs
	Values  [][]string // of each run, one for each of Differs; "" where it has no such field
	Same    int        // how many fields are the same in all runs

	curves []string // of the loss, as a line of block letters; nil for many runs
}

// maxCurves and maxCurveSteps are up to how many runs, and of how many steps together, a
// table shows the curves of their losses.
const (
	maxCurves     = 50
	maxCurveSteps = 1_000_000
)

// Compare puts runs side by side.
func (s *Store) Compare(_ context.Context, runs Runs) (*Comparison, error) {
	if len(runs) == 0 {
		return nil, errors.New("no runs to compare; choose some by a query, as gamma >= 0.1 or fd < 20")
	}
	columns, err := runs.columns()
	if err != nil {
		return nil, err
	}
	c := &Comparison{Runs: runs, Values: make([][]string, len(runs))}
	// What the variants are is what a study is about: it comes first, the seed last.
	slices.SortStableFunc(columns, func(a, b column) int { return fieldRank(a.name) - fieldRank(b.name) })
	for _, x := range columns {
		if slices.ContainsFunc(runs, func(r *Run) bool { return !x.same(r, runs[0]) }) {
			c.Differs = append(c.Differs, x.name)
			for i, r := range runs {
				c.Values[i] = append(c.Values[i], x.text(r))
			}
		} else if x.text(runs[0]) != "" || !x.omit {
			c.Same++
		}
	}
	c.curves, err = runs.curves()
	return c, err
}

// column is a field as a comparison has it. Imported runs have fields of their own, as
// texts, by run id and name.
type column struct {
	field
	imported map[string]map[string]string
}

// columns are the fields that the runs have.
func (rs Runs) columns() ([]column, error) {
	imported := make(map[string]map[string]string)
	own, foreign := false, make(map[string]bool)
	for _, r := range rs {
		if !r.Imported() || r.store == nil {
			own = true
			continue
		}
		params, err := r.storedParams()
		if err != nil {
			return nil, err
		}
		imported[r.ID] = paramTexts(params)
		for _, p := range params {
			foreign[p.name] = true
		}
	}
	var all []column
	for _, f := range fields() {
		if own || foreign[f.name] {
			all = append(all, column{f, imported})
		}
		delete(foreign, f.name)
	}
	for _, name := range slices.Sorted(maps.Keys(foreign)) {
		all = append(all, column{field{name: name, omit: true}, imported})
	}
	return all, nil
}

func (c column) same(a, b *Run) bool {
	if len(c.imported) > 0 {
		return c.text(a) == c.text(b)
	}
	return c.field.same(a, b)
}

func (c column) text(r *Run) string {
	if texts, ok := c.imported[r.ID]; ok {
		return texts[c.name]
	}
	if c.index == nil {
		return "" // a field that imported runs alone have
	}
	return c.field.text(r)
}

// curves are the runs' losses in block letters; nil where there are too many to read.
func (rs Runs) curves() ([]string, error) {
	steps := int64(0)
	for _, r := range rs {
		steps += r.Step
	}
	if len(rs) > maxCurves || steps > maxCurveSteps {
		return nil, nil
	}
	var all []string
	for _, r := range rs {
		points := r.series[MetricLoss] // of a Detached run
		if r.store != nil {
			var err error
			if points, err = r.store.Points(context.Background(), r.ID, MetricLoss); err != nil {
				return nil, err
			}
		}
		all = append(all, sparkline(points, 16))
	}
	return all, nil
}

// params are the fields of the run's configuration and variant.
func (r *Run) params() ([]param, error) {
	if r.Imported() && r.store != nil {
		return r.storedParams()
	}
	config, err1 := json.Marshal(r.Config)
	variant, err2 := json.Marshal(r.Variant)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("run %s: %w", r.ID, err)
	}
	return flatten(config, variant), nil
}

func fieldRank(name string) int {
	switch {
	case strings.HasPrefix(name, "variant."):
		return 0
	case name == "seed":
		return 2
	}
	return 1
}

// sparkline draws the mean of so many equal parts of a series in block letters, from the
// lowest to the highest; a part without numbers is a space.
func sparkline(points []Point, parts int) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	parts = min(parts, len(points))
	means := make([]float64, parts)
	low, high := math.Inf(1), math.Inf(-1)
	for i := range means {
		sum, n := 0.0, 0
		for _, p := range points[i*len(points)/parts : (i+1)*len(points)/parts] {
			if !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
				sum, n = sum+p.Value, n+1
			}
		}
		if means[i] = sum / float64(n); n > 0 {
			low, high = min(low, means[i]), max(high, means[i])
		}
	}
	var b strings.Builder
	for _, m := range means {
		switch {
		case math.IsNaN(m):
			b.WriteByte(' ')
		case high == low:
			b.WriteRune(blocks[0])
		default:
			b.WriteRune(blocks[int(math.Round((m-low)/(high-low)*float64(len(blocks)-1)))])
		}
	}
	return b.String()
}

// Table is the comparison, one line a run.
func (c *Comparison) Table() *render.Table {
	t := &render.Table{Caption: fmt.Sprintf("%s: %s, %s the same", counted(len(c.Runs), "run", "runs"), counted(len(c.Differs), "field differs", "fields differ"), counted(c.Same, "is", "are"))}
	t.Sorts = true
	t.Columns = render.Left("Run", "Variant")
	for i, name := range c.Differs {
		t.Columns = append(t.Columns, render.Column{Name: strings.TrimPrefix(name, "variant."), Right: numbers(c.Values, i)})
	}
	t.Columns = append(append(t.Columns, render.Left("Status")...), render.Right("Step", "Loss", c.Runs.scoreName())...)
	if c.curves != nil {
		t.Columns = append(t.Columns, render.Left("Loss by step")...)
	}
	n := c.Runs.idLength()
	for i, r := range c.Runs {
		cells := []string{r.ID[:min(n, len(r.ID))], r.Title()}
		cells = append(append(cells, c.Values[i]...), r.Status, r.steps("/"),
			r.showLoss(), r.show(MetricFD, "%.2f"))
		if c.curves != nil {
			cells = append(cells, c.curves[i])
		}
		t.Add(cells...)
	}
	t.Notes = append([]string{fmt.Sprintf("Loss: mean of the last %d steps.", lossPoints)}, c.Runs.scoreNotes()...)
	return t
}

// counted is a number with the word that fits it.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// numbers reports whether a column holds numbers or nothing.
func numbers(rows [][]string, column int) bool {
	return !slices.ContainsFunc(rows, func(row []string) bool {
		_, err := strconv.ParseFloat(row[column], 64)
		return err != nil && row[column] != ""
	})
}

// Bundle is the table.
func (c *Comparison) Bundle() render.Bundle { return c.Table().Bundle() }

// String is the table as text.
func (c *Comparison) String() string { return c.Table().String() }
