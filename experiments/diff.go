package experiments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"ddpmlab/internal/render"
)

// Diff is what distinguishes two runs.
type Diff struct {
	A, B     *Run
	Sections []DiffSection // those in which they differ
}

// DiffSection is the differences of one kind.
type DiffSection struct {
	Name string    `json:"name"`
	Rows []DiffRow `json:"rows"`
}

// DiffRow is one difference. In texts, Name is the line's number and a line that only one
// run has is "" in the other.
type DiffRow struct {
	Name string `json:"name"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// Diff compares two runs, whose ids begin with a and b: configuration and variant,
// environment, commit and patch, the cell that started them, and what they measured.
func (s *Store) Diff(ctx context.Context, a, b string) (*Diff, error) {
	x, err := s.Show(ctx, a)
	if err != nil {
		return nil, err
	}
	y, err := s.Show(ctx, b)
	if err != nil {
		return nil, err
	}
	d := &Diff{A: x.run, B: y.run}
	configX, err1 := x.run.params()
	configY, err2 := y.run.params()
	patchX, err3 := s.text(ctx, x, nameDiff)
	patchY, err4 := s.text(ctx, y, nameDiff)
	modulesX, err5 := s.text(ctx, x, nameModules)
	modulesY, err6 := s.text(ctx, y, nameModules)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return nil, err
	}
	d.values("configuration and variant", paramTexts(configX), paramTexts(configY))
	d.values("environment", x.environment(), y.environment())
	d.lines("changes beyond the commit", patchX, patchY)
	d.lines("modules", modulesX, modulesY)
	d.lines("cell", x.lastCell(), y.lastCell())
	d.values("last values", lastTexts(x.run), lastTexts(y.run))
	return d, nil
}

// text is an artifact of the run as text, or "" when it has none here.
func (s *Store) text(ctx context.Context, d *Detail, name string) (string, error) {
	for _, a := range slices.Backward(d.Artifacts) {
		if a.Name != name {
			continue
		}
		f, err := s.artifact(ctx, a.SHA256)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		defer f.Close()
		body, err := io.ReadAll(f)
		return string(body), err
	}
	return "", nil
}

func paramTexts(params []param) map[string]string {
	out := make(map[string]string)
	for _, p := range params {
		out[p.name] = fmt.Sprint(p.value)
	}
	return out
}

// environment is the last session's, by name.
func (d *Detail) environment() map[string]string {
	out := make(map[string]string)
	if len(d.Sessions) == 0 {
		return out
	}
	x := d.Sessions[len(d.Sessions)-1]
	out["commit"], out["dirty"], out["device"] = x.Commit, fmt.Sprint(x.Dirty), x.Device
	var fields map[string]any
	if json.Unmarshal(x.Environment, &fields) == nil {
		for name, v := range fields {
			out[name] = fmt.Sprint(v)
		}
	}
	return out
}

// lastCell is the cell that started the run, or "".
func (d *Detail) lastCell() string {
	if len(d.Cells) == 0 {
		return ""
	}
	return d.Cells[len(d.Cells)-1].Source
}

func lastTexts(r *Run) map[string]string {
	out := map[string]string{"status": r.Status, "step": fmt.Sprint(r.Step)}
	for _, key := range r.Keys() {
		v, _ := r.Last(key)
		out[key] = fmt.Sprintf("%.6g", v)
	}
	return out
}

// values adds a section of named values that differ.
func (d *Diff) values(section string, a, b map[string]string) {
	var rows []DiffRow
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if a[name] != b[name] {
			rows = append(rows, DiffRow{name, a[name], b[name]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[name]; !ok {
			rows = append(rows, DiffRow{name, "", b[name]})
		}
	}
	d.add(section, rows)
}

func (d *Diff) add(section string, rows []DiffRow) {
	if len(rows) > 0 {
		d.Sections = append(d.Sections, DiffSection{section, rows})
	}
}

// lines adds a section of the lines that differ.
func (d *Diff) lines(section, a, b string) {
	if a == b {
		return
	}
	d.add(section, lineDiff(strings.Split(a, "\n"), strings.Split(b, "\n")))
}

// maxDiffLines is up to how many lines, after what both begin and end with, texts are
// compared line by line: the work grows with their product.
const maxDiffLines = 2000

// lineDiff lists the lines that are not part of the longest common subsequence.
func lineDiff(a, b []string) []DiffRow {
	start := 0
	for start < min(len(a), len(b)) && a[start] == b[start] {
		start++
	}
	x, y := a[start:], b[start:]
	for len(x) > 0 && len(y) > 0 && x[len(x)-1] == y[len(y)-1] {
		x, y = x[:len(x)-1], y[:len(y)-1]
	}
	if len(x) > maxDiffLines || len(y) > maxDiffLines {
		return []DiffRow{{"", fmt.Sprintf("%d other lines", len(x)), fmt.Sprintf("%d other lines", len(y))}}
	}
	// common[i][j] is the length of the longest common subsequence of x[i:] and y[j:].
	common := make([][]int32, len(x)+1)
	for i := range common {
		common[i] = make([]int32, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var rows []DiffRow
	for i, j := 0, 0; i < len(x) || j < len(y); {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && common[i+1][j] >= common[i][j+1]:
			rows = append(rows, DiffRow{fmt.Sprintf("line %d", start+i+1), x[i], ""})
			i++
		default:
			rows = append(rows, DiffRow{fmt.Sprintf("line %d", start+j+1), "", y[j]})
			j++
		}
	}
	return rows
}

// Table is the differences, under a heading for each kind.
func (d *Diff) Table() *render.Table {
	n := Runs{d.A, d.B}.idLength()
	name := func(r *Run) string { return fmt.Sprintf("%s %s", r.ID[:min(n, len(r.ID))], r.Variant) }
	t := &render.Table{Caption: "What differs", Columns: render.Left("", name(d.A), name(d.B))}
	for _, s := range d.Sections {
		t.AddClass(render.ClassHead, s.Name)
		for _, r := range s.Rows {
			t.Add(r.Name, r.A, r.B)
		}
	}
	if len(d.Sections) == 0 {
		t.Notes = []string{"Nothing differs."}
	}
	return t
}

// Bundle is the table.
func (d *Diff) Bundle() render.Bundle { return d.Table().Bundle() }

// String is the table as text.
func (d *Diff) String() string { return d.Table().String() }
