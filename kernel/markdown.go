package kernel

import (
	"fmt"
	"html/template"
	"regexp"
	"strings"
)

// markdown turns a notebook's text into HTML: headings, paragraphs, lists, quotes, code,
// tables, emphasis and links. Everything else, HTML included, stays as text.
func markdown(src string) template.HTML {
	var b strings.Builder
	blocks(&b, strings.Split(strings.ReplaceAll(src, "\r\n", "\n"), "\n"))
	return template.HTML(b.String())
}

var (
	headingLine = regexp.MustCompile(`^(#{1,6})\s+(.*?)\s*#*$`)
	itemLine    = regexp.MustCompile(`^\s*(?:[-*+]|(\d+)[.)])\s+(.*)$`)
	tableRule   = regexp.MustCompile(`^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$`)
)

func blocks(b *strings.Builder, ls []string) {
	for i := 0; i < len(ls); {
		l := ls[i]
		switch {
		case strings.TrimSpace(l) == "":
			i++
		case strings.HasPrefix(strings.TrimSpace(l), "```"):
			j := i + 1
			for j < len(ls) && !strings.HasPrefix(strings.TrimSpace(ls[j]), "```") {
				j++
			}
			b.WriteString("<pre>" + template.HTMLEscapeString(strings.Join(ls[i+1:min(j, len(ls))], "\n")) + "</pre>\n")
			i = j + 1
		case headingLine.MatchString(l):
			m := headingLine.FindStringSubmatch(l)
			fmt.Fprintf(b, "<h%d>%s</h%d>\n", len(m[1]), inline(m[2]), len(m[1]))
			i++
		case strings.HasPrefix(l, ">"):
			var quoted []string
			for ; i < len(ls) && strings.HasPrefix(ls[i], ">"); i++ {
				quoted = append(quoted, strings.TrimPrefix(strings.TrimPrefix(ls[i], ">"), " "))
			}
			b.WriteString("<blockquote>\n")
			blocks(b, quoted)
			b.WriteString("</blockquote>\n")
		case itemLine.MatchString(l):
			i = list(b, ls, i)
		case strings.Contains(l, "|") && i+1 < len(ls) && tableRule.MatchString(ls[i+1]):
			i = table(b, ls, i)
		default:
			var text []string
			for ; i < len(ls) && strings.TrimSpace(ls[i]) != "" && !startsBlock(ls[i]); i++ {
				text = append(text, strings.TrimSpace(ls[i]))
			}
			b.WriteString("<p>" + inline(strings.Join(text, "\n")) + "</p>\n")
		}
	}
}

func startsBlock(l string) bool {
	return headingLine.MatchString(l) || itemLine.MatchString(l) || strings.HasPrefix(l, ">") ||
		strings.HasPrefix(strings.TrimSpace(l), "```")
}

// list writes a list, without nesting, and returns the line after it.
func list(b *strings.Builder, ls []string, i int) int {
	tag := "ul"
	if itemLine.FindStringSubmatch(ls[i])[1] != "" {
		tag = "ol"
	}
	b.WriteString("<" + tag + ">\n")
	for i < len(ls) {
		m := itemLine.FindStringSubmatch(ls[i])
		if m == nil {
			break
		}
		text := []string{m[2]}
		for i++; i < len(ls) && strings.TrimSpace(ls[i]) != "" && !startsBlock(ls[i]); i++ {
			text = append(text, strings.TrimSpace(ls[i]))
		}
		b.WriteString("<li>" + inline(strings.Join(text, "\n")) + "</li>\n")
	}
	b.WriteString("</" + tag + ">\n")
	return i
}

// table writes a table and returns the line after it.
func table(b *strings.Builder, ls []string, i int) int {
	row := func(l, tag string) {
		b.WriteString("<tr>")
		for _, c := range strings.Split(strings.Trim(strings.TrimSpace(l), "|"), "|") {
			b.WriteString("<" + tag + ">" + inline(strings.TrimSpace(c)) + "</" + tag + ">")
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("<table>\n")
	row(ls[i], "th")
	for i += 2; i < len(ls) && strings.Contains(ls[i], "|"); i++ {
		row(ls[i], "td")
	}
	b.WriteString("</table>\n")
	return i
}

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	strong   = regexp.MustCompile(`\*\*(\S(?:.*?\S)?)\*\*`)
	emphasis = regexp.MustCompile(`(^|[^\w*])\*([^\s*](?:[^*]*[^\s*])?)\*`)
	link     = regexp.MustCompile(`\[([^\]]+)\]\((https?://[^)\s]+|[\w./#-]+)\)`)
)

// inline marks up a run of text. Code spans are cut out first: nothing in them is markup.
func inline(s string) string {
	var b strings.Builder
	for {
		m := codeSpan.FindStringSubmatchIndex(s)
		if m == nil {
			b.WriteString(spans(s))
			return b.String()
		}
		b.WriteString(spans(s[:m[0]]))
		b.WriteString("<code>" + template.HTMLEscapeString(s[m[2]:m[3]]) + "</code>")
		s = s[m[1]:]
	}
}

func spans(s string) string {
	s = template.HTMLEscapeString(s)
	s = link.ReplaceAllString(s, `<a href="$2">$1</a>`)
	s = strong.ReplaceAllString(s, "<strong>$1</strong>")
	return emphasis.ReplaceAllString(s, "$1<em>$2</em>")
}
