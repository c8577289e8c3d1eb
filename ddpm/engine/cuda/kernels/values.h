// values.h: arrays of float32 or of bfloat16 numbers. A kernel that takes either is told which by a bit for each of its
// pointers, in their order. It computes in float32 and rounds what it stores.
#pragma once
#include "portable.h"

typedef unsigned short bf16;

#ifdef __CUDACC__

// bf16_pair is two numbers rounded to nearest, ties to even, the first in the low half.
__device__ __forceinline__ unsigned bf16_pair(float low, float high) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

__device__ __forceinline__ bf16 bf16_bits(float v) { return (bf16)bf16_pair(v, 0.0f); }

#else

inline bf16 bf16_bits(float v) {
  unsigned b;
  memcpy(&b, &v, 4);
  return v == v ? (b + 0x7fff + (b >> 16 & 1)) >> 16 : 0x7fff;
}

inline unsigned bf16_pair(float low, float high) { return bf16_bits(low) | (unsigned)bf16_bits(high) << 16; }

#endif

__device__ __forceinline__ float widened(bf16 v) {
  unsigned b = (unsigned)v << 16;
  float f;
  memcpy(&f, &b, 4);
  return f;
}

// bf16_nearest is v rounded.
__device__ __forceinline__ float bf16_nearest(float v) { return widened(bf16_bits(v)); }

// words are loaded and stored at once.
template <int N> struct __attribute__((may_alias, aligned(4 * N))) words {
  unsigned w[N];
};

// source is an array that a kernel reads, the i-th of its pointers.
struct source {
  const void *p;
  bool narrow;
  __device__ __forceinline__ source(const void *p, unsigned narrow, int i) : p(p), narrow(narrow >> i & 1) {}
  __device__ __forceinline__ float operator[](i64 i) const { return narrow ? widened(((const bf16 *)p)[i]) : ((const float *)p)[i]; }
  // two are entries i, which is even, and i+1.
  __device__ __forceinline__ void two(i64 i, float &a, float &b) const {
    if (narrow) {
      unsigned pair = ((const unsigned *)p)[i / 2];
      a = widened(pair & 0xffff), b = widened(pair >> 16);
    } else {
      words<2> pair = ((const words<2> *)p)[i / 2];
      memcpy(&a, &pair.w[0], 4), memcpy(&b, &pair.w[1], 4);
    }
  }
  // four are those from i on, which is a multiple of four.
  __device__ __forceinline__ void four(i64 i, float (&v)[4]) const {
    if (narrow) {
      words<2> pairs = ((const words<2> *)p)[i / 4];
      for (int j = 0; j < 4; j++) v[j] = widened((bf16)(pairs.w[j / 2] >> j % 2 * 16));
    } else {
      words<4> all = ((const words<4> *)p)[i / 4];
      memcpy(v, &all, 16);
    }
  }
};

// target is one that it writes.
struct target {
  void *p;
  bool narrow;
  __device__ __forceinline__ target(void *p, unsigned narrow, int i) : p(p), narrow(narrow >> i & 1) {}
  __device__ __forceinline__ void set(i64 i, float v) const {
    if (narrow)
      ((bf16 *)p)[i] = bf16_bits(v);
    else
      ((float *)p)[i] = v;
  }
  __device__ __forceinline__ void set_two(i64 i, float a, float b) const {
    if (narrow) {
      ((unsigned *)p)[i / 2] = bf16_pair(a, b);
    } else {
      words<2> pair;
      memcpy(&pair.w[0], &a, 4), memcpy(&pair.w[1], &b, 4);
      ((words<2> *)p)[i / 2] = pair;
    }
  }
  __device__ __forceinline__ void set_four(i64 i, const float (&v)[4]) const {
    if (narrow) {
      words<2> pairs = {{bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3])}};
      ((words<2> *)p)[i / 4] = pairs;
    } else {
      words<4> all;
      memcpy(&all, v, 16);
      ((words<4> *)p)[i / 4] = all;
    }
  }
};
