// random.cu: sinusoidal time embedding, and dropout by counter-based random numbers.
#include "portable.h"

// time_embedding: y [N,dim] of t [N]. In double: t·f reaches 1000 radians.
KERNEL time_embedding(const float *t, float *y, i64 n, int dim) {
  EACH(i, n) {
    int half = dim / 2, j = i % dim % half;
    double angle = (double)t[i / dim] * exp(-log(10000.0) * (double)j / (double)half);
    y[i] = (float)(i % dim < half ? cos(angle) : sin(angle));
  }
}
REGISTER(time_embedding)

// philox is Philox4x32-10 (Salmon et al., 2011, section 3.3); package philox has the plain one.
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

// dropout: x and y are samples of m entries, counters [N,4] the halves of step and image. A thread has a block of four
// numbers; blocks is how many a sample has. The counter is {index/4, image, step}, as in package philox.
KERNEL dropout(const float *x, const float *counters, float *y, i64 n, i64 m, i64 blocks, unsigned key0, unsigned key1, float drop,
               float scale) {
  EACH(b, n) {
    i64 sample = b / blocks, block = b % blocks;
    const float *of = counters + 4 * sample;
    unsigned step = (unsigned)of[0] | (unsigned)of[1] << 16, image = (unsigned)of[2] | (unsigned)of[3] << 16;
    unsigned c[4] = {(unsigned)block, image, step, 0};
    philox(key0, key1, c);
    for (int j = 0; j < 4 && 4 * block + j < m; j++) {
      i64 i = sample * m + 4 * block + j;
      float u = (float)(c[j] >> 8) * (1.0f / (1 << 24));
      y[i] = u >= drop ? x[i] * scale : 0.0f;
    }
  }
}
REGISTER(dropout)
