package cpu

import (
	"math/rand/v2"
	"testing"
)

// TestArrange checks the one property that matters, and that sharing happens.
func TestArrange(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		extents := make([]extent, 1+r.IntN(120))
		for i := range extents {
			first := r.IntN(100)
			extents[i] = extent{1 + r.IntN(1000), first, first + r.IntN(20)}
		}
		offsets, total := arrange(extents)
		sum := 0
		for i, a := range extents {
			sum += alignUp(a.size)
			if offsets[i]%cacheLine != 0 || offsets[i] < 0 || offsets[i]+a.size > total {
				t.Fatalf("seed %d: extent %d of %d floats at %d of %d", seed, i, a.size, offsets[i], total)
			}
			for j, b := range extents[:i] {
				together := a.first <= b.last && b.first <= a.last
				overlap := offsets[i] < offsets[j]+b.size && offsets[j] < offsets[i]+a.size
				if together && overlap {
					t.Fatalf("seed %d: %+v at %d and %+v at %d overlap", seed, a, offsets[i], b, offsets[j])
				}
			}
		}
		if peak := peakOf(extents); total > 2*peak {
			t.Errorf("seed %d: arena of %d floats for a peak of %d", seed, total, peak)
		}
		if len(extents) > 60 && total > sum*2/3 {
			t.Errorf("seed %d: arena of %d floats for buffers of %d in all", seed, total, sum)
		}
	}
}

// peakOf is the most that lives at one time: a lower bound of the arena.
func peakOf(extents []extent) int {
	peak := 0
	for step := range 120 {
		live := 0
		for _, e := range extents {
			if e.first <= step && step <= e.last {
				live += alignUp(e.size)
			}
		}
		peak = max(peak, live)
	}
	return peak
}

// TestCut: chunks are whole blocks, cover all channels, and none is empty.
func TestCut(t *testing.T) {
	for c := 1; c < 1200; c++ {
		for _, most := range []int{64, 128} {
			got := cut(c, most)
			if got.size%block != 0 || got.size > most || got.size*got.count < c || got.size*(got.count-1) >= roundUp(c) {
				t.Errorf("%d channels in %d chunks of %d, want at most %d", c, got.count, got.size, most)
			}
		}
	}
}
