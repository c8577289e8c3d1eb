package render_test

import (
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ddpmlab/internal/render"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample is a table with everything a table can have.
func sample() *render.Table {
	t := &render.Table{
		Caption: "Table 3. FD (fashion-cnn) & <friends>, γ = 0.1",
		Columns: append(render.Left("variant"), render.Right("FD", "seeds")...),
		Notes:   []string{"n = 1 is one seed: 50% luck | no ± at all."},
	}
	t.Add("ADM_WD", "12.34", "1")
	t.Add("DDPM-IP", "9.87 ± 0.10", "3")
	t.AddClass(render.ClassHead, "the paper's Table 3: not comparable")
	t.AddClass(render.ClassPaper, "ADM", "3.58")
	return t
}

func TestTableForms(t *testing.T) {
	forms := map[string]string{
		"table.html": sample().HTML(), "table.tex": sample().LaTeX(),
		"table.md": sample().Markdown(), "table.txt": sample().Text(),
	}
	for name, got := range forms {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// A table sorts where it is asked to, has several rows, and no headings between them.
func TestSorts(t *testing.T) {
	table := &render.Table{Columns: render.Right("a", "b"), Sorts: true}
	for _, cell := range []string{"3", "1", "2"} {
		table.Add(cell, "x")
	}
	page := table.HTML()
	if strings.Count(page, "onclick=") != 2 {
		t.Errorf("got\n%s\nwant two headings to click on", page)
	}
	if err := xml.Unmarshal([]byte(page), new(struct{})); err != nil {
		t.Errorf("the page is not well-formed: %v", err)
	}
	table.AddClass(render.ClassHead, "a heading")
	plain := sample()
	plain.Sorts = true
	for _, other := range []*render.Table{table, plain} {
		if page := other.HTML(); strings.Contains(page, "onclick") {
			t.Errorf("got\n%s\nwant a table that does not sort", page)
		}
	}
}

// A table whose columns have no names, as a run's card, has no head and no rule for one.
func TestHeadless(t *testing.T) {
	table := &render.Table{Caption: "run", Columns: render.Left("", "")}
	table.Add("status", "finished")
	if got, want := table.Text(), "run\nstatus  finished\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := table.HTML(); strings.Contains(got, "<th") {
		t.Errorf("got %q, want no head", got)
	}
	if got := table.LaTeX(); strings.Contains(got, "midrule") {
		t.Errorf("got %q, want no rule below a head", got)
	}
}

// hostile is text that would break each form if it were not escaped.
const hostile = "<script>alert(1)</script> \"a\" & $x_1^2$ \\input{x} 50% #1 {~} | `c` *b* [l](u)\n\x1b[31mred\r\tend"

func TestEscaping(t *testing.T) {
	table := &render.Table{Caption: hostile, Columns: render.Left(hostile, "b"), Notes: []string{hostile}}
	table.Add(hostile, "x")
	table.AddClass(render.ClassHead, hostile)
	table.AddClass(render.ClassPaper, "[1]", hostile)
	table.Add("[2]")
	table.Add("*")

	t.Run("html", func(t *testing.T) {
		got := table.HTML()
		if strings.Contains(got, "<script") {
			t.Errorf("script element in %s", got)
		}
		dec := xml.NewDecoder(strings.NewReader(got))
		for {
			if _, err := dec.Token(); err != nil {
				if err.Error() != "EOF" {
					t.Errorf("not well formed: %v in %s", err, got)
				}
				break
			}
		}
	})
	t.Run("latex", func(t *testing.T) {
		got := table.LaTeX()
		for _, bad := range []string{"<", "\\input", " $x", "50% ", " #", "\\\\\n[", "\\\\\n*"} {
			if strings.Contains(got, bad) {
				t.Errorf("%q left in %s", bad, got)
			}
		}
		if open, shut := strings.Count(got, "{")-strings.Count(got, `\{`), strings.Count(got, "}")-strings.Count(got, `\}`); open != shut {
			t.Errorf("%d open braces, %d closed in %s", open, shut, got)
		}
	})
	t.Run("markdown", func(t *testing.T) {
		got := table.Markdown()
		if strings.Contains(got, "<") {
			t.Errorf("HTML left in %s", got)
		}
		for _, line := range strings.Split(got, "\n") {
			if cells := strings.Count(line, "|") - strings.Count(line, `\|`); strings.HasPrefix(line, "|") && cells != 3 {
				t.Errorf("%d cell borders, want 3, in %q", cells, line)
			}
		}
	})
	t.Run("text", func(t *testing.T) {
		got := table.Text()
		if strings.ContainsAny(got, "\x1b\r\t") {
			t.Errorf("control characters in %q", got)
		}
		if lines := strings.Count(got, "\n"); lines != 9 { // caption, head, rule, five rows, note
			t.Errorf("%d lines, want 9, in %q", lines, got)
		}
	})
}

func TestTextAligns(t *testing.T) {
	table := &render.Table{Columns: append(render.Left("name"), render.Right("v")...)}
	table.Add("x̂0", "1")    // a combining mark takes no column
	table.Add("拡散", "10")    // wide characters take two
	table.Add("long name")   // a missing cell
	table.Add("a", "2", "3") // a surplus one
	const want = "name        v\n" +
		"---------  --\n" +
		"x̂0          1\n" +
		"拡散       10\n" +
		"long name\n" +
		"a           2\n"
	if got := table.Text(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestEmptyTables(t *testing.T) {
	var none *render.Table
	if b := none.Bundle(); !b.Empty() || none.String() != "" || none.HTML() != "" {
		t.Errorf("nil table: got %v", b)
	}
	empty := &render.Table{}
	for _, mime := range []string{render.HTML, render.LaTeX, render.Markdown, render.Plain} {
		if _, ok := empty.Bundle().Data[mime]; !ok {
			t.Errorf("empty table lacks %s", mime)
		}
	}
}

func TestBundle(t *testing.T) {
	var b render.Bundle
	if !b.Empty() {
		t.Error("zero bundle is not empty")
	}
	b.Set(render.PNG, []byte{1})
	b.SetSize(render.PNG, 640, 400)
	if b.Empty() || b.Meta[render.PNG]["width"] != 640 || b.Meta[render.PNG]["height"] != 400 {
		t.Errorf("got %+v", b)
	}
	if got := render.Text("a\n").String(); got != "a" {
		t.Errorf("got %q, want %q", got, "a")
	}
}
