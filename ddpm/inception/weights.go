package inception

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/tensorfile"
)

// SHA256 is that of pt_inception-2015-12-05-6726825d.pth, pytorch-fid's file of the weights.
const SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"

// File is where the weights are to be had. Its name ends in the first digits of SHA256.
const File = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"

// normEps is added to the variance in every batch norm.
const normEps = 1e-3

// Param is a weight of the network: kernels are HWIO, the linear layer [1, 2048, 1008].
type Param struct {
	Name  string
	Shape []int
}

// Shapes lists the weights in the order of the flat array.
func Shapes() []Param {
	g := engine.NewGraph()
	var all []Param
	for _, p := range Build(g, g.Input("images", 1, Size, Size, 3)).Params {
		all = append(all, Param{p.Name(), slices.Clone(p.Shape())})
	}
	return all
}

// FromTorch makes the flat array of the tensors of a state dict: convolutions
// (NAME.conv.weight, OIHW) take in their batch norms (NAME.bn.weight, .bias,
// .running_mean, .running_var), the linear layer loses its bias. It fails if a tensor is
// missing, has another shape, or holds what is not a number.
func FromTorch(tensors []tensorfile.Tensor) ([]float32, error) {
	d := dict{}
	for _, t := range tensors {
		d[t.Name] = t
	}
	var flat []float32
	for _, p := range Shapes() {
		name, kind := strings.CutSuffix(p.Name, ".weight")
		switch {
		case name == "fc":
			w, err := d.take("fc.weight", Classes, Pool)
			if err != nil {
				return nil, err
			}
			for i := range Pool {
				for k := range Classes {
					flat = append(flat, w[k*Pool+i])
				}
			}
		case kind:
			w, err := d.fold(name, p.Shape)
			if err != nil {
				return nil, err
			}
			flat = append(flat, w...)
		} // the bias follows its kernel
	}
	return flat, nil
}

// dict is a state dict.
type dict map[string]tensorfile.Tensor

// fold is the kernel [kh,kw,c,k] of a convolution with its batch norm, and the bias.
func (d dict) fold(name string, hwio []int) ([]float32, error) {
	kh, kw, c, k := hwio[0], hwio[1], hwio[2], hwio[3]
	w, err := d.take(name+".conv.weight", k, c, kh, kw)
	if err != nil {
		return nil, err
	}
	var norm [4][]float32
	for i, part := range []string{"weight", "bias", "running_mean", "running_var"} {
		if norm[i], err = d.take(name+".bn."+part, k); err != nil {
			return nil, err
		}
	}
	out := make([]float32, kh*kw*c*k+k)
	bias := out[kh*kw*c*k:]
	for o := range k {
		scale := float64(norm[0][o]) / math.Sqrt(float64(norm[3][o])+normEps)
		bias[o] = float32(float64(norm[1][o]) - float64(norm[2][o])*scale)
		for i := range c {
			for t := range kh * kw {
				out[(t*c+i)*k+o] = float32(float64(w[(o*c+i)*kh*kw+t]) * scale)
			}
		}
	}
	for _, v := range out {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%s: its weights and normalisation give %g", name, v)
		}
	}
	return out, nil
}

// take is the numbers of a tensor of that shape.
func (d dict) take(name string, shape ...int) ([]float32, error) {
	t, ok := d[name]
	if !ok {
		return nil, fmt.Errorf("there is no %s; want the state dict of pytorch-fid's Inception network", name)
	}
	if !slices.Equal(t.Shape, shape) {
		return nil, fmt.Errorf("%s has shape %v, want %v", name, t.Shape, shape)
	}
	return t.Float32()
}
