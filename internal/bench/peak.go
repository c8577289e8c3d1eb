package bench

/*
#include "peak.h"
*/
import "C"

import (
	"sync"
	"time"
	"unsafe"
)

// Peak is what the machine can do at most on a number of threads at once.
type Peak struct {
	Threads int
	GFlops  float64 // 10⁹ multiplications and additions a second, float32, fused
	GBytes  float64 // 10⁹ bytes a second of a[i] = b[i] + 3c[i] from and to memory, 12 for each i
}

// triadLen is three arrays of 64 MB for each thread: more than caches hold.
const triadLen = 16 << 20

// measurePeak takes about a second; the best of several tries counts, as is usual.
func measurePeak(threads int) Peak {
	p := Peak{Threads: threads}
	arrays := make([][3][]float32, threads)
	together(threads, func(i int) {
		for j := range arrays[i] {
			arrays[i][j] = make([]float32, triadLen)
			for k := range arrays[i][j] {
				arrays[i][j][k] = 1 // the memory is there from now on
			}
		}
	})
	for range 5 {
		flops := make([]float64, threads)
		seconds := together(threads, func(i int) { flops[i] = float64(C.peak_fma(5_000_000)) })
		var sum float64
		for _, f := range flops {
			sum += f
		}
		p.GFlops = max(p.GFlops, sum/seconds/1e9)
		seconds = together(threads, func(i int) {
			a := arrays[i]
			C.peak_triad(first(a[0]), first(a[1]), first(a[2]), triadLen)
		})
		p.GBytes = max(p.GBytes, float64(threads)*12*triadLen/seconds/1e9)
	}
	return p
}

func first(x []float32) *C.float { return (*C.float)(unsafe.Pointer(unsafe.SliceData(x))) }

// together runs f on every thread and returns the seconds until the last has ended.
func together(threads int, f func(i int)) float64 {
	var wg sync.WaitGroup
	start := time.Now()
	for i := range threads {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
	return time.Since(start).Seconds()
}
