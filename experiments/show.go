package experiments

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/internal/render"
)

// Table is the runs as a table, one line each.
func (rs Runs) Table() *render.Table {
	t := &render.Table{
		Sorts:   true,
		Caption: counted(len(rs), "run", "runs"),
		Columns: append(append(render.Left("Run", "Variant", "Status"),
			render.Right("Step", "Seed", "Loss", rs.scoreName())...), render.Left("Started", "Took")...),
	}
	n := rs.idLength()
	// A database that can no longer be read does not cost the table, but its curves.
	curves, err := rs.curves()
	if curves != nil && err == nil {
		t.Columns = append(t.Columns, render.Left("Loss by step")...)
	}
	grouped := slices.ContainsFunc(rs, func(r *Run) bool { return r.Group != "" })
	if grouped {
		t.Columns = append(t.Columns, render.Left("Group")...)
	}
	tagged := slices.ContainsFunc(rs, func(r *Run) bool { return len(r.Tags) > 0 })
	if tagged {
		t.Columns = append(t.Columns, render.Left("Tags")...)
	}
	for i, r := range rs {
		cells := []string{
			r.ID[:min(n, len(r.ID))], r.Title(), r.Status, r.steps("/"),
			strconv.FormatUint(r.Seed, 10), r.showLoss(), r.show(MetricFD, "%.2f"), r.Started.Format(minute), r.took(),
		}
		if curves != nil && err == nil {
			cells = append(cells, curves[i])
		}
		if grouped {
			cells = append(cells, r.Group)
		}
		if tagged {
			cells = append(cells, r.tagLine())
		}
		t.Add(cells...)
	}
	if len(rs) > 0 {
		t.Notes = append([]string{fmt.Sprintf("Loss: mean of the last %d steps.", lossPoints)}, rs.scoreNotes()...)
	}
	return t
}

// steps is how many training steps are done of how many; of an imported run the latter is
// not known.
func (r *Run) steps(of string) string {
	done := strconv.FormatInt(r.Step, 10)
	if r.Config.Iterations == 0 {
		return done
	}
	return done + of + strconv.Itoa(r.Config.Iterations)
}

// tagLine is the tags, by name: "good, sampler=ddim".
func (r *Run) tagLine() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.Tags)) {
		if v := r.Tags[name]; v != "" {
			name += "=" + v
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, ", ")
}

// minute is how times are shown.
const minute = "2006-01-02 15:04"

// idLength is how much of the ids tells the runs apart.
func (rs Runs) idLength() int {
	const least = 10 // the time, of the ULID's 26 characters
	n := least
	for seen := map[string]bool{}; n < 26; n++ {
		clear(seen)
		for _, r := range rs {
			seen[r.ID[:min(n, len(r.ID))]] = true
		}
		if len(seen) == len(rs) {
			break
		}
	}
	return n
}

// scoreName heads the column of scores.
func (rs Runs) scoreName() string {
	for _, r := range rs {
		if p, ok := r.Protocol(MetricFD); ok {
			return p.Metric
		}
	}
	return "Score"
}

// scoreNotes says below the table how the scores were measured. Scores of different
// protocols may stand in a list of runs, but not unsaid.
func (rs Runs) scoreNotes() []string {
	var first *Protocol
	for _, r := range rs {
		p, ok := r.Protocol(MetricFD)
		switch {
		case !ok:
		case first == nil:
			first = &p
		case p.ID != first.ID:
			return []string{"The scores were measured in different ways and do not compare; a run's own page says how."}
		}
	}
	if first == nil {
		return nil
	}
	return []string{first.Describe()}
}

// Describe is the protocol in one sentence, with the floor.
func (p Protocol) Describe() string {
	s := p.Protocol.String()
	if p.Steps == 0 { // of a sweep: each score has its own
		s = strings.Replace(s, ", 0 steps", "", 1)
	}
	if p.Floor != 0 {
		s += fmt.Sprintf("; %d real images score %.2f", p.N, p.Floor)
	}
	return s + "."
}

// fewSamples is below how many samples a score says that they are few.
const fewSamples = 100

// Caution is a sentence on a score of very few samples, or "".
func (p Protocol) Caution() string {
	if p.N >= fewSamples {
		return ""
	}
	return fmt.Sprintf("%d samples are too few to tell models apart: so small a sample is far from any other, real images included; take %d or more.", p.N, 5*fewSamples)
}

// Bundle is the table of the runs.
func (rs Runs) Bundle() render.Bundle { return rs.Table().Bundle() }

// String is the table of the runs as text.
func (rs Runs) String() string { return rs.Table().String() }

// show is the last value of a series, or a dash.
func (r *Run) show(key, format string) string {
	v, ok := r.Last(key)
	if !ok {
		return "–"
	}
	return fmt.Sprintf(format, v)
}

// showLoss is the mean of the last losses; NaN when the last one is.
func (r *Run) showLoss() string {
	if last, ok := r.Last(MetricLoss); !ok || math.IsNaN(last) {
		return r.show(MetricLoss, "%.4f")
	}
	return showNumber(r.loss)
}

// showNumber is a loss with four decimals, or, where that would be long, with four digits:
// those of a training that diverges may have hundreds.
func showNumber(x float64) string {
	if math.Abs(x) >= 1e4 && !math.IsInf(x, 0) {
		return fmt.Sprintf("%.3e", x)
	}
	return fmt.Sprintf("%.4f", x)
}

// took is how long the run took from its first start to its end.
func (r *Run) took() string {
	if r.Finished.IsZero() {
		return ""
	}
	d := r.Finished.Sub(r.Started)
	if d <= 0 { // it crashed before it gave a sign of life
		return ""
	}
	if d < time.Minute {
		return d.Round(time.Second / 10).String()
	}
	return d.Round(time.Second).String()
}

// Table is the run as a card: what was asked for, how it went, what was measured.
func (r *Run) Table() *render.Table {
	t := &render.Table{Caption: fmt.Sprintf("%s, run %s", r.Title(), r.ID), Columns: render.Left("", "")}
	t.Add("status", r.statusLine())
	training := r.steps(" of ") + " steps"
	if !r.Imported() {
		training += fmt.Sprintf(", batch %d, seed %d, %s", r.Config.Batch, r.Seed, r.Config.Data)
	}
	t.Add("training", training)
	t.Add("loss", r.lossLine())
	if points := r.Series(MetricLoss); len(points) > 1 {
		t.Add("loss by step", sparkline(points, 40))
	}
	if p, ok := r.Protocol(MetricFD); ok {
		t.Add(p.Metric, r.fromTo(MetricFD, "%.2f"))
		t.Notes = append(t.Notes, p.Describe())
	}
	if r.Group != "" {
		t.Add("group", r.Group)
	}
	if r.Parent != "" {
		t.Add("made from", r.Parent)
	}
	if len(r.Tags) > 0 {
		t.Add("tags", r.tagLine())
	}
	t.Add("started", r.Started.Format(minute)+r.after())
	t.Add("on", r.place())
	if r.Commit != "" {
		t.Add("code", r.code())
	}
	return t
}

func (r *Run) statusLine() string {
	s := r.Status
	if r.Attempt > 1 {
		s += fmt.Sprintf(", attempt %d", r.Attempt)
	}
	if r.Error != "" {
		s += ": " + r.Error
	}
	return s
}

// fromTo is the first and the last value of a series.
func (r *Run) fromTo(key, format string) string {
	last, ok := r.Last(key)
	if !ok {
		return "–"
	}
	if points := r.Series(key); len(points) > 1 {
		first := points[0]
		return fmt.Sprintf(format+" (step %d) → "+format+" (step %d)", first.Value, first.Step, last, points[len(points)-1].Step)
	}
	return fmt.Sprintf(format, last)
}

// lossLine is the first loss and the mean of the last ones.
func (r *Run) lossLine() string {
	points := r.Series(MetricLoss)
	if len(points) < 2 {
		return r.showLoss()
	}
	return fmt.Sprintf("%s (step %d) → %s (mean of the last %d steps)", showNumber(points[0].Value), points[0].Step, r.showLoss(), min(lossPoints, len(points)))
}

func (r *Run) after() string {
	if t := r.took(); t != "" {
		return ", took " + t
	}
	return ""
}

func (r *Run) place() string {
	s := r.Host
	if r.Device != "" {
		s += ", " + r.Device
	}
	return s
}

func (r *Run) code() string {
	s := r.Commit[:min(12, len(r.Commit))]
	if r.Dirty {
		s += " with changes"
	}
	return s
}

// Bundle is the run's card.
func (r *Run) Bundle() render.Bundle { return r.Table().Bundle() }

// String is the run's card as text.
func (r *Run) String() string { return r.Table().String() }

// Table is the bias by run and chain length, without the paper's row.
func (b *BiasResult) Table() *render.Table {
	t := &render.Table{Caption: "Exposure bias: mean L1 distance per pixel (Alg. 3)", Columns: render.Left("Run")}
	for _, n := range b.Steps {
		t.Columns = append(t.Columns, render.Right(fmt.Sprintf("%d steps", n))...)
	}
	for _, row := range b.Rows {
		cells := []string{row.Run.Variant.String()}
		for _, v := range row.Bias {
			cells = append(cells, fmt.Sprintf("%.4f ± %.4f", v.L1, v.StdErr))
		}
		t.Add(cells...)
	}
	t.Notes = []string{b.Protocol}
	return t
}

// Bundle is the table.
func (b *BiasResult) Bundle() render.Bundle { return b.Table().Bundle() }

// String is the table as text.
func (b *BiasResult) String() string { return b.Table().String() }

// Table is the score by run and number of sampling steps, without the paper's rows.
func (s *SweepResult) Table() *render.Table {
	t := &render.Table{Caption: s.Protocol.Metric + " by sampling steps", Columns: render.Left("Run")}
	for _, n := range s.Steps {
		t.Columns = append(t.Columns, render.Right(fmt.Sprintf("%d steps", n))...)
	}
	for _, row := range s.Rows {
		cells := []string{row.Run.Variant.String()}
		for _, v := range row.FD {
			cells = append(cells, fmt.Sprintf("%.2f", v))
		}
		t.Add(cells...)
	}
	t.Notes = []string{s.Protocol.Describe()}
	return t
}

// Bundle is the table.
func (s *SweepResult) Bundle() render.Bundle { return s.Table().Bundle() }

// String is the table as text.
func (s *SweepResult) String() string { return s.Table().String() }

// Bundle is the images as a grid.
func (s *Samples) Bundle() render.Bundle {
	b := s.Images.Bundle()
	b.Set(render.Plain, []byte(s.String()))
	return b
}

// String tells what was drawn.
func (s *Samples) String() string {
	return fmt.Sprintf("%v from %s (run %s) in %s, seed %d", s.Images, s.Run.Variant, s.Run.ID, inSteps(s.Steps), s.Seed)
}

// inSteps is "1 step" or "50 steps".
func inSteps(n int) string {
	if n == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", n)
}

var _ ddpm.Recorder = (*session)(nil)
