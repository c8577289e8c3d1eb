// Package inceptiontest makes weights of the Inception network for tests.
package inceptiontest

import (
	"errors"
	"math"
	"os"
	"strings"

	"ddpmlab/ddpm/inception"
	"ddpmlab/ddpm/philox"
	"ddpmlab/ddpm/tensorfile"
)

// Write writes a file with the names and shapes of pytorch-fid's weights, 95 MB, of random
// numbers that keep the size of what passes.
func Write(path string) error {
	stream := philox.Key(1, "inception test")
	var all []tensorfile.Tensor
	add := func(name string, centre, spread float64, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		v := make([]float32, n)
		stream.Uniforms(v, uint64(len(all)), 0)
		for i := range v {
			v[i] = float32(centre + spread*(2*float64(v[i])-1))
		}
		all = append(all, tensorfile.New(name, shape, v))
	}
	for _, p := range inception.Shapes() {
		name, ok := strings.CutSuffix(p.Name, ".weight")
		switch s := p.Shape; {
		case name == "fc":
			add("fc.weight", 0, math.Sqrt(6./inception.Pool), inception.Classes, inception.Pool)
			add("fc.bias", 0, 1, inception.Classes)
		case ok:
			add(name+".conv.weight", 0, math.Sqrt(6/float64(s[0]*s[1]*s[2])), s[3], s[2], s[0], s[1])
			add(name+".bn.weight", 1, 0.5, s[3])
			add(name+".bn.bias", 0, 0.25, s[3])
			add(name+".bn.running_mean", 0, 0.25, s[3])
			add(name+".bn.running_var", 1, 0.5, s[3])
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(tensorfile.WritePT(f, all), f.Close())
}
