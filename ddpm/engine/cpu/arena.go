package cpu

import (
	"cmp"
	"slices"
)

// extent is a buffer that wants a place: size floats, from step first to step
// last, both included.
type extent struct {
	size, first, last int
}

// arrange gives every extent an offset such that no two that live at the same
// time overlap, and returns the offsets and the size of the whole. Offsets are
// whole cache lines.
//
// The largest goes first (as in greedy-by-size, Pisarchyk and Lee 2020), into
// the smallest gap that holds it between the ones already placed.
func arrange(extents []extent) (offsets []int, total int) {
	order := make([]int, len(extents))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(extents[b].size, extents[a].size) })

	offsets = make([]int, len(extents))
	var placed []int // by offset
	for _, i := range order {
		e := extents[i]
		size := alignUp(e.size)
		best, bestGap, top := -1, 0, 0
		for _, j := range placed {
			if extents[j].last < e.first || extents[j].first > e.last {
				continue
			}
			if gap := offsets[j] - top; gap >= size && (best < 0 || gap < bestGap) {
				best, bestGap = top, gap
			}
			top = max(top, offsets[j]+alignUp(extents[j].size))
		}
		if best < 0 {
			best = top
		}
		offsets[i] = best
		total = max(total, best+size)
		at, _ := slices.BinarySearchFunc(placed, best, func(j, off int) int { return cmp.Compare(offsets[j], off) })
		placed = slices.Insert(placed, at, i)
	}
	return offsets, total
}
