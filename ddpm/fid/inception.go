package fid

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/inception"
	"ddpmlab/ddpm/npz"
	"ddpmlab/ddpm/tensorfile"
)

// Inception is the network of the FID as an extractor. It is safe for concurrent use;
// calls wait for each other.
type Inception struct {
	name, sha string

	mu    sync.Mutex
	dev   engine.Device
	state engine.State
	batch int
	exec  engine.Exec // for images of size; made when images of another size come
	size  [2]int      // height and width
}

// InceptionOptions is what can be chosen.
type InceptionOptions struct {
	Threads int // 0: all processors
	// AnyWeights takes weights that are not those of 2015-12-05, of a test or a network
	// of one's own. The extractor then has another name, and no FID comes of it.
	AnyWeights bool
}

// inceptionBatch is how many images go through the network at a time.
const inceptionBatch = 16

// OpenInception reads the weights from a file, as pytorch-fid distributes it
// (pt_inception-2015-12-05-6726825d.pth) or another of PyTorch, safetensors or an .npz
// with the same tensors, and puts them on the processors. The file must have the SHA-256 of
// pytorch-fid's; with AnyWeights only its tensors must be right. Close it after use.
func OpenInception(path string, o InceptionOptions) (*Inception, error) {
	sha, err := fileSum(path)
	if err != nil {
		return nil, fmt.Errorf("weights of Inception: %w", err)
	}
	e := &Inception{name: inceptionName, sha: sha, batch: inceptionBatch}
	if sha != inception.SHA256 {
		if !o.AnyWeights {
			return nil, fmt.Errorf("weights of Inception: %s has SHA-256 %s, want %s; the file of 2015-12-05 is at %s; weights of your own are taken with --any-weights, and no FID comes of them",
				path, sha, inception.SHA256, inception.File)
		}
		e.name = "inception, weights " + sha[:8]
	}
	weights, err := readInception(path)
	if err != nil {
		return nil, fmt.Errorf("weights of Inception: %w", err)
	}
	if e.dev, err = cpu.New(o.Threads); err != nil {
		return nil, fmt.Errorf("inception: %w", err)
	}
	if e.state, err = e.dev.NewState(len(weights)); err != nil {
		e.dev.Close()
		return nil, fmt.Errorf("inception: %w", err)
	}
	e.state.Set(engine.Weights, weights)
	return e, nil
}

func readInception(path string) ([]float32, error) {
	if filepath.Ext(path) == ".npz" {
		return readInceptionNPZ(path)
	}
	f, err := tensorfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return weightsOf(path, f.Tensors)
}

func weightsOf(path string, tensors []tensorfile.Tensor) ([]float32, error) {
	flat, err := inception.FromTorch(tensors)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return flat, err
}

func readInceptionNPZ(path string) ([]float32, error) {
	f, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var tensors []tensorfile.Tensor
	for _, name := range f.Names() {
		if strings.HasSuffix(name, "num_batches_tracked") {
			continue // of training
		}
		wide, shape, err := f.Float64s(name)
		if err != nil {
			return nil, err
		}
		x := make([]float32, len(wide))
		for i, v := range wide {
			x[i] = float32(v)
		}
		tensors = append(tensors, tensorfile.New(name, shape, x))
	}
	return weightsOf(path, tensors)
}

// Close frees the memory. The Inception is of no use afterwards.
func (e *Inception) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state == nil {
		return nil
	}
	var err error
	if e.exec != nil {
		err = e.exec.Close()
	}
	for _, c := range []interface{ Close() error }{e.state, e.dev} {
		if cerr := c.Close(); err == nil {
			err = cerr
		}
	}
	e.exec, e.state = nil, nil
	return err
}

// Name is "inception-2015-12-05", or tells that the weights are others.
func (e *Inception) Name() string { return e.name }

// SHA256 is that of the weights file.
func (e *Inception) SHA256() string { return e.sha }

// Resize says how images become 299×299.
func (e *Inception) Resize() string {
	return "bilinear to 299×299 as TensorFlow 1, no half-pixel centres"
}

// Dim is 2048.
func (e *Inception) Dim() int { return inception.Pool }

// SpatialDim is 2023.
func (e *Inception) SpatialDim() int { return inception.Spatial }

// Classes is 1008.
func (e *Inception) Classes() int { return inception.Classes }

// Features returns n×2048 numbers, pool_3. Images have 1 or 3 channels; grey ones are
// taken as three equal colours.
func (e *Inception) Features(ctx context.Context, x []float32, n, h, w, c int) ([]float64, error) {
	if err := checkImages(x, n, h, w, c); err != nil {
		return nil, err
	}
	out, err := e.run(ctx, n, h, w, c, func(i int) float32 { return ((x[i]+1)*127.5 - 128) / 128 })
	if err != nil {
		return nil, err
	}
	f := make([]float64, len(out.Pool))
	for i, v := range out.Pool {
		f[i] = float64(v)
	}
	return f, nil
}

// Outputs returns what the scores are made of, see Network.
func (e *Inception) Outputs(ctx context.Context, images []byte, n, h, w, c int) (Outputs, error) {
	if n < 0 || len(images) != n*h*w*c {
		return Outputs{}, fmt.Errorf("features of %d images of %d×%d×%d: got %d bytes, want %d", n, h, w, c, len(images), n*h*w*c)
	}
	return e.run(ctx, n, h, w, c, func(i int) float32 { return (float32(images[i]) - 128) / 128 })
}

// run sends images through the network, of which pixel is the numbers, one after another.
func (e *Inception) run(ctx context.Context, n, h, w, c int, pixel func(i int) float32) (Outputs, error) {
	if c != 1 && c != 3 || h < 1 || w < 1 {
		return Outputs{}, fmt.Errorf("extractor %s: images of %d×%d×%d, want 1 or 3 channels", e.name, h, w, c)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.load(h, w); err != nil {
		return Outputs{}, err
	}
	out := Outputs{
		Pool:    make([]float32, n*inception.Pool),
		Spatial: make([]float32, n*inception.Spatial),
		Logits:  make([]float32, n*inception.Classes),
	}
	in := make([]float32, e.batch*h*w*3)
	for first := 0; first < n; first += e.batch {
		k := min(e.batch, n-first)
		for i := range k * h * w * 3 {
			at := first*h*w*c + i
			if c == 1 {
				at = first*h*w + i/3
			}
			in[i] = pixel(at)
		}
		clear(in[k*h*w*3:])
		e.exec.Set(0, in)
		if err := e.exec.Run(ctx); err != nil {
			return Outputs{}, err
		}
		for i, part := range []struct {
			all []float32
			dim int
		}{{out.Pool, inception.Pool}, {out.Spatial, inception.Spatial}, {out.Logits, inception.Classes}} {
			whole := make([]float32, e.batch*part.dim)
			e.exec.Get(i, whole)
			copy(part.all[first*part.dim:], whole[:k*part.dim])
		}
	}
	return out, nil
}

// load readies the network for images of h×w pixels.
func (e *Inception) load(h, w int) error {
	if e.state == nil {
		return fmt.Errorf("extractor %s: used after Close", e.name)
	}
	if e.exec != nil && e.size == [2]int{h, w} {
		return nil
	}
	exec, err := inception.Load(e.dev, e.state, e.batch, h, w)
	if err != nil {
		return err
	}
	if e.exec != nil {
		if err := e.exec.Close(); err != nil {
			return err
		}
	}
	e.exec, e.size = exec, [2]int{h, w}
	return nil
}
