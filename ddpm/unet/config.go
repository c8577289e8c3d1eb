// Package unet is ADM's network (Dhariwal and Nichol, 2021, as guided-diffusion's
// UNetModel builds it and DDPM-IP uses it), written as an expression of the
// engine: BigGAN-style up- and downsampling residual blocks, adaptive group
// normalisation (scale-shift) and attention with Q, K, V split before the heads.
//
// Tensors are NHWC. The parameters have the names, order and meaning of the
// authors' state dict; ToTorch and FromTorch convert between its layout and the
// engine's.
package unet

import (
	"fmt"
	"slices"
)

// Config describes a network.
type Config struct {
	Size         int     `json:"size"`          // image height and width, divisible by 2^(len(Mult)-1)
	InChannels   int     `json:"in_channels"`   // of the image
	OutChannels  int     `json:"out_channels"`  // InChannels, or twice that with learned variances
	Channels     int     `json:"channels"`      // base width
	Mult         []int   `json:"mult"`          // width of each level, in units of Channels
	ResBlocks    int     `json:"res_blocks"`    // per level; the decoder has one more
	Attention    []int   `json:"attention"`     // resolutions (heights) with attention; the middle always has it
	HeadChannels int     `json:"head_channels"` // width of one attention head
	Groups       int     `json:"groups"`        // of every group norm
	Dropout      float64 `json:"dropout"`       // in residual blocks, in [0, 1)
}

// Validate reports the first field that is out of range, by its name in JSON, with what it
// may be.
func (c Config) Validate() error {
	for _, f := range []struct {
		name string
		v    int
	}{
		{"size", c.Size},
		{"in_channels", c.InChannels},
		{"out_channels", c.OutChannels},
		{"channels", c.Channels},
		{"res_blocks", c.ResBlocks},
		{"head_channels", c.HeadChannels},
		{"groups", c.Groups},
	} {
		if f.v < 1 {
			return fmt.Errorf("%s is %d; want 1 or more", f.name, f.v)
		}
	}
	if len(c.Mult) == 0 {
		return fmt.Errorf("mult is empty; want one width a level, as [1, 2, 2]")
	}
	if c.Channels%2 != 0 {
		return fmt.Errorf("channels is %d; want an even number (half of the time embedding is cosines)", c.Channels)
	}
	if n := 1 << (len(c.Mult) - 1); c.Size%n != 0 {
		return fmt.Errorf("size is %d; want a multiple of %d, as %d, for the %d levels of mult", c.Size, n, (c.Size+n-1)/n*n, len(c.Mult))
	}
	if !(c.Dropout >= 0 && c.Dropout < 1) {
		return fmt.Errorf("dropout is %g; want 0 or more and below 1", c.Dropout)
	}
	for _, m := range c.Mult {
		if m < 1 {
			return fmt.Errorf("mult is %v; want widths of 1 or more", c.Mult)
		}
	}
	for _, b := range c.blocks() {
		if w := b.in; (b.kind == resBlock || b.kind == attention) && w%c.Groups != 0 {
			return fmt.Errorf("groups is %d; want a divisor of %d, the channels of %s", c.Groups, w, b.prefix)
		}
		if b.kind == attention && b.in%c.HeadChannels != 0 {
			return fmt.Errorf("head_channels is %d; want a divisor of %d, the channels of %s", c.HeadChannels, b.in, b.prefix)
		}
	}
	return nil
}

type blockKind int

const (
	convBlock blockKind = iota
	resBlock
	attention
)

type resample int

const (
	same resample = iota
	down          // 2x2 average, before the first convolution
	up            // nearest neighbour, before the first convolution
)

// block is one module of the network, in the order of the state dict, which is
// also the order in which they run.
type block struct {
	kind     blockKind
	prefix   string // of its parameters' names
	in, out  int    // channels
	resample resample
	pushes   bool // its output is kept for a skip connection
	pops     bool // its input is joined with the last kept output: (current, skip)
}

// blocks lists the modules between the time embedding and the output layer.
func (c Config) blocks() []block {
	var bs []block
	width := c.Channels * c.Mult[0]
	bs = append(bs, block{kind: convBlock, prefix: "input_blocks.0.0", in: c.InChannels, out: width, pushes: true})
	skips := []int{width}
	factor, n := 1, 1
	attends := func() bool { return slices.Contains(c.Attention, c.Size/factor) }

	// Encoder: the last module of an input block is the one whose output is kept.
	for level, m := range c.Mult {
		for range c.ResBlocks {
			out := m * c.Channels
			bs = append(bs, block{kind: resBlock, prefix: fmt.Sprintf("input_blocks.%d.0", n), in: width, out: out, pushes: !attends()})
			width = out
			if attends() {
				bs = append(bs, block{kind: attention, prefix: fmt.Sprintf("input_blocks.%d.1", n), in: width, out: width, pushes: true})
			}
			skips = append(skips, width)
			n++
		}
		if level < len(c.Mult)-1 {
			bs = append(bs, block{kind: resBlock, prefix: fmt.Sprintf("input_blocks.%d.0", n), in: width, out: width, resample: down, pushes: true})
			skips = append(skips, width)
			factor *= 2
			n++
		}
	}
	bs = append(bs,
		block{kind: resBlock, prefix: "middle_block.0", in: width, out: width},
		block{kind: attention, prefix: "middle_block.1", in: width, out: width},
		block{kind: resBlock, prefix: "middle_block.2", in: width, out: width},
	)
	n = 0
	for level := len(c.Mult) - 1; level >= 0; level-- {
		for i := range c.ResBlocks + 1 {
			skip := skips[len(skips)-1]
			skips = skips[:len(skips)-1]
			out, j := c.Mult[level]*c.Channels, 1
			bs = append(bs, block{kind: resBlock, prefix: fmt.Sprintf("output_blocks.%d.0", n), in: width + skip, out: out, pops: true})
			width = out
			if attends() {
				bs = append(bs, block{kind: attention, prefix: fmt.Sprintf("output_blocks.%d.%d", n, j), in: width, out: width})
				j++
			}
			if level > 0 && i == c.ResBlocks {
				bs = append(bs, block{kind: resBlock, prefix: fmt.Sprintf("output_blocks.%d.%d", n, j), in: width, out: width, resample: up})
				factor /= 2
			}
			n++
		}
	}
	return bs
}
