package arena_test

import (
	"math/rand/v2"
	"testing"

	"ddpmlab/ddpm/engine/arena"
)

const align = 16 // floats

// TestArrange checks the one property that matters, and that sharing happens.
func TestArrange(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		extents := make([]arena.Extent, 1+r.IntN(120))
		for i := range extents {
			first := r.IntN(100)
			extents[i] = arena.Extent{1 + r.IntN(1000), first, first + r.IntN(20)}
		}
		offsets, total := arena.Arrange(extents, align)
		sum := 0
		for i, a := range extents {
			sum += (a.Size + align - 1) / align * align
			if offsets[i]%align != 0 || offsets[i] < 0 || offsets[i]+a.Size > total {
				t.Fatalf("seed %d: extent %d of %d floats at %d of %d", seed, i, a.Size, offsets[i], total)
			}
			for j, b := range extents[:i] {
				together := a.First <= b.Last && b.First <= a.Last
				overlap := offsets[i] < offsets[j]+b.Size && offsets[j] < offsets[i]+a.Size
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
func peakOf(extents []arena.Extent) int {
	peak := 0
	for step := range 120 {
		live := 0
		for _, e := range extents {
			if e.First <= step && step <= e.Last {
				live += (e.Size + align - 1) / align * align
			}
		}
		peak = max(peak, live)
	}
	return peak
}
