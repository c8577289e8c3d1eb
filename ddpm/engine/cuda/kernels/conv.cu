// conv.cu: convolutions of x [N,H,W,C] with w [R,S,C,K] to y [N,U,V,K] as products (implicit GEMM): the
// entries of the large operand are found where they are, not gathered first. Operands are float32, or bfloat16 for tensor
// cores; what is written or added, either.
#include "tensor.h"

struct geometry {
  int N, H, W, C, K, R, S, U, V, stride, pad, pad_x; // of rows and of columns
};

// Pixels of y by taps and channels of x.
template <class T> struct patches {
  typedef T type;
  const T *x;
  geometry g;
  divisor by_c, by_s, by_v, by_u;
  __device__ patches(const T *x, const geometry &g) : x(x), g(g), by_c(g.C), by_s(g.S), by_v(g.V), by_u(g.U) {}
  __device__ bool whole() const { return in_runs(x, g.C); }
  __device__ const T *find(int pixel, int tap) const {
    int c, s, v, u;
    int r = by_s.split(by_c.split(tap, c), s), n = by_u.split(by_v.split(pixel, v), u);
    int i = u * g.stride + r - g.pad, j = v * g.stride + s - g.pad_x;
    return i >= 0 && i < g.H && j >= 0 && j < g.W ? x + (((i64)n * g.H + i) * g.W + j) * g.C + c : nullptr;
  }
};

template <class T> struct patches_by_pixel : patches<T> {
  static const bool along_k = true;
  using patches<T>::patches;
  __device__ const T *entry(int r, int k) const { return this->find(r, k); }
};

template <class T> struct patches_by_tap : patches<T> {
  static const bool along_k = false;
  using patches<T>::patches;
  __device__ const T *entry(int r, int k) const { return this->find(k, r); }
};

// Pixels of x by taps and channels of y.
template <class T> struct spread {
  typedef T type;
  static const bool along_k = true;
  const T *gy;
  geometry g;
  divisor by_k, by_s, by_w, by_h;
  __device__ spread(const T *gy, const geometry &g) : gy(gy), g(g), by_k(g.K), by_s(g.S), by_w(g.W), by_h(g.H) {}
  __device__ bool whole() const { return in_runs(gy, g.K); }
  __device__ const T *entry(int pixel, int tap) const {
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
template <class T> struct weights_by_output {
  typedef T type;
  static const bool along_k = false;
  const T *w;
  int K;
  __device__ bool whole() const { return in_runs(w, K); }
  __device__ const T *entry(int r, int k) const { return w + (i64)k * K + r; }
};

template <class T> struct weights_by_channel {
  typedef T type;
  static const bool along_k = true;
  const T *w;
  int C, K;
  divisor by_k;
  __device__ weights_by_channel(const T *w, int C, int K) : w(w), C(C), K(K), by_k(K) {}
  __device__ bool whole() const { return in_runs(w, K); }
  __device__ const T *entry(int r, int k) const {
    int o, tap = by_k.split(k, o);
    return w + ((i64)tap * C + r) * K + o;
  }
};

#define TILES(Tiles, rows, columns) \
  int across = ((columns) + Tiles::SIDE - 1) / Tiles::SIDE, m = blockIdx.x / across * Tiles::SIDE, n = blockIdx.x % across * Tiles::SIDE

// result writes rows of so many columns; bias, one of them, and addend, in their shape, are added where they are not null.
struct result {
  target to;
  const float *bias;
  source addend;
  int columns;
  __device__ __forceinline__ void operator()(i64 r, int c, const float *sum, int n) const {
    i64 i = r * columns + c;
    if (n == 2 && columns % 2 == 0) { // aligned
      float a = sum[0], b = sum[1], x, y;
      if (bias) a += bias[c], b += bias[c + 1];
      if (addend.p) addend.two(i, x, y), a += x, b += y;
      to.set_two(i, a, b);
      return;
    }
    for (int j = 0; j < n; j++) {
      float v = sum[j];
      if (bias) v += bias[c + j];
      if (addend.p) v += addend[i + j];
      to.set(i + j, v);
    }
  }
};

template <class Tiles, class T>
__device__ __forceinline__ void conv_of(const T *x, const T *w, void *y, const float *bias, const void *addend, geometry g, unsigned narrow) {
  patches_by_pixel<T> a(x, g);
  weights_by_output<T> b = {w, g.K};
  int rows = g.N * g.U * g.V;
  TILES(Tiles, rows, g.K);
  result out = {{y, narrow, 2}, bias, {addend, narrow, 4}, g.K};
  Tiles::product(a, b, m, n, rows, g.K, 0, g.R * g.S * g.C, out);
}

template <class Tiles, class T>
__device__ __forceinline__ void conv_dx_of(const T *w, const T *gy, void *gx, const void *addend, geometry g, unsigned narrow) {
  spread<T> a(gy, g);
  weights_by_channel<T> b(w, g.C, g.K);
  int rows = g.N * g.H * g.W;
  TILES(Tiles, rows, g.C);
  result out = {{gx, narrow, 2}, nullptr, {addend, narrow, 3}, g.C};
  Tiles::product(a, b, m, n, rows, g.C, 0, g.R * g.S * g.K, out);
}

// conv_dw: blockIdx.y takes the pixels [y·each, (y+1)·each) of the output and writes its part of the sum.
template <class Tiles, class T> __device__ __forceinline__ void conv_dw_of(const T *x, const T *gy, float *gw, i64 each, geometry g) {
  patches_by_tap<T> a(x, g);
  weights_by_output<T> b = {gy, g.K};
  int rows = g.R * g.S * g.C, pixels = g.N * g.U * g.V, first = blockIdx.y * each;
  int last = each < pixels - first ? first + each : pixels;
  TILES(Tiles, rows, g.K);
  float *part = gw + (i64)blockIdx.y * rows * g.K;
  Tiles::product(a, b, m, n, rows, g.K, first, last, [&](i64 r, int c, const float *sum, int n) {
    for (int i = 0; i < n; i++) part[r * g.K + c + i] = sum[i];
  });
}

#define GEOMETRY int N, int H, int W, int C, int K, int R, int S, int U, int V, int stride, int pad, int pad_x
#define GIVEN {N, H, W, C, K, R, S, U, V, stride, pad, pad_x}

#define CONV(name, Tiles, T) \
  KERNEL __launch_bounds__(256) name(const T *x, const T *w, void *y, const float *bias, const void *addend, GEOMETRY, unsigned narrow) { \
    conv_of<Tiles, T>(x, w, y, bias, addend, GIVEN, narrow); \
  } \
  REGISTER(name)

#define CONV_DX(name, Tiles, T) \
  KERNEL __launch_bounds__(256) name(const T *w, const T *gy, void *gx, const void *addend, GEOMETRY, unsigned narrow) { \
    conv_dx_of<Tiles, T>(w, gy, gx, addend, GIVEN, narrow); \
  } \
  REGISTER(name)

#define CONV_DW(name, Tiles, T) \
  KERNEL __launch_bounds__(256) name(const T *x, const T *gy, float *gw, i64 each, GEOMETRY) { \
    conv_dw_of<Tiles, T>(x, gy, gw, each, GIVEN); \
  } \
  REGISTER(name)

CONV(conv, float_tiles, float)
CONV(conv_bf16_64, tensor_tiles<64>, bf16)
CONV(conv_bf16_128, tensor_tiles<128>, bf16)
CONV_DX(conv_dx, float_tiles, float)
CONV_DX(conv_dx_bf16_64, tensor_tiles<64>, bf16)
CONV_DX(conv_dx_bf16_128, tensor_tiles<128>, bf16)
CONV_DW(conv_dw, float_tiles, float)
CONV_DW(conv_dw_bf16_64, tensor_tiles<64>, bf16)
CONV_DW(conv_dw_bf16_128, tensor_tiles<128>, bf16)
