package render

import (
	"strings"
	"unicode"
)

// Classes of rows. A row of class "" is data.
const (
	// ClassPaper marks a row with the paper's own figures, set back from the data.
	ClassPaper = "paper"
	// ClassHead marks a row whose first cell is a heading across all columns.
	ClassHead = "head"
)

// Table is a small table, to be read by people. Cells are text, already formatted;
// each form (HTML, LaTeX, ...) escapes them.
type Table struct {
	Caption string
	Columns []Column
	Rows    []Row
	Notes   []string // printed below, one a line
	Sorts   bool     // a click on a heading sorts it, in notebooks
}

// Column is a column's heading and alignment.
type Column struct {
	Name  string
	Right bool // right-aligned, as numbers are
}

// Row is one row of cells. Missing cells are empty, surplus ones are not shown.
type Row struct {
	Cells []string
	Class string // "", ClassPaper or ClassHead
}

// headless reports that no column has a name: there is no head to show.
func (t *Table) headless() bool {
	for _, c := range t.Columns {
		if c.Name != "" {
			return false
		}
	}
	return true
}

// Left makes left-aligned columns of the given names.
func Left(names ...string) []Column { return columns(names, false) }

// Right makes right-aligned columns of the given names.
func Right(names ...string) []Column { return columns(names, true) }

func columns(names []string, right bool) []Column {
	out := make([]Column, len(names))
	for i, name := range names {
		out[i] = Column{Name: name, Right: right}
	}
	return out
}

// Add appends a row of data.
func (t *Table) Add(cells ...string) { t.AddClass("", cells...) }

// AddClass appends a row of the given class.
func (t *Table) AddClass(class string, cells ...string) {
	t.Rows = append(t.Rows, Row{Cells: cells, Class: class})
}

// Bundle is the table as HTML, LaTeX, Markdown and text. A nil table is an empty bundle.
func (t *Table) Bundle() Bundle {
	if t == nil {
		return Bundle{}
	}
	var b Bundle
	b.Set(HTML, []byte(t.HTML()))
	b.Set(LaTeX, []byte(t.LaTeX()))
	b.Set(Markdown, []byte(t.Markdown()))
	b.Set(Plain, []byte(t.Text()))
	return b
}

// String is the table as aligned text.
func (t *Table) String() string { return strings.TrimRight(t.Text(), "\n") }

// cell is the row's i-th cell, on one line and free of control characters.
func (r Row) cell(i int) string {
	if i >= len(r.Cells) {
		return ""
	}
	return oneLine(r.Cells[i])
}

// oneLine replaces line breaks and tabs by a space and drops other control characters,
// so that no cell can move a terminal's cursor or break a row.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, s))
}
