package experiments

import (
	"context"
	"fmt"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/render"
)

// Lab is a Store for notebook cells: what fails there ends the cell with a message, so
// its methods return no errors but panic with a *CellError. Programs use Store.
type Lab struct {
	store *Store
	place place // of new runs
}

// MustOpen opens the database that name means, as Open does, and panics with a
// *CellError when it cannot.
func MustOpen(name string) *Lab {
	return &Lab{store: must(Open(name))}
}

// must passes a value on, and panics with a *CellError instead of an error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(&CellError{Err: err})
	}
	return v
}

// check panics with a *CellError when there is an error.
func check(err error) {
	if err != nil {
		panic(&CellError{Err: err})
	}
}

// Store is the database behind the lab.
func (l *Lab) Store() *Store { return l.store }

// Path is the database file's absolute path.
func (l *Lab) Path() string { return l.store.path }

// Close closes the database.
func (l *Lab) Close() {
	check(l.store.Close())
}

// String names the file and counts its runs.
func (l *Lab) String() string {
	runs := must(l.store.AllRuns(context.Background()))
	return fmt.Sprintf("%d runs in %s", len(runs), l.store.path)
}

// Bundle is what a cell shows that ends with the lab.
func (l *Lab) Bundle() render.Bundle { return render.Text(l.String()) }

// Group returns a lab on the same database whose new runs belong to the group of that
// name: study := lab.Group("gamma study").
func (l *Lab) Group(name string) *Lab {
	p := l.place
	p.group = name
	return &Lab{l.store, p}
}

// Under returns a lab on the same database whose new runs were made from r, as its
// repetitions: lab.Under(r).Rerun(ctx, r.Config, r.Variant).
func (l *Lab) Under(r *Run) *Lab {
	p := l.place
	p.parent = r.ID
	return &Lab{l.store, p}
}

// in puts new runs where the lab says.
func (l *Lab) in(ctx context.Context) context.Context {
	if l.place.group != "" {
		ctx = WithGroup(ctx, l.place.group)
	}
	if l.place.parent != "" {
		ctx = WithParent(ctx, l.place.parent)
	}
	return ctx
}

// Train is Store.Train: it trains and records, or returns the finished run at once.
func (l *Lab) Train(ctx context.Context, c ddpm.Config, v ddpm.Variant) *Run {
	return must(l.store.Train(l.in(ctx), c, v))
}

// Rerun is Train, but trains in any case.
func (l *Lab) Rerun(ctx context.Context, c ddpm.Config, v ddpm.Variant) *Run {
	return must(l.store.Rerun(l.in(ctx), c, v))
}

// Resume continues the interrupted or crashed run whose id begins with prefix.
func (l *Lab) Resume(ctx context.Context, prefix string) *Run {
	return must(l.store.Resume(ctx, prefix))
}

// Checkpoint reads the newest checkpoint of the run, for ddpm.NewNetwork and the like.
func (l *Lab) Checkpoint(r *Run) *ddpm.Checkpoint {
	return must(l.store.Checkpoint(context.Background(), r))
}

// BestCheckpoint reads the checkpoint of the run's lowest score while it was trained.
func (l *Lab) BestCheckpoint(r *Run) *ddpm.Checkpoint {
	return must(l.store.BestCheckpoint(context.Background(), r))
}

// Runs returns the runs of every variant trained with this configuration, one for each.
func (l *Lab) Runs(c ddpm.Config) Runs { return must(l.store.Runs(context.Background(), c)) }

// AllRuns returns every run, oldest first.
func (l *Lab) AllRuns() Runs { return must(l.store.AllRuns(context.Background())) }

// Query returns the runs that fulfil a condition, as
// "gamma >= 0.1 and (fd < 20 or status = crashed) order by fd limit 10"; see Store.Query.
func (l *Lab) Query(query string) Runs { return must(l.store.Query(context.Background(), query)) }

// SQL answers a query in SQL, which can only read. It ends with ctx, as queries may take long.
func (l *Lab) SQL(ctx context.Context, query string) *Rows { return must(l.store.SQL(ctx, query)) }

// Compare puts runs side by side, what differs first.
func (l *Lab) Compare(runs Runs) *Comparison {
	return must(l.store.Compare(context.Background(), runs))
}

// Significance compares the last scores of variants over seeds.
func (l *Lab) Significance(runs Runs) *Significance {
	return must(l.store.Significance(context.Background(), runs))
}

// Diff shows what distinguishes two runs, whose ids begin with a and b.
func (l *Lab) Diff(a, b string) *Diff { return must(l.store.Diff(context.Background(), a, b)) }

// Run returns the run whose id begins with prefix.
func (l *Lab) Run(prefix string) *Run { return must(l.store.Run(context.Background(), prefix)) }

// Show returns all that is known of the run whose id begins with prefix.
func (l *Lab) Show(prefix string) *Detail { return must(l.store.Show(context.Background(), prefix)) }

// Tag gives the run whose id begins with prefix a tag, with a value or "".
func (l *Lab) Tag(prefix, name, value string) {
	check(l.store.Tag(context.Background(), prefix, name, value))
}

// Untag takes a tag from the run whose id begins with prefix.
func (l *Lab) Untag(prefix, name string) {
	check(l.store.Untag(context.Background(), prefix, name))
}

// Note adds a note to the run whose id begins with prefix.
func (l *Lab) Note(prefix, text string) {
	check(l.store.Note(context.Background(), prefix, text))
}

// Record adds a number to the run whose id begins with prefix: a value at a step of a series
// of your own, as "accuracy" or, in the context validation, "validation/accuracy".
func (l *Lab) Record(prefix, name string, step int64, value float64) {
	check(l.store.Record(context.Background(), prefix, name, step, value))
}

// Delete takes the run whose id begins with prefix out of all lists; Restore brings it back.
func (l *Lab) Delete(prefix string) { check(l.store.Delete(context.Background(), prefix)) }

// Restore brings the deleted run back whose id begins with prefix.
func (l *Lab) Restore(prefix string) *Run {
	return must(l.store.Restore(context.Background(), prefix))
}

// Merge takes over the runs of another database, with their files.
func (l *Lab) Merge(other string) Merged {
	return must(l.store.Merge(context.Background(), other))
}

// Bias measures the exposure bias of the runs on BiasImages images: the error of Alg. 3
// (Table 1) over chains of the given lengths, as 100, 300, 600, 1000, clipped and as
// written, beside that of one step; δ_t and ‖ε‖ along a sampling chain; and ν_t with its
// test for normality. plots.BiasTable, DriftTable, DriftCurve, NormCurve, ErrorTable and
// ErrorCurve show them.
func (l *Lab) Bias(ctx context.Context, runs Runs, steps ...int) *BiasResult {
	return must(l.store.Bias(ctx, runs, 0, steps...))
}

// Sweep scores the runs with samples drawn in the given numbers of steps (Table 2), as
// 25, 50, 100.
func (l *Lab) Sweep(ctx context.Context, runs Runs, steps ...int) *SweepResult {
	return must(l.store.Sweep(ctx, runs, 0, steps...))
}

// Evaluate scores samples of the run against its data: the distances, precision and recall
// that its extractor has. Several seeds give means and deviations:
// lab.Evaluate(ctx, r, experiments.Evaluating{N: 2000, Seeds: []uint64{0, 1, 2}}).
func (l *Lab) Evaluate(ctx context.Context, r *Run, how ...Evaluating) *Evaluation {
	return must(l.store.Evaluate(ctx, r, first(how)))
}

// Difference tells by how much two runs' samples from the same noise differ in their
// distance from the data, with a paired bootstrap of 1,000 draws over images.
func (l *Lab) Difference(ctx context.Context, a, b *Run, how ...Evaluating) fid.Difference {
	return must(l.store.Difference(ctx, a, b, first(how), 1000))
}

func first(how []Evaluating) Evaluating {
	if len(how) == 0 {
		return Evaluating{}
	}
	return how[0]
}

// Samples draws n images from the run's network in so many sampling steps.
func (l *Lab) Samples(ctx context.Context, r *Run, n, steps int) *Samples {
	return must(l.store.Samples(ctx, r, n, steps))
}

// Reference returns what the paper's table 1, 2 or 3 reports.
func (l *Lab) Reference(table int) []Reference {
	return must(l.store.Reference(context.Background(), table))
}

// Published returns the curves that the paper's authors publish of a data set, as "cifar10".
func (l *Lab) Published(dataset string) []Published {
	return must(l.store.Published(context.Background(), dataset))
}
