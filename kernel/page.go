package kernel

import (
	"bytes"
	"encoding/base64"
	"go/scanner"
	"go/token"
	"html/template"
	"regexp"
	"strings"

	"ddpmlab/internal/render"
)

// page is the notebook as one HTML file that needs nothing else: no script, no link.
func (nb *notebook) page(title string) ([]byte, error) {
	view := pageView{Title: title}
	for _, c := range nb.cells {
		cv := cellView{Type: c.Type, Count: c.Count}
		switch c.Type {
		case "markdown":
			cv.HTML = markdown(c.Source)
		case "code":
			if strings.TrimSpace(c.Source) == "" {
				continue
			}
			cv.HTML = highlight(c.Source)
			for _, o := range c.Outputs {
				cv.Outputs = append(cv.Outputs, outputHTML(o.fields))
			}
		default:
			continue
		}
		view.Cells = append(view.Cells, cv)
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, view); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

type pageView struct {
	Title string
	Cells []cellView
}

type cellView struct {
	Type    string
	Count   int
	HTML    template.HTML
	Outputs []template.HTML
}

// The policy keeps HTML that a cell made from running scripts or loading anything.
var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{.Title}}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff; }
pre, code { font: 13px/1.45 ui-monospace, Menlo, Consolas, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.cell { margin: 1rem 0; }
.in { display: flex; gap: .6rem; }
.in pre { flex: 1; background: #f6f6f4; border: 1px solid #e2e2dc; border-radius: 4px; padding: .5rem .7rem; }
.n { width: 2.6rem; text-align: right; color: #777; font: 13px/2.4 ui-monospace, monospace; flex: none; }
.out { margin: .4rem 0 0 3.2rem; overflow-x: auto; }
.out img { max-width: 100%; }
.out.stderr pre { background: #fff3f0; }
.out.error pre { background: #fde8e4; border-left: 3px solid #c0392b; padding: .5rem .7rem; }
table { border-collapse: collapse; font-size: 14px; }
td, th { padding: .2rem .6rem; border-bottom: 1px solid #e2e2dc; }
.k { color: #7a2a82; } .s { color: #9a4a00; } .c { color: #6a737d; font-style: italic; } .d { color: #1f5fa8; }
:not(pre) > code { background: #f3f3f0; padding: 0 .2em; border-radius: 3px; }
</style>
</head>
<body>
{{range .Cells}}<div class="cell">
{{if eq .Type "code"}}<div class="in"><div class="n">{{if .Count}}[{{.Count}}]{{end}}</div><pre>{{.HTML}}</pre></div>
{{range .Outputs}}{{.}}
{{end}}{{else}}{{.HTML}}{{end}}</div>
{{end}}</body>
</html>
`))

// outputHTML is one output: its richest form.
func outputHTML(f map[string]any) template.HTML {
	esc := template.HTMLEscapeString
	div := func(class, body string) template.HTML {
		return template.HTML(`<div class="out ` + class + `">` + body + `</div>`)
	}
	switch f["output_type"] {
	case "stream":
		name, _ := f["name"].(string)
		text, _ := f["text"].(string)
		return div(esc(name), "<pre>"+esc(text)+"</pre>")
	case "error":
		trace, _ := f["traceback"].([]string)
		return div("error", "<pre>"+esc(ansi.ReplaceAllString(strings.Join(trace, "\n"), ""))+"</pre>")
	}
	data, _ := f["data"].(map[string]any)
	get := func(mime string) string {
		s, _ := data[mime].(string)
		return s
	}
	alt := esc(strings.TrimSpace(get(render.Plain)))
	switch {
	case get(render.HTML) != "":
		return div("html", get(render.HTML)) // from a cell; the page's policy runs no script
	case get(render.SVG) != "":
		src := base64.StdEncoding.EncodeToString([]byte(get(render.SVG)))
		return div("image", `<img alt="`+alt+`" src="data:image/svg+xml;base64,`+src+`">`)
	case get(render.PNG) != "":
		return div("image", `<img alt="`+alt+`" src="data:image/png;base64,`+esc(get(render.PNG))+`">`)
	case get("image/jpeg") != "":
		return div("image", `<img alt="`+alt+`" src="data:image/jpeg;base64,`+esc(get("image/jpeg"))+`">`)
	case get(render.Markdown) != "":
		return div("markdown", string(markdown(get(render.Markdown))))
	}
	return div("text", "<pre>"+esc(get(render.Plain))+"</pre>")
}

// ansi is a terminal's colour sequence.
var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

// highlight is Go source with keywords, literals and comments marked.
func highlight(src string) template.HTML {
	var b strings.Builder
	fset := token.NewFileSet()
	var s scanner.Scanner
	s.Init(fset.AddFile("", -1, len(src)), []byte(src), func(token.Position, string) {}, scanner.ScanComments)
	end := 0 // of what is written
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			break
		}
		class := ""
		switch {
		case tok.IsKeyword():
			class = "k"
		case tok == token.STRING || tok == token.CHAR:
			class = "s"
		case tok == token.COMMENT:
			class = "c"
		case tok == token.INT || tok == token.FLOAT || tok == token.IMAG:
			class = "d"
		}
		at := fset.Position(pos).Offset
		if class == "" || at < end || at+len(lit) > len(src) || src[at:at+len(lit)] != lit {
			continue
		}
		b.WriteString(template.HTMLEscapeString(src[end:at]))
		b.WriteString(`<span class="` + class + `">` + template.HTMLEscapeString(lit) + `</span>`)
		end = at + len(lit)
	}
	b.WriteString(template.HTMLEscapeString(src[end:]))
	return template.HTML(b.String())
}
