// rows.cu: functions of rows (the last axis), a warp a row.
#include "portable.h"

#define ROW(r, rows) \
  i64 r = ((i64)blockIdx.x * blockDim.x + threadIdx.x) >> 5; \
  int lane = threadIdx.x & 31; \
  if (r >= (rows)) return;

__device__ __forceinline__ float row_max(const float *x, int c, int lane) {
  float top = -INFINITY;
  for (int i = lane; i < c; i += 32) top = fmaxf(top, x[i]);
  return warp_max(top);
}

KERNEL softmax(const float *x, float *y, i64 rows, int c) {
  ROW(r, rows)
  x += r * c, y += r * c;
  float top = row_max(x, c, lane), sum = 0;
  for (int i = lane; i < c; i += 32) sum += expf(x[i] - top);
  sum = 1.0f / warp_sum(sum);
  for (int i = lane; i < c; i += 32) y[i] = expf(x[i] - top) * sum;
}
REGISTER(softmax)

KERNEL log_softmax(const float *x, float *y, i64 rows, int c) {
  ROW(r, rows)
  x += r * c, y += r * c;
  float top = row_max(x, c, lane), sum = 0;
  for (int i = lane; i < c; i += 32) sum += expf(x[i] - top);
  sum = top + logf(warp_sum(sum));
  for (int i = lane; i < c; i += 32) y[i] = x[i] - sum;
}
REGISTER(log_softmax)

__device__ __forceinline__ float row_dot(const float *a, const float *b, int c, int lane) {
  float sum = 0;
  for (int i = lane; i < c; i += 32) sum += a[i] * b[i];
  return warp_sum(sum);
}

// softmax_grad: y is what softmax returned; the Jacobian of softmax there, times g. out may be g.
KERNEL softmax_grad(const float *y, const float *g, float *out, i64 rows, int c) {
  ROW(r, rows)
  y += r * c, g += r * c, out += r * c;
  float dot = row_dot(y, g, c, lane);
  for (int i = lane; i < c; i += 32) out[i] = y[i] * (g[i] - dot);
}
REGISTER(softmax_grad)
