package render

import (
	"strings"
	"unicode"
)

// Markdown is the table in GitHub's dialect, with the caption above and notes below.
func (t *Table) Markdown() string {
	if t == nil {
		return ""
	}
	var b strings.Builder
	if t.Caption != "" {
		b.WriteString(EscapeMarkdown(oneLine(t.Caption)) + "\n\n")
	}
	b.WriteByte('|')
	for _, c := range t.Columns {
		b.WriteString(" " + EscapeMarkdown(oneLine(c.Name)) + " |")
	}
	b.WriteString("\n|")
	for _, c := range t.Columns {
		if c.Right {
			b.WriteString(" ---: |")
		} else {
			b.WriteString(" :--- |")
		}
	}
	b.WriteByte('\n')
	for _, r := range t.Rows {
		b.WriteByte('|')
		for i := range t.Columns {
			cell := EscapeMarkdown(r.cell(i))
			switch {
			case r.Class == ClassHead && i > 0:
				cell = ""
			case r.Class == ClassHead && cell != "":
				cell = "**" + cell + "**"
			case r.Class == ClassPaper && cell != "":
				cell = "*" + cell + "*"
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteByte('\n')
	}
	for _, note := range t.Notes {
		b.WriteString("\n" + EscapeMarkdown(oneLine(note)) + "\n")
	}
	return b.String()
}

// EscapeMarkdown makes text safe inside a Markdown table: no emphasis, link, HTML,
// formula or cell border arises from it.
func EscapeMarkdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch r {
		case '\\', '`', '*', '_', '[', ']', '|', '$', '~', '#':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '&':
			b.WriteString("&amp;")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Text is the table as aligned columns two spaces apart, with a rule under the head, if
// a column has a name.
// It is complete: logs, terminals and other programs read it.
func (t *Table) Text() string {
	if t == nil {
		return ""
	}
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = textWidth(oneLine(c.Name))
		for _, r := range t.Rows {
			if r.Class != ClassHead {
				widths[i] = max(widths[i], textWidth(r.cell(i)))
			}
		}
	}
	var b strings.Builder
	if t.Caption != "" {
		b.WriteString(oneLine(t.Caption) + "\n")
	}
	heads, rules := Row{}, Row{}
	for i, c := range t.Columns {
		heads.Cells = append(heads.Cells, c.Name)
		rules.Cells = append(rules.Cells, strings.Repeat("-", widths[i]))
	}
	if !t.headless() {
		t.textRow(&b, heads, widths)
		t.textRow(&b, rules, widths)
	}
	for _, r := range t.Rows {
		if r.Class == ClassHead {
			b.WriteString(r.cell(0) + "\n")
			continue
		}
		t.textRow(&b, r, widths)
	}
	for _, note := range t.Notes {
		b.WriteString(oneLine(note) + "\n")
	}
	return b.String()
}

func (t *Table) textRow(b *strings.Builder, r Row, widths []int) {
	var line strings.Builder
	for i, c := range t.Columns {
		if i > 0 {
			line.WriteString("  ")
		}
		cell := r.cell(i)
		pad := strings.Repeat(" ", widths[i]-textWidth(cell))
		if c.Right {
			line.WriteString(pad + cell)
		} else {
			line.WriteString(cell + pad)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// textWidth is the number of terminal columns s takes: combining marks none, wide East
// Asian characters and emoji two.
func textWidth(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
			r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60,
			r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
			n += 2
		default:
			n++
		}
	}
	return n
}
