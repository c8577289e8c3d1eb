// tile.h: matrix products of float32 numbers by tiles of 64x64, a block of 256 threads each. Products and
// convolutions differ in where the entries of their operands are, which a struct with a method at tells.
#pragma once
#include "portable.h"

enum { TILE = 64, DEPTH = 16, PITCH = TILE + 4 };

// load_tile copies rows [row, row+64) and depths [k, k+16) of an operand to shared memory, zero outside of it.
// Neighbouring threads read neighbours along k if along_k, else along the rows.
template <class Operand>
__device__ __forceinline__ void load_tile(float (*to)[PITCH], const Operand &o, i64 row, i64 rows, i64 k, i64 end) {
  for (int j = 0; j < TILE * DEPTH / 256; j++) {
    int e = threadIdx.x + 256 * j;
    int d = Operand::along_k ? e % DEPTH : e / TILE, r = Operand::along_k ? e / DEPTH : e % TILE;
    to[d][r] = row + r < rows && k + d < end ? o.at(row + r, k + d) : 0.0f;
  }
}

// tile_product computes one tile of a·b over depths [k, end) and hands its entries to out(row, column, sum). A thread
// has 4x4 of them.
template <class A, class B, class Out>
__device__ __forceinline__ void tile_product(const A &a, const B &b, i64 m, i64 n, i64 rows, i64 columns, i64 k, i64 end, Out out) {
  __shared__ float at[DEPTH][PITCH], bt[DEPTH][PITCH];
  float sum[4][4] = {};
  int r0 = threadIdx.x / 16 * 4, c0 = threadIdx.x % 16 * 4;
  for (; k < end; k += DEPTH) {
    load_tile(at, a, m, rows, k, end);
    load_tile(bt, b, n, columns, k, end);
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
      if (m + r0 + i < rows && n + c0 + j < columns) out(m + r0 + i, n + c0 + j, sum[i][j]);
}
