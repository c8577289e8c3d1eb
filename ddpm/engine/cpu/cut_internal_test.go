package cpu

import "testing"

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
