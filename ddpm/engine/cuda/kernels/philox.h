// philox.h: counter-based random numbers; package philox has the plain ones.
#pragma once
#include "portable.h"

// philox is Philox4x32-10 (Salmon et al., 2011, section 3.3).
__device__ __forceinline__ void philox(unsigned k0, unsigned k1, unsigned c[4]) {
  const unsigned m0 = 0xD2511F53u, m1 = 0xCD9E8D57u;
  for (int round = 0; round < 10; round++) {
    unsigned h0 = __umulhi(m0, c[0]), l0 = m0 * c[0], h1 = __umulhi(m1, c[2]), l1 = m1 * c[2];
    c[0] = h1 ^ c[1] ^ k0;
    c[1] = l1;
    c[2] = h0 ^ c[3] ^ k1;
    c[3] = l0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// normal maps a word to a standard normal number: philox.Normal, to the bit, since every operation is rounded by itself.
__device__ __forceinline__ float normal_poly(float r, float c0, float c1, float c2, float c3) {
  float y = __fadd_rn(__fmul_rn(c3, r), c2);
  y = __fadd_rn(__fmul_rn(y, r), c1);
  return __fadd_rn(__fmul_rn(y, r), c0);
}

__device__ __forceinline__ float normal_log(float x) {
  const float c[8] = {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                      -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
  unsigned b;
  memcpy(&b, &x, 4);
  float e = (float)((int)(b >> 23) - 126), m;
  b = (b & 0x7fffff) | 126u << 23;
  memcpy(&m, &b, 4);
  if (m < 0.70710678f) {
    m += m;
    e -= 1;
  }
  m -= 1;
  float y = 7.0376836292e-2f;
  for (int i = 0; i < 8; i++) y = __fadd_rn(__fmul_rn(y, m), c[i]);
  float z = __fmul_rn(m, m);
  y = __fmul_rn(__fmul_rn(y, m), z);
  y = __fadd_rn(y, __fmul_rn(e, -2.12194440e-4f));
  y = __fadd_rn(y, -__fmul_rn(0.5f, z));
  return __fadd_rn(__fadd_rn(m, y), __fmul_rn(e, 0.693359375f));
}

__device__ __forceinline__ float normal_tail(float p) {
  float q = 0.5f - p;
  if (q <= 0.425f) {
    float r = __fadd_rn(0.180625f, -__fmul_rn(q, q));
    float over = normal_poly(r, 3.3871327179e+00f, 5.0434271938e+01f, 1.5929113202e+02f, 5.9109374720e+01f);
    return __fdiv_rn(__fmul_rn(q, over), normal_poly(r, 1, 1.7895169469e+01f, 7.8757757664e+01f, 6.7187563600e+01f));
  }
  float r = __fsqrt_rn(-normal_log(p));
  if (r <= 5) {
    r -= 1.6f;
    float over = normal_poly(r, 1.4234372777e+00f, 2.7568153900e+00f, 1.3067284816e+00f, 1.7023821103e-01f);
    return __fdiv_rn(over, normal_poly(r, 1, 7.3700164250e-01f, 1.2021132975e-01f, 0));
  }
  r -= 5;
  float over = normal_poly(r, 6.6579051150e+00f, 3.0812263860e+00f, 4.2868294337e-01f, 1.7337203997e-02f);
  return __fdiv_rn(over, normal_poly(r, 1, 2.4197894225e-01f, 1.2258202635e-02f, 0));
}

__device__ __forceinline__ float normal(unsigned u) {
  float z = normal_tail(__fmul_rn(__fadd_rn((float)(u & 0x7fffffffu), 0.5f), 1.0f / 4294967296.0f));
  return u >> 31 ? -z : z;
}

// sign maps a word to -1 or +1.
__device__ __forceinline__ float sign(unsigned u) { return u >> 31 ? -1.0f : 1.0f; }
