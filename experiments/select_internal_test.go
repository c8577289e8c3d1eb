package experiments

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"ddpmlab/ddpm"
)

// queryStore has four runs: A, a finished ADM; B, IP with γ 0.1; C, IP with γ 0.2, crashed;
// D, without numbers.
func queryStore(t *testing.T) (s *Store, letters map[string]string) {
	s = testStore(t)
	letters = make(map[string]string)
	for i, x := range []struct {
		v      ddpm.Variant
		status string
		losses []float64
	}{
		{ddpm.ADM(), StatusFinished, []float64{5, 1, 3}},
		{ddpm.InputPerturbation(0.1), StatusFinished, []float64{4, 2}},
		{ddpm.InputPerturbation(0.2), StatusCrashed, []float64{9, math.NaN()}},
		{ddpm.WeightDecay(0.03), StatusFailed, nil},
	} {
		o := testOrder(uint64(i + 1))
		o.variant = x.v
		r := testRun(t, s, o, x.status, x.losses...)
		letters[r.ID] = string(rune('A' + i))
	}
	return s, letters
}

func TestQuery(t *testing.T) {
	s, letters := queryStore(t)
	for id, l := range letters {
		if l == "B" {
			for _, err := range []error{s.Tag(t.Context(), id, "sampler", "ddim"), s.Tag(t.Context(), id, "good", ""), s.Note(t.Context(), id, "The Best"), s.SetGroup(t.Context(), id, "study")} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, tt := range []struct{ query, want string }{
		{"", "ABCD"},
		{"fd < 20", ""}, // no run has a score yet
		{"order by fd, loss desc", "ABCD"},
		{"sweep = x", ""},
		{"status ~ FIN", "AB"},
		{"gamma >= 0.1", "BC"},
		{"variant.gamma = 0", "AD"},
		{"gamma >= 0.1 and loss < 3", "B"},
		{"gamma > 0.1 or loss < 3", "BC"},
		{"gamma > 0.1 or loss < 3 and seed = 1", "C"},
		{"(gamma > 0.1 or loss < 3) and seed = 2", "B"},
		{"not gamma > 0", "AD"},
		{"NOT (status = finished OR status = crashed)", "D"},
		{"last(loss) = 3", "A"},
		{"first(loss) >= 5", "AC"},
		{"min(loss) = 1", "A"},
		{"max(loss) > 4 order by max(loss) desc", "CA"},
		{"mean(loss) = 3", "AB"},
		{"count(loss) = 0", "D"},
		{"loss > 0", "AB"}, // NaN is no number
		{"loss != 3", "BCD"},
		{"order by loss", "BACD"},
		{"order by loss desc, seed limit 3", "ABC"},
		{"order by seed desc limit 2", "DC"},
		{"variant = DDPM-IP", "BC"},
		{"variant in (ADM, 'ADM-WD')", "AD"},
		{"seed in (1, 3)", "AC"},
		{"variant ~ ip", "BC"},
		{"tag.good", "B"},
		{"not tag.good and tag.sampler != ddim", "ACD"},
		{`tag.sampler = "ddim"`, "B"},
		{`note ~ "best"`, "B"},
		{"group = study", "B"},
		{"age < 1h", "ABCD"},
		{"age > 1d12h", ""},
		{"took < 1m and started > 2020-01-01", "ABCD"},
		{"model.channels = 16 and data ~ fashion", "ABCD"},
		{"ema_warmup and lr < 1", "ABCD"},
		{"status = crashed and lr = 1e-3", "C"},
	} {
		t.Run(tt.query, func(t *testing.T) {
			runs, err := s.Query(t.Context(), tt.query)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, r := range runs {
				got.WriteString(letters[r.ID])
			}
			if got.String() != tt.want {
				t.Errorf("got runs %s, want %s", got.String(), tt.want)
			}
		})
	}
}

// A mistake is pointed at.
func TestQueryErrors(t *testing.T) {
	s, _ := queryStore(t)
	for _, tt := range []struct {
		query  string
		column int
		want   string
	}{
		{"gama >= 0.1", 1, "did you mean gamma?"},
		{"loss < 3 and ", 14, "want a name here"},
		{"loss < x", 8, "want a number here"},
		{"γ = 3 and gamma <", 1, "no name"},
		{"gamma = 0.1 seed = 1", 13, "unexpected \"seed\""},
		{"(gamma = 0.1", 13, "want \")\" here"},
		{"status", 7, "want a comparison after status"},
		{"status = 'fin", 10, "not closed"},
		{"min(lss) < 1", 5, "did you mean loss?"},
		{"age < 3", 7, "as 30m, 2h or 7d"},
		{"started > yesterday", 11, "want a time here"},
		{"status = crahsed", 10, "did you mean crashed?"},
		{"seed = 1 or status in (finished, gone)", 34, "one of running, finished"},
		{"limit 0", 7, "want a whole number"},
		{"order loss", 7, "want \"by\" here"},
		{"loss ~ 3", 6, "looks within texts"},
		{strings.Repeat("(", 1000), 101, "nested more than 100 deep"},
	} {
		t.Run(tt.query[:min(20, len(tt.query))], func(t *testing.T) {
			_, err := s.Query(t.Context(), tt.query)
			e, ok := errors.AsType[*QueryError](err)
			if !ok || e.Column != tt.column || !strings.Contains(e.Error(), tt.want) {
				t.Errorf("got %v, want column %d and %q", err, tt.column, tt.want)
			}
		})
	}
}

// Whatever the text, the answer is SQL that SQLite takes, or a QueryError within it.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"gamma >= 0.1 and (fd < 20 or status = crashed) order by fd limit 10", "not tag.x in ('a', \"b\")", "min(loss)~3", "age<1d2h", "\xff<=-+.e", "'; DROP TABLE run"} {
		f.Add(q)
	}
	n := names{"gamma": {sql: sqlParam, args: []any{"gamma"}}, "loss": {sql: queryFuncs["last"], args: []any{"loss"}, series: "loss"}}
	for name, o := range fixedNames {
		n[name] = o
	}
	s, err := Open(f.TempDir() + "/runs.db")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	f.Fuzz(func(t *testing.T, query string) {
		p, err := parseQuery(query, n, time.Now())
		if e, ok := errors.AsType[*QueryError](err); ok {
			if limit := len([]rune(query)) + 1; e.Column < 1 || e.Column > limit {
				t.Errorf("got column %d, want 1 to %d", e.Column, limit)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := texts(t.Context(), s.read, p.sql, p.args...); err != nil {
			t.Errorf("%s: %v", p.sql, err)
		}
	})
}

func TestSQL(t *testing.T) {
	s, _ := queryStore(t)
	r, err := s.SQL(t.Context(), "SELECT name, count(*) AS runs FROM run GROUP BY name ORDER BY name")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(r.Columns, r.Cells), "[name runs] [[ADM 1] [ADM-WD 1] [DDPM-IP 2]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, bad := range []string{"DELETE FROM run", "PRAGMA query_only = 0", "WITH x AS (SELECT 1) DELETE FROM run", "SELECT 1; PRAGMA query_only = 0; DELETE FROM run", "", "SELECT nothing FROM run"} {
		if _, err := s.SQL(t.Context(), bad); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
	if all, err := s.AllRuns(t.Context()); err != nil || len(all) != 4 {
		t.Errorf("got %d runs, error %v, want all 4", len(all), err)
	}
}
