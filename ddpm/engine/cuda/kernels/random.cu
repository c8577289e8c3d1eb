// random.cu: sinusoidal time embedding, and dropout by counter-based random numbers.
#include "philox.h"
#include "values.h"

// time_embedding: y [N,dim] of t [N]. In double: t·f reaches 1000 radians.
KERNEL time_embedding(const float *t, float *y, i64 n, int dim) {
  EACH(i, n) {
    int half = dim / 2, j = i % dim % half;
    double angle = (double)t[i / dim] * exp(-log(10000.0) * (double)j / (double)half);
    y[i] = (float)(i % dim < half ? cos(angle) : sin(angle));
  }
}
REGISTER(time_embedding)

// dropout: x and y are samples of m entries, counters [N,4] the halves of step and image. A thread has a block of four
// numbers; blocks is how many a sample has. The counter is {index/4, image, step}, as in package philox.
KERNEL dropout(const void *px, const float *counters, void *py, i64 n, i64 m, i64 blocks, unsigned key0, unsigned key1, float drop,
               float scale, unsigned narrow) {
  source x(px, narrow, 0);
  target y(py, narrow, 2);
  EACH(b, n) {
    i64 sample = b / blocks, block = b % blocks;
    const float *of = counters + 4 * sample;
    unsigned step = (unsigned)of[0] | (unsigned)of[1] << 16, image = (unsigned)of[2] | (unsigned)of[3] << 16;
    unsigned c[4] = {(unsigned)block, image, step, 0};
    philox(key0, key1, c);
    for (int j = 0; j < 4 && 4 * block + j < m; j++) {
      i64 i = sample * m + 4 * block + j;
      float u = (float)(c[j] >> 8) * (1.0f / (1 << 24));
      y.set(i, u >= drop ? x[i] * scale : 0.0f);
    }
  }
}
REGISTER(dropout)
