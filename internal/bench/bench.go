// Package bench measures the engine: steps of training and sampling beside the same in
// PyTorch, on the processor or on the GPU; on the processor also rates of single
// operations beside the machine's peak, and memory.
//
// Each work runs in processes of its own, ours (Work) and one for each mode of PyTorch
// (peer.py), which speak one protocol and take turns on the same cores. Ours run
// ddpm.Train and ddpm.Network as users do, in float32 and, where the processor has tiles
// for it, in bfloat16; either side's best mode counts.
package bench

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"ddpmlab/ddpm/philox"
)

// Options says what to measure and how.
type Options struct {
	Only    *regexp.Regexp // names of works; nil: all
	Threads int            // of both sides; 0: one a core
	Device  string         // of both sides: cpu, which "" means too, or cuda
	Small   bool           // on cuda: a network of seconds for the test double of the driver
	Worker  []string       // the command that runs Work
	Python  string         // an interpreter that has PyTorch; "": ours alone
	Quick   bool           // torch.compile for the first network only
	Rounds  int            // turns of each side; 0: 7, quick 5
	Limit   time.Duration  // for one mode of PyTorch to get warm; 0: 15 minutes, quick 150 s
	Guard   []string       // a command that each turn waits for, see guard
	Log     func(format string, args ...any)
}

// Result is one line of the table. Times are medians.
type Result struct {
	Name     string  `json:"name"`
	Ours     float64 `json:"ours"`
	OursMode string  `json:"ours_mode"` // its precision
	Base     float64 `json:"base"`      // 0: nothing to compare with
	BaseMode string  `json:"base_mode"` // what Base is of
	Unit     string  `json:"unit"`
	Ratio    float64 `json:"ratio"` // Ours/Base
}

func (r Result) against(base float64, mode string) Result {
	r.Base, r.BaseMode, r.Ratio = base, mode, r.Ours/base
	return r
}

// Report is all that was measured.
type Report struct {
	Machine string
	Threads int
	Device  string
	Torch   string // PyTorch's version
	Rounds  int
	Results []Result
	Peaks   []Peak
	Ops     []Result             // rates of operations beside the last of Peaks
	Samples map[string][]float64 // by name and side, of each round, in ms
	LeftOut []string             // modes of PyTorch, and why

	modes map[string]map[string]float64 // of PyTorch, by work
}

// A mode is a way in which PyTorch runs a work.
type mode struct {
	precision string
	compile   bool
}

func (m mode) String() string {
	if m.compile {
		return m.precision + " compile"
	}
	return m.precision + " eager"
}

// Precisions.
const (
	f32  = "f32"
	bf16 = "bf16"
)

var modes = []mode{{f32, false}, {bf16, false}, {f32, true}, {bf16, true}}

// gpuModes leaves out float32, which no GPU is bought for.
var gpuModes = []mode{{bf16, false}, {bf16, true}}

// Run measures.
func Run(ctx context.Context, o Options) (*Report, error) {
	b, done, err := newBench(o)
	if err != nil {
		return nil, err
	}
	defer done()
	for _, w := range o.works() {
		if !b.wants(w.name()) {
			continue
		}
		if err := b.measure(ctx, w); err != nil {
			return b.report, fmt.Errorf("%s: %w", w.name(), err)
		}
	}
	if o.Device == cuda {
		return b.report, nil
	}
	return b.report, b.roofline(ctx)
}

// newBench fills in the options that are not given. Call done in the end.
func newBench(o Options) (b *bench, done func(), err error) {
	o.Threads = cmp.Or(o.Threads, runtime.GOMAXPROCS(0))
	rounds, limit := 7, 15*time.Minute
	if o.Quick {
		rounds, limit = 5, 150*time.Second
	}
	o.Rounds, o.Limit = cmp.Or(o.Rounds, rounds), cmp.Or(o.Limit, limit)
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	b = &bench{o: o, weights: map[string]string{}, report: &Report{
		Machine: machine(), Threads: o.Threads, Rounds: o.Rounds,
		Samples: map[string][]float64{}, modes: map[string]map[string]float64{},
	}}
	if b.recorded, err = recorded(recordedText); err != nil {
		return nil, nil, err
	}
	if b.dir, err = os.MkdirTemp("", "ddpmlab-bench-"); err != nil {
		return nil, nil, err
	}
	b.peer = filepath.Join(b.dir, "peer.py")
	if err := os.WriteFile(b.peer, []byte(peer), 0o600); err != nil {
		return nil, nil, err
	}
	return b, func() { _ = os.RemoveAll(b.dir) }, nil
}

// wants reports whether Options.Only lets the work be measured.
func (b *bench) wants(name string) bool { return b.o.Only == nil || b.o.Only.MatchString(name) }

type bench struct {
	o        Options
	dir      string            // for what follows
	peer     string            // peer.py
	weights  map[string]string // files by network
	recorded map[string]record
	report   *Report
}

// job is what both sides are given.
func (b *bench) job(w work) (job, error) {
	j := job{Kind: w.kind, Batch: w.batch, Model: w.model, Device: cmp.Or(b.o.Device, "cpu"), Threads: b.o.Threads, Shapes: w.shapes(), Weights: b.weights[w.net]}
	if j.Weights == "" {
		j.Weights = filepath.Join(b.dir, w.net)
		if err := writeWeights(j.Weights, w.model); err != nil {
			return j, err
		}
		b.weights[w.net] = j.Weights
	}
	if b.o.Python != "" && w.kind != memory {
		j.T = []int{10, 600}
		j.X = make([]float32, len(j.T)*pixels(w.model))
		philox.Key(1, "bench check").Normals(j.X, 0, 0)
	}
	return j, nil
}

// measure starts all sides of a work and lets them take turns.
func (b *bench) measure(ctx context.Context, w work) error {
	j, err := b.job(w)
	if err != nil {
		return err
	}
	b.o.Log("%s: ddpmlab", w.name())
	if w.kind == gpOverADM {
		j.Kind = gp
	}
	ours, err := start(ctx, f32, b.o.Worker, j, b.o.Limit)
	if err != nil {
		return err
	}
	defer ours.end()
	all := []*side{ours}
	if ours.hello.Tiles && (w.kind == step || w.kind == gp || w.kind == forward) {
		b.o.Log("%s: ddpmlab %s", w.name(), bf16)
		narrow := j
		narrow.Precision = bf16
		s, err := start(ctx, bf16, b.o.Worker, narrow, b.o.Limit)
		if err != nil {
			return err
		}
		defer s.end()
		if err := sameNetwork(ours.hello, s.hello, bf16); err != nil {
			return err
		}
		all = append(all, s)
	}
	b.report.Device = ours.hello.Version
	theirs, err := b.startBase(ctx, w, j, ours)
	defer func() {
		for _, s := range theirs {
			s.end()
		}
	}()
	if err != nil {
		return err
	}
	if w.kind == memory {
		b.add(Result{Name: w.name(), Ours: float64(ours.hello.Bytes) / 1e6, OursMode: f32, Unit: "MB"}, theirs, func(s *side) float64 { return float64(s.hello.Bytes) / 1e6 })
		return nil
	}
	if err := b.rounds(ctx, slices.Concat(all, theirs)); err != nil {
		return err
	}
	best := ours
	for _, s := range all {
		b.report.Samples[w.name()+"/by=ddpmlab "+s.mode] = s.turns
		b.o.Log("%s: ddpmlab %s %.4g ms", w.name(), s.mode, median(s.ms))
		if median(s.ms) < median(best.ms) {
			best = s
		}
	}
	for _, s := range theirs {
		b.report.Samples[w.name()+"/by="+s.mode] = s.turns
	}
	b.add(Result{Name: w.name(), Ours: median(best.ms), OursMode: best.mode, Unit: "ms"}, theirs, func(s *side) float64 { return median(s.ms) })
	return nil
}

// startBase starts what ours is compared with.
func (b *bench) startBase(ctx context.Context, w work, j job, ours *side) ([]*side, error) {
	if w.kind != gpOverADM {
		return b.startTheirs(ctx, w, j, ours)
	}
	j.Kind = step
	s, err := start(ctx, "ddpmlab step", b.o.Worker, j, b.o.Limit)
	if err != nil {
		return nil, err
	}
	return []*side{s}, nil
}

// ways is a mode without the layout that was chosen in it.
func ways(mode string) string {
	w, _, _ := strings.Cut(mode, ",")
	return w
}

// add adds a result beside the best of theirs. A quick run also looks at the modes that
// it leaves to the recorded one.
func (b *bench) add(r Result, theirs []*side, value func(*side) float64) {
	modes := map[string]float64{}
	for _, s := range theirs {
		modes[s.mode] = value(s)
		b.o.Log("%s: PyTorch %s %.4g %s", r.Name, s.mode, value(s), r.Unit)
	}
	b.report.modes[r.Name] = maps.Clone(modes)
	if old := b.recorded[r.Name]; b.o.Quick && b.o.Python != "" {
		for mode, v := range old.Modes {
			if !slices.ContainsFunc(theirs, func(s *side) bool { return ways(s.mode) == ways(mode) }) {
				modes[fmt.Sprintf("%s (recorded %s, %s, PyTorch %s)", mode, old.Date, old.Machine, old.Torch)] = v
			}
		}
	}
	for mode, v := range modes {
		if r.Base == 0 || v < r.Base {
			r = r.against(v, mode)
		}
	}
	b.report.Results = append(b.report.Results, r)
	b.o.Log("%s: %.4g %s (%s); base %.4g (%s), ratio %.2f", r.Name, r.Ours, r.Unit, r.OursMode, r.Base, r.BaseMode, r.Ratio)
}
