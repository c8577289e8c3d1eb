package kernel

import (
	"strings"
	"testing"
)

func TestPage(t *testing.T) {
	nb, err := parseNotebook([]byte(`{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
		{"cell_type": "markdown", "metadata": {}, "source": "# <i>T</i>\n<script>alert(1)</script>"},
		{"cell_type": "code", "metadata": {}, "source": "x := \"</pre><script>\" // <c>"},
		{"cell_type": "raw", "metadata": {}, "source": "raw"},
		{"cell_type": "code", "metadata": {}, "source": ""}]}`))
	if err != nil {
		t.Fatal(err)
	}
	code := nb.cells[1]
	code.Count = 3
	for _, f := range []map[string]any{
		{"output_type": "stream", "name": "stdout", "text": "a < b\n"},
		{"output_type": "error", "traceback": []string{"\x1b[31mred\x1b[0m", "<b>"}},
		{"output_type": "display_data", "data": map[string]any{"text/plain": "alt \"q\"", "image/svg+xml": "<svg/>", "image/png": "iVBOR"}},
		{"output_type": "display_data", "data": map[string]any{"text/plain": "p", "image/png": "iVBOR"}},
		{"output_type": "execute_result", "data": map[string]any{"text/plain": "p", "text/html": "<table><tr><td>1</td></tr></table>"}},
		{"output_type": "execute_result", "data": map[string]any{"text/plain": "<plain>"}},
		{"output_type": "execute_result", "data": map[string]any{"text/markdown": "**m** <x>"}},
	} {
		code.append(f, "")
	}
	b, err := nb.page("a & b")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, want := range []string{
		"<title>a &amp; b</title>",
		"<h1>&lt;i&gt;T&lt;/i&gt;</h1>", "&lt;script&gt;alert(1)&lt;/script&gt;",
		`x := <span class="s">&#34;&lt;/pre&gt;&lt;script&gt;&#34;</span> <span class="c">// &lt;c&gt;</span>`,
		`<div class="n">[3]</div>`,
		"<pre>a &lt; b\n</pre>",
		"<pre>red\n&lt;b&gt;</pre>",
		`<img alt="alt &#34;q&#34;" src="data:image/svg+xml;base64,PHN2Zy8+">`,
		`<img alt="p" src="data:image/png;base64,iVBOR">`,
		"<table><tr><td>1</td></tr></table>",
		"<pre>&lt;plain&gt;</pre>",
		"<strong>m</strong> &lt;x&gt;",
		`content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %s", want)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, ">raw<") {
		t.Error("page holds a script or a raw cell")
	}
}

func TestMarkdown(t *testing.T) {
	tests := []struct{ src, want string }{
		{"## A *b* `c*d*`", "<h2>A <em>b</em> <code>c*d*</code></h2>\n"},
		{"one\ntwo\n\nthree", "<p>one\ntwo</p>\n<p>three</p>\n"},
		{"- a\n  more\n- **b**\n\n1. c", "<ul>\n<li>a\nmore</li>\n<li><strong>b</strong></li>\n</ul>\n<ol>\n<li>c</li>\n</ol>\n"},
		{"```go\nx < y\n```\nafter", "<pre>x &lt; y</pre>\n<p>after</p>\n"},
		{"```\nopen", "<pre>open</pre>\n"},
		{"> q\n> r", "<blockquote>\n<p>q\nr</p>\n</blockquote>\n"},
		{"| a | b |\n|---|--:|\n| 1 | `x` |", "<table>\n<tr><th>a</th><th>b</th></tr>\n<tr><td>1</td><td><code>x</code></td></tr>\n</table>\n"},
		{"[t](https://x.org/a) [r](b.ipynb) [j](javascript:alert)", "<p><a href=\"https://x.org/a\">t</a> <a href=\"b.ipynb\">r</a> [j](javascript:alert)</p>\n"},
		{"2 * 3 * 4 and a_b_c", "<p>2 * 3 * 4 and a_b_c</p>\n"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := string(markdown(tt.src)); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.src, got, tt.want)
		}
	}
}

// FuzzNotebook reads what is no notebook, and writes what is one.
func FuzzNotebook(f *testing.F) {
	f.Add([]byte(`{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "id": "a", "source": ["x\n", "y"], "metadata": {"tags": ["parameters"]}, "outputs": [{}]}]}`))
	f.Add([]byte(`{"nbformat": 4, "cells": [{"cell_type": "code", "source": 7, "metadata": []}, {"cell_type": "markdown", "source": "| a\n|-"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		nb, err := parseNotebook(data)
		if err != nil {
			return
		}
		nb.inject([]string{"n=1"})
		nb.clear()
		if _, err := nb.page("x"); err != nil {
			t.Errorf("page: %v", err)
		}
		b, err := nb.encode()
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		if _, err := parseNotebook(b); err != nil {
			t.Errorf("read again: %v", err)
		}
	})
}

// TestStream feeds a captured stream in pieces of every size.
func TestStream(t *testing.T) {
	const text = "aé\x00b€\x00\x00c"
	for size := 1; size < 40; size++ {
		var got []string
		s := &stream{mark: []byte("\x00mark\x00"), passed: make(chan struct{}, 9), emit: func(_, text string) { got = append(got, text) }}
		data := []byte(text + "\x00mark\x00" + text + "\x00mark\x00")
		for len(data) > 0 {
			n := min(size, len(data))
			s.take(data[:n])
			data = data[n:]
		}
		if all := strings.Join(got, ""); all != text+text {
			t.Errorf("pieces of %d: got %q", size, all)
		}
		if len(s.passed) != 2 {
			t.Errorf("pieces of %d: %d marks, want 2", size, len(s.passed))
		}
	}
}
