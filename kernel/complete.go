package kernel

import (
	"fmt"
	"go/token"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cosmos72/gomacro/fast"
	"github.com/cosmos72/gomacro/go/etoken"
	"github.com/cosmos72/gomacro/go/parser"
	"github.com/cosmos72/gomacro/go/scanner"
	xr "github.com/cosmos72/gomacro/xreflect"
)

// Complete completes the identifier or member before pos.
func (g *gomacro) Complete(src string, pos int) (names []string, start int) {
	chain := chainBefore(src[:pos])
	start = pos - len(chain[len(chain)-1])
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() {
		if recover() != nil { // gomacro's lookups panic on what they do not know
			names = nil
		}
	}()
	for _, n := range g.ir.Comp.CompleteWords(chain) {
		if !strings.HasPrefix(n, hookPrefix) && !interpreterOnly[n] {
			names = append(names, n)
		}
	}
	return names, start
}

// interpreterOnly are names gomacro predeclares that Go does not have.
var interpreterOnly = map[string]bool{
	"Eval": true, "EvalKeepUntyped": true, "EvalType": true, "Interp": true, "MacroExpand": true,
	"MacroExpand1": true, "MacroExpandCodeWalk": true, "Parse": true, "macro": true, "template": true,
}

// Inspect describes the identifier or member around pos: its kind and type.
func (g *gomacro) Inspect(src string, pos int) (text string) {
	end := pos
	for end < len(src) {
		r, n := utf8.DecodeRuneInString(src[end:])
		if !identRune(r) {
			break
		}
		end += n
	}
	chain := chainBefore(src[:end])
	if slices.Contains(chain, "") {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	return g.describe(chain)
}

func (g *gomacro) describe(chain []string) string {
	c := g.ir.Comp
	name := strings.Join(chain, ".")
	if t := c.TryResolveType(chain[0]); t != nil && len(chain) == 1 {
		return describeType(name, t)
	}
	sym := c.TryResolve(chain[0])
	if sym == nil {
		return ""
	}
	bind, rest := &sym.Bind, chain[1:]
	if imp, ok := bind.Value.(*fast.Import); ok && bind.Const() {
		if len(rest) == 0 {
			return fmt.Sprintf("package %s // import %q", imp.Name, imp.Path)
		}
		if t := imp.Types[rest[0]]; t != nil && len(rest) == 1 {
			return describeType(name, t)
		}
		if bind = imp.Binds[rest[0]]; bind == nil {
			return ""
		}
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return describeBind(name, bind)
	}
	t := bind.Type
	for i, word := range rest {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		field, isField, method, isMethod, err := c.TryLookupFieldOrMethod(t, word)
		switch {
		case err != nil:
			return ""
		case isMethod && i == len(rest)-1:
			return "func " + name + signature(method.Type, t)
		case !isField:
			return ""
		}
		t = field.Type
	}
	return "field " + name + " " + t.String()
}

// signature is a method's parameters and results. Its type has the receiver, of type recv
// or *recv, as first parameter where a cell declared it, and not where compiled code did.
func signature(t, recv xr.Type) string {
	var in, out []string
	for i := range t.NumIn() {
		p := t.In(i)
		if i == 0 && (p.IdenticalTo(recv) || p.Kind() == reflect.Pointer && p.Elem().IdenticalTo(recv)) {
			continue
		}
		s := p.String()
		if t.IsVariadic() && i == t.NumIn()-1 {
			s = "..." + strings.TrimPrefix(s, "[]")
		}
		in = append(in, s)
	}
	for i := range t.NumOut() {
		out = append(out, t.Out(i).String())
	}
	s := "(" + strings.Join(in, ", ") + ")"
	switch len(out) {
	case 0:
		return s
	case 1:
		return s + " " + out[0]
	}
	return s + " (" + strings.Join(out, ", ") + ")"
}

func describeBind(name string, b *fast.Bind) string {
	if b.Desc.Class() == fast.FuncBind {
		return "func " + name + strings.TrimPrefix(b.Type.String(), "func")
	}
	if b.Desc.Class() != fast.ConstBind {
		return fmt.Sprintf("var %s %s", name, b.Type)
	}
	switch v := b.Value.(type) {
	case fast.UntypedLit:
		return fmt.Sprintf("const %s = %v", name, v.Val)
	case fast.Builtin, fast.Function:
		return "func " + name + " // built in"
	}
	return fmt.Sprintf("const %s %s = %v", name, b.Type, b.Value)
}

// describeType is a type with its exported fields and its methods.
func describeType(name string, t xr.Type) string {
	var b strings.Builder
	fmt.Fprintf(&b, "type %s %s", name, t.Kind())
	if t.Kind() == reflect.Struct {
		b.WriteString(" {\n")
		for i := range t.NumField() {
			if f := t.Field(i); token.IsExported(f.Name) {
				fmt.Fprintf(&b, "\t%s %s\n", f.Name, f.Type)
			}
		}
		b.WriteString("}")
	}
	for i := range t.NumMethod() {
		if m := t.Method(i); token.IsExported(m.Name) {
			fmt.Fprintf(&b, "\nfunc (%s) %s%s", name, m.Name, signature(m.Type, t))
		}
	}
	return b.String()
}

// chainBefore splits the dotted names that end src: "a.b.c" is [a b c]; a chain that
// begins with something else than a name, as "f().x", is [ "" x ].
func chainBefore(src string) []string {
	var chain []string
	for {
		i := len(src)
		for i > 0 {
			r, n := utf8.DecodeLastRuneInString(src[:i])
			if !identRune(r) {
				break
			}
			i -= n
		}
		chain = append(chain, src[i:])
		if i == 0 || src[i-1] != '.' || (src[i:] == "" && len(chain) > 1) {
			slices.Reverse(chain)
			return chain
		}
		src = src[:i-1]
	}
}

func identRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// completeness says whether a cell could be run as it is: "complete", "incomplete" with
// the next line's indentation, or "invalid".
func completeness(src string) (status, indent string) {
	depth, open, bad, last := scan(src)
	switch {
	case bad || depth < 0:
		return "invalid", ""
	case open || depth > 0 || continues(last):
		return "incomplete", strings.Repeat("\t", max(depth, 0))
	}
	var p parser.Parser
	p.Configure(0, '~')
	p.Init(etoken.NewFileSet(), "cell", 0, []byte(wrapLiterals(src)))
	if _, err := p.Parse(); err != nil {
		return "invalid", ""
	}
	return "complete", ""
}

// scan reads the source's tokens: how many brackets are open, whether a string or comment
// is, whether something is no Go at all, and the last token.
func scan(src string) (depth int, open, bad bool, last token.Token) {
	fset := etoken.NewFileSet()
	var s scanner.Scanner
	s.Init(fset.AddFile("cell", -1, len(src), 0), []byte(src), func(_ token.Position, msg string) {
		if strings.Contains(msg, "raw string literal not terminated") || strings.Contains(msg, "comment not terminated") {
			open = true
		} else {
			bad = true
		}
	}, 0, '~')
	for {
		_, tok, lit := s.Scan()
		switch tok {
		case token.EOF:
			return depth, open, bad, last
		case token.LPAREN, token.LBRACE, token.LBRACK:
			depth++
		case token.RPAREN, token.RBRACE, token.RBRACK:
			depth--
		}
		if depth < 0 {
			bad = true
		}
		if tok != token.SEMICOLON || lit != "\n" {
			last = tok
		}
	}
}

// continues reports whether a line that ends in the token goes on.
func continues(t token.Token) bool {
	switch t {
	case token.INC, token.DEC, token.RPAREN, token.RBRACK, token.RBRACE, token.SEMICOLON, token.ILLEGAL, token.ELLIPSIS:
		return false
	}
	return t.IsOperator()
}
