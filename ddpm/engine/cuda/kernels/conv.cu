// conv.cu: convolutions of x [N,H,W,C] with w [R,S,C,K] to y [N,U,V,K] as products (implicit GEMM): the
// entries of the large operand are found where they are, not gathered first.
#include "tile.h"

struct geometry {
  int N, H, W, C, K, R, S, U, V, stride, pad, pad_x; // of rows and of columns
};

// Pixels of y by taps and channels of x.
template <bool ALONG> struct patches {
  static const bool along_k = ALONG;
  const float *x;
  geometry g;
  __device__ float entry(i64 pixel, i64 tap) const {
    int c = tap % g.C, s = tap / g.C % g.S, r = tap / g.C / g.S;
    int v = pixel % g.V, u = pixel / g.V % g.U, i = u * g.stride + r - g.pad, j = v * g.stride + s - g.pad_x;
    i64 n = pixel / g.V / g.U;
    return i >= 0 && i < g.H && j >= 0 && j < g.W ? x[((n * g.H + i) * g.W + j) * g.C + c] : 0.0f;
  }
};

struct patches_by_pixel : patches<true> {
  __device__ float at(i64 r, i64 k) const { return entry(r, k); }
};

struct patches_by_tap : patches<false> {
  __device__ float at(i64 r, i64 k) const { return entry(k, r); }
};

// Pixels of x by taps and channels of y.
struct spread {
  static const bool along_k = true;
  const float *gy;
  geometry g;
  __device__ float at(i64 pixel, i64 tap) const {
    int k = tap % g.K, s = tap / g.K % g.S, r = tap / g.K / g.S;
    int j = pixel % g.W, i = pixel / g.W % g.H, u = i + g.pad - r, v = j + g.pad_x - s;
    i64 n = pixel / g.W / g.H;
    if (u < 0 || v < 0 || u % g.stride || v % g.stride) return 0.0f;
    u /= g.stride, v /= g.stride;
    return u < g.U && v < g.V ? gy[((n * g.U + u) * g.V + v) * g.K + k] : 0.0f;
  }
};

// Weights as rows of the K outputs by taps and channels of x, and as rows of channels of x by taps and outputs.
struct weights_by_output {
  static const bool along_k = false;
  const float *w;
  int K;
  __device__ float at(i64 r, i64 k) const { return w[k * K + r]; }
};

struct weights_by_channel {
  static const bool along_k = true;
  const float *w;
  int C, K;
  __device__ float at(i64 r, i64 k) const { return w[(k / K * C + r) * K + k % K]; }
};

#define TILES(rows, columns) \
  i64 across = ((columns) + TILE - 1) / TILE, m = blockIdx.x / across * TILE, n = blockIdx.x % across * TILE

#define GEOMETRY int N, int H, int W, int C, int K, int R, int S, int U, int V, int stride, int pad, int pad_x

// conv adds bias [K] and addend, in the shape of y, where they are not null.
KERNEL __launch_bounds__(256) conv(const float *x, const float *w, float *y, const float *bias, const float *addend, GEOMETRY) {
  patches_by_pixel a;
  a.x = x, a.g = {N, H, W, C, K, R, S, U, V, stride, pad, pad_x};
  weights_by_output b = {w, K};
  TILES((i64)N * U * V, K);
  tile_product(a, b, m, n, (i64)N * U * V, K, 0, (i64)R * S * C, [&](i64 r, i64 c, float v) {
    if (bias) v += bias[c];
    if (addend) v += addend[r * K + c];
    y[r * K + c] = v;
  });
}
REGISTER(conv)

KERNEL __launch_bounds__(256) conv_dx(const float *w, const float *gy, float *gx, const float *addend, GEOMETRY) {
  spread a = {gy, {N, H, W, C, K, R, S, U, V, stride, pad, pad_x}};
  weights_by_channel b = {w, C, K};
  TILES((i64)N * H * W, C);
  tile_product(a, b, m, n, (i64)N * H * W, C, 0, (i64)R * S * K, [&](i64 r, i64 c, float v) {
    if (addend) v += addend[r * C + c];
    gx[r * C + c] = v;
  });
}
REGISTER(conv_dx)

// conv_dw: blockIdx.y takes the pixels [y·each, (y+1)·each) of the output and writes its part of the sum.
KERNEL __launch_bounds__(256) conv_dw(const float *x, const float *gy, float *gw, i64 each, GEOMETRY) {
  patches_by_tap a;
  a.x = x, a.g = {N, H, W, C, K, R, S, U, V, stride, pad, pad_x};
  weights_by_output b = {gy, K};
  i64 rows = (i64)R * S * C, first = blockIdx.y * each, last = first + each, pixels = (i64)N * U * V;
  TILES(rows, K);
  float *part = gw + blockIdx.y * rows * K;
  tile_product(a, b, m, n, rows, K, first, last < pixels ? last : pixels, [&](i64 r, i64 c, float v) { part[r * K + c] = v; });
}
REGISTER(conv_dw)
