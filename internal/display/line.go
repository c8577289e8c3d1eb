package display

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"ddpmlab/internal/render"
)

// String is the progress in one line of text, with a bar while it runs:
//
//	ADM, seed 1 [#####---------------]  512/1500 it  8.31 it/s  1:59 left  loss 0.0812
func (p Progress) String() string { return p.line(20) }

// Bundle is the progress as HTML with a bar, and as text.
func (p Progress) Bundle() render.Bundle {
	var b strings.Builder
	b.WriteString(`<div style="white-space:normal">`)
	if p.Title != "" {
		b.WriteString("<strong>" + html.EscapeString(clean(p.Title)) + "</strong> ")
	}
	if p.Total > 0 {
		fmt.Fprintf(&b, `<progress value="%d" max="%d"></progress> `, p.done(), p.Total)
	}
	b.WriteString(html.EscapeString(strings.Join(p.facts(), " · ")))
	if p.Note != "" {
		b.WriteString("<br>" + html.EscapeString(clean(p.Note)))
	}
	b.WriteString("</div>\n")

	var out render.Bundle
	out.Set(render.HTML, []byte(b.String()))
	out.Set(render.Plain, []byte(p.String()))
	return out
}

// line is the progress in one line with a bar of the given width; 0 draws none.
func (p Progress) line(width int) string {
	var parts []string
	if p.Title != "" {
		parts = append(parts, clean(p.Title))
	}
	if p.State == Running && p.Total > 0 && width > 0 {
		full := int(int64(width) * p.done() / p.Total)
		parts = append(parts, "["+strings.Repeat("#", full)+strings.Repeat("-", width-full)+"]")
	}
	s := strings.Join(parts, " ")
	if facts := strings.Join(p.facts(), "  "); facts != "" {
		if s != "" {
			s += "  "
		}
		s += facts
	}
	if p.Note != "" {
		s += "; " + clean(p.Note)
	}
	return s
}

// facts are the pieces after title and bar.
func (p Progress) facts() []string {
	var out []string
	unit := ""
	if p.Unit != "" {
		unit = " " + clean(p.Unit)
	}
	switch {
	case p.Total > 0:
		out = append(out, fmt.Sprintf("%d/%d%s", p.Done, p.Total, unit))
	case p.Done > 0 || p.Unit != "":
		out = append(out, fmt.Sprintf("%d%s", p.Done, unit))
	}
	if p.Rate > 0 && !math.IsInf(p.Rate, 0) {
		out = append(out, FormatRate(p.Rate)+unit+"/s")
	}
	switch {
	case p.State == Running && p.ETA > 0:
		out = append(out, FormatDuration(p.ETA)+" left")
	case p.State.Final() && p.Elapsed > 0:
		out = append(out, p.State.String()+" after "+FormatDuration(p.Elapsed))
	case p.State.Final():
		out = append(out, p.State.String())
	}
	for _, v := range p.Values {
		out = append(out, clean(v.Name)+" "+strconv.FormatFloat(v.V, 'g', 4, 64))
	}
	return out
}

// done is Done within [0, Total].
func (p Progress) done() int64 { return max(0, min(p.Done, p.Total)) }

// FormatDuration is d as minutes:seconds, or hours:minutes:seconds from an hour on;
// below ten seconds with one decimal, as "3.2 s".
func FormatDuration(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	if d < 9950*time.Millisecond {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	s := int64(d.Round(time.Second) / time.Second)
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// FormatRate is r with three significant digits, never in powers of ten.
func FormatRate(r float64) string {
	digits := 0
	for limit := 100.0; r < limit && digits < 4; limit /= 10 {
		digits++
	}
	return strconv.FormatFloat(r, 'f', digits, 64)
}

// clean replaces control characters by spaces: a title must not move the cursor.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
}
