// Package dense is the float64 linear algebra of the distances between sets of
// features: products, a Cholesky factor of a matrix without full rank, singular
// values.
//
// The products are one C template in GCC vector extensions (kernel.h), compiled for
// each instruction set and picked when the program starts; DDPMLAB_CPU (avx512,
// avx2, baseline) forces one, as in package cpu. Results do not depend on the number
// of threads: every number is computed by one of them, in one order.
package dense

// #include <stdlib.h>
// #include "dense.h"
//
// static void product(const struct dense_isa *f, int64_t m, int64_t n, int64_t k, double alpha, const double *a,
//                     int64_t ar, int64_t ac, const double *b, int64_t br, int64_t bc, double *c, int64_t ldc, double *pack) {
//   f->product(m, n, k, alpha, a, ar, ac, b, br, bc, c, ldc, pack);
// }
// static void times(const struct dense_isa *f, int64_t m, int64_t n, const double *a, int64_t lda, const double *x, double *y) {
//   f->times(m, n, a, lda, x, y);
// }
// static void transposed(const struct dense_isa *f, int64_t m, int64_t n, const double *a, int64_t lda, const double *x, double *y) {
//   f->transposed(m, n, a, lda, x, y);
// }
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Matrix is Rows×Cols numbers of Data; the one in row i and column j is
// Data[i*RowStep+j*ColStep].
type Matrix struct {
	Rows, Cols, RowStep, ColStep int
	Data                         []float64
}

// Of is the matrix whose rows stand one after another in data.
func Of(rows, cols int, data []float64) Matrix {
	return Matrix{rows, cols, cols, 1, data}
}

// New is a matrix of zeros.
func New(rows, cols int) Matrix { return Of(rows, cols, make([]float64, rows*cols)) }

// T is the transposed matrix, sharing memory.
func (m Matrix) T() Matrix { return Matrix{m.Cols, m.Rows, m.ColStep, m.RowStep, m.Data} }

// From is the part of m from row i and column j on, sharing memory.
func (m Matrix) From(i, j int) Matrix {
	m.Rows, m.Cols = m.Rows-i, m.Cols-j
	m.Data = m.Data[min(i*m.RowStep+j*m.ColStep, len(m.Data)):]
	return m
}

// Row is row i of a matrix whose rows lie at a stretch.
func (m Matrix) Row(i int) []float64 { return m.Data[i*m.RowStep : i*m.RowStep+m.Cols] }

// at is the address of a number, which exists.
func (m Matrix) at(i, j int) *C.double { return pointer(m.Data[i*m.RowStep+j*m.ColStep:]) }

func pointer(x []float64) *C.double { return (*C.double)(unsafe.Pointer(unsafe.SliceData(x))) }

// isa is the instance of the kernels that DDPMLAB_CPU names, or the best one; a name
// that this machine does not run counts as none, since package cpu refuses it.
func isa() *C.struct_dense_isa {
	name := C.CString(os.Getenv("DDPMLAB_CPU"))
	defer C.free(unsafe.Pointer(name))
	if f := C.dense_find(name); f != nil {
		return f
	}
	none := C.CString("")
	defer C.free(unsafe.Pointer(none))
	return C.dense_find(none)
}

// AddProduct adds alpha·a·b to c, whose rows lie at a stretch.
func AddProduct(c Matrix, alpha float64, a, b Matrix) {
	if a.Cols != b.Rows || c.Rows != a.Rows || c.Cols != b.Cols || c.ColStep != 1 {
		panic(fmt.Sprintf("dense: %d×%d plus the product of %d×%d and %d×%d", c.Rows, c.Cols, a.Rows, a.Cols, b.Rows, b.Cols))
	}
	addTiles(c, alpha, a, b, func(int, int) bool { return true })
}

// AddGram adds xᵀx to the upper triangle of c, whose rows lie at a stretch; below
// the diagonal some numbers change too.
func AddGram(c, x Matrix) {
	if c.Rows != x.Cols || c.Cols != x.Cols || c.ColStep != 1 {
		panic(fmt.Sprintf("dense: %d×%d plus the Gram matrix of %d×%d", c.Rows, c.Cols, x.Rows, x.Cols))
	}
	addTiles(c, 1, x.T(), x, func(i, j int) bool { return j+C.DENSE_N > i })
}

// addTiles adds alpha·a·b to the tiles of c, from row i and column j on, that are wanted.
func addTiles(c Matrix, alpha float64, a, b Matrix, wanted func(i, j int) bool) {
	if a.Cols == 0 {
		return
	}
	type place struct{ i, j int }
	var tiles []place
	for i := 0; i < c.Rows; i += C.DENSE_M {
		for j := 0; j < c.Cols; j += C.DENSE_N {
			if wanted(i, j) {
				tiles = append(tiles, place{i, j})
			}
		}
	}
	f := isa()
	parallel(len(tiles), func(next func() int) {
		pack := make([]float64, (min(C.DENSE_M, c.Rows)+min(C.DENSE_N, c.Cols)+2*C.DENSE_TILE)*min(C.DENSE_K, a.Cols))
		for n := next(); n < len(tiles); n = next() {
			t := tiles[n]
			C.product(f, C.int64_t(min(C.DENSE_M, c.Rows-t.i)), C.int64_t(min(C.DENSE_N, c.Cols-t.j)), C.int64_t(a.Cols), C.double(alpha),
				a.at(t.i, 0), C.int64_t(a.RowStep), C.int64_t(a.ColStep), b.at(0, t.j), C.int64_t(b.RowStep), C.int64_t(b.ColStep),
				c.at(t.i, t.j), C.int64_t(c.RowStep), pointer(pack))
		}
	})
}

// parallel calls work on as many goroutines as there are processors, but no more than
// parts; next gives each part's number once, and then numbers that are too large.
func parallel(parts int, work func(next func() int)) {
	var taken atomic.Int64
	next := func() int { return int(taken.Add(1)) - 1 }
	var wg sync.WaitGroup
	for range min(parts, runtime.GOMAXPROCS(0)) - 1 {
		wg.Go(func() { work(next) })
	}
	work(next)
	wg.Wait()
}

// vectorPart is how many numbers of a matrix a goroutine takes at least when it is
// multiplied with a vector.
const vectorPart = 1 << 17

// parts is in how many parts an m×n matrix is cut, and how much of the side long is in each.
func parts(m, n, long int) (count, each int) {
	count = max(1, min(m*n/vectorPart, runtime.GOMAXPROCS(0)))
	each = (long/count + 8) &^ 7
	return (long + each - 1) / each, each
}

// product is a kernel chosen once, for many products with vectors.
type product struct{ isa *C.struct_dense_isa }

// times writes a·x to y; the rows of a lie at a stretch.
func (p product) times(a Matrix, x, y []float64) {
	if a.Rows == 0 || a.Cols == 0 {
		clear(y[:a.Rows])
		return
	}
	count, each := parts(a.Rows, a.Cols, a.Rows)
	parallel(count, func(next func() int) {
		for k := next(); k < count; k = next() {
			i := k * each
			C.times(p.isa, C.int64_t(min(each, a.Rows-i)), C.int64_t(a.Cols), a.at(i, 0), C.int64_t(a.RowStep), pointer(x), pointer(y[i:]))
		}
	})
}

// transposed writes aᵀ·x to y; the rows of a lie at a stretch.
func (p product) transposed(a Matrix, x, y []float64) {
	if a.Rows == 0 || a.Cols == 0 {
		clear(y[:a.Cols])
		return
	}
	count, each := parts(a.Rows, a.Cols, a.Cols)
	parallel(count, func(next func() int) {
		for k := next(); k < count; k = next() {
			j := k * each
			C.transposed(p.isa, C.int64_t(a.Rows), C.int64_t(min(each, a.Cols-j)), a.at(0, j), C.int64_t(a.RowStep), pointer(x), pointer(y[j:]))
		}
	})
}
