// tensor.h: matrix products by tensor cores. Operands are of bfloat16, or of float32 and rounded on their way to shared
// memory; sums are float32. The instructions are those of sm_80; under g++ they are functions that compute the same.
#pragma once
#include "tile.h"
#include "values.h"

#ifdef __CUDACC__

// load_fragment gives a warp 16 rows by 16 depths of shared memory: rows of depths if ALONG_K, else depths of rows. A
// lane has rows lane/4 and 8 further (r[0], r[1]), each with depths 2·(lane%4) and the next, and the same 8 deeper.
template <bool ALONG_K> __device__ __forceinline__ void load_fragment(unsigned (&r)[4], const bf16 *from, int pitch) {
  int lane = threadIdx.x & 31;
  const bf16 *p = ALONG_K ? from + (lane & 15) * pitch + (lane >> 4) * 8 : from + ((lane >> 4) * 8 + (lane & 7)) * pitch + (lane >> 3 & 1) * 8;
  unsigned at = (unsigned)__cvta_generic_to_shared(p);
  if (ALONG_K)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
}

// multiply adds to sum, blocks of 16 rows by 8 columns, the products of fragments of 16 rows of a and of 16 columns of
// b. A lane has of each block rows lane/4 (sum[..][0], [1]) and 8 further, columns 2·(lane%4) and the next.
template <int I, int J>
__device__ __forceinline__ void multiply(float (&sum)[I][J][4], const unsigned (&a)[I][4], const unsigned (&b)[J / 2][4]) {
  for (int i = 0; i < I; i++)
    for (int j = 0; j < J; j++) {
      float *c = sum[i][j];
      asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j / 2][j % 2]), "r"(b[j / 2][j % 2 + 2]));
    }
}

#else

template <bool ALONG_K> void load_fragment(unsigned (&r)[4], const bf16 *from, int pitch) {
  int lane = threadIdx.x & 31;
  for (int i = 0; i < 4; i++) {
    int row = lane / 4 + i % 2 * 8, k = lane % 4 * 2 + i / 2 * 8;
    r[i] = ALONG_K ? from[row * pitch + k] | (unsigned)from[row * pitch + k + 1] << 16
                   : from[k * pitch + row] | (unsigned)from[(k + 1) * pitch + row] << 16;
  }
}

// fragment_row reads from the lanes that have them the 16 depths of a row of one fragment.
inline void fragment_row(float (&to)[16], const unsigned *const *lanes, int fragment, int row) {
  for (int k = 0; k < 16; k++) {
    unsigned pair = lanes[row % 8 * 4 + k % 8 / 2][4 * fragment + row / 8 + k / 8 * 2], b = k % 2 ? pair & 0xffff0000 : pair << 16;
    memcpy(&to[k], &b, 4);
  }
}

template <int I, int J> void multiply(float (&sum)[I][J][4], const unsigned (&a)[I][4], const unsigned (&b)[J / 2][4]) {
  int lane = threadIdx.x & 31;
  float x[2 * I][16], y[2 * J][16];
  const unsigned *lanes[32];
  fake_gather(a[0], (const void **)lanes);
  for (int i = 0; i < 2 * I; i++) fragment_row(x[i], lanes, i / 2, lane / 4 + i % 2 * 8);
  fake_gather(b[0], (const void **)lanes);
  for (int j = 0; j < 2 * J; j++) fragment_row(y[j], lanes, j / 4, j / 2 % 2 * 8 + lane % 4 * 2 + j % 2);
  fake_gather(nullptr, (const void **)lanes); // nobody changes b before all have read it
  for (int i = 0; i < 2 * I; i++)
    for (int j = 0; j < 2 * J; j++) {
      float &to = sum[i / 2][j / 2][i % 2 * 2 + j % 2];
      for (int k = 0; k < 16; k++) to += x[i][k] * y[j][k];
    }
}

#endif

__device__ __forceinline__ void load_four(float (&to)[4], const float *from) {
  words<4> w = *(const words<4> *)from;
  memcpy(to, &w, sizeof to);
}

__device__ __forceinline__ void store_four(bf16 *to, const float (&v)[4]) {
  words<2> w = {{bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3])}};
  *(words<2> *)to = w;
}

// run is 16 bytes of an operand: four numbers of float32 or eight of bfloat16, in registers.
template <class T> struct run;

template <> struct alignas(16) run<float> {
  enum { LENGTH = 4 };
  float v[4];
  __device__ __forceinline__ void set(int i, const float *p) { v[i] = p ? *p : 0.0f; }
  __device__ __forceinline__ void store(bf16 *to) const { store_four(to, v); }
};

template <> struct alignas(16) run<bf16> {
  enum { LENGTH = 8 };
  unsigned v[4];
  __device__ __forceinline__ void set(int i, const bf16 *p) {
    unsigned e = p ? *p : 0;
    v[i / 2] = i % 2 ? v[i / 2] | e << 16 : e;
  }
  __device__ __forceinline__ void store(bf16 *to) const { *(words<4> *)to = *(const words<4> *)v; }
};

// panel is the part of an operand of type T that a step of a tile multiplies, SIDE rows by DEPTH, in shared memory. The
// distance of its lines lets eight of them be read at once.
template <int SIDE, int DEPTH, bool ALONG_K, class T> struct panel {
  enum {
    PITCH = (ALONG_K ? DEPTH : SIDE) + 8,
    SIZE = (ALONG_K ? SIDE : DEPTH) * PITCH,
    LENGTH = run<T>::LENGTH,
    RUNS = SIDE * DEPTH / LENGTH / 256
  };

  static __device__ __forceinline__ int index(int row, int k) { return ALONG_K ? row * PITCH + k : k * PITCH + row; }

  // place is where in the panel the entries of run number j of a thread begin.
  static __device__ __forceinline__ void place(int j, int &row, int &k) {
    int line = threadIdx.x + 256 * j;
    row = ALONG_K ? line / (DEPTH / LENGTH) : line % (SIDE / LENGTH) * LENGTH;
    k = ALONG_K ? line % (DEPTH / LENGTH) * LENGTH : line / (SIDE / LENGTH);
  }

  template <bool WHOLE, class Operand>
  static __device__ __forceinline__ void fetch(run<T> (&v)[RUNS], const Operand &o, int row, int rows, int k, int end) {
    UNROLL
    for (int j = 0; j < RUNS; j++) {
      int r, d;
      place(j, r, d);
      r += row, d += k;
      if (WHOLE) {
        const T *p = r < rows && d < end ? o.entry(r, d) : nullptr;
        v[j] = p ? *(const run<T> *)p : run<T>{};
      } else {
        UNROLL
        for (int i = 0; i < LENGTH; i++) {
          v[j].set(i, r < rows && d < end ? o.entry(r, d) : nullptr);
          (ALONG_K ? d : r)++;
        }
      }
    }
  }

  static __device__ __forceinline__ void store(bf16 *to, const run<T> (&v)[RUNS]) {
    UNROLL
    for (int j = 0; j < RUNS; j++) {
      int r, d;
      place(j, r, d);
      v[j].store(to + index(r, d));
    }
  }
};

// tensor_tiles computes tiles of S by S entries, of which a warp has half the rows and a quarter of the columns.
template <int S> struct tensor_tiles {
  enum { SIDE = S, DEPTH = 32, I = S / 32, J = S / 32 };

  // product is as that of float_tiles.
  template <class A, class B, class Out>
  static __device__ __forceinline__ void product(const A &a, const B &b, int m, int n, int rows, int columns, int k, int end, Out out) {
    alignas(16) __shared__ bf16 at[2][panel<S, DEPTH, A::along_k, typename A::type>::SIZE];
    alignas(16) __shared__ bf16 bt[2][panel<S, DEPTH, B::along_k, typename B::type>::SIZE];
    float sum[I][J][4] = {};
    int lane = threadIdx.x & 31, r0 = (threadIdx.x >> 5) / 4 * (S / 2), c0 = (threadIdx.x >> 5) % 4 * (S / 4);
    if (a.whole() && b.whole())
      steps<true>(at, bt, sum, a, b, m, n, rows, columns, k, end, r0, c0);
    else
      steps<false>(at, bt, sum, a, b, m, n, rows, columns, k, end, r0, c0);
    UNROLL
    for (int i = 0; i < I; i++)
      UNROLL
      for (int j = 0; j < J; j++)
        UNROLL
        for (int e = 0; e < 4; e += 2) {
          int r = m + r0 + 16 * i + lane / 4 + e / 2 * 8, c = n + c0 + 8 * j + lane % 4 * 2;
          if (r < rows && c < columns) out(r, c, sum[i][j] + e, c + 1 < columns ? 2 : 1);
        }
  }

  // steps adds up the tile. What the next step multiplies is fetched while this one does.
  template <bool WHOLE, class A, class B, class PA, class PB>
  static __device__ __forceinline__ void steps(PA &at, PB &bt, float (&sum)[I][J][4], const A &a, const B &b, int m, int n, int rows,
                                               int columns, int k, int end, int r0, int c0) {
    using X = panel<S, DEPTH, A::along_k, typename A::type>;
    using Y = panel<S, DEPTH, B::along_k, typename B::type>;
    run<typename A::type> x[X::RUNS];
    run<typename B::type> y[Y::RUNS];
    X::template fetch<WHOLE>(x, a, m, rows, k, end);
    Y::template fetch<WHOLE>(y, b, n, columns, k, end);
    for (int turn = 0; k < end; k += DEPTH, turn ^= 1) {
      X::store(at[turn], x);
      Y::store(bt[turn], y);
      __syncthreads(); // and the step before last, which read these panels, is over
      if (k + DEPTH < end) {
        X::template fetch<WHOLE>(x, a, m, rows, k + DEPTH, end);
        Y::template fetch<WHOLE>(y, b, n, columns, k + DEPTH, end);
      }
      UNROLL
      for (int d = 0; d < DEPTH; d += 16) {
        unsigned p[I][4], q[J / 2][4];
        UNROLL
        for (int i = 0; i < I; i++) load_fragment<A::along_k>(p[i], at[turn] + X::index(r0 + 16 * i, d), X::PITCH);
        UNROLL
        for (int j = 0; j < J / 2; j++) load_fragment<B::along_k>(q[j], bt[turn] + Y::index(c0 + 16 * j, d), Y::PITCH);
        multiply(sum, p, q);
      }
    }
  }
};
