package render

import (
	"fmt"
	"regexp"
	"strings"
)

// LaTeX is the table as a float with booktabs rules (\usepackage{booktabs}).
// All text is escaped; letters that pdflatex lacks become math.
func (t *Table) LaTeX() string {
	if t == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString("\\begin{table}[htbp]\n\\centering\n")
	if t.Caption != "" {
		fmt.Fprintf(&b, "\\caption{%s}\n", EscapeLaTeX(oneLine(t.Caption)))
	}
	b.WriteString("\\begin{tabular}{")
	for _, c := range t.Columns {
		if c.Right {
			b.WriteByte('r')
		} else {
			b.WriteByte('l')
		}
	}
	b.WriteString("}\n\\toprule\n")
	cells := make([]string, len(t.Columns))
	if !t.headless() {
		for i, c := range t.Columns {
			cells[i] = EscapeLaTeX(oneLine(c.Name))
		}
		latexRow(&b, cells)
		b.WriteString("\\midrule\n")
	}
	for i, r := range t.Rows {
		if r.Class == ClassHead {
			if i > 0 {
				b.WriteString("\\midrule\n")
			}
			fmt.Fprintf(&b, "\\multicolumn{%d}{l}{\\textbf{%s}} \\\\\n", max(1, len(t.Columns)), EscapeLaTeX(r.cell(0)))
			continue
		}
		for i := range cells {
			cells[i] = EscapeLaTeX(r.cell(i))
			if r.Class == ClassPaper && cells[i] != "" {
				cells[i] = "\\textit{" + cells[i] + "}"
			}
		}
		latexRow(&b, cells)
	}
	b.WriteString("\\bottomrule\n\\end{tabular}\n")
	for _, note := range t.Notes {
		fmt.Fprintf(&b, "\\par\\footnotesize %s\n", EscapeLaTeX(oneLine(note)))
	}
	b.WriteString("\\end{table}\n")
	return b.String()
}

// latexRow writes one row. A cell that opens with "[" or "*" would be read as an argument
// of the preceding \\, hence the empty group.
func latexRow(b *strings.Builder, cells []string) {
	if len(cells) > 0 && cells[0] != "" && strings.ContainsAny(cells[0][:1], "[*") {
		b.WriteString("{}")
	}
	b.WriteString(strings.Join(cells, " & "))
	b.WriteString(" \\\\\n")
}

// latexRunes are the characters with a meaning in LaTeX, and those the tables use that
// pdflatex with its default fonts does not have.
var latexRunes = map[rune]string{
	'\\': `\textbackslash{}`, '{': `\{`, '}': `\}`, '$': `\$`, '&': `\&`, '#': `\#`, '%': `\%`,
	'_': `\_`, '^': `\textasciicircum{}`, '~': `\textasciitilde{}`, '<': `\textless{}`,
	'>': `\textgreater{}`, '|': `\textbar{}`, '"': "''",
	'±': `$\pm$`, '×': `$\times$`, '·': `$\cdot$`, '−': `$-$`, '≤': `$\le$`, '≥': `$\ge$`,
	'≈': `$\approx$`, '∞': `$\infty$`, '→': `$\to$`, '²': `$^2$`, '³': `$^3$`, '₀': `$_0$`,
	'√': `$\surd$`, '‖': `$\Vert$`, '°': `$^\circ$`,
	'α': `$\alpha$`, 'β': `$\beta$`, 'γ': `$\gamma$`, 'δ': `$\delta$`, 'ε': `$\varepsilon$`,
	'ϵ': `$\epsilon$`, 'θ': `$\theta$`, 'λ': `$\lambda$`, 'μ': `$\mu$`, 'ξ': `$\xi$`,
	'σ': `$\sigma$`, 'τ': `$\tau$`, 'η': `$\eta$`, 'Δ': `$\Delta$`,
	'–': `--`, '—': `---`, '…': `\ldots{}`, '“': "``", '”': `''`, '’': `'`, '‘': "`",
	'†': `\textdagger{}`, '‡': `\textdaggerdbl{}`, '\u00a0': `~`, '\u2009': `\,`,
}

// EscapeLaTeX makes text safe inside a LaTeX document.
func EscapeLaTeX(s string) string {
	var b strings.Builder
	for _, r := range s {
		if to, ok := latexRunes[r]; ok {
			b.WriteString(to)
		} else {
			b.WriteRune(r)
		}
	}
	return indexed.ReplaceAllString(b.String(), `${1}_{\mathit{$2}}$$`)
}

// indexed is an escaped Greek letter with an index, as λ_wd.
var indexed = regexp.MustCompile(`(\$\\[a-zA-Z]+)\$\\_([0-9A-Za-z]+)`)
