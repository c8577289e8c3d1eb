package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"ddpmlab/ddpm/fid"
	"ddpmlab/experiments"
	"ddpmlab/internal/render"
	"ddpmlab/plots"
)

var evaluate = command{
	name:     "evaluate",
	args:     "A [B]",
	synopsis: "Score images, or a run's samples, against real images",
	help: `A and B are folders of images, .npz files of images (arr_0), reference files (mu and sigma, as of this program,
guided-diffusion, EDM or pytorch-fid), data sets, checkpoint files, or runs, of which images are drawn. Without B a run is
scored against the data it was trained on.

Each number comes with its protocol: extractor and weights, resizing, number of images, reference, sampler, steps, EMA and
seeds, of which the table shows the hash. The distance is a FID only with the Inception weights of 2015-12-05, from a file
of yours (--weights or the environment variable DDPMLAB_INCEPTION); small grey images are scored by the classifier that is
built in, FD (fashion-cnn), which compares with no FID.

Without B, --metrics and --seeds, the distance of a run's samples is printed by number of sampling steps (Table 2). What was
measured before of a run is looked up.

With --json: an object {samples, reference, seeds, scores, notes}, where scores is an array of {metric, name, value, sd,
values, protocol, id}; by number of steps an object {run, variant, metric, n, floor, protocol, scores}.`,
	examples: []string{
		"evaluate samples/ real/", "evaluate samples.npz VIRTUAL_imagenet64_labeled.npz --weights inception.pth",
		"evaluate 01JZ8M --steps 20,50", "evaluate 01JZ8M ref.npz -n 5000 --seeds 0,1,2 --metrics fd,precision,recall",
		"evaluate 01JZ8M fashion-mnist --paired-with 01JZ9A",
	},
	setup: func(f *flag.FlagSet) action {
		var e evaluation
		f.Var(&e.steps, "steps", "sampling steps of runs `N`; N,N,... for a table by steps; default: those of the run's own scores")
		f.IntVar(&e.n, "n", 0, "draw `N` samples; default: as many as for the run's own scores")
		f.Var(&e.seeds, "seeds", "draw once with each of the seeds `N,N,...`, and give mean and deviation; default: the run's")
		f.StringVar(&e.sampler, "sampler", "", "draw with the sampler `NAME`: ancestral, ddim, dpm++2m or heun; default: ancestral")
		f.StringVar(&e.metrics, "metrics", "", "`LIST` of "+strings.Join(fid.Metrics(), ",")+", or all; default: the usual ones")
		f.StringVar(&e.weights, "weights", "", "`FILE` with the weights of Inception")
		f.StringVar(&e.pair, "paired-with", "", "tell by how much A and `C` differ, images drawn from the same noise, by bootstrap over pairs")
		f.IntVar(&e.draws, "draws", 1000, "bootstrap draws `N`")
		e.db, e.threads, e.json = dbFlag(f), threadsFlag(f), jsonFlag(f)
		deviceFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if e.n < 0 || given(f, "n") && e.n == 0 {
				return usagef("-n is %d; want 2 or more samples", e.n)
			}
			e.given = func(name string) bool { return given(f, name) }
			return e.run(ctx, args, w)
		}
	},
}

// evaluation is a call of evaluate.
type evaluation struct {
	steps            intList
	n, draws         int
	size             int // of images, where a data set comes in several; 0: the largest
	seeds            seedList
	sampler, metrics string
	weights, pair    string
	db               *string
	threads          *int
	json             *bool
	given            func(flag string) bool
}

// seedList is a flag of whole numbers from 0 with commas between.
type seedList []uint64

func (l *seedList) String() string {
	parts := make([]string, len(*l))
	for i, n := range *l {
		parts[i] = strconv.FormatUint(n, 10)
	}
	return strings.Join(parts, ",")
}

func (l *seedList) Set(s string) error {
	*l = nil
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(part), 10, 64)
		if err != nil {
			return errors.New("whole numbers from 0 with commas between, as 0,1,2")
		}
		*l = append(*l, n)
	}
	return nil
}

func (e *evaluation) run(ctx context.Context, args []string, w world) error {
	var keys []string
	if e.metrics != "" {
		var err error
		if keys, err = fid.ParseMetrics(e.metrics); err != nil {
			return usagef("--metrics: %v", err)
		}
	}
	a, err := e.subject(args[0])
	if err != nil {
		return err
	}
	if len(args) == 1 {
		if a.kind != kindRun {
			return usagef("evaluate: B is missing; name the real images that %s is compared with, as a folder, .npz file or data set", args[0])
		}
		if len(keys) == 0 && len(e.seeds) == 0 && e.pair == "" && e.sampler == "" {
			return e.bySteps(ctx, args[0], w)
		}
	}
	if len(e.steps) > 1 {
		return usagef("--steps is %s; want one number, but for a run alone", e.steps.String())
	}
	shown, done := watch(ctx, w)
	result, err := e.evaluate(shown, a, args[1:], keys, w)
	done()
	if err != nil {
		return err
	}
	if *e.json {
		return printJSON(w.out, result)
	}
	return printf(w.out, "%v\n", result)
}

// evaluate returns an Evaluation, or a difference of two.
func (e *evaluation) evaluate(ctx context.Context, a subject, rest, keys []string, w world) (any, error) {
	var b subject
	if len(rest) > 0 {
		var err error
		if b, err = e.subject(rest[0]); err != nil {
			return nil, err
		}
	}
	if e.pair != "" {
		return e.difference(ctx, a, b, w)
	}
	if a.kind == kindRun && len(rest) == 0 {
		return e.withRun(ctx, a, w, func(s *experiments.Store, r *experiments.Run, x fid.Network) (*experiments.Evaluation, error) {
			return s.EvaluateWith(ctx, r, x, nil, e.how(keys))
		})
	}
	against := func() (fid.Against, error) { return e.against(ctx, b) }
	switch a.kind {
	case kindRun:
		return e.withRun(ctx, a, w, func(s *experiments.Store, r *experiments.Run, x fid.Network) (*experiments.Evaluation, error) {
			return s.EvaluateWith(ctx, r, x, against, e.how(keys))
		})
	case kindStatistics:
		x, err := fid.ReadReference(a.arg)
		if err != nil {
			return nil, err
		}
		if b.kind != kindStatistics {
			return nil, fmt.Errorf("%s has statistics alone, and %s has images; give the images first: `ddpmlab evaluate %[2]s %[1]s`", a.arg, b.arg)
		}
		y, err := fid.ReadReference(b.arg)
		if err != nil {
			return nil, err
		}
		found, err := fid.Between(x, y, keys)
		if err != nil {
			return nil, err
		}
		return experiments.Over(nil, []*fid.Evaluation{found})
	}
	return e.images(ctx, a, against, keys, w)
}

// images scores images that are there, or are drawn from a checkpoint file.
func (e *evaluation) images(ctx context.Context, a subject, open func() (fid.Against, error), keys []string, w world) (*experiments.Evaluation, error) {
	samples, drawn, err := e.source(ctx, a)
	if err != nil {
		return nil, err
	}
	e.size = samples.H
	x, end, err := openNetwork(w, samples.H, samples.W, samples.C, e.weights, *e.threads)
	if err != nil {
		return nil, err
	}
	defer end() // of nothing that matters any more
	against, err := open()
	if err != nil {
		return nil, err
	}
	found, err := fid.Evaluate(ctx, x, samples, against, fid.Request{
		Metrics: keys, Drawn: drawn, Progress: experiments.ShowImages(ctx, "evaluate", "features of "+x.Name()),
	})
	if err != nil {
		return nil, err
	}
	return experiments.Over(nil, []*fid.Evaluation{found})
}

// how is what the flags say of a run's samples.
func (e *evaluation) how(keys []string) experiments.Evaluating {
	how := experiments.Evaluating{N: e.n, Seeds: e.seeds, Metrics: keys, Sampler: e.sampler}
	if len(e.steps) > 0 {
		how.Steps = e.steps[0]
	}
	return how
}

func (e *evaluation) withRun(ctx context.Context, a subject, w world, do func(*experiments.Store, *experiments.Run, fid.Network) (*experiments.Evaluation, error)) (out *experiments.Evaluation, err error) {
	err = withExisting(*e.db, *e.threads, func(s *experiments.Store) error {
		r, err := s.Run(ctx, a.arg)
		if err != nil {
			return err
		}
		m := r.Config.Model
		e.size = m.Size
		x, end, err := openNetwork(w, m.Size, m.Size, m.InChannels, e.weights, *e.threads)
		if err != nil {
			return err
		}
		defer end() // of nothing that matters any more
		out, err = do(s, r, x)
		return err
	})
	return out, err
}

// difference compares two sets of images from the same noise.
func (e *evaluation) difference(ctx context.Context, a, b subject, w world) (any, error) {
	c, err := e.subject(e.pair)
	if err != nil {
		return nil, err
	}
	if a.kind == kindRun && c.kind == kindRun {
		var d fid.Difference
		err := withExisting(*e.db, *e.threads, func(s *experiments.Store) error {
			x, err := s.Run(ctx, a.arg)
			if err != nil {
				return err
			}
			y, err := s.Run(ctx, c.arg)
			if err != nil {
				return err
			}
			d, err = s.Difference(ctx, x, y, e.how(nil), e.draws)
			return err
		})
		return d, err
	}
	var rows [2]fid.Rows
	var reference fid.Stats
	for i, s := range []subject{a, c} {
		samples, _, err := e.source(ctx, s)
		if err != nil {
			return nil, err
		}
		e.size = samples.H
		x, end, err := openNetwork(w, samples.H, samples.W, samples.C, e.weights, *e.threads)
		if err != nil {
			return nil, err
		}
		against, err := e.against(ctx, b)
		if err == nil {
			var found *fid.Evaluation
			found, err = fid.Evaluate(ctx, x, samples, against, fid.Request{
				Metrics: []string{fid.MetricFD}, Keep: true, Progress: experiments.ShowImages(ctx, "evaluate", "features of "+x.Name()),
			})
			if err == nil {
				rows[i], reference = found.SampleRows, found.ReferenceStats
			}
		}
		end()
		if err != nil {
			return nil, err
		}
	}
	return fid.PairedBootstrap(ctx, reference, rows[0], rows[1], e.draws)
}

// bySteps prints a run's distance by number of sampling steps.
func (e *evaluation) bySteps(ctx context.Context, run string, w world) error {
	return withExisting(*e.db, *e.threads, func(s *experiments.Store) error {
		r, err := s.Run(ctx, run)
		if err != nil {
			return err
		}
		if e.n == 0 && r.Config.EvalSamples == 0 {
			return fmt.Errorf("run %s has no scores of its own that tell how many samples to draw; give their number, as -n 500", r.ID)
		}
		steps := e.steps
		if len(steps) == 0 {
			steps = intList{r.Config.SamplingSteps}
		}
		ctx, done := watch(ctx, w)
		sweep, err := s.Sweep(ctx, experiments.Runs{r}, e.n, steps...)
		done()
		if err != nil {
			return err
		}
		if *e.json {
			if c := sweep.Protocol.Caution(); c != "" {
				if err := printf(w.err, "ddpmlab: %s\n", c); err != nil {
					return err
				}
			}
			return printJSON(w.out, newScores(r, sweep))
		}
		t, err := plots.StepsTable(sweep)
		if err != nil {
			return err
		}
		return printf(w.out, "%v\n", t)
	})
}

var evaluateRef = command{
	name:     "evaluate ref",
	args:     "DATA",
	synopsis: "Write the statistics of real images, to compare others with",
	help: `DATA is a folder, an .npz file of images or a data set. The .npz file has the arrays mu and sigma of the features, mu_s and
sigma_s of the spatial ones, as guided-diffusion's reference batches, and about: the extractor, its weights, the number of images
and their SHA-256. --images adds the images as arr_0, which precision, recall and the kernel distance need.`,
	examples: []string{"evaluate ref fashion-mnist --out ref.npz --images", "evaluate ref cifar_train/ --out ref.npz --weights inception.pth"},
	setup: func(f *flag.FlagSet) action {
		var e evaluation
		out := f.String("out", "", "write to `FILE`, .npz")
		images := f.Bool("images", false, "add the images")
		f.IntVar(&e.size, "size", 0, "take a data set's images of `N`×N pixels; default: the largest")
		f.StringVar(&e.weights, "weights", "", "`FILE` with the weights of Inception")
		e.threads = threadsFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if !strings.HasSuffix(*out, ".npz") {
				return usagef("--out is %q; want a name that ends in .npz", *out)
			}
			if err := checkOut("--out", *out); err != nil {
				return err
			}
			shown, done := watch(ctx, w)
			m, err := e.reference(shown, args[0], *out, *images, w)
			done()
			if err != nil {
				return err
			}
			return printf(w.out, "%s: %d images of %s, %d features of %s, SHA-256 %.12s\n", *out, m.N, m.Name, m.Pool.Dim, m.Extractor, m.SHA256)
		}
	},
}

// reference measures real images and writes what was found.
func (e *evaluation) reference(ctx context.Context, data, out string, images bool, w world) (*fid.Measured, error) {
	m, err := e.measure(ctx, data, w, fid.CollectOptions{Spatial: true})
	if err != nil {
		return nil, err
	}
	var again *fid.Source
	if images {
		if again, err = e.openImages(data); err != nil {
			return nil, err
		}
	}
	return m, fid.WriteReference(out, m, again)
}

// measure finds the features of real images.
func (e *evaluation) measure(ctx context.Context, data string, w world, o fid.CollectOptions) (*fid.Measured, error) {
	s, err := e.openImages(data)
	if err != nil {
		return nil, err
	}
	x, end, err := openNetwork(w, s.H, s.W, s.C, e.weights, *e.threads)
	if err != nil {
		return nil, err
	}
	defer end() // of nothing that matters any more
	o.Progress = experiments.ShowImages(ctx, "reference", "features of "+s.Name)
	return fid.Collect(ctx, x, s, o)
}

var evaluateNoise = command{
	name:     "evaluate noise",
	args:     "DATA",
	synopsis: "Measure what real images score against real ones",
	help: `N random images of DATA against all the others, several times, for each N: mean and standard deviation of the distances and
of precision and recall. Differences of scores below that mean nothing; and what falls with N is bias.

With --json: an array of {Name, N, M, Mean, SD, Draws}.`,
	examples: []string{"evaluate noise fashion-mnist -n 500,1000,2000,5000"},
	setup: func(f *flag.FlagSet) action {
		var e evaluation
		ns := intList{500, 1000, 2000, 5000}
		f.Var(&ns, "n", "numbers of images `N,N,...`; half of DATA are its two halves")
		draws := f.Int("draws", 5, "draw `N` times")
		f.IntVar(&e.size, "size", 0, "take a data set's images of `N`×N pixels; default: the largest")
		f.StringVar(&e.weights, "weights", "", "`FILE` with the weights of Inception")
		e.threads = threadsFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if *draws < 1 {
				return usagef("--draws is %d; want 1 or more", *draws)
			}
			shown, done := watch(ctx, w)
			m, err := e.measure(shown, args[0], w, fid.CollectOptions{Spatial: true, Pixel: true, KeepAll: true})
			var levels []fid.Noise
			if err == nil {
				levels, err = fid.NoiseLevels(ctx, m, *draws, ns...)
			}
			done()
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(w.out, levels)
			}
			return printf(w.out, "%v\n", noiseTable(m, levels))
		}
	},
}

// noiseTable has a line for each number of images, and the metrics as columns.
func noiseTable(m *fid.Measured, levels []fid.Noise) *render.Table {
	t := &render.Table{Columns: render.Right("N", "Others")}
	var cells []string
	for i, l := range levels {
		if i == 0 || l.N != levels[i-1].N {
			if cells != nil {
				t.Add(cells...)
			}
			cells = []string{strconv.Itoa(l.N), strconv.Itoa(l.M)}
		}
		if l.N == levels[0].N {
			t.Columns = append(t.Columns, render.Right(l.Name)...)
		}
		cells = append(cells, fmt.Sprintf("%.3g ± %.2g", l.Mean, l.SD))
	}
	if cells != nil {
		t.Add(cells...)
		t.Notes = []string{fmt.Sprintf("%s, %d draws. Extractor %s (weights %.12s), reference SHA-256 %.12s.", m.Name, levels[0].Draws, m.Extractor, m.ExtractorSHA256, m.SHA256)}
	}
	return t
}

var evaluateCompare = command{
	name:     "evaluate compare",
	args:     "A B [C] [D]",
	synopsis: "Put evaluations side by side that were made in one way",
	help: `Each is a file of what ` + "`ddpmlab evaluate --json`" + ` printed. Scores of different protocols are refused, and the field that differs is
named; with --force they are shown, greyed out, and it says why they do not compare.`,
	examples: []string{"evaluate compare adm.json ip.json"},
	setup: func(f *flag.FlagSet) action {
		force := f.Bool("force", false, "show what does not compare too")
		return func(_ context.Context, args []string, w world) error {
			var evals []*experiments.Evaluation
			for _, name := range args {
				b, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				e := new(experiments.Evaluation)
				if err := json.Unmarshal(b, e); err != nil || len(e.Scores) == 0 || e.Scores[0].ID != e.Scores[0].Protocol.Hash() {
					return fmt.Errorf("%s is not what `ddpmlab evaluate A B --json` prints", name)
				}
				evals = append(evals, e)
			}
			t, err := experiments.SideBySide(evals, *force)
			if err != nil {
				return err
			}
			return printf(w.out, "%v\n", greyed(t, w))
		}
	},
}

// greyed is the table as text, its rows that are set back in grey on terminals.
func greyed(t *render.Table, w world) string {
	text := t.String()
	file, ok := w.out.(*os.File)
	if info, err := os.Stdout.Stat(); !ok || err != nil || file != os.Stdout || info.Mode()&os.ModeCharDevice == 0 {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, r := range t.Rows {
		at := len(lines) - len(t.Notes) - len(t.Rows) + i
		if r.Class == render.ClassPaper && at >= 0 && at < len(lines) {
			lines[at] = "\x1b[90m" + lines[at] + "\x1b[0m"
		}
	}
	return strings.Join(lines, "\n")
}
