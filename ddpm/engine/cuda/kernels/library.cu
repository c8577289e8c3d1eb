// library.cu: what stands around a convolution by a library, which wants all its operands in one type and its filters
// [K,R,S,C], and what tells whether it is right.
#include "tensor.h"

__device__ __forceinline__ float number(float v) { return v; }
__device__ __forceinline__ void put(float *to, float v) { *to = v; }

#ifdef __CUDACC__
__device__ __forceinline__ float number(bf16 v) { return __uint_as_float((unsigned)v << 16); }
__device__ __forceinline__ void put(bf16 *to, float v) { *to = (bf16)bf16_pair(v, 0.0f); }
#else
inline float number(bf16 v) {
  unsigned b = (unsigned)v << 16;
  float f;
  memcpy(&f, &b, 4);
  return f;
}
inline void put(bf16 *to, float v) { *to = (bf16)bf16_bits(v); }
#endif

KERNEL narrow(const float *x, bf16 *y, i64 n) {
  EACH(i, n) put(y + i, x[i]);
}
REGISTER(narrow)

// transpose: y [C,R] of x [R,C]. A block has 32 by 32 entries.
template <class In, class Out> __device__ __forceinline__ void transpose_of(const In *x, Out *y, int R, int C) {
  __shared__ float tile[32][33];
  int across = (C + 31) / 32, r = blockIdx.x / across * 32, c = blockIdx.x % across * 32, lane = threadIdx.x % 32;
  for (int j = threadIdx.x / 32; j < 32; j += 8)
    if (r + j < R && c + lane < C) tile[j][lane] = number(x[(i64)(r + j) * C + c + lane]);
  __syncthreads();
  for (int j = threadIdx.x / 32; j < 32; j += 8)
    if (c + j < C && r + lane < R) put(y + (i64)(c + j) * R + r + lane, tile[lane][j]);
}

#define TRANSPOSE(name, In, Out) \
  KERNEL __launch_bounds__(256) name(const In *x, Out *y, int R, int C) { transpose_of(x, y, R, C); } \
  REGISTER(name)

TRANSPOSE(transpose, float, float)
TRANSPOSE(transpose_narrow, float, bf16)
TRANSPOSE(transpose_widen, bf16, float)

// finish: y [n/K,K] is x, and bias [K] and addend where they are not null.
template <class In>
__device__ __forceinline__ void finish_of(const In *x, float *y, const float *bias, const float *addend, i64 n, int K) {
  EACH(i, n) {
    float v = number(x[i]);
    if (bias) v += bias[i % K];
    if (addend) v += addend[i];
    y[i] = v;
  }
}

#define FINISH(name, In) \
  KERNEL name(const In *x, float *y, const float *bias, const float *addend, i64 n, int K) { finish_of(x, y, bias, addend, n, K); } \
  REGISTER(name)

FINISH(finish, float)
FINISH(finish_widen, bf16)

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
