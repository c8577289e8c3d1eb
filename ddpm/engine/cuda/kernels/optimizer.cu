// optimizer.cu: the update of the weights and the norm of the gradient, over flat arrays in one pass.
#include "portable.h"

// adamw (Loshchilov and Hutter, 2019): h is lr/(1-beta1^t), 1-beta1, 1-beta2, 1/(1-beta2^t), eps, lr·decay, 1-ema rate. It
// lies in device memory, since a graph keeps the arguments that it was recorded with. Nothing is done if *skip is not 0.
KERNEL adamw(float *w, const float *g, float *m, float *v, float *ema, const float *h, const double *skip, i64 n) {
  if (*skip != 0) return;
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

// norm_check: check is the norm whose parts are given, added in their order, and 0 if it and the loss are finite, else 1.
KERNEL __launch_bounds__(256) norm_check(const double *sums, const float *loss, double *check, int parts) {
  __shared__ double part[256];
  double sum = 0;
  for (int at = 0; at < parts; at += 256) {
    int i = at + (int)threadIdx.x;
    part[threadIdx.x] = i < parts ? sums[i] : 0.0;
    __syncthreads();
    if (threadIdx.x == 0)
      for (int j = 0; j < 256; j++) sum += part[j];
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    check[0] = sqrt(sum);
    check[1] = check[0] - check[0] == 0 && *loss - *loss == 0 ? 0.0 : 1.0; // an infinity or NaN less itself is NaN
  }
}
REGISTER(norm_check)
