package experiments

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// parsed is a query as SQL that yields run ids.
type parsed struct {
	sql  string
	args []any
}

// QueryError is a mistake in the text of a query.
type QueryError struct {
	Query  string
	Column int // in characters, from 1
	Reason string

	unknown bool // a name is not known
}

// Error names the column and the reason.
func (e *QueryError) Error() string {
	return fmt.Sprintf("query %q, column %d: %s", e.Query, e.Column, e.Reason)
}

// token is a word, number, text or sign of a query.
type token struct {
	kind rune // w word, n number, s text, d duration, o sign, 0 the end
	text string
	at   int // column, from 1
}

// words is the token as errors have it.
func (t token) words() string {
	if t.kind == 0 {
		return "the end"
	}
	return strconv.Quote(t.text)
}

// parser parses by recursive descent.
type parser struct {
	query  string
	tokens []token
	pos    int
	names  names
	now    time.Time
	depth  int

	conditions int
}

// parseQuery turns a query into SQL.
func parseQuery(query string, n names, now time.Time) (p parsed, err error) {
	d := &parser{query: query, names: n, now: now}
	defer func() {
		if x := recover(); x != nil {
			e, ok := x.(*QueryError)
			if !ok {
				panic(x)
			}
			err = e
		}
	}()
	d.scan()
	cond := parsed{sql: "1"}
	if t := d.peek(); t.kind != 0 && !isWord(t, "order") && !isWord(t, "limit") {
		cond = d.or()
	}
	p.sql, p.args = "SELECT id FROM run WHERE deleted IS NULL AND ("+cond.sql+") ORDER BY ", cond.args
	if d.accept("order") {
		d.expect("by")
		for more := true; more; more = d.acceptSign(",") {
			o := d.operand()
			direction := ""
			switch {
			case d.accept("desc"):
				direction = " DESC"
			case d.accept("asc"):
			}
			p.sql += o.sql + direction + " NULLS LAST, "
			p.args = append(p.args, o.args...)
		}
	}
	p.sql += "started, id"
	if d.accept("limit") {
		t := d.next()
		limit, err := strconv.Atoi(t.text)
		if err != nil || limit < 1 {
			d.fail(t, "limit is %q; want a whole number, 1 or more", t.text)
		}
		p.sql += " LIMIT ?"
		p.args = append(p.args, limit)
	}
	if t := d.peek(); t.kind != 0 {
		d.fail(t, "unexpected %q; want and, or, order by, limit, or the end", t.text)
	}
	return p, nil
}

// fail ends the parsing with a QueryError at the token.
func (d *parser) fail(t token, format string, args ...any) {
	panic(&QueryError{Query: d.query, Column: t.at, Reason: fmt.Sprintf(format, args...)})
}

// scan splits the query into tokens.
func (d *parser) scan() {
	rest, at := d.query, 1
	take := func(n int) string {
		text := rest[:n]
		rest, at = rest[n:], at+utf8.RuneCountInString(text)
		return text
	}
	for {
		take(len(rest) - len(strings.TrimLeftFunc(rest, unicode.IsSpace)))
		t := token{at: at}
		first, _ := utf8.DecodeRuneInString(rest)
		switch {
		case rest == "":
			d.tokens = append(d.tokens, t)
			return
		case first == '"' || first == '\'':
			end := strings.IndexRune(rest[1:], first)
			if end < 0 {
				d.fail(t, "the text is not closed by %c", first)
			}
			t.kind, t.text = 's', take(end + 2)[1:end+1]
		case unicode.IsDigit(first) || strings.ContainsRune("+-.", first):
			n := strings.IndexFunc(rest[1:], func(r rune) bool {
				return !unicode.IsDigit(r) && !unicode.IsLetter(r) && !strings.ContainsRune("+-._", r)
			}) + 1
			if n == 0 {
				n = len(rest)
			}
			t.kind, t.text = 'n', take(n)
			if _, err := strconv.ParseFloat(t.text, 64); err != nil {
				t.kind = 'd'
			}
		case unicode.IsLetter(first) || first == '_':
			n := strings.IndexFunc(rest, func(r rune) bool {
				return !unicode.IsDigit(r) && !unicode.IsLetter(r) && !strings.ContainsRune("-._/", r)
			})
			if n < 0 {
				n = len(rest)
			}
			t.kind, t.text = 'w', take(n)
		default:
			n := utf8.RuneLen(max(first, 0))
			for _, sign := range []string{"<=", ">=", "!=", "<>", "=="} {
				if strings.HasPrefix(rest, sign) {
					n = 2
				}
			}
			if first == utf8.RuneError {
				n = 1
			}
			t.kind, t.text = 'o', take(n)
		}
		d.tokens = append(d.tokens, t)
	}
}

func (d *parser) peek() token { return d.tokens[d.pos] }

func (d *parser) next() token {
	t := d.tokens[d.pos]
	if t.kind != 0 {
		d.pos++
	}
	return t
}

func isWord(t token, word string) bool { return t.kind == 'w' && strings.EqualFold(t.text, word) }

func (d *parser) accept(word string) bool {
	if !isWord(d.peek(), word) {
		return false
	}
	d.pos++
	return true
}

func (d *parser) acceptSign(sign string) bool {
	if t := d.peek(); t.kind != 'o' || t.text != sign {
		return false
	}
	d.pos++
	return true
}

func (d *parser) expect(word string) {
	if t := d.peek(); !d.accept(word) && !d.acceptSign(word) {
		d.fail(t, "want %q here", word)
	}
}

func (d *parser) or() parsed { return d.joined("or", d.and) }

func (d *parser) and() parsed { return d.joined("and", d.not) }

func (d *parser) joined(word string, part func() parsed) parsed {
	p := part()
	for d.accept(word) {
		q := part()
		p = parsed{"(" + p.sql + " " + strings.ToUpper(word) + " " + q.sql + ")", append(p.args, q.args...)}
	}
	return p
}

// Limits of a query's parentheses and nots, and of its conditions: SQLite has such too.
const (
	maxDepth      = 100
	maxConditions = 300
)

func (d *parser) not() parsed {
	if d.depth++; d.depth > maxDepth {
		d.fail(d.peek(), "nested more than %d deep", maxDepth)
	}
	defer func() { d.depth-- }()
	switch {
	case d.accept("not"):
		p := d.not()
		return parsed{"NOT " + p.sql, p.args}
	case d.acceptSign("("):
		p := d.or()
		d.expect(")")
		return p
	}
	return d.comparison()
}

var comparisons = map[string]string{"=": "=", "==": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}

// comparison is one condition. It is 0 or 1, never NULL: what a run lacks is not equal.
func (d *parser) comparison() parsed {
	at := d.peek()
	if d.conditions++; d.conditions > maxConditions {
		d.fail(at, "more than %d conditions", maxConditions)
	}
	o := d.operand()
	t := d.peek()
	sign, ok := comparisons[t.text]
	switch {
	case t.kind == 'o' && ok:
		d.next()
		value := d.value(o)
		missing := 0
		if sign == "<>" {
			missing = 1
		}
		return parsed{fmt.Sprintf("coalesce(%s %s ?, %d)", o.sql, sign, missing), append(o.args, value)}
	case d.acceptSign("~"):
		if o.kind != kindText {
			d.fail(t, "%s is a number; ~ looks within texts", at.text)
		}
		o.values = nil // a part of one is enough
		return parsed{"coalesce(instr(lower(" + o.sql + "), lower(?)) > 0, 0)", append(o.args, d.value(o))}
	case d.accept("in"):
		d.expect("(")
		args := append([]any(nil), o.args...)
		marks := 0
		for more := true; more; more = d.acceptSign(",") {
			args, marks = append(args, d.value(o)), marks+1
		}
		d.expect(")")
		return parsed{fmt.Sprintf("coalesce(%s IN (%s), 0)", o.sql, strings.Repeat("?, ", marks-1)+"?"), args}
	case o.exists != "":
		return parsed{o.exists, o.args}
	case o.kind == kindNumber: // dirty, ema_warmup
		return parsed{"coalesce(" + o.sql + " <> 0, 0)", o.args}
	}
	d.fail(t, "want a comparison after %s: = != < <= > >= ~ or in (…)", at.text)
	return parsed{}
}

// operand is a name, or a function of a series.
func (d *parser) operand() operand {
	t := d.next()
	if t.kind != 'w' {
		d.fail(t, "want a name here, as gamma, status or fd, not %s", t.words())
	}
	if name, ok := strings.CutPrefix(t.text, "tag."); ok {
		return operand{sql: sqlTag, args: []any{name}, kind: kindText, exists: "(" + sqlTag + " IS NOT NULL)"}
	}
	if f, ok := queryFuncs[strings.ToLower(t.text)]; ok && d.acceptSign("(") {
		inner := d.next()
		o := d.names[inner.text]
		if o.series == "" {
			d.unknown(inner, "series", func(o operand) bool { return o.series != "" })
		}
		d.expect(")")
		return operand{sql: f, args: o.args}
	}
	o, ok := d.names[t.text]
	if !ok {
		o, ok = d.names[strings.ToLower(t.text)]
	}
	if !ok {
		d.unknown(t, "name", func(operand) bool { return true })
	}
	if o.sql == fixedNames["age"].sql {
		o.args = []any{d.now.UnixMicro()}
	}
	o.args = slices.Clip(o.args)
	return o
}

// unknown ends the parsing at a name that is not there, with the nearest ones.
func (d *parser) unknown(t token, what string, of func(operand) bool) {
	var all []string
	for _, n := range slices.Sorted(maps.Keys(d.names)) {
		if of(d.names[n]) {
			all = append(all, n)
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { return distance(t.text, a) - distance(t.text, b) })
	const most = 8
	reason := fmt.Sprintf("no %s %q; there are %s, …", what, t.text, strings.Join(all[:min(most, len(all))], ", "))
	if distance(t.text, all[0]) <= 2 {
		reason = fmt.Sprintf("no %s %q; did you mean %s?", what, t.text, all[0])
	}
	panic(&QueryError{d.query, t.at, reason, true})
}

// distance is the number of letters to insert, remove or replace to make b of a.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			cost := diagonal
			if x[i] != y[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}

// value is what an operand is compared with, of its kind.
func (d *parser) value(o operand) any {
	t := d.next()
	switch o.kind {
	case kindNumber:
		switch {
		case isWord(t, "true"):
			return 1
		case isWord(t, "false"):
			return 0
		case t.kind == 'n':
			if n, err := strconv.ParseInt(t.text, 10, 64); err == nil {
				return n
			}
			x, _ := strconv.ParseFloat(t.text, 64) // it was scanned as one
			return x
		}
		d.fail(t, "want a number here, as 0.1, not %s", t.words())
	case kindText:
		if t.kind != 0 && t.kind != 'o' {
			d.oneOf(o, t)
			return t.text
		}
		d.fail(t, "want a text here, as \"DDPM-IP\"")
	case kindDuration:
		if v, ok := parseAge(t.text); ok && t.kind == 'd' {
			return v.Microseconds()
		}
		d.fail(t, "want a time span here, as 30m, 2h or 7d, not %q", t.text)
	case kindTime:
		for _, layout := range []string{time.RFC3339, minute, time.DateOnly} {
			if v, err := time.ParseInLocation(layout, t.text, d.now.Location()); err == nil {
				return v.UnixMicro()
			}
		}
		d.fail(t, "want a time here, as \"2026-05-01\" or \"2026-05-01 12:00\", not %q", t.text)
	}
	return nil
}

// oneOf refuses a value that the operand never has.
func (d *parser) oneOf(o operand, t token) {
	if o.values == nil || slices.Contains(o.values, t.text) {
		return
	}
	nearest := slices.MinFunc(o.values, func(a, b string) int { return distance(t.text, a) - distance(t.text, b) })
	if distance(t.text, nearest) <= 3 {
		d.fail(t, "no run is %q; did you mean %s?", t.text, nearest)
	}
	d.fail(t, "no run is %q; it is one of %s", t.text, strings.Join(o.values, ", "))
}

// parseAge is time.ParseDuration with days: 7d, 1d12h.
func parseAge(s string) (time.Duration, bool) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		days, rest = "0", s
	}
	n, err1 := strconv.ParseFloat(days, 64)
	if rest == "" {
		rest = "0s"
	}
	v, err2 := time.ParseDuration(rest)
	return time.Duration(n*float64(24*time.Hour)) + v, err1 == nil && err2 == nil
}
