// tile.h: matrix products by tiles, a block of 256 threads each. Products and convolutions differ in where the entries
// of their operands are. An operand is a struct with
//   type           of its entries: float, or bf16 for tensor cores
//   entry(row, k)  where an entry is, null where there is none and it counts as zero
//   along_k        whether neighbours along k lie side by side; else those along the rows do
//   whole()        whether entries lie in runs of 16 bytes that all are or are not, at multiples of 16
// What becomes of a product is up to a function out(row, column, sums, n) of n sums side by side.
// Rows and depths are below 2^31.
#pragma once
#include "portable.h"

// divisor divides by d with a multiplication (Granlund and Montgomery, 1994): numbers of 0 to 2^31-1.
struct divisor {
  unsigned d, factor, shift;
  __device__ explicit divisor(int by) : d(by), shift(0) {
    while (1u << shift < d) shift++;
    factor = (unsigned)((((1ull << shift) - d) << 32) / d + 1);
  }
  __device__ int split(int n, int &rest) const {
    unsigned q = (__umulhi((unsigned)n, factor) + n) >> shift;
    rest = n - q * d;
    return q;
  }
};

// in_runs tells whether lines of n entries at p are whole runs.
template <class T> __device__ __forceinline__ bool in_runs(const T *p, i64 n) { return n * sizeof(T) % 16 == 0 && (size_t)p % 16 == 0; }

// float_tiles computes with float32 numbers.
struct float_tiles {
  enum { SIDE = 64, DEPTH = 16, PITCH = SIDE + 4 };

  // load copies rows [row, row+64) and depths [k, k+16) of an operand to shared memory, zero outside of it.
  template <class Operand>
  static __device__ __forceinline__ void load(float (*to)[PITCH], const Operand &o, int row, int rows, int k, int end) {
    for (int j = 0; j < SIDE * DEPTH / 256; j++) {
      int e = threadIdx.x + 256 * j;
      int d = Operand::along_k ? e % DEPTH : e / SIDE, r = Operand::along_k ? e / DEPTH : e % SIDE;
      const float *p = row + r < rows && k + d < end ? o.entry(row + r, k + d) : nullptr;
      to[d][r] = p ? *p : 0.0f;
    }
  }

  // product computes one tile of a·b over depths [k, end) and hands its entries to out. A thread has 4x4 of them.
  template <class A, class B, class Out>
  static __device__ __forceinline__ void product(const A &a, const B &b, int m, int n, int rows, int columns, int k, int end, Out out) {
    __shared__ float at[DEPTH][PITCH], bt[DEPTH][PITCH];
    float sum[4][4] = {};
    int r0 = threadIdx.x / 16 * 4, c0 = threadIdx.x % 16 * 4;
    for (; k < end; k += DEPTH) {
      load(at, a, m, rows, k, end);
      load(bt, b, n, columns, k, end);
      __syncthreads();
      for (int d = 0; d < DEPTH; d++) {
        float x[4], y[4];
        for (int i = 0; i < 4; i++) x[i] = at[d][r0 + i], y[i] = bt[d][c0 + i];
        for (int i = 0; i < 4; i++)
          for (int j = 0; j < 4; j++) sum[i][j] += x[i] * y[j];
      }
      __syncthreads();
    }
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 4; j++)
        if (m + r0 + i < rows && n + c0 + j < columns) out(m + r0 + i, n + c0 + j, &sum[i][j], 1);
  }
};
