// move.cu: entries that change their place, are repeated or added up.
#include "portable.h"

// broadcast: y [O,R,C] repeats x [O,C/width] along R, and each of its entries width times.
KERNEL broadcast(const float *x, float *y, i64 n, i64 R, int C, int width) {
  EACH(i, n) y[i] = x[i / (R * C) * (C / width) + i % C / width];
}
REGISTER(broadcast)

// sum_axis: y [O,S,C] adds up x [O,R,C] along R, in S parts of each. A block is a part and up to blockDim.x columns; its
// threads lie as rows of so many lanes.
KERNEL __launch_bounds__(256) sum_axis(const float *x, float *y, i64 R, int C, i64 each, int S, int lanes) {
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

KERNEL concat(const float *a, const float *b, float *y, i64 n, int A, int B) {
  EACH(i, n) {
    i64 r = i / (A + B);
    int c = i % (A + B);
    y[i] = c < A ? a[r * A + c] : b[r * B + c - A];
  }
}
REGISTER(concat)

// slice: channels [first, first+c) of rows of C.
KERNEL slice(const float *x, float *y, i64 n, int c, int C, int first) {
  EACH(i, n) y[i] = x[i / c * C + first + i % c];
}
REGISTER(slice)

// pad: rows of c at channel first of rows of C, zero elsewhere.
KERNEL pad(const float *x, float *y, i64 n, int c, int C, int first) {
  EACH(i, n) {
    int k = (int)(i % C) - first;
    y[i] = k >= 0 && k < c ? x[i / C * c + k] : 0.0f;
  }
}
REGISTER(pad)

// pool_sum: y [N,H,W,C] of x [N,2H,2W,C].
KERNEL pool_sum(const float *x, float *y, i64 n, int W, int C) {
  EACH(i, n) {
    i64 row = i / ((i64)W * C);
    const float *p = x + (row * 2 * W * 2 + i / C % W * 2) * C + i % C, *q = p + (i64)2 * W * C;
    y[i] = (p[0] + p[C]) + (q[0] + q[C]);
  }
}
REGISTER(pool_sum)

// upsample: y [N,2H,2W,C] of x [N,H,W,C]; W is that of x.
KERNEL upsample(const float *x, float *y, i64 n, int W, int C) {
  EACH(i, n) {
    i64 row = i / ((i64)2 * W * C);
    y[i] = x[(row / 2 * W + i / C % (2 * W) / 2) * C + i % C];
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
