// optimizer.cu: the update of the weights and the norm of the gradient, over flat arrays in one pass.
#include "portable.h"

// adamw (Loshchilov and Hutter, 2019): h is lr/(1-beta1^t), 1-beta1, 1-beta2, 1/(1-beta2^t), eps, lr·decay, 1-ema rate, and
// whether to do nothing. It lies in device memory, since a graph keeps the arguments that it was recorded with.
KERNEL adamw(float *w, const float *g, float *m, float *v, float *ema, const float *h, i64 n) {
  if (h[7] != 0) return;
  EACH(i, n) {
    float gi = g[i], mi = m[i], vi = v[i], wi = w[i];
    mi += h[1] * (gi - mi);
    vi += h[2] * (gi * gi - vi);
    wi -= h[5] * wi;
    wi -= h[0] * mi / (sqrtf(vi * h[3]) + h[4]);
    m[i] = mi, v[i] = vi, w[i] = wi;
    ema[i] += h[6] * (wi - ema[i]);
  }
}
REGISTER(adamw)

// sum_squares: a block adds up the squares of each entries, in double and in a fixed order.
KERNEL __launch_bounds__(256) sum_squares(const float *x, double *sums, i64 n, int each) {
  __shared__ double part[256];
  i64 first = (i64)blockIdx.x * each, last = first + each < n ? first + each : n;
  double sum = 0;
  for (i64 i = first + threadIdx.x; i < last; i += 256) sum += (double)x[i] * x[i];
  part[threadIdx.x] = sum;
  for (int half = 128; half; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = part[0];
}
REGISTER(sum_squares)
