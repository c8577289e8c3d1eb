package kernel

import (
	"go/token"
	"strings"

	"github.com/cosmos72/gomacro/go/etoken"
	"github.com/cosmos72/gomacro/go/scanner"
)

// wrapLiterals puts parentheses around statements of a cell's top level that begin with a
// function literal, as func() { ... }(): gomacro takes them for declarations. Lines stay
// where they are.
func wrapLiterals(src string) string {
	if !strings.Contains(src, "func") {
		return src
	}
	type tok struct {
		offset int
		kind   token.Token
	}
	var toks []tok
	fset := etoken.NewFileSet()
	file := fset.AddFile("cell", -1, len(src), 0)
	var s scanner.Scanner
	s.Init(file, []byte(src), func(token.Position, string) {}, 0, '~')
	for {
		pos, kind, _ := s.Scan()
		toks = append(toks, tok{file.Offset(pos), kind})
		if kind == token.EOF {
			break
		}
	}

	var b strings.Builder
	written := 0
	insert := func(at int, text string) {
		b.WriteString(src[written:at] + text)
		written = at
	}
	depth, begin, literal := 0, true, false
	for i, t := range toks {
		switch t.kind {
		case token.LPAREN, token.LBRACE, token.LBRACK:
			depth++
		case token.RPAREN, token.RBRACE, token.RBRACK:
			depth--
		}
		ends := depth == 0 && t.kind == token.SEMICOLON || t.kind == token.EOF
		if ends && literal {
			insert(min(t.offset, len(src)), ")")
			literal = false
		}
		if begin && t.kind == token.FUNC && i+1 < len(toks) && toks[i+1].kind == token.LPAREN {
			end, d := i+1, 0 // end: the parameters' closing parenthesis
			for ; end < len(toks); end++ {
				switch toks[end].kind {
				case token.LPAREN:
					d++
				case token.RPAREN:
					d--
				}
				if d == 0 {
					break
				}
			}
			method := end+2 < len(toks) && toks[end+1].kind == token.IDENT && toks[end+2].kind == token.LPAREN
			if !method {
				insert(t.offset, "(")
				literal = true
			}
		}
		begin = ends
	}
	return b.String() + src[written:]
}
