package experiments

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/cell"
)

// scored is a finished run in memory with one score.
// Losses of a training that diverges do not widen a table, and one field that differs is
// one field.
func TestTableWords(t *testing.T) {
	s := testStore(t)
	o := testOrder(1)
	a := testRun(t, s, o, StatusFinished, 1, 2)
	o.config.Batch++
	o.key = "another"
	b := testRun(t, s, o, StatusDiverged, 1e300, 2e300)
	c, err := s.Compare(t.Context(), Runs{a, b})
	if err != nil {
		t.Fatal(err)
	}
	text := c.String()
	if !strings.HasPrefix(text, "2 runs: 1 field differs, ") || !strings.Contains(text, "1.500e+300") {
		t.Errorf("got\n%s\nwant one field, and the loss in few digits", text)
	}
	if list := (Runs{a, b}).String(); !strings.Contains(list, "▁█") || !strings.Contains(list, "1.500e+300") {
		t.Errorf("got\n%s\nwant curves of the losses", list)
	}
	if page := string((Runs{a, b, a}).Table().HTML()); !strings.Contains(page, "onclick=") {
		t.Errorf("got\n%s\nwant a table that sorts", page)
	}
}

func scored(v ddpm.Variant, seed uint64, fd float64, n int) *Run {
	c := testConfig(seed)
	p := Protocol{Protocol: fid.Protocol{Metric: "FD (x)", Extractor: "x", N: n, Reference: "r", Sampler: "ancestral", EMA: "0.999"}}
	p.ID = p.Hash()
	return Detached(Run{ID: fmt.Sprintf("%s-%d", v.Name(), seed), Name: v.Name(), Status: StatusFinished, Config: c, Variant: v, Seed: seed},
		map[string][]Point{MetricFD: {{Step: 1, Value: fd}}}, map[string]Protocol{MetricFD: p})
}

func arms(t *testing.T, runs Runs) *Significance {
	t.Helper()
	s, err := (&Store{}).Significance(t.Context(), runs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-6*math.Max(1, math.Abs(want)) }

// The p are those of Student's distribution integrated by Simpson's rule, and of counting
// signs by hand.
func TestSignificance(t *testing.T) {
	adm := []float64{10, 11, 9, 10.5, 9.5, 10.2}
	ip := []float64{8, 9.5, 8.1, 8.8, 8.9, 8.4}
	var runs Runs
	for i := range 3 {
		runs = append(runs, scored(ddpm.InputPerturbation(0.1), uint64(i), ip[i], 500))
	}
	for i := range 3 {
		runs = append(runs, scored(ddpm.ADM(), uint64(i), adm[i], 500))
	}
	runs = append(runs, scored(ddpm.WeightDecay(0.03), 7, 12, 500), scored(ddpm.WeightDecay(0.03), 8, 13, 500),
		scored(ddpm.GradPenalty(1e-6), 0, 9, 500))
	s := arms(t, runs)
	if len(s.Arms) != 4 || s.Arms[0].Label != ddpm.ADM().String() || !math.IsNaN(s.Arms[0].P) {
		t.Fatalf("got %+v, want ADM as the baseline of four", s.Arms)
	}
	byTest := map[string]Arm{}
	for _, a := range s.Arms[1:] {
		byTest[a.Test] = a
	}
	if a := byTest[ByPairedT]; !near(a.Difference, -(2+1.5+0.9)/3) || !near(a.P, 0.0439299831) || !near(a.Holm, 2*a.P) {
		t.Errorf("got %+v, want a paired t-test", a)
	}
	if a := byTest[ByWelch]; !near(a.Difference, 2.5) || !near(a.P, 0.0494162569) || !near(a.Holm, 2*0.0439299831) {
		t.Errorf("got %+v, want Welch's test of other seeds", a)
	}
	if a := byTest[""]; len(a.Values) != 1 || !math.IsNaN(a.P) || !math.IsNaN(a.Half) {
		t.Errorf("got %+v, want no p of one seed", a)
	}
	if text := s.String(); !strings.Contains(text, "9.00 †") || !strings.Contains(text, "Of one seed") {
		t.Errorf("got %s, want the single seed marked", text)
	}

	// Six pairs, all in one direction: 2 of 64 signs are as extreme.
	runs = nil
	for i := range adm {
		runs = append(runs, scored(ddpm.ADM(), uint64(i), adm[i], 500), scored(ddpm.InputPerturbation(0.1), uint64(i), ip[i], 500))
	}
	if a := arms(t, runs).Arms[1]; a.Test != ByPermutation || a.P != 2.0/64 || a.Holm != a.P {
		t.Errorf("got %+v, want p = 2/64 by permutation", a)
	}

	// Arms of one variant are told apart by what differs, which is not the seed.
	longer := scored(ddpm.ADM(), 9, 7, 500)
	longer.Config.Iterations++
	s = arms(t, Runs{runs[0], longer, runs[1]})
	var labels []string
	for _, a := range s.Arms {
		labels = append(labels, a.Label)
	}
	n := longer.Config.Iterations
	if got, want := strings.Join(labels, "; "), fmt.Sprintf("ADM, iterations %d; ADM, iterations %d; DDPM-IP (γ 0.1)", n-1, n); got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	// Scores of different protocols are refused.
	runs = append(runs, scored(ddpm.WeightDecay(0.03), 1, 5, 1000))
	if _, err := (&Store{}).Significance(t.Context(), runs); err == nil || !strings.Contains(err.Error(), "1000") {
		t.Errorf("got %v, want the numbers of samples", err)
	}
	if _, err := (&Store{}).Significance(t.Context(), nil); err == nil {
		t.Error("got no error of nothing to compare")
	}
}

func TestWelch(t *testing.T) {
	// t = -2.2514363 with 5.5207877 degrees of freedom, p integrated by Simpson's rule.
	d, half, p := welch([]float64{1, 2, 3, 4}, []float64{2, 4, 6, 8, 10})
	if !near(d, -3.5) || half <= 3.5 || !near(p, 0.0691335932) {
		t.Errorf("got %v ± %v, p %v", d, half, p)
	}
	if _, _, p := welch([]float64{1, 1}, []float64{1, 1}); p != 1 {
		t.Errorf("equal constants: got p %v, want 1", p)
	}
}

func TestHolm(t *testing.T) {
	all := []Arm{{P: 0.01}, {P: 0.04}, {P: math.NaN()}, {P: 0.03}, {P: 0.005}}
	holm(all)
	for i, want := range []float64{0.03, 0.06, 0, 0.06, 0.02} { // Holm 1979 on 4 comparisons
		if i != 2 && !near(all[i].Holm, want) {
			t.Errorf("got %v, want %v for p %v", all[i].Holm, want, all[i].P)
		}
	}
}

func TestCompare(t *testing.T) {
	s := testStore(t)
	a := testOrder(1)
	b := testOrder(2)
	b.variant = ddpm.InputPerturbation(0.1)
	b.config.LR = 0.5
	first, second := testRun(t, s, a, StatusFinished, 4, 3, 2, 1), testRun(t, s, b, StatusCrashed, 1, 2)
	c, err := s.Compare(t.Context(), Runs{first, second})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(c.Differs, c.Values), "[variant.gamma lr seed] [[0 0.001 1] [0.1 0.5 2]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if text := c.String(); !strings.Contains(text, "█▆▃▁") || !strings.Contains(text, "▁█") {
		t.Errorf("got %s, want the losses' curves", text)
	}
	if _, err := s.Compare(t.Context(), nil); err == nil {
		t.Error("got no error of nothing to compare")
	}
}

func TestSparkline(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   string
	}{
		{nil, ""},
		{[]float64{3}, "▁"},
		{[]float64{1, math.NaN(), 8}, "▁ █"},
		{[]float64{1, 1, 8, 8, 4.5, 4.5}, "▁█▅"},
		{[]float64{math.Inf(1), 2}, " ▁"},
	} {
		var points []Point
		for _, v := range tt.values {
			points = append(points, Point{Value: v})
		}
		if got := sparkline(points, 3); got != tt.want {
			t.Errorf("got %q, want %q, for %v", got, tt.want, tt.values)
		}
	}
}

func TestDiff(t *testing.T) {
	s := testStore(t)
	ids := make([]string, 2)
	for i, source := range []string{"a\nb\nc\nlab.Train(1)", "a\nx\nc\nlab.Train(2)"} {
		o := testOrder(uint64(i))
		o.env.commit = fmt.Sprintf("commit%d", i)
		ctx := cell.NewContext(t.Context(), cell.Cell{Source: source})
		r, _, err := s.begin(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		r.start(ctx)
		if err := r.finish(StatusFinished, int64(i), ""); err != nil {
			t.Fatal(err)
		}
		ids[i] = r.run
	}
	d, err := s.Diff(t.Context(), ids[0], ids[1])
	if err != nil {
		t.Fatal(err)
	}
	want := "[{configuration and variant [{seed 0 1}]} {environment [{commit commit0 commit1}]} " +
		"{cell [{line 2 b } {line 2  x} {line 4 lab.Train(1) } {line 4  lab.Train(2)}]} {last values [{step 0 1}]}]"
	if got := fmt.Sprint(d.Sections); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if d, err := s.Diff(t.Context(), ids[0], ids[0]); err != nil || len(d.Sections) != 0 {
		t.Errorf("got %v, error %v, want no difference from itself", d, err)
	}
}
