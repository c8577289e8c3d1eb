// move.cu: entries that change their place, are repeated or added up.
#include "values.h"

// broadcast: y [O,R,C] repeats x [O,C/width] along R, and each of its entries width times.
KERNEL broadcast(const float *x, float *y, i64 n, i64 R, int C, int width) {
  EACH(i, n) y[i] = x[i / (R * C) * (C / width) + i % C / width];
}
REGISTER(broadcast)

// sum_axis: y [O,S,C] adds up x [O,R,C] along R, in S parts of each. A block is a part and up to blockDim.x columns; its
// threads lie as rows of so many lanes.
KERNEL __launch_bounds__(256) sum_axis(const void *px, float *y, i64 R, int C, i64 each, int S, int lanes, unsigned narrow) {
  source x(px, narrow, 0);
  __shared__ float part[256];
  int tiles = (C + lanes - 1) / lanes, lane = threadIdx.x % lanes, row = threadIdx.x / lanes, rows = blockDim.x / lanes;
  i64 o = blockIdx.x / tiles / S, s = blockIdx.x / tiles % S, c = (i64)(blockIdx.x % tiles) * lanes + lane;
  i64 last = (s + 1) * each < R ? (s + 1) * each : R;
  float sum = 0;
  if (row < rows && c < C)
    for (i64 r = s * each + row; r < last; r += rows) sum += x[(o * R + r) * C + c];
  part[threadIdx.x] = sum;
  __syncthreads();
  if (row == 0 && c < C) {
    for (int r = 1; r < rows; r++) sum += part[r * lanes + lane];
    y[(o * S + s) * C + c] = sum;
  }
}
REGISTER(sum_axis)

KERNEL concat(const void *pa, const void *pb, void *py, i64 n, int A, int B, unsigned narrow) {
  source a(pa, narrow, 0), b(pb, narrow, 1);
  target y(py, narrow, 2);
  EACH(i, n) {
    i64 r = i / (A + B);
    int c = i % (A + B);
    y.set(i, c < A ? a[r * A + c] : b[r * B + c - A]);
  }
}
REGISTER(concat)

// slice: channels [first, first+c) of rows of C.
KERNEL slice(const void *px, void *py, i64 n, int c, int C, int first, unsigned narrow) {
  source x(px, narrow, 0);
  target y(py, narrow, 1);
  EACH(i, n) y.set(i, x[i / c * C + first + i % c]);
}
REGISTER(slice)

// pad: rows of c at channel first of rows of C, zero elsewhere.
KERNEL pad(const void *px, void *py, i64 n, int c, int C, int first, unsigned narrow) {
  source x(px, narrow, 0);
  target y(py, narrow, 1);
  EACH(i, n) {
    int k = (int)(i % C) - first;
    y.set(i, k >= 0 && k < c ? x[i / C * c + k] : 0.0f);
  }
}
REGISTER(pad)

// pool_sum: y [N,H,W,C] of x [N,2H,2W,C].
KERNEL pool_sum(const void *px, void *py, i64 n, int W, int C, unsigned narrow) {
  source x(px, narrow, 0);
  target y(py, narrow, 1);
  EACH(i, n) {
    i64 row = i / ((i64)W * C);
    i64 p = (row * 2 * W * 2 + i / C % W * 2) * C + i % C, q = p + (i64)2 * W * C;
    y.set(i, (x[p] + x[p + C]) + (x[q] + x[q + C]));
  }
}
REGISTER(pool_sum)

// upsample: y [N,2H,2W,C] of x [N,H,W,C]; W is that of x.
KERNEL upsample(const void *px, void *py, i64 n, int W, int C, unsigned narrow) {
  source x(px, narrow, 0);
  target y(py, narrow, 1);
  EACH(i, n) {
    i64 row = i / ((i64)2 * W * C);
    y.set(i, x[(row / 2 * W + i / C % (2 * W) / 2) * C + i % C]);
  }
}
REGISTER(upsample)

// swap_middle: y [N,B,A,D] of x [N,A,B,D], as heads are split off and merged.
KERNEL swap_middle(const float *x, float *y, i64 n, int A, int B, int D) {
  EACH(i, n) {
    i64 d = i % D, a = i / D % A, b = i / D / A % B, o = i / D / A / B;
    y[i] = x[((o * A + a) * B + b) * D + d];
  }
}
REGISTER(swap_middle)
