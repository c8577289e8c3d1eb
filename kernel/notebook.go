package kernel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// notebook is a Jupyter notebook, nbformat 4. Everything that is not changed here is kept
// as it was, metadata and cell identifiers included.
type notebook struct {
	fields map[string]any
	cells  []*nbCell
}

// nbCell is a cell of a notebook.
type nbCell struct {
	fields  map[string]any
	Type    string // code, markdown or raw
	Source  string
	Tags    []string
	Outputs []*output
	Count   int // execution count, 0 when not run
}

// output is what a cell showed, as the notebook stores it.
type output struct {
	fields    map[string]any
	displayID string
}

// readNotebook reads a notebook and checks that it can be run.
func readNotebook(path string) (*notebook, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("notebook: %w", err)
	}
	nb, err := parseNotebook(b)
	if err != nil {
		return nil, fmt.Errorf("notebook %s: %w", path, err)
	}
	return nb, nil
}

func parseNotebook(b []byte) (*notebook, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var fields map[string]any
	if err := d.Decode(&fields); err != nil {
		return nil, fmt.Errorf("not a notebook: %s; want a JSON object, as JupyterLab saves it", notJSON(b, err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	if v := fmt.Sprint(fields["nbformat"]); v != "4" {
		return nil, fmt.Errorf("nbformat is %s, want 4; open it in JupyterLab and save it", strings.ReplaceAll(v, "<nil>", "missing"))
	}
	meta, _ := fields["metadata"].(map[string]any)
	spec, _ := meta["kernelspec"].(map[string]any)
	if lang, ok := spec["language"].(string); ok && lang != "go" {
		return nil, fmt.Errorf("its cells are in %s; this kernel runs Go", lang)
	}
	list, ok := fields["cells"].([]any)
	if !ok {
		return nil, errors.New("it has no list of cells")
	}
	nb := &notebook{fields: fields}
	for i, c := range list {
		f, ok := c.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("cell %d is not a JSON object", i+1)
		}
		nb.cells = append(nb.cells, newCell(f))
	}
	if !slices.ContainsFunc(nb.cells, func(c *nbCell) bool { return c.Type == "code" }) {
		return nil, errors.New("it has no code cells")
	}
	return nb, nil
}

// notJSON says where b stops being a JSON object.
func notJSON(b []byte, err error) string {
	syntax, isSyntax := errors.AsType[*json.SyntaxError](err)
	kind, isKind := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case len(bytes.TrimSpace(b)) == 0:
		return "the file is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the file ends in the middle of it"
	case isSyntax:
		before := b[:max(0, min(int(syntax.Offset)-1, len(b)))]
		line, column := bytes.Count(before, []byte("\n"))+1, len(before)-bytes.LastIndexByte(before, '\n')
		return fmt.Sprintf("line %d, column %d: %v", line, column, syntax)
	case isKind:
		return "the file holds a JSON " + kind.Value
	}
	return err.Error()
}

func newCell(f map[string]any) *nbCell {
	c := &nbCell{fields: f, Source: joined(f["source"])}
	c.Type, _ = f["cell_type"].(string)
	meta, _ := f["metadata"].(map[string]any)
	tags, _ := meta["tags"].([]any)
	for _, t := range tags {
		if s, ok := t.(string); ok {
			c.Tags = append(c.Tags, s)
		}
	}
	return c
}

// joined is a text that a notebook stores as one string or as a list of lines.
func joined(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var b strings.Builder
		for _, line := range v {
			s, _ := line.(string)
			b.WriteString(s)
		}
		return b.String()
	}
	return ""
}

// lines is a text as a notebook stores it.
func lines(s string) []string {
	if s == "" {
		return []string{}
	}
	l := strings.SplitAfter(s, "\n")
	if l[len(l)-1] == "" {
		l = l[:len(l)-1]
	}
	return l
}

// injectedTag marks the cell that holds parameters given from outside, as papermill has it.
const injectedTag = "injected-parameters"

// assignable is what may stand left of the = of a parameter.
var assignable = regexp.MustCompile(`^[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*$`)

// inject puts a cell with the assignments (each Name=value, value a Go expression) after
// the cell tagged parameters, in place of one put there earlier.
func (nb *notebook) inject(params []string) error {
	if len(params) == 0 {
		return nil
	}
	var src []string
	for _, p := range params {
		name, val, ok := strings.Cut(p, "=")
		name, val = strings.TrimSpace(name), strings.TrimSpace(val)
		if !ok || !assignable.MatchString(name) {
			return fmt.Errorf("parameter %q is not of the form Name=value", p)
		}
		if _, err := parser.ParseExpr(val); err != nil {
			return fmt.Errorf("parameter %q: the value is no Go expression; write a string as Name='\"text\"'", p)
		}
		src = append(src, name+" = "+val)
	}
	nb.cells = slices.DeleteFunc(nb.cells, func(c *nbCell) bool { return slices.Contains(c.Tags, injectedTag) })
	at := slices.IndexFunc(nb.cells, func(c *nbCell) bool {
		return c.Type == "code" && slices.Contains(c.Tags, "parameters")
	})
	if at < 0 {
		return errors.New("it has no code cell tagged parameters, after which they would go")
	}
	f := map[string]any{
		"cell_type": "code", "source": strings.Join(src, "\n"),
		"metadata": map[string]any{"tags": []any{injectedTag}},
	}
	if nb.hasIDs() {
		f["id"] = injectedTag
	}
	nb.cells = slices.Insert(nb.cells, at+1, newCell(f))
	return nil
}

// hasIDs reports whether cells have identifiers: from nbformat 4.5 on.
func (nb *notebook) hasIDs() bool {
	n, _ := nb.fields["nbformat_minor"].(json.Number)
	minor, err := n.Int64()
	return err == nil && minor >= 5
}

// clear empties what an earlier execution left in the code cells.
func (nb *notebook) clear() {
	for _, c := range nb.cells {
		c.Outputs, c.Count = nil, 0
	}
}

// encode is the notebook as nbformat writes it: sorted keys, indented by one, texts as
// lists of lines.
func (nb *notebook) encode() ([]byte, error) {
	cells := []any{}
	for _, c := range nb.cells {
		c.fields["source"] = lines(c.Source)
		if c.fields["metadata"] == nil {
			c.fields["metadata"] = map[string]any{}
		}
		if c.Type == "code" {
			outs := []any{}
			for _, o := range c.Outputs {
				outs = append(outs, o.stored())
			}
			c.fields["outputs"] = outs
			c.fields["execution_count"] = nil
			if c.Count > 0 {
				c.fields["execution_count"] = c.Count
			}
		}
		cells = append(cells, c.fields)
	}
	nb.fields["cells"] = cells
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(nb.fields); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// stored is the output with its texts split into lines.
func (o *output) stored() map[string]any {
	out := map[string]any{}
	for k, v := range o.fields {
		switch {
		case k == "text":
			v = lines(v.(string))
		case k == "data":
			data := map[string]any{}
			for mime, d := range v.(map[string]any) {
				if s, ok := d.(string); ok && (strings.HasPrefix(mime, "text/") || mime == "image/svg+xml") {
					data[mime] = lines(s)
				} else {
					data[mime] = d
				}
			}
			v = data
		}
		out[k] = v
	}
	return out
}

// writeFile writes a file whole or not at all: to a temporary one beside it, then renamed.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
