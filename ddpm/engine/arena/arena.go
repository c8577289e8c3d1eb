// Package arena lays out buffers that live for a part of a run in one piece of memory.
package arena

import (
	"cmp"
	"slices"
)

// Extent is a buffer that wants a place: Size floats, from step First to step
// Last, both included.
type Extent struct {
	Size, First, Last int
}

// Arrange gives every extent an offset such that no two that live at the same
// time overlap, and returns the offsets and the size of the whole. Offsets are
// multiples of align floats.
//
// The largest goes first (as in greedy-by-size, Pisarchyk and Lee 2020), into
// the smallest gap that holds it between the ones already placed.
func Arrange(extents []Extent, align int) (offsets []int, total int) {
	order := make([]int, len(extents))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(extents[b].Size, extents[a].Size) })

	offsets = make([]int, len(extents))
	var placed []int // by offset
	for _, i := range order {
		e := extents[i]
		size := roundUp(e.Size, align)
		best, bestGap, top := -1, 0, 0
		for _, j := range placed {
			if extents[j].Last < e.First || extents[j].First > e.Last {
				continue
			}
			if gap := offsets[j] - top; gap >= size && (best < 0 || gap < bestGap) {
				best, bestGap = top, gap
			}
			top = max(top, offsets[j]+roundUp(extents[j].Size, align))
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

func roundUp(n, to int) int { return (n + to - 1) / to * to }
