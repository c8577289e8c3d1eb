package render

import (
	"fmt"
	"html"
	"strings"
)

// Styles are written inline because JupyterLab's sanitizer drops <style> elements, and
// colours are chosen to be read on light and dark themes alike.
const (
	htmlGrey   = "#767676"
	htmlNumber = "text-align:right"
	htmlWord   = "text-align:left"
)

// HTML is the table as a <table> with caption, head, body and notes in the foot.
// All text is escaped.
func (t *Table) HTML() string {
	if t == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString("<table class=\"ddpmlab\">\n")
	if t.Caption != "" {
		fmt.Fprintf(&b, "<caption style=\"%s\">%s</caption>\n", htmlWord, html.EscapeString(oneLine(t.Caption)))
	}
	if !t.headless() {
		b.WriteString("<thead>\n<tr>")
		for _, c := range t.Columns {
			fmt.Fprintf(&b, "<th scope=\"col\" style=\"%s\">%s</th>", htmlAlign(c), html.EscapeString(oneLine(c.Name)))
		}
		b.WriteString("</tr>\n</thead>\n")
	}
	b.WriteString("<tbody>\n")
	for _, r := range t.Rows {
		t.htmlRow(&b, r)
	}
	b.WriteString("</tbody>\n")
	if len(t.Notes) > 0 {
		b.WriteString("<tfoot>\n")
		for _, note := range t.Notes {
			fmt.Fprintf(&b, "<tr><td colspan=\"%d\" style=\"%s;color:%s\">%s</td></tr>\n",
				max(1, len(t.Columns)), htmlWord, htmlGrey, html.EscapeString(oneLine(note)))
		}
		b.WriteString("</tfoot>\n")
	}
	b.WriteString("</table>\n")
	return b.String()
}

func (t *Table) htmlRow(b *strings.Builder, r Row) {
	if r.Class == ClassHead {
		fmt.Fprintf(b, "<tr><th scope=\"colgroup\" colspan=\"%d\" style=\"%s\">%s</th></tr>\n",
			max(1, len(t.Columns)), htmlWord, html.EscapeString(r.cell(0)))
		return
	}
	style := ""
	if r.Class == ClassPaper {
		style = ";font-style:italic;color:" + htmlGrey
	}
	b.WriteString("<tr>")
	for i, c := range t.Columns {
		fmt.Fprintf(b, "<td style=\"%s%s\">%s</td>", htmlAlign(c), style, html.EscapeString(r.cell(i)))
	}
	b.WriteString("</tr>\n")
}

func htmlAlign(c Column) string {
	if c.Right {
		return htmlNumber
	}
	return htmlWord
}
