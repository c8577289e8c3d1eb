package bench

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/inception"
	"ddpmlab/ddpm/philox"
)

//go:embed inception.py
var inceptionPeer string

// evaluate is the kind of work that scores need: the Inception network, from images of
// 299×299 pixels to all that is read of it, with random weights.
const evaluate = "evaluate"

// inceptionModes are the ways in which PyTorch runs it, in float32: eager in both memory
// layouts, compiled with its weights as constants, and as oneDNN's graph.
var inceptionModes = []string{"eager, channels_last", "eager, contiguous", "compile", "mkldnn"}

// Evaluate measures how many images a second the Inception network takes, and beside it
// PyTorch with the same network on the same weights, which is checked. Rounds, Threads,
// Limit, Guard and Python are those of o.
func Evaluate(ctx context.Context, o Options, batch int) (*Report, error) {
	b, done, err := newBench(o)
	if err != nil {
		return nil, err
	}
	defer done()
	j := job{Kind: evaluate, Batch: batch, Threads: b.o.Threads, Weights: filepath.Join(b.dir, "inception")}
	for _, p := range inception.Shapes() {
		j.Shapes = append(j.Shapes, p.Shape)
	}
	if err := writeInception(j.Weights, inception.Shapes()); err != nil {
		return nil, err
	}
	j.X = make([]float32, 2*inception.Size*inception.Size*3)
	philox.Key(1, "bench evaluate").Uniforms(j.X, 0, 0)
	for i, v := range j.X {
		j.X[i] = 2*v - 1
	}

	name := fmt.Sprintf("inception-b%d", batch)
	b.o.Log("%s: ddpmlab", name)
	ours, err := start(ctx, "", b.o.Worker, j, b.o.Limit)
	if err != nil {
		return nil, err
	}
	defer ours.end()
	b.report.Device = ours.hello.Version
	sides := []*side{ours}
	for _, mode := range inceptionModes {
		if b.o.Python == "" {
			break
		}
		s, err := b.startInception(ctx, j, mode, ours)
		if err != nil {
			return nil, err
		}
		if s != nil {
			defer s.end()
			sides = append(sides, s)
		}
	}
	if err := b.rounds(ctx, sides); err != nil {
		return nil, err
	}
	rate := func(s *side) float64 { return 1e3 * float64(batch) / median(s.ms) }
	r := Result{Name: name, Ours: rate(ours), Unit: "images/s"}
	b.report.Samples[name+"/by=ddpmlab"] = ours.turns
	for _, s := range sides[1:] {
		b.report.Samples[name+"/by="+s.mode] = s.turns
		b.o.Log("%s: PyTorch %s %.3g images/s", name, s.mode, rate(s))
		if v := rate(s); v > r.Base {
			r = r.against(v, s.mode)
		}
	}
	b.report.Results = append(b.report.Results, r)
	return b.report, nil
}

// startInception starts PyTorch in a mode; nil if it cannot run in it, which is noted.
func (b *bench) startInception(ctx context.Context, j job, mode string, ours *side) (*side, error) {
	peer := filepath.Join(b.dir, "inception.py")
	if err := os.WriteFile(peer, []byte(inceptionPeer), 0o600); err != nil {
		return nil, err
	}
	j.Mode = mode
	b.o.Log("inception: PyTorch %s", mode)
	s, err := start(ctx, "f32 "+mode, []string{b.o.Python, peer}, j, b.o.Limit)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && strings.HasPrefix(mode, "eager"):
		return nil, fmt.Errorf("PyTorch %s: %w", mode, err)
	case err != nil:
		b.report.LeftOut = append(b.report.LeftOut, fmt.Sprintf("PyTorch %s: %v", mode, err))
		b.o.Log("left out: PyTorch %s: %v", mode, err)
		return nil, nil
	}
	b.report.Torch = s.hello.Version
	if ours.hello.Params != s.hello.Params {
		err = fmt.Errorf("the networks differ: %d weights here, %d in PyTorch", ours.hello.Params, s.hello.Params)
	} else if d := distance(ours.hello.Out, s.hello.Out); !(d <= tolerance) {
		err = fmt.Errorf("the networks differ: equal weights, outputs %.2g apart relative to their size; want at most %g", d, tolerance)
	}
	if err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// writeInception writes weights that keep the size of what passes.
func writeInception(path string, params []inception.Param) error {
	var flat []float32
	for _, p := range params {
		n := 1
		for _, d := range p.Shape {
			n *= d
		}
		v := make([]float32, n)
		philox.Key(1, "bench "+p.Name).Uniforms(v, 0, 0)
		scale := float32(0.1)
		if len(p.Shape) > 1 {
			scale = float32(math.Sqrt(6 * float64(p.Shape[len(p.Shape)-1]) / float64(n)))
		}
		for i, u := range v {
			v[i] = scale * (2*u - 1)
		}
		flat = append(flat, v...)
	}
	b, err := binary.Append(nil, binary.LittleEndian, flat)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// workInception is our side.
func workInception(ctx context.Context, j job, device engine.Device, lines *bufio.Reader, answers *json.Encoder) (err error) {
	b, err := os.ReadFile(j.Weights)
	if err != nil {
		return err
	}
	weights := make([]float32, len(b)/4)
	if _, err := binary.Decode(b, binary.LittleEndian, weights); err != nil {
		return err
	}
	state, err := device.NewState(len(weights))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	state.Set(engine.Weights, weights)
	h := hello{Version: device.Name(), Params: len(weights)}

	const image = inception.Size * inception.Size * 3
	n := len(j.X) / image
	few, err := inception.Load(device, state, n, inception.Size, inception.Size)
	if err != nil {
		return err
	}
	few.Set(0, j.X)
	err = few.Run(ctx)
	for i, dim := range []int{inception.Pool, inception.Spatial, inception.Classes} {
		out := make([]float32, n*dim)
		few.Get(i, out)
		h.Out = append(h.Out, out...)
	}
	if err = errors.Join(err, few.Close()); err != nil {
		return err
	}

	exec, err := inception.Load(device, state, j.Batch, inception.Size, inception.Size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, exec.Close()) }()
	x := slices.Repeat(j.X, j.Batch/n+1)[:j.Batch*image]
	pool, spatial, logits := make([]float32, j.Batch*inception.Pool), make([]float32, j.Batch*inception.Spatial), make([]float32, j.Batch*inception.Classes)
	return serve(lines, answers, h, func() (float64, error) {
		start := time.Now()
		exec.Set(0, x)
		err := exec.Run(ctx)
		exec.Get(0, pool)
		exec.Get(1, spatial)
		exec.Get(2, logits)
		return 1e3 * time.Since(start).Seconds(), err
	})
}

// serve runs the work until it is warm, says hello, and answers requests with times.
func serve(lines *bufio.Reader, answers *json.Encoder, h hello, run func() (float64, error)) error {
	for range warmup {
		if _, err := run(); err != nil {
			return err
		}
	}
	if err := answers.Encode(h); err != nil {
		return err
	}
	for {
		var r request
		if err := read(lines, &r); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		t := times{}
		for range r.N {
			ms, err := run()
			if err != nil {
				return err
			}
			t.MS = append(t.MS, ms)
		}
		if err := answers.Encode(t); err != nil {
			return err
		}
	}
}
