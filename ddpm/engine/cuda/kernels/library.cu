// library.cu: what stands around a convolution by a library, which wants all its operands in one type and its filters
// [K,R,S,C], and what tells whether it is right.
#include "values.h"

KERNEL narrow(const float *x, bf16 *y, i64 n) {
  EACH(i, n) y[i] = bf16_bits(x[i]);
}
REGISTER(narrow)

// transpose: y [C,R] of x [R,C]. A block has 32 by 32 entries.
KERNEL __launch_bounds__(256) transpose(const void *px, void *py, int R, int C, unsigned narrow) {
  source x(px, narrow, 0);
  target y(py, narrow, 1);
  __shared__ float tile[32][33];
  int across = (C + 31) / 32, r = blockIdx.x / across * 32, c = blockIdx.x % across * 32, lane = threadIdx.x % 32;
  for (int j = threadIdx.x / 32; j < 32; j += 8)
    if (r + j < R && c + lane < C) tile[j][lane] = x[(i64)(r + j) * C + c + lane];
  __syncthreads();
  for (int j = threadIdx.x / 32; j < 32; j += 8)
    if (c + j < C && r + lane < R) y.set((i64)(c + j) * R + r + lane, tile[lane][j]);
}
REGISTER(transpose)

// finish: y [n/K,K] is x, and bias [K] and addend where they are not null.
KERNEL finish(const void *px, void *py, const float *bias, const void *pa, i64 n, int K, unsigned narrow) {
  source x(px, narrow, 0), addend(pa, narrow, 3);
  target y(py, narrow, 1);
  EACH(i, n) {
    float v = x[i];
    if (bias) v += bias[i % K];
    if (pa) v += addend[i];
    y.set(i, v);
  }
}
REGISTER(finish)

// noise: numbers of [-1,1) that depend on their index and a key.
KERNEL noise(float *y, i64 n, unsigned key) {
  EACH(i, n) {
    unsigned h = ((unsigned)i + key) * 0x9E3779B9u;
    h = (h ^ h >> 16) * 0x85EBCA6Bu;
    h = (h ^ h >> 13) * 0xC2B2AE35u;
    y[i] = (float)(int)(h ^ h >> 16) * (1.0f / 2147483648.0f);
  }
}
REGISTER(noise)

// differ: a block's count of the entries in which a is further from b than part of b and a floor, or no number.
KERNEL differ(const float *a, const float *b, float *count, i64 n, float part, float floor) {
  float mine = 0;
  EACH(i, n) if (!(fabsf(a[i] - b[i]) <= part * fabsf(b[i]) + floor)) mine++;
  mine = block_sum(mine);
  if (threadIdx.x == 0) count[blockIdx.x] = mine;
}
REGISTER(differ)
