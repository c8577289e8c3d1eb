package plots

import (
	"fmt"
	"strconv"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

// DriftTable shows how far a sampling chain leaves the inputs of training, at some of its
// times: δ_t with its floor, and the norm of ε along the chain beside that in training
// (Ning et al. 2024, "Elucidating the exposure bias in diffusion models").
func DriftTable(b *experiments.BiasResult) (*render.Table, error) {
	lines, err := biasLines(b, "drift table", "drift", func(r experiments.BiasRow) int { return len(r.Drift) })
	if err != nil {
		return nil, err
	}
	first := lines[0].row.Drift
	t := &render.Table{
		Caption: "Drift of a sampling chain from the inputs of training (ADM-ES), by the time t of the schedule",
		Columns: render.Left("model", "measure"),
	}
	at := some(len(first))
	for _, i := range at {
		t.Columns = append(t.Columns, render.Column{Name: strconv.Itoa(first[i].T), Right: true})
	}
	for _, l := range lines {
		add := func(label, measure string, value func(d ddpm.Drift) string) {
			cells := []string{label, measure}
			for _, i := range at {
				cells = append(cells, value(l.row.Drift[i]))
			}
			t.Add(cells...)
		}
		add(l.label, "δ_t", func(d ddpm.Drift) string { return fmt.Sprintf("%.2g", d.Delta) })
		add("", "its floor", func(d ddpm.Drift) string { return fmt.Sprintf("%.2g", d.DeltaFloor) })
		add("", "‖ε‖ sampling", func(d ddpm.Drift) string { return normCell(d.Norm, d.NormStdErr) })
		add("", "‖ε‖ training", func(d ddpm.Drift) string { return normCell(d.TrainNorm, d.TrainNormStdErr) })
	}
	t.Notes = []string{
		driftWords(b) + "; it goes from left to right.",
		"δ_t: squared difference of the standard deviations of x_t - √ᾱ·x_0 in sampling and in training; its floor: that of as many inputs of training.",
		"‖ε‖: mean L2 norm of the predicted noise, ± standard error; larger in sampling is exposure bias that epsilon scaling repairs.",
	}
	return t, nil
}

// normCell is a norm ± its standard error.
func normCell(v, err float64) string { return fmt.Sprintf("%.2f ± %.2f", v, err) }

// ErrorTable shows ν_t, the deviation of one-step predictions of x_0, at some times, and
// at what share of pixels their error is not normal (Ning et al. 2023, Sec. 5).
func ErrorTable(b *experiments.BiasResult) (*render.Table, error) {
	lines, err := biasLines(b, "error table", "prediction errors", func(r experiments.BiasRow) int { return len(r.Errors) })
	if err != nil {
		return nil, err
	}
	first := lines[0].row.Errors
	t := &render.Table{
		Caption: "Errors of predicting x_0 in one step, by the time t of the schedule",
		Columns: render.Left("model", "measure"),
	}
	at := some(len(first))
	for _, i := range at {
		t.Columns = append(t.Columns, render.Column{Name: strconv.Itoa(first[i].T), Right: true})
	}
	for _, l := range lines {
		nu, normal := []string{l.label, "ν_t"}, []string{"", "not normal"}
		for _, i := range at {
			e := l.row.Errors[i]
			nu = append(nu, formatFixed(e.Nu, biasDecimals))
			share := missing
			if e.Pixels > 0 {
				share = fmt.Sprintf("%.0f %%", 100*e.Rejected)
			}
			normal = append(normal, share)
		}
		t.Add(nu...)
		t.Add(normal...)
	}
	t.Notes = []string{
		fmt.Sprintf("ν_t: standard deviation over %s of the error of the clipped prediction, mean over pixels.", plural(b.N, "image", "images")),
		fmt.Sprintf("Not normal: share of pixels at which the test of Shapiro and Wilk rejects at p < 0.05, on %s; 5 %% where errors are normal. "+
			"Pixels with the same error in all images are left out.", plural(first[0].Tested, "image", "images")),
	}
	return t, nil
}

// DriftCurve draws δ_t of each run's sampling chain by time (Ning et al. 2024), with the
// floor: what as many inputs of training give.
func DriftCurve(b *experiments.BiasResult) (*Figure, error) {
	lines, err := biasLines(b, "drift curve", "drift", func(r experiments.BiasRow) int { return len(r.Drift) })
	if err != nil {
		return nil, err
	}
	ch := &chart{
		title: "exposure bias δ_t of a sampling chain", xlabel: "time t; sampling goes from right to left",
		ylabel: "δ_t, squared error of the deviation of x_t", logY: true,
		caption: driftWords(b) + ". Floor: as many inputs of training. After Ning et al. 2024.",
	}
	floor := series{name: "floor", style: style{color: grey, dashes: fine}, width: thin}
	for _, d := range ascending(lines[0].row.Drift) {
		floor.x, floor.y = append(floor.x, float64(d.T)), append(floor.y, d.DeltaFloor)
	}
	return ch.ofLines(lines, driftLine(func(d ddpm.Drift) float64 { return d.Delta }), floor).fromBias("DriftCurve", b), nil
}

// NormCurve draws the norm of ε along each run's sampling chain over that in training, by
// time (Ning et al. 2024): above 1 where exposure bias makes the network predict more
// noise.
func NormCurve(b *experiments.BiasResult) (*Figure, error) {
	lines, err := biasLines(b, "norm curve", "drift", func(r experiments.BiasRow) int { return len(r.Drift) })
	if err != nil {
		return nil, err
	}
	ch := &chart{
		title: "‖ε‖ in sampling over ‖ε‖ in training", xlabel: "time t; sampling goes from right to left", ylabel: "ratio of the mean norms",
		caption: driftWords(b) + ". After Ning et al. 2024.",
		rules:   []rule{{"no bias", 1, style{color: grey, dashes: fine}}},
	}
	return ch.ofLines(lines, driftLine(func(d ddpm.Drift) float64 { return d.Norm / d.TrainNorm })).fromBias("NormCurve", b), nil
}

// ErrorCurve draws ν_t by time: the deviation of one-step predictions of x_0.
func ErrorCurve(b *experiments.BiasResult) (*Figure, error) {
	lines, err := biasLines(b, "error curve", "prediction errors", func(r experiments.BiasRow) int { return len(r.Errors) })
	if err != nil {
		return nil, err
	}
	ch := &chart{
		title: "error of predicting x_0 in one step", xlabel: "time t", ylabel: "ν_t, standard deviation of the error",
		caption: fmt.Sprintf("Over %s, mean over pixels; predictions clipped to [-1, 1]. After Ning et al. 2023.", plural(b.N, "image", "images")),
	}
	return ch.ofLines(lines, func(r experiments.BiasRow) (x, y []float64) {
		for _, e := range r.Errors {
			x, y = append(x, float64(e.T)), append(y, e.Nu)
		}
		return x, y
	}).fromBias("ErrorCurve", b), nil
}

// biasLine is a row with its name and look.
type biasLine struct {
	label string
	style style
	row   experiments.BiasRow
}

// biasLines are the rows of b; count is how many values a row has of what is to be shown.
func biasLines(b *experiments.BiasResult, figure, what string, count func(experiments.BiasRow) int) ([]biasLine, error) {
	if b == nil || len(b.Rows) == 0 {
		return nil, fmt.Errorf("%s: %w", figure, errNoRuns)
	}
	runs := rowRuns(b)
	groups, _ := groupRuns(runs)
	labels := runLabels(runs)
	lines := make([]biasLine, len(b.Rows))
	for i, row := range b.Rows {
		if row.Run == nil || count(row) == 0 || count(row) != count(b.Rows[0]) {
			return nil, fmt.Errorf("%s: row %d has %d values of the %s; measure it again with lab.Bias, on 3 images or more", figure, i+1, count(row), what)
		}
		lines[i] = biasLine{labels[i], otherStyles[0], row}
		for _, g := range groups {
			if groupKey(row.Run) == groupKey(g.runs[0]) {
				lines[i].style = g.style
			}
		}
	}
	return lines, nil
}

// some are about six of n places, evenly from the first to the last.
func some(n int) []int {
	const most = 6
	if n <= most {
		at := make([]int, n)
		for i := range at {
			at[i] = i
		}
		return at
	}
	at := make([]int, most)
	for i := range at {
		at[i] = (i*(n-1) + (most-1)/2) / (most - 1)
	}
	return at
}

// driftWords says which chain drifted.
func driftWords(b *experiments.BiasResult) string {
	p := b.Sampling
	s := fmt.Sprintf("A chain of %s, %s variance, from noised images; %s", plural(p.Steps, "step", "steps"), p.Variance, plural(b.N, "image", "images"))
	if p.ClipDenoised {
		s += ", predictions of x_0 clipped"
	}
	return s
}

// ascending is drift by rising time.
func ascending(d []ddpm.Drift) []ddpm.Drift {
	out := make([]ddpm.Drift, len(d))
	for i, v := range d {
		out[len(d)-1-i] = v
	}
	return out
}

// driftLine is a value of drift by rising time.
func driftLine(value func(ddpm.Drift) float64) func(experiments.BiasRow) (x, y []float64) {
	return func(r experiments.BiasRow) (x, y []float64) {
		for _, d := range ascending(r.Drift) {
			x, y = append(x, float64(d.T)), append(y, value(d))
		}
		return x, y
	}
}

// ofLines is the chart with a line for each row, and further ones.
func (ch *chart) ofLines(lines []biasLine, values func(experiments.BiasRow) (x, y []float64), more ...series) *Figure {
	var plain []plainLine
	for _, l := range lines {
		x, y := values(l.row)
		ch.series = append(ch.series, series{l.label, x, y, l.style, thick, false})
		plain = append(plain, plainLine{name: l.label, x: x, y: y, style: l.style})
	}
	ch.series = append(ch.series, more...)
	return ch.figure(lineText("t", plain))
}
