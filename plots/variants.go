package plots

import (
	"fmt"
	"math"

	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

// VariantsTable shows the last score of each variant in runs, with the number of seeds
// it is a mean over, its training step and the floor, and the paper's Table 3 below.
// The paper's figures do not compare: another metric, data set and network. Over several
// seeds a score has its 95% confidence interval; a single seed is marked †.
//
// Scores of different protocols do not compare: VariantsTable refuses them and says
// which part differs.
func VariantsTable(runs experiments.Runs) (*render.Table, error) {
	groups, notes := groupRuns(runs)
	if len(groups) == 0 {
		return nil, fmt.Errorf("variants table: %w", errNoRuns)
	}
	protocol, err := commonProtocol(groups)
	if err != nil {
		return nil, fmt.Errorf("variants table: %w", err)
	}
	rows := make([]lastScore, len(groups))
	values := []float64{protocol.Floor}
	for i, g := range groups {
		if rows[i], err = lastScores(g); err != nil {
			return nil, fmt.Errorf("variants table: %w", err)
		}
		mean, _ := meanCI(rows[i].values)
		values = append(values, mean)
	}
	decimals := decimalsFor(values...)
	t := &render.Table{
		Caption: "Last " + protocol.Metric + " of each variant, lower is better",
		Columns: append(render.Left("model"), render.Right(protocol.Metric, "n seeds", "N samples", "sampling steps", "training step")...),
	}
	single := false
	for i, g := range groups {
		r := rows[i]
		score, seeds := formatMean(r.values, decimals), formatCount(int64(len(r.values)))
		if len(r.values) == 1 {
			score, single = score+" †", true
		}
		t.Add(g.label, score, seeds, formatCount(int64(protocol.N)), formatCount(int64(protocol.Steps)), r.steps())
	}
	if finite(protocol.Floor) && protocol.Floor > 0 {
		t.Add("real images", formatFixed(protocol.Floor, decimals), missing, formatCount(int64(protocol.N)), missing, missing)
	}
	t.AddClass(render.ClassHead, "Ning et al. 2023, Table 3, FID on CIFAR-10: another protocol (metric, data, network), not comparable")
	for _, p := range paperTable3 {
		t.AddClass(render.ClassPaper, p.model, formatFixed(p.value, scoreDecimals), "", formatCount(50_000), formatCount(int64(p.steps)), formatCount(200_000))
	}
	if single {
		t.Notes = append(t.Notes, "† "+oneSeed)
	}
	t.Notes = append(t.Notes, protocolNotes(protocol)...)
	t.Notes = append(t.Notes, notes...)
	return t, nil
}

// lastScore is the last scores of a group, one a seed that has any.
type lastScore struct {
	values      []float64
	first, last float64 // the least and the largest of their training steps
}

func lastScores(g group) (lastScore, error) {
	s := lastScore{first: math.Inf(1), last: math.Inf(-1)}
	for _, r := range g.runs {
		x, y, err := readSeries(r, experiments.MetricFD)
		if err != nil {
			return s, err
		}
		if n := len(x); n > 0 {
			s.values = append(s.values, y[n-1])
			s.first, s.last = min(s.first, x[n-1]), max(s.last, x[n-1])
		}
	}
	return s, nil
}

// steps is the training step of the scores, or the range of them.
func (s lastScore) steps() string {
	switch {
	case len(s.values) == 0:
		return missing
	case s.first == s.last:
		return formatCount(int64(s.last))
	}
	return formatCount(int64(s.first)) + "–" + formatCount(int64(s.last))
}
