package dense_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/mat"

	"ddpmlab/ddpm/fid/dense"
	"ddpmlab/ddpm/philox"
)

func random(rows, cols int, name string) dense.Matrix {
	x := make([]float32, rows*cols)
	philox.Key(1, name).Normals(x, 0, 0)
	m := dense.New(rows, cols)
	for i, v := range x {
		m.Data[i] = float64(v)
	}
	return m
}

// gonums is the same matrix for gonum, the reference.
func gonums(m dense.Matrix) *mat.Dense {
	d := mat.NewDense(m.Rows, m.Cols, nil)
	for i := range m.Rows {
		for j := range m.Cols {
			d.Set(i, j, m.Data[i*m.RowStep+j*m.ColStep])
		}
	}
	return d
}

// instances runs f on each instance of the kernels that the machine has.
func instances(t *testing.T, f func(t *testing.T)) {
	for _, name := range []string{"", "avx512", "avx2", "baseline"} {
		t.Run("isa "+name, func(t *testing.T) {
			t.Setenv("DDPMLAB_CPU", name)
			f(t)
		})
	}
}

func TestAddProduct(t *testing.T) {
	instances(t, func(t *testing.T) {
		for _, s := range [][3]int{{1, 1, 1}, {14, 16, 5}, {13, 17, 300}, {260, 270, 33}, {505, 3, 600}} {
			m, n, k := s[0], s[1], s[2]
			a, b, c := random(m, k, "a"), random(n, k, "b").T(), random(m, n, "c")
			var want mat.Dense
			want.Mul(gonums(a), gonums(b))
			want.Scale(-0.5, &want)
			want.Add(&want, gonums(c))
			dense.AddProduct(c, -0.5, a, b)
			compare(t, fmt.Sprint(s), c, &want, 1e-12*float64(k+10))
		}
	})
}

func compare(t *testing.T, name string, got dense.Matrix, want *mat.Dense, tolerance float64) {
	t.Helper()
	for i := range got.Rows {
		for j := range got.Cols {
			if g, w := got.Data[i*got.RowStep+j*got.ColStep], want.At(i, j); !(math.Abs(g-w) <= tolerance) {
				t.Fatalf("%s at %d,%d: got %g, want %g", name, i, j, g, w)
			}
		}
	}
}

func TestAddGram(t *testing.T) {
	x, c := random(40, 300, "x"), dense.New(300, 300)
	dense.AddGram(c, x)
	var want mat.Dense
	want.Mul(gonums(x).T(), gonums(x))
	for i := range 300 {
		for j := range i {
			c.Row(i)[j] = want.At(i, j) // only the upper triangle counts
		}
	}
	compare(t, "gram", c, &want, 1e-11)
}

// A covariance of rank 70 in 200 dimensions comes back as the product of its factor, of
// 70 rows.
func TestCholesky(t *testing.T) {
	for _, rank := range []int{0, 1, 70, 150, 200} {
		x, s := random(rank, 200, "x"), dense.New(200, 200)
		dense.AddProduct(s, 1, x.T(), x)
		want := gonums(s)
		l := dense.Cholesky(s)
		if l.Rows != rank {
			t.Errorf("rank %d, want %d", l.Rows, rank)
		}
		back := dense.New(200, 200)
		dense.AddProduct(back, 1, l.T(), l)
		compare(t, "LᵀL", back, want, 1e-10)
	}
}

func TestSingularValues(t *testing.T) {
	instances(t, func(t *testing.T) {
		for _, s := range [][3]int{{1, 1, 1}, {2, 5, 2}, {40, 40, 40}, {150, 120, 120}, {90, 130, 90}, {100, 100, 30}, {70, 70, 0}} {
			m, n, rank := s[0], s[1], s[2]
			a, left, right := dense.New(m, n), random(m, rank, "l"), random(rank, n, "r")
			dense.AddProduct(a, 1, left, right)
			var svd mat.SVD
			svd.Factorize(gonums(a), mat.SVDNone)
			want := svd.Values(nil)
			got, err := dense.SingularValues(a)
			if err != nil || len(got) != len(want) {
				t.Fatalf("%v: %d values, %v", s, len(got), err)
			}
			for i := range got {
				if !(math.Abs(got[i]-want[i]) <= 1e-12*(want[0]+1)) {
					t.Errorf("%v: value %d is %g, want %g", s, i, got[i], want[i])
				}
			}
		}
	})
}

// The number of processors changes no bit.
func TestThreads(t *testing.T) {
	run := func() []float64 {
		a := random(600, 600, "a")
		v, err := dense.SingularValues(a)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	all := run()
	setThreads(t, 1)
	if !slices.Equal(all, run()) {
		t.Error("one thread gives other singular values")
	}
}

func BenchmarkSingularValues2048(b *testing.B) {
	for b.Loop() {
		a := random(2048, 2048, "a")
		start := time.Now()
		if _, err := dense.SingularValues(a); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s/values")
	}
}

func BenchmarkProduct2048(b *testing.B) {
	x, y, c := random(2048, 2048, "a"), random(2048, 2048, "b"), dense.New(2048, 2048)
	start := time.Now()
	n := 0
	for b.Loop() {
		dense.AddProduct(c, 1, x, y.T())
		n++
	}
	b.ReportMetric(float64(n)*2*2048*2048*2048/time.Since(start).Seconds()/1e9, "GF/s")
}
