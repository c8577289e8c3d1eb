package bench

import (
	"fmt"
	"slices"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/unet"
)

// A net is one of the benchmark's networks.
type net struct {
	name        string
	batch       int // of training, and the larger one of sampling
	sampleBatch int
	model       unet.Config
}

// nets are the benchmark's networks: Fashion-MNIST's, the same family on 32×32 colour
// images at two widths, and the paper's for CIFAR-10 (Table 4, 57 million weights).
// The first has no dropout, which the fashion preset has.
var nets = []net{
	{"ch32-28x28x1", 64, 64, unet.Config{
		Size: 28, InChannels: 1, OutChannels: 1, Channels: 32, Mult: []int{1, 2, 2},
		ResBlocks: 1, Attention: []int{7}, HeadChannels: 32, Groups: 8,
	}},
	{"ch32-32x32x3", 64, 64, unet.Config{
		Size: 32, InChannels: 3, OutChannels: 3, Channels: 32, Mult: []int{1, 2, 2, 2},
		ResBlocks: 1, Attention: []int{16, 8}, HeadChannels: 32, Groups: 8,
	}},
	{"ch64-32x32x3", 32, 64, unet.Config{
		Size: 32, InChannels: 3, OutChannels: 3, Channels: 64, Mult: []int{1, 2, 2, 2},
		ResBlocks: 1, Attention: []int{16, 8}, HeadChannels: 32, Groups: 32,
	}},
	{"cifar10", 4, 4, unet.Config{
		Size: 32, InChannels: 3, OutChannels: 3, Channels: 128, Mult: []int{1, 2, 2, 2},
		ResBlocks: 3, Attention: []int{16, 8}, HeadChannels: 32, Groups: 32, Dropout: 0.3,
	}},
}

// cuda is the device that has works of its own.
const cuda = "cuda"

// gpuNets are the network of the GPU's works, the paper's for CIFAR-10 at the paper's batch,
// and the toy preset's for the test double of the driver.
var gpuNets = map[bool]net{
	false: {"cifar10", 128, 128, nets[3].model},
	true: {"toy", 2, 2, unet.Config{
		Size: 8, InChannels: 1, OutChannels: 1, Channels: 16, Mult: []int{1, 2},
		ResBlocks: 1, Attention: []int{4}, HeadChannels: 16, Groups: 8,
	}},
}

// Kinds of work.
const (
	step    = "step"    // a training step of ADM
	gp      = "gp"      // of ADM-GP
	forward = "forward" // a step of the reverse chain
	memory  = "memory"  // how far training steps raise the resident memory

	gpOverADM = "gp-over-adm" // gp beside our own step
)

// work is something that is measured, on our side or on PyTorch's.
type work struct {
	kind  string
	net   string
	batch int
	model unet.Config

	precision string // of our side, as in ddpm.Config
}

func (w work) name() string { return fmt.Sprintf("%s/%s-b%d", w.kind, w.net, w.batch) }

// works lists what is compared with PyTorch, in the order of the table.
func (o Options) works() []work {
	var all []work
	add := func(kind string, n net, batch int) {
		all = append(all, work{kind: kind, net: n.name, batch: batch, model: n.model})
	}
	if o.Device == cuda {
		n := gpuNets[o.Small]
		add(step, n, n.batch)
		add(gp, n, n.batch)
		add(forward, n, n.sampleBatch)
		return all
	}
	for _, n := range nets {
		add(step, n, n.batch)
	}
	for _, n := range nets {
		add(forward, n, n.sampleBatch)
		add(forward, n, 1)
	}
	add(gp, nets[0], nets[0].batch)
	add(gpOverADM, nets[0], nets[0].batch)
	add(memory, nets[0], nets[0].batch)
	return all
}

// config is the training of the work's network; the data come from elsewhere.
func (w work) config() ddpm.Config {
	return ddpm.Config{
		Data: "noise", Model: w.model, T: 1000, Schedule: "cosine", Loss: "simple", TimeSampler: "uniform",
		Batch: w.batch, Iterations: 1 << 30, LR: 1e-4, EMA: 0.999, Seed: 1, Precision: w.precision,
	}
}

func (w work) variant() ddpm.Variant {
	if w.kind == gp {
		return ddpm.GradPenalty(ddpm.PaperGradPenalty)
	}
	return ddpm.ADM()
}

// shapes are the tensors of the network's state dict.
func (w work) shapes() [][]int {
	var s [][]int
	for _, k := range w.model.Keys() {
		s = append(s, slices.Clone(k.Shape))
	}
	return s
}
