// Package philox gives counter-based random numbers: every number is a pure
// function of (seed, stream name, step, image, index), so that batch splits,
// threads, devices and resuming do not change it.
//
// The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", 2011). Integers are bit-equal everywhere by
// construction; floats are, because each multiplication and addition is rounded
// by itself (see Normal).
package philox

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// A Stream names one sequence of random numbers, for instance all ξ of a run.
// It is the key of the generator: two words, taken from a hash, so that streams
// of other names or seeds have nothing in common.
type Stream [2]uint32

// Key returns the stream called name under seed: the first eight bytes, little
// endian, of SHA-256(seed as eight little-endian bytes, name).
func Key(seed uint64, name string) Stream {
	b := binary.LittleEndian.AppendUint64(nil, seed)
	h := sha256.Sum256(append(b, name...))
	return Stream{binary.LittleEndian.Uint32(h[0:]), binary.LittleEndian.Uint32(h[4:])}
}

// Uint64 returns the key as one word, first word low, as op.Dropout takes it.
func (k Stream) Uint64() uint64 { return uint64(k[0]) | uint64(k[1])<<32 }

// Block returns the four words of counter ctr under key: Philox4x32 with ten
// rounds (Salmon et al. 2011, sec. 3.3; multipliers and Weyl constants there).
func Block(key [2]uint32, ctr [4]uint32) [4]uint32 {
	const (
		m0, m1 = 0xD2511F53, 0xCD9E8D57
		w0, w1 = 0x9E3779B9, 0xBB67AE85
	)
	k0, k1 := key[0], key[1]
	c0, c1, c2, c3 := ctr[0], ctr[1], ctr[2], ctr[3]
	for range 10 {
		h0, l0 := bits.Mul32(m0, c0)
		h1, l1 := bits.Mul32(m1, c2)
		c0, c1, c2, c3 = h1^c1^k0, l1, h0^c3^k1, l0
		k0 += w0
		k1 += w1
	}
	return [4]uint32{c0, c1, c2, c3}
}

// Counter returns the counter of the block that holds number index of an image
// at a step; the number is word index%4 of the block. Everything that draws in
// this project, dropout masks on any device included, uses this layout:
// {index/4, image, low word of step, high word of step}. index is the flat index
// in the unpadded H×W×C tensor of one image, below 2^34.
func Counter(step uint64, image uint32, index uint64) [4]uint32 {
	return [4]uint32{uint32(index / 4), image, uint32(step), uint32(step >> 32)}
}

// Uint32 returns the number at (step, image, index), uniform over all words.
func (k Stream) Uint32(step uint64, image uint32, index uint64) uint32 {
	return Block(k, Counter(step, image, index))[index%4]
}

// Below returns a number in [0, n) at (step, image, index), n at least 1. The
// numbers are unequally likely by a factor of at most 1 + n/2^32.
func (k Stream) Below(n int, step uint64, image uint32, index uint64) int {
	hi, _ := bits.Mul32(k.Uint32(step, image, index), uint32(n))
	return int(hi)
}

// Perm returns a permutation of 0..n-1 that depends on the stream and on step
// alone (Fisher-Yates), n below 2^32.
func (k Stream) Perm(n int, step uint64) []int {
	p := make([]int, n)
	k.Permute(p, step)
	return p
}

// Permute writes Perm of len(p) to p.
func (k Stream) Permute(p []int, step uint64) {
	for i := range p {
		p[i] = i
	}
	for i := len(p) - 1; i > 0; i-- {
		j := k.Below(i+1, step, 0, uint64(i))
		p[i], p[j] = p[j], p[i]
	}
}

// Normals fills dst with standard normal numbers: dst[i] is Normal of the word
// at (step, image, i).
func (k Stream) Normals(dst []float32, step uint64, image uint32) {
	k.fill(dst, step, image, Normal)
}

// Uniforms fills dst with numbers in [0, 1): dst[i] is Float of the word at
// (step, image, i).
func (k Stream) Uniforms(dst []float32, step uint64, image uint32) {
	k.fill(dst, step, image, Float)
}

// Signs fills dst with -1 and +1, both equally likely, by the top bit of the
// word at (step, image, i): the Rademacher vector of Hutchinson's estimator.
func (k Stream) Signs(dst []float32, step uint64, image uint32) {
	k.fill(dst, step, image, func(u uint32) float32 { return 1 - 2*float32(u>>31) })
}

// fill writes f of the words 0..len(dst)-1 of (step, image), a block at a time.
func (k Stream) fill(dst []float32, step uint64, image uint32, f func(uint32) float32) {
	for i := 0; i < len(dst); i += 4 {
		b := Block(k, Counter(step, image, uint64(i)))
		for j := range min(4, len(dst)-i) {
			dst[i+j] = f(b[j])
		}
	}
}
