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

// htmlSort sorts the body by a column when its heading is clicked, and the other way round
// at the next click: by number where both cells begin with one, with what has none last.
// Without scripts, as in an untrusted notebook, nothing happens. An attribute, because a
// saved notebook's <script> elements may not run.
const htmlSort = `(function(h){var i=h.cellIndex,b=h.closest('table').tBodies[0],d=h.dataset.d=h.dataset.d==='1'?'-1':'1',` +
	`v=function(r){var s=r.cells[i].textContent.trim(),n=parseFloat(s);return isNaN(n)?s:n};` +
	`Array.from(b.rows).sort(function(x,y){x=v(x);y=v(y);var p=typeof x==='number',q=typeof y==='number';` +
	`return p!==q?(p?-1:1):(x<y?-1:x>y?1:0)*d}).forEach(function(r){b.appendChild(r)})})(this)`

// sortable reports that the rows may be put in any order: there are several, and no
// headings between them.
func (t *Table) sortable() bool {
	for _, r := range t.Rows {
		if r.Class != "" {
			return false
		}
	}
	return len(t.Rows) > 2
}

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
		sort := ""
		if t.Sorts && t.sortable() {
			sort = `;cursor:pointer" title="sort" onclick="` + html.EscapeString(htmlSort)
		}
		for _, c := range t.Columns {
			fmt.Fprintf(&b, "<th scope=\"col\" style=\"%s%s\">%s</th>", htmlAlign(c), sort, html.EscapeString(oneLine(c.Name)))
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
