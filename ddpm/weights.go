package ddpm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ddpmlab/ddpm/tensorfile"
	"ddpmlab/ddpm/unet"
)

// ReadWeights reads a network from a file, to sample from: a checkpoint of this program,
// which knows its configuration, or a state dict of the authors' code, as .pt or
// safetensors, of the network that c describes. Of a checkpoint c is not looked at.
func ReadWeights(path string, c Config) (*Checkpoint, error) {
	own, err := isCheckpoint(path)
	if err != nil {
		return nil, err
	}
	if own {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		ck, err := ReadCheckpoint(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return ck, nil
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	f, err := tensorfile.Open(path)
	if err != nil {
		return nil, err
	}
	weights, err := stateDict(f.Tensors, c.Model)
	if err = errors.Join(err, f.Close()); err != nil {
		if fit := fitting(f.Tensors); len(fit) > 0 {
			err = fmt.Errorf("%w; it fits the preset %s", err, strings.Join(fit, " or "))
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Checkpoint{Config: c.clone(), Weights: weights, EMA: weights}, nil
}

// isCheckpoint reports whether a file begins as those of Checkpoint.Write.
func isCheckpoint(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, len(checkpointMagic))
	n, _ := f.ReadAt(head, 0)
	return bytes.Equal(head[:n], []byte(checkpointMagic)), nil
}

// NeedsConfig reports whether ReadWeights has to be told what network the file is of.
func NeedsConfig(path string) (bool, error) {
	own, err := isCheckpoint(path)
	return !own, err
}

// FittingPresets lists the presets whose network has the tensors of a state dict.
func FittingPresets(path string) ([]string, error) {
	f, err := tensorfile.Open(path)
	if err != nil {
		return nil, err
	}
	return fitting(f.Tensors), f.Close()
}

func fitting(tensors []tensorfile.Tensor) []string {
	var names []string
	for _, name := range PresetNames() {
		if c, err := Preset(name); err == nil && misfit(tensors, c.Model) == nil {
			names = append(names, name)
		}
	}
	return names
}

// misfit names the first tensor that a network has not, or has in another shape.
func misfit(tensors []tensorfile.Tensor, m unet.Config) error {
	there := make(map[string][]int, len(tensors))
	for _, t := range tensors {
		there[t.Name] = t.Shape
	}
	keys := m.Keys()
	for _, k := range keys {
		shape, ok := there[k.Name]
		switch {
		case !ok:
			return fmt.Errorf("it has no tensor %s; is it a state dict of another network? It has %d tensors, the network %d", k.Name, len(tensors), len(keys))
		case !slices.Equal(shape, k.Shape):
			return fmt.Errorf("%s is of shape %v; the network's is %v", k.Name, shape, k.Shape)
		}
		delete(there, k.Name)
	}
	for _, t := range tensors {
		if _, ok := there[t.Name]; ok {
			return fmt.Errorf("its tensor %s is none of the network; is it a state dict of another one?", t.Name)
		}
	}
	return nil
}

// stateDict is the tensors as the engine's flat array.
func stateDict(tensors []tensorfile.Tensor, m unet.Config) ([]float32, error) {
	if err := misfit(tensors, m); err != nil {
		return nil, err
	}
	byName := make(map[string]tensorfile.Tensor, len(tensors))
	for _, t := range tensors {
		byName[t.Name] = t
	}
	flat := make([]float32, 0, m.NumParams())
	for _, k := range m.Keys() {
		x, err := byName[k.Name].Float32()
		if err != nil {
			return nil, err
		}
		for _, v := range x {
			if !finite(float64(v)) {
				return nil, fmt.Errorf("%s holds a number that is not finite", k.Name)
			}
		}
		flat = append(flat, x...)
	}
	return m.FromTorch(flat), nil
}

// Tensors are the moving averages of the weights as the authors' state dict.
func (c *Checkpoint) Tensors() ([]tensorfile.Tensor, error) {
	m := c.Config.Model
	if n := m.NumParams(); len(c.EMA) != n {
		return nil, fmt.Errorf("%d weights; the model has %d", len(c.EMA), n)
	}
	flat := m.ToTorch(c.EMA)
	var all []tensorfile.Tensor
	for _, k := range m.Keys() {
		all = append(all, tensorfile.New(k.Name, k.Shape, flat[:k.Len()]))
		flat = flat[k.Len():]
	}
	return all, nil
}

// WriteWeights writes the moving averages of the weights to a file, by its ending .pt or
// .safetensors, with the names and shapes of the authors' code.
func (c *Checkpoint) WriteWeights(path string) (err error) {
	write := tensorfile.WriteSafetensors
	switch strings.ToLower(filepath.Ext(path)) {
	case ".safetensors":
	case ".pt":
		write = tensorfile.WritePT
	default:
		return fmt.Errorf("write weights to %s: want a name that ends in .pt or .safetensors", path)
	}
	tensors, err := c.Tensors()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if err := errors.Join(write(f, tensors), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
