package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/device"
	"ddpmlab/ddpm/philox"
	"ddpmlab/ddpm/unet"
)

// job is the first line that a worker reads.
type job struct {
	Kind    string      `json:"kind"`
	Batch   int         `json:"batch"`
	Model   unet.Config `json:"model"`
	Device  string      `json:"device"`
	Threads int         `json:"threads"`
	Weights string      `json:"weights"` // a file: the tensors of the state dict one after another, float32
	Shapes  [][]int     `json:"shapes"`  // theirs

	// Images and their time steps whose output the worker returns, to be compared.
	X []float32 `json:"x,omitempty"`
	T []int     `json:"t,omitempty"`

	Precision string `json:"precision"` // f32 or bf16; "": f32

	// Of a curve.
	Steps  int     `json:"steps,omitempty"`
	LR     float64 `json:"lr,omitempty"`
	Inputs string  `json:"inputs,omitempty"` // a file: images, noise and times of one step after another, float32

	// PyTorch only.
	Mode    string   `json:"mode,omitempty"` // of the Inception network
	Compile bool     `json:"compile"`
	Layouts []string `json:"layouts"` // to choose the faster from
}

// hello is the answer to a job, once the worker is warm.
type hello struct {
	Version string    `json:"version"` // of PyTorch; ours: the device
	Params  int       `json:"params"`
	Tiles   bool      `json:"tiles,omitempty"` // ours: whether bf16 pays, as it does on a GPU
	Layout  string    `json:"layout,omitempty"`
	Out     []float32 `json:"out,omitempty"` // of X, NHWC
	Bytes   int64     `json:"bytes,omitempty"`
	Losses  []float64 `json:"losses,omitempty"` // of a curve
}

// precisions are ours.
var precisions = map[string]string{f32: ddpm.Float32, bf16: ddpm.BFloat16}

// request is each further line, times its answer.
type request struct {
	N int `json:"n"`
}
type times struct {
	MS []float64 `json:"ms"`
}

// warmup is how many runs of a work are not counted.
const warmup = 2

// Work is our side of a benchmark: it serves one job, in and out as JSON lines. The
// process that runs it is started by Run.
func Work(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	lines, answers := bufio.NewReader(in), json.NewEncoder(out)
	var j job
	if err := read(lines, &j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	device, err := device.Open(cmp.Or(j.Device, "cpu"), j.Threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	if j.Kind == evaluate {
		return workInception(ctx, j, device, lines, answers)
	}
	h := hello{Version: device.Name(), Params: j.Model.NumParams(), Tiles: j.Device == cuda || cpu.BFloat16(device)}
	weights, err := j.weights()
	if err != nil {
		return err
	}
	w := work{kind: j.Kind, batch: j.Batch, model: j.Model, precision: precisions[j.Precision]}
	net, err := ddpm.NewNetwork(&ddpm.Checkpoint{Config: w.config(), EMA: weights}, ddpm.WithDevice(device), ddpm.WithPrecision(w.precision))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	if len(j.X) > 0 {
		h.Out = make([]float32, len(j.X))
		if err := net.Predict(ctx, j.X, j.T, h.Out); err != nil {
			return err
		}
	}
	var run func() (float64, error)
	switch j.Kind {
	case forward:
		x, eps, t := make([]float32, j.Batch*pixels(j.Model)), make([]float32, j.Batch*pixels(j.Model)), make([]int, j.Batch)
		philox.Key(1, "x").Normals(x, 0, 0)
		run = func() (float64, error) {
			start := time.Now()
			err := net.Predict(ctx, x, t, eps)
			return 1e3 * time.Since(start).Seconds(), err
		}
	default:
		t := train(ctx, w, device)
		defer t.close()
		run = t.step
		if j.Kind == memory {
			h.Bytes, err = t.footprint(3)
			if err != nil {
				return err
			}
			return answers.Encode(h)
		}
	}
	return serve(lines, answers, h, run)
}

func read(r *bufio.Reader, v any) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

func pixels(m unet.Config) int { return m.Size * m.Size * m.InChannels }

// weights reads the job's weights into the engine's layout.
func (j job) weights() ([]float32, error) {
	b, err := os.ReadFile(j.Weights)
	if err != nil {
		return nil, err
	}
	if n := j.Model.NumParams(); len(b) != 4*n {
		return nil, fmt.Errorf("%s has %d bytes; the model has %d weights", j.Weights, len(b), n)
	}
	w := make([]float32, len(b)/4)
	if _, err := binary.Decode(b, binary.LittleEndian, w); err != nil {
		return nil, err
	}
	return j.Model.FromTorch(w), nil
}

// writeWeights writes weights of which none are zero, as Work and peer.py read them:
// the outputs of networks as they are initialised are all zero.
func writeWeights(path string, m unet.Config) error {
	var flat []float32
	for _, k := range m.Keys() {
		v := make([]float32, k.Len())
		philox.Key(1, "bench "+k.Name).Uniforms(v, 0, 0)
		scale, shift := float32(0.1), float32(0) // biases, and what norms add
		switch weight := strings.HasSuffix(k.Name, ".weight"); {
		case weight && len(k.Shape) == 1:
			shift = 1 // what norms multiply with
		case weight:
			scale = float32(1 / math.Sqrt(float64(k.Len()/k.Shape[0])))
		}
		for i, u := range v {
			v[i] = shift + scale*(2*u-1)
		}
		flat = append(flat, v...)
	}
	b, err := binary.Append(nil, binary.LittleEndian, flat)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// resident is this process's resident memory in bytes, now and at its peak since the
// last call of resetPeak.
func resident() (now, peak int64, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, fmt.Errorf("memory is measured on Linux only: %w", err)
	}
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) != 3 {
			continue
		}
		kb, err := strconv.ParseInt(string(f[1]), 10, 64)
		if err != nil {
			continue
		}
		switch string(f[0]) {
		case "VmRSS:":
			now = kb << 10
		case "VmHWM:":
			peak = kb << 10
		}
	}
	return now, peak, nil
}

func resetPeak() error { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }
