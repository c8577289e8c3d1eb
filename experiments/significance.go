package experiments

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/render"
)

// Significance compares variants over seeds: for each the mean of its last scores with a
// confidence interval, and how it differs from the baseline.
type Significance struct {
	Metric   string // as "FD (fashion-cnn)"
	Protocol Protocol
	Arms     []Arm // the baseline first
	Notes    []string
}

// Arm is the finished runs that differ in nothing but their seed.
type Arm struct {
	Label  string
	Seeds  []uint64
	Values []float64 // the last score of each seed
	Mean   float64
	Half   float64 // half width of the mean's 95 % confidence interval (Student's t); NaN for one seed

	// The difference from the baseline, this minus that; NaN for the baseline itself and
	// where one of the two has a single seed.
	Difference, DifferenceHalf float64 // mean, and half width of its 95 % interval
	P                          float64 // two-sided
	Holm                       float64 // P after Holm's correction (1979) over all arms
	Test                       string  // ByPermutation, ByPairedT, ByWelch, or ""
}

// Which test a P is of. Runs with one seed and configuration see the same images, time
// steps and noise, so they pair; where the seeds are not the same, or the configurations
// differ, Welch's test takes them as independent.
const (
	ByPermutation = "paired permutation" // exact, over all 2^n signs of the differences; for 6 to 16 pairs: with fewer it cannot be below 0.05
	ByPairedT     = "paired t"           // for other numbers of pairs; it takes the differences for normal
	ByWelch       = "Welch"
)

// minPermutation is from how many pairs the permutation test is used, maxPermutation up to
// how many all signs are tried.
const (
	minPermutation = 6
	maxPermutation = 16
)

// Significance compares the last scores of the finished runs over seeds. Runs are put
// together that differ in their seed alone; the first ADM is the baseline, or else the
// first of all. Scores of different protocols are refused, saying what differs.
func (s *Store) Significance(_ context.Context, runs Runs) (*Significance, error) {
	out := &Significance{}
	groups, first, err := out.group(runs)
	if err != nil {
		return nil, err
	}
	if len(groups) == 0 {
		return nil, errors.New("no finished run with a score to compare; train with eval_samples above 0")
	}
	out.Protocol = first
	out.Metric = first.Metric
	base := max(0, slices.IndexFunc(groups, func(g *armRuns) bool { return g.runs[0].Name == "ADM" }))
	groups[0], groups[base] = groups[base], groups[0]
	for i, g := range groups {
		a := g.arm()
		if i > 0 {
			a.against(out.Arms[0], g.config == groups[0].config)
		}
		out.Arms = append(out.Arms, a)
	}
	holm(out.Arms[1:])
	return out, tellApart(out.Arms, groups)
}

// tellApart adds to a label that several arms have the fields in which these differ.
func tellApart(arms []Arm, groups []*armRuns) error {
	alike := make(map[string]Runs)
	for i, a := range arms {
		alike[a.Label] = append(alike[a.Label], groups[i].runs[0])
	}
	for i, g := range groups {
		runs := alike[arms[i].Label]
		columns, err := runs.columns()
		if err != nil {
			return err
		}
		for _, x := range columns {
			if x.name != "seed" && slices.ContainsFunc(runs, func(r *Run) bool { return !x.same(r, runs[0]) }) {
				arms[i].Label += ", " + x.name + " " + x.text(g.runs[0])
			}
		}
	}
	return nil
}

// armRuns are the runs of an arm, one a seed.
type armRuns struct {
	config string
	runs   Runs
}

// group puts runs together that differ in their seed alone.
func (s *Significance) group(runs Runs) (groups []*armRuns, first Protocol, err error) {
	byKey := make(map[string]*armRuns)
	var one *Run
	left := 0
	for _, r := range runs {
		p, ok := r.Protocol(MetricFD)
		if v, has := r.Last(MetricFD); !ok || !has || math.IsNaN(v) || r.Status != StatusFinished {
			left++
			continue
		}
		if one == nil {
			one, first = r, p
		} else if err := fid.Same(first.Protocol, p.Protocol); err != nil {
			return nil, first, fmt.Errorf("runs %s and %s: %w", one.ID, r.ID, err)
		}
		c := r.Config
		c.Seed = 0
		config := configText(c)
		key := fmt.Sprintf("%+v %s", r.Variant.Normal(), config)
		g := byKey[key]
		if g == nil {
			g = &armRuns{config: config}
			byKey[key] = g
			groups = append(groups, g)
		}
		if i := slices.IndexFunc(g.runs, func(o *Run) bool { return o.Seed == r.Seed }); i >= 0 {
			left++
			g.runs[i] = r // the later attempt
			continue
		}
		g.runs = append(g.runs, r)
	}
	if left > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("Left out: %d runs that are not finished, have no score, or repeat a seed.", left))
	}
	return groups, first, nil
}

func (g *armRuns) arm() Arm {
	a := Arm{
		Label: g.runs[0].Variant.String(), Half: math.NaN(),
		Difference: math.NaN(), DifferenceHalf: math.NaN(), P: math.NaN(), Holm: math.NaN(),
	}
	bySeed := make(map[uint64]float64)
	for _, r := range g.runs {
		bySeed[r.Seed], _ = r.Last(MetricFD)
	}
	for _, seed := range slices.Sorted(maps.Keys(bySeed)) {
		a.Seeds, a.Values = append(a.Seeds, seed), append(a.Values, bySeed[seed])
	}
	a.Mean, a.Half = meanHalf(a.Values)
	return a
}

// meanHalf is the mean and the half width of its 95 % confidence interval.
func meanHalf(x []float64) (mean, half float64) {
	mean, sd := stat.MeanStdDev(x, nil)
	n := float64(len(x))
	if n < 2 {
		return mean, math.NaN()
	}
	return mean, distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975) * sd / math.Sqrt(n)
}

// against compares the arm with the baseline.
func (a *Arm) against(base Arm, sameConfig bool) {
	if len(a.Values) < 2 || len(base.Values) < 2 {
		return
	}
	if !sameConfig || !slices.Equal(a.Seeds, base.Seeds) {
		a.Test = ByWelch
		a.Difference, a.DifferenceHalf, a.P = welch(a.Values, base.Values)
		return
	}
	d := make([]float64, len(a.Values))
	for i := range d {
		d[i] = a.Values[i] - base.Values[i]
	}
	a.Difference, a.DifferenceHalf = meanHalf(d)
	if n := len(d); n >= minPermutation && n <= maxPermutation {
		a.Test, a.P = ByPermutation, permutation(d)
		return
	}
	a.Test, a.P = ByPairedT, pairedT(d)
}

// pairedT is the two-sided p of Student's t-test that the differences have mean 0.
func pairedT(d []float64) float64 {
	mean, sd := stat.MeanStdDev(d, nil)
	if sd == 0 {
		if mean == 0 {
			return 1
		}
		return 0
	}
	n := float64(len(d))
	return twoSided(mean/(sd/math.Sqrt(n)), n-1)
}

func twoSided(t, nu float64) float64 {
	return 2 * distuv.StudentsT{Sigma: 1, Nu: nu}.CDF(-math.Abs(t))
}

// permutation is the two-sided p of the differences' mean among those of all 2^n choices
// of their signs (Fisher 1935).
func permutation(d []float64) float64 {
	total := 0.0
	for _, x := range d {
		total += x
	}
	limit := math.Abs(total) * (1 - 1e-12) // sums in another order
	extreme := 0
	for signs := range 1 << len(d) {
		sum := 0.0
		for i, x := range d {
			if signs>>i&1 == 1 {
				x = -x
			}
			sum += x
		}
		if math.Abs(sum) >= limit {
			extreme++
		}
	}
	return float64(extreme) / float64(int(1)<<len(d))
}

// welch is the difference of the means, the half width of its 95 % interval, and the
// two-sided p of Welch's t-test (1947).
func welch(x, y []float64) (difference, half, p float64) {
	mx, vx := stat.MeanVariance(x, nil)
	my, vy := stat.MeanVariance(y, nil)
	ex, ey := vx/float64(len(x)), vy/float64(len(y))
	difference = mx - my
	if ex+ey == 0 {
		if difference == 0 {
			return 0, 0, 1
		}
		return difference, 0, 0
	}
	se := math.Sqrt(ex + ey)
	nu := (ex + ey) * (ex + ey) / (ex*ex/float64(len(x)-1) + ey*ey/float64(len(y)-1))
	return difference, se * distuv.StudentsT{Sigma: 1, Nu: nu}.Quantile(0.975), twoSided(difference/se, nu)
}

// holm corrects the p of several comparisons with one baseline (Holm 1979).
func holm(arms []Arm) {
	var order []int
	for i, a := range arms {
		if !math.IsNaN(a.P) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case arms[a].P < arms[b].P:
			return -1
		case arms[a].P > arms[b].P:
			return 1
		}
		return 0
	})
	worst := 0.0
	for rank, i := range order {
		worst = max(worst, min(1, arms[i].P*float64(len(order)-rank)))
		arms[i].Holm = worst
	}
}

// Table is one line an arm.
func (s *Significance) Table() *render.Table {
	t := &render.Table{
		Caption: "Last " + s.Metric + " over seeds, lower is better; differences from " + s.Arms[0].Label,
		Columns: append(append(render.Left("Variant"), render.Right("n seeds", s.Metric, "Difference", "p", "p (Holm)")...), render.Left("Test")...),
	}
	number := func(format string, x ...any) string {
		for _, v := range x {
			if math.IsNaN(v.(float64)) {
				return "–"
			}
		}
		return fmt.Sprintf(format, x...)
	}
	single := false
	for _, a := range s.Arms {
		mean := number("%.2f ± %.2f", a.Mean, a.Half)
		if len(a.Values) == 1 {
			mean, single = fmt.Sprintf("%.2f †", a.Mean), true
		}
		t.Add(a.Label, fmt.Sprint(len(a.Values)), mean, number("%+.2f ± %.2f", a.Difference, a.DifferenceHalf),
			number("%.3g", a.P), number("%.3g", a.Holm), a.Test)
	}
	t.Notes = append(t.Notes, "± is the half width of a 95 % confidence interval over seeds.")
	if single {
		t.Notes = append(t.Notes, "† Of one seed: how much another would change is not known, differences may be luck.")
	}
	t.Notes = append(append(t.Notes, s.Protocol.Describe()), s.Notes...)
	if c := s.Protocol.Caution(); c != "" {
		t.Notes = append(t.Notes, c)
	}
	return t
}

// Bundle is the table.
func (s *Significance) Bundle() render.Bundle { return s.Table().Bundle() }

// String is the table as text.
func (s *Significance) String() string { return s.Table().String() }
