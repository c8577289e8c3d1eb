package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/fid"
	"ddpmlab/experiments"
	"ddpmlab/plots"
)

var evaluate = command{
	name:     "evaluate",
	args:     "A [B]",
	synopsis: "Score images, or a run's samples, against real images",
	help: `A and B are each one of

images: a folder of image files, an .npz with arr_0 (N×H×W×C bytes), the name of a data set or other files that ` + "`ddpmlab data info`" + ` knows;

a network, of which images are drawn: a run, a checkpoint file, or weights as .pt or .safetensors, for which --preset
(and --set) says what network it is;

a reference: an .npz with mu and sigma, of ` + "`ddpmlab evaluate ref`" + `, guided-diffusion, EDM or pytorch-fid.

Without B a run is scored against the data it was trained on; with no more than -n and --steps, as a table by number of
sampling steps (Table 2). What was measured before of a run is looked up. Images are never resized here. A run without B is scored by pixels as they are drawn,
like its own scores, all else by whole grey levels, like files. Features are computed on the processor; --device is where
images are drawn.

Each number comes with its protocol: extractor and weights, resizing, numbers of images, reference, sampler, steps, EMA and
seeds, of which the table shows the hash. An .npz that ` + "`ddpmlab sample`" + ` wrote tells how its images were drawn. The distance is
a FID only with the Inception weights of 2015-12-05, from a file of yours (--weights or the environment variable
DDPMLAB_INCEPTION); small grey images are scored by the classifier that is built in, FD (fashion-cnn), which compares with
no FID.

The metrics: fd, the Fréchet distance of features, FID with Inception; sfd, that of spatial ones; is, the Inception score;
precision and recall, with 3 neighbours; kid, the kernel distance; fd-infinity, fd extrapolated to infinitely many samples;
pixel-fd, fd of the pixels themselves.

With --json: an object {samples, reference, seeds, scores, notes}, where scores is an array of {metric, name, value, sd,
values, protocol, id}; by number of steps an object {run, variant, metric, n, floor, protocol, scores}; with --paired-with
an object {A, B, Diff, SD, Low, High, N, Draws, Protocol, ID}.`,
	examples: []string{
		"evaluate samples/ real/", "evaluate samples.npz VIRTUAL_imagenet64_labeled.npz --weights inception.pth",
		"evaluate 01JZ8M --steps 20,50", "evaluate 01JZ8M ref.npz -n 5000 --seeds 0,1,2 --metrics fd,precision,recall",
		"evaluate ema_0.9999_460000.pt cifar10 --preset cifar10 -n 50000 --steps 100",
		"evaluate 01JZ8M fashion-mnist --paired-with 01JZ9A",
	},
	setup: func(f *flag.FlagSet) action {
		e := evaluation{f: f}
		f.StringVar(&e.steps, "steps", "", "draw in so many `STEPS`, or ddimN; N,N,... for a table of a run's; default: those of the run's own scores")
		f.IntVar(&e.n, "n", 0, "draw `N` samples; default: as many as for the run's own scores, or 1000")
		f.Var(&e.seeds, "seeds", "draw once with each of the seeds `N,N,...`, and give mean and deviation; default: the run's")
		f.StringVar(&e.metrics, "metrics", "", "`LIST` of "+strings.Join(fid.Metrics(), ",")+", or all; default: the usual ones")
		f.StringVar(&e.pair, "paired-with", "", "tell by how much the fd of A and `C` differ, images drawn from the same noise, by bootstrap over pairs")
		f.IntVar(&e.draws, "draws", 1000, "bootstrap draws `N`")
		e.sampling, e.network = newSamplingFlags(f), newNetworkFlags(f)
		e.extractorFlags()
		e.db, e.json = dbFlag(f), jsonFlag(f)
		deviceFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			if e.n < 0 || given(f, "n") && e.n == 0 {
				return usagef("-n is %d; want 2 or more samples", e.n)
			}
			return e.run(ctx, args, w)
		}
	},
}

// evaluation is a call of evaluate, or of one of its relatives.
type evaluation struct {
	f             *flag.FlagSet
	n, draws      int
	size          int // of the images to take of a data set; 0: as they are
	steps         string
	seeds         seedList
	metrics, pair string
	weights       string
	anyWeights    bool
	sampling      *samplingFlags
	network       *networkFlags
	db            *string
	threads       *int
	json          *bool
}

// extractorFlags declares what says how features are found.
func (e *evaluation) extractorFlags() {
	e.f.StringVar(&e.weights, "weights", "", "`FILE` with the weights of Inception; default: that of DDPMLAB_INCEPTION")
	e.f.BoolVar(&e.anyWeights, "any-weights", false, "take weights of Inception that are not those of 2015-12-05; then nothing is called FID")
	e.threads = threadsFlag(e.f)
}

// sizeFlag declares the size of the images of a data set.
func (e *evaluation) sizeFlag() {
	e.f.IntVar(&e.size, "size", 0, "take images of `N`×N pixels: of a data set that has them, or image files cropped as in training; default: as they are")
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
	var sides [3]subject
	for i, arg := range []string{args[0], strings.Join(args[1:], ""), e.pair} {
		if arg == "" && i > 0 {
			continue
		}
		var err error
		if sides[i], err = subjectOf(arg); err != nil {
			return err
		}
	}
	a, b, c := sides[0], sides[1], sides[2]
	var table intList
	if b.kind == kindNone && len(e.given("steps", "n", "db", "threads", "device", "json")) == 0 && a.kind == kindRun && (e.steps == "" || table.Set(e.steps) == nil) {
		return e.bySteps(ctx, args[0], table, w)
	}
	if err := e.check(a, b, c, len(keys) > 0); err != nil {
		return err
	}
	shown, done := watch(ctx, w)
	var result any
	var err error
	switch {
	case e.pair != "":
		result, err = e.difference(shown, a, b, c, w)
	case a.kind == kindStatistics:
		result, err = statistics(a, b, keys)
	case a.kind == kindRun:
		result, err = e.ofRun(shown, a, b, keys, w)
	default:
		result, err = e.images(shown, a, b, keys, w)
	}
	done()
	if err != nil {
		return err
	}
	if *e.json {
		return printJSON(w.out, result)
	}
	return printf(w.out, "%v\n", result)
}

// given names the flags that were given, but for those named.
func (e *evaluation) given(except ...string) []string {
	var names []string
	e.f.Visit(func(g *flag.Flag) {
		if !slices.Contains(except, g.Name) {
			names = append(names, dashed(g.Name))
		}
	})
	return names
}

// check refuses flags that would do nothing.
func (e *evaluation) check(a, b, c subject, metrics bool) error {
	drawing := e.given("metrics", "weights", "any-weights", "paired-with", "draws", "db", "threads", "device", "json")
	network := a.kind == kindWeights || b.kind == kindWeights || c.kind == kindWeights
	switch {
	case b.kind == kindNone && a.kind != kindRun:
		return usagef("evaluate: B is missing; name the real images that %s is compared with, as a folder, .npz file or data set", a.arg)
	case len(drawing) > 0 && !a.drawn() && !b.drawn() && !c.drawn():
		return usagef("%s say how samples are drawn, and here are images alone; leave them out, or name a run or a checkpoint", strings.Join(drawing, ", "))
	case !network && e.network.given(e.f) != "":
		return usagef("a run knows its network; leave out %s, or name a file of weights", e.network.given(e.f))
	case len(e.seeds) > 1 && (!a.drawn() || e.pair != ""):
		return usagef("--seeds is %s; want one seed where A is images that are there, or with --paired-with", e.seeds.String())
	case strings.Contains(e.steps, ","):
		return usagef("--steps is %s; want one number or ddimN, but for a table of a run without more", e.steps)
	case e.pair != "" && metrics:
		return usagef("--paired-with compares the fd; leave out --metrics")
	case e.pair == "" && given(e.f, "draws"):
		return usagef("--draws are those of --paired-with, which is missing")
	}
	return nil
}

// how is what the flags say of samples of a network with this configuration.
func (e *evaluation) how(c ddpm.Config, seeds []uint64, keys []string) (experiments.Evaluating, error) {
	h := experiments.Evaluating{N: e.n, Seeds: seeds, Metrics: keys}
	_, p, _ := h.For(c)
	var err error
	h.Sampling, err = e.sampling.apply(e.f, p, e.steps, c.T)
	return h, err
}

// ofRun scores a run's samples, against the data it was trained on if there is no B.
func (e *evaluation) ofRun(ctx context.Context, a, b subject, keys []string, w world) (out *experiments.Evaluation, err error) {
	err = withExisting(*e.db, *e.threads, func(s *experiments.Store) error {
		r, err := a.run(ctx, s)
		if err != nil {
			return err
		}
		how, err := e.how(r.Config, e.seeds, keys)
		if err != nil {
			return err
		}
		m := r.Config.Model
		x, end, err := e.extractor(w, m.Size, m.Size, m.InChannels)
		if err != nil {
			return err
		}
		defer end() // of nothing that matters any more
		var open func() (fid.Against, error)
		if b.kind != kindNone {
			open = func() (fid.Against, error) { return e.against(ctx, b, m.Size) }
		}
		out, err = s.EvaluateWith(ctx, r, x, open, how)
		return err
	})
	return out, err
}

// statistics compares two references.
func statistics(a, b subject, keys []string) (*experiments.Evaluation, error) {
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

// images scores images that are there, or those that a file's network draws with each seed.
func (e *evaluation) images(ctx context.Context, a, b subject, keys []string, w world) (*experiments.Evaluation, error) {
	var x fid.Network
	var against fid.Against
	var evals []*fid.Evaluation
	for i := range max(1, len(e.seeds)) {
		o, err := e.open(ctx, a, e.size, e.seeds[min(i, len(e.seeds)):min(i+1, len(e.seeds))])
		if err != nil {
			return nil, err
		}
		if i == 0 {
			var end func()
			if x, end, err = e.extractor(w, o.images.H, o.images.W, o.images.C); err != nil {
				return nil, err
			}
			defer end() // of nothing that matters any more
			if against, err = e.against(ctx, b, o.images.H); err != nil {
				return nil, err
			}
		}
		request := experiments.Showing(ctx, fid.Request{Metrics: keys}, "evaluate", "features of "+x.Name())
		if _, err := fid.Plan(x, o.images, against, request); err != nil { // before anything is drawn
			return nil, err
		}
		samples, err := o.draw(ctx)
		if err != nil {
			return nil, err
		}
		found, err := fid.Evaluate(ctx, x, samples, against, request)
		if err != nil {
			return nil, err
		}
		evals, against = append(evals, found), found.Against
	}
	return experiments.Over(e.seeds, evals)
}

// difference compares two sets of images from the same noise.
func (e *evaluation) difference(ctx context.Context, a, b, c subject, w world) (d fid.Difference, err error) {
	if b.kind == kindNone && c.kind == kindRun && e.weights == "" {
		err = withExisting(*e.db, *e.threads, func(s *experiments.Store) error {
			x, err := a.run(ctx, s)
			if err != nil {
				return err
			}
			y, err := c.run(ctx, s)
			if err != nil {
				return err
			}
			how, err := e.how(x.Config, e.seeds, nil)
			if err != nil {
				return err
			}
			d, err = s.Difference(ctx, x, y, how, e.draws)
			return err
		})
		return d, err
	}
	if b.kind == kindNone {
		return d, usagef("evaluate: B is missing; name the real images that %s and %s are compared with", a.arg, c.arg)
	}
	x, err := e.open(ctx, a, e.size, e.seeds)
	if err != nil {
		return d, err
	}
	seeds := e.seeds
	if len(seeds) == 0 && a.drawn() && c.drawn() {
		seeds = seedList{x.seed}
		if x, err = e.open(ctx, a, e.size, seeds); err != nil {
			return d, err
		}
	}
	y, err := e.open(ctx, c, x.images.H, seeds)
	if err != nil {
		return d, err
	}
	network, end, err := e.extractor(w, x.images.H, x.images.W, x.images.C)
	if err != nil {
		return d, err
	}
	defer end() // of nothing that matters any more
	against, err := e.against(ctx, b, x.images.H)
	if err != nil {
		return d, err
	}
	var drawn [2]*fid.Source
	request := experiments.Showing(ctx, fid.Request{Metrics: []string{fid.MetricFD}}, "evaluate", "features of "+network.Name())
	for _, o := range []opened{x, y} {
		if _, err := fid.Plan(network, o.images, against, request); err != nil {
			return d, err
		}
	}
	for i, o := range []opened{x, y} {
		if drawn[i], err = o.draw(ctx); err != nil {
			return d, err
		}
	}
	return fid.Compare(ctx, network, drawn[0], drawn[1], against, request, e.draws)
}

// bySteps prints a run's distance by number of sampling steps.
func (e *evaluation) bySteps(ctx context.Context, run string, steps intList, w world) error {
	return withExisting(*e.db, *e.threads, func(s *experiments.Store) error {
		r, err := s.Run(ctx, run)
		if err != nil {
			return err
		}
		if e.n == 0 && r.Config.EvalSamples == 0 {
			return fmt.Errorf("run %s has no scores of its own that tell how many samples to draw; give their number, as -n 500", r.ID)
		}
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
