// conv.cu: convolutions of x [N,H,W,C] with w [R,S,C,K] to y [N,U,V,K] as products (implicit GEMM): the
// entries of the large operand are found where they are, not gathered first.
#include "tensor.h"

struct geometry {
  int N, H, W, C, K, R, S, U, V, stride, pad, pad_x; // of rows and of columns
};

// Pixels of y by taps and channels of x.
struct patches {
  const float *x;
  geometry g;
  divisor by_c, by_s, by_v, by_u;
  __device__ patches(const float *x, const geometry &g) : x(x), g(g), by_c(g.C), by_s(g.S), by_v(g.V), by_u(g.U) {}
  __device__ bool whole() const { return in_fours(x, g.C); }
  __device__ const float *find(int pixel, int tap) const {
    int c, s, v, u;
    int r = by_s.split(by_c.split(tap, c), s), n = by_u.split(by_v.split(pixel, v), u);
    int i = u * g.stride + r - g.pad, j = v * g.stride + s - g.pad_x;
    return i >= 0 && i < g.H && j >= 0 && j < g.W ? x + (((i64)n * g.H + i) * g.W + j) * g.C + c : nullptr;
  }
};

struct patches_by_pixel : patches {
  static const bool along_k = true;
  using patches::patches;
  __device__ const float *entry(int r, int k) const { return find(r, k); }
};

struct patches_by_tap : patches {
  static const bool along_k = false;
  using patches::patches;
  __device__ const float *entry(int r, int k) const { return find(k, r); }
};

// Pixels of x by taps and channels of y.
struct spread {
  static const bool along_k = true;
  const float *gy;
  geometry g;
  divisor by_k, by_s, by_w, by_h;
  __device__ spread(const float *gy, const geometry &g) : gy(gy), g(g), by_k(g.K), by_s(g.S), by_w(g.W), by_h(g.H) {}
  __device__ bool whole() const { return in_fours(gy, g.K); }
  __device__ const float *entry(int pixel, int tap) const {
    int k, s, j, i;
    int r = by_s.split(by_k.split(tap, k), s), n = by_h.split(by_w.split(pixel, j), i);
    int u = i + g.pad - r, v = j + g.pad_x - s;
    if (u < 0 || v < 0) return nullptr;
    if (g.stride > 1) {
      if (u % g.stride || v % g.stride) return nullptr;
      u /= g.stride, v /= g.stride;
    }
    return u < g.U && v < g.V ? gy + (((i64)n * g.U + u) * g.V + v) * g.K + k : nullptr;
  }
};

// Weights as rows of the K outputs by taps and channels of x, and as rows of channels of x by taps and outputs.
struct weights_by_output {
  static const bool along_k = false;
  const float *w;
  int K;
  __device__ bool whole() const { return in_fours(w, K); }
  __device__ const float *entry(int r, int k) const { return w + (i64)k * K + r; }
};

struct weights_by_channel {
  static const bool along_k = true;
  const float *w;
  int C, K;
  divisor by_k;
  __device__ weights_by_channel(const float *w, int C, int K) : w(w), C(C), K(K), by_k(K) {}
  __device__ bool whole() const { return in_fours(w, K); }
  __device__ const float *entry(int r, int k) const {
    int o, tap = by_k.split(k, o);
    return w + ((i64)tap * C + r) * K + o;
  }
};

#define TILES(Tiles, rows, columns) \
  int across = ((columns) + Tiles::SIDE - 1) / Tiles::SIDE, m = blockIdx.x / across * Tiles::SIDE, n = blockIdx.x % across * Tiles::SIDE

// conv adds bias [K] and addend, in the shape of y, where they are not null.
template <class Tiles>
__device__ __forceinline__ void conv_of(const float *x, const float *w, float *y, const float *bias, const float *addend, geometry g) {
  patches_by_pixel a(x, g);
  weights_by_output b = {w, g.K};
  int rows = g.N * g.U * g.V;
  TILES(Tiles, rows, g.K);
  Tiles::product(a, b, m, n, rows, g.K, 0, g.R * g.S * g.C, [&](i64 r, int c, float v) {
    if (bias) v += bias[c];
    if (addend) v += addend[r * g.K + c];
    y[r * g.K + c] = v;
  });
}

template <class Tiles> __device__ __forceinline__ void conv_dx_of(const float *w, const float *gy, float *gx, const float *addend, geometry g) {
  spread a(gy, g);
  weights_by_channel b(w, g.C, g.K);
  int rows = g.N * g.H * g.W;
  TILES(Tiles, rows, g.C);
  Tiles::product(a, b, m, n, rows, g.C, 0, g.R * g.S * g.K, [&](i64 r, int c, float v) {
    if (addend) v += addend[r * g.C + c];
    gx[r * g.C + c] = v;
  });
}

// conv_dw: blockIdx.y takes the pixels [y·each, (y+1)·each) of the output and writes its part of the sum.
template <class Tiles> __device__ __forceinline__ void conv_dw_of(const float *x, const float *gy, float *gw, i64 each, geometry g) {
  patches_by_tap a(x, g);
  weights_by_output b = {gy, g.K};
  int rows = g.R * g.S * g.C, pixels = g.N * g.U * g.V, first = blockIdx.y * each;
  int last = each < pixels - first ? first + each : pixels;
  TILES(Tiles, rows, g.K);
  float *part = gw + (i64)blockIdx.y * rows * g.K;
  Tiles::product(a, b, m, n, rows, g.K, first, last, [&](i64 r, int c, float v) { part[r * g.K + c] = v; });
}

#define GEOMETRY int N, int H, int W, int C, int K, int R, int S, int U, int V, int stride, int pad, int pad_x
#define GIVEN {N, H, W, C, K, R, S, U, V, stride, pad, pad_x}

#define CONV(name, Tiles) \
  KERNEL __launch_bounds__(256) name(const float *x, const float *w, float *y, const float *bias, const float *addend, GEOMETRY) { \
    conv_of<Tiles>(x, w, y, bias, addend, GIVEN); \
  } \
  REGISTER(name)

#define CONV_DX(name, Tiles) \
  KERNEL __launch_bounds__(256) name(const float *w, const float *gy, float *gx, const float *addend, GEOMETRY) { \
    conv_dx_of<Tiles>(w, gy, gx, addend, GIVEN); \
  } \
  REGISTER(name)

#define CONV_DW(name, Tiles) \
  KERNEL __launch_bounds__(256) name(const float *x, const float *gy, float *gw, i64 each, GEOMETRY) { \
    conv_dw_of<Tiles>(x, gy, gw, each, GIVEN); \
  } \
  REGISTER(name)

CONV(conv, float_tiles)
CONV(conv_bf16_64, tensor_tiles<64>)
CONV(conv_bf16_128, tensor_tiles<128>)
CONV_DX(conv_dx, float_tiles)
CONV_DX(conv_dx_bf16_64, tensor_tiles<64>)
CONV_DX(conv_dx_bf16_128, tensor_tiles<128>)
CONV_DW(conv_dw, float_tiles)
CONV_DW(conv_dw_bf16_64, tensor_tiles<64>)
CONV_DW(conv_dw_bf16_128, tensor_tiles<128>)
