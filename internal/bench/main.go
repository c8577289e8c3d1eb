// Command bench times a training step, a gradient-penalty step and a forward pass of
// a preset beside the same in PyTorch (eager float32), in turn, and prints the
// medians and their ratio.
//
//	go run ./internal/bench -python PYTHON [-preset fashion] [-threads 2] [-steps 10]
//
// PYTHON is an interpreter that has torch; `make bench-torch` makes one.
package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine/cpu"
)

//go:embed adm.py
var script string

func main() {
	python := flag.String("python", "python3", "an interpreter that has torch")
	preset := flag.String("preset", "fashion", "whose network and batch")
	threads := flag.Int("threads", 2, "of both sides")
	steps := flag.Int("steps", 10, "measured steps of each kind")
	flag.Parse()
	if err := run(context.Background(), *python, *preset, *threads, *steps); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, python, preset string, threads, steps int) (err error) {
	cfg, err := ddpm.Preset(preset)
	if err != nil {
		return err
	}
	cfg.Iterations, cfg.EvalSamples = steps+2, 0
	peer, err := startPeer(ctx, python, cfg, threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peer.close()) }()
	device, err := cpu.New(threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	if n := cfg.Model.NumParams(); n != peer.params {
		return fmt.Errorf("the networks differ: %d parameters here, %d in PyTorch", n, peer.params)
	}
	fmt.Printf("%s, batch %d, %d parameters; %s; torch %s eager float32, %d threads; median of %d, in turn\n",
		preset, cfg.Batch, peer.params, device.Name(), peer.version, threads, steps)

	for _, kind := range []struct {
		name string
		v    ddpm.Variant
	}{{"train", ddpm.ADM()}, {"penalty", ddpm.GradPenalty(ddpm.PaperGradPenalty)}} {
		// Steps are timed by Train itself; the peer's turn comes between them.
		turns := &turns{peer: peer, kind: kind.name, batch: cfg.Batch}
		if _, err := ddpm.Train(ctx, cfg, kind.v, ddpm.WithDevice(device), ddpm.WithRecorder(turns)); err != nil {
			return err
		}
		if turns.err != nil {
			return turns.err
		}
		report(kind.name, turns.ours, turns.theirs)
	}

	net, err := ddpm.NewNetwork(&ddpm.Checkpoint{Config: cfg, EMA: cfg.Model.Init(1)}, ddpm.WithDevice(device))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	h, w, c := net.Size()
	x, eps, t := make([]float32, cfg.Batch*h*w*c), make([]float32, cfg.Batch*h*w*c), make([]int, cfg.Batch)
	var ours, theirs []float64
	for range steps + 2 {
		start := time.Now()
		if err := net.Predict(ctx, x, t, eps); err != nil {
			return err
		}
		ours = append(ours, time.Since(start).Seconds()*1e3)
		ms, err := peer.time("forward")
		if err != nil {
			return err
		}
		theirs = append(theirs, ms)
	}
	report("forward", ours[2:], theirs[2:])
	return nil
}

func report(name string, ours, theirs []float64) {
	a, b := median(ours), median(theirs)
	fmt.Printf("%-8s  ddpmlab %7.1f ms (best %.1f)   torch %7.1f ms (best %.1f)   torch/ddpmlab %.2f\n",
		name, a, slices.Min(ours), b, slices.Min(theirs), b/a)
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// turns is a Recorder that lets the peer do a step after each of ours. The first
// two of each are not counted.
type turns struct {
	peer         *peer
	kind         string
	batch        int
	ours, theirs []float64
	err          error
}

// Record takes the step's time from its rate.
func (t *turns) Record(step int64, key string, value float64) {
	if key != "images_per_s" || t.err != nil {
		return
	}
	ms, err := t.peer.time(t.kind)
	if t.err = err; err == nil && step > 2 {
		t.ours, t.theirs = append(t.ours, 1e3*float64(t.batch)/value), append(t.theirs, ms)
	}
}

// peer is the PyTorch process.
type peer struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	params  int
	version string
}

func startPeer(ctx context.Context, python string, cfg ddpm.Config, threads int) (*peer, error) {
	cmd := exec.CommandContext(ctx, python, "-c", script)
	// Threads that spin while they wait would slow the other side down.
	cmd.Env = append(os.Environ(), "OMP_WAIT_POLICY=passive")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start PyTorch: %w", err)
	}
	p := &peer{cmd: cmd, in: in, out: bufio.NewScanner(out)}
	job, err := json.Marshal(map[string]any{"model": cfg.Model, "batch": cfg.Batch, "lr": cfg.LR, "threads": threads})
	if err != nil {
		return nil, err
	}
	var hello struct {
		Params int
		Torch  string
	}
	if err := p.ask(string(job), &hello); err != nil {
		return nil, fmt.Errorf("start PyTorch: %w", err)
	}
	p.params, p.version = hello.Params, hello.Torch
	return p, nil
}

func (p *peer) ask(line string, answer any) error {
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		return err
	}
	if !p.out.Scan() {
		return errors.Join(errors.New("PyTorch ended early; its message stands above"), p.out.Err())
	}
	return json.Unmarshal(p.out.Bytes(), answer)
}

// time asks for one step of a kind: "train", "penalty" or "forward"; milliseconds.
func (p *peer) time(kind string) (float64, error) {
	var r struct{ MS float64 }
	err := p.ask(kind, &r)
	return r.MS, err
}

func (p *peer) close() error {
	return errors.Join(p.in.Close(), p.cmd.Wait())
}
