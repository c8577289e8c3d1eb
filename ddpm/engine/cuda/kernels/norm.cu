// norm.cu: group normalisation (Wu and He, 2018) of x [N,P,C] over P pixels and C/G channels, with
// ADM's scale, shift and SiLU, and their derivatives. A block is a group of one image.
#include "values.h"

// A block's threads lie as rows of lanes, a lane a channel of the group: wide groups are taken in
// columns of at most blockDim.x channels.
struct group {
  int pixels, channels, width; // width: channels of a group
  int first;                   // first channel of this group
  i64 image;                   // first entry of this image
  int n;                       // index of the image
  float mean, rstd;
};

__device__ __forceinline__ group group_of(int P, int C, int G) {
  int n = blockIdx.x / G, w = C / G;
  return {P, C, w, (int)(blockIdx.x % G) * w, (i64)n * P * C, n, 0.f, 0.f};
}

__device__ __forceinline__ group group_with(const float *stats, int P, int C, int G) {
  group g = group_of(P, C, G);
  g.mean = stats[2 * blockIdx.x];
  g.rstd = stats[2 * blockIdx.x + 1];
  return g;
}

// ENTRIES visits each entry i of the group, of channel c of the image.
#define ENTRIES(g, i, c) \
  for (int e_ = threadIdx.x, c = 0; c = g.first + e_ % g.width, e_ < g.pixels * g.width; e_ += blockDim.x) \
    for (i64 once_ = 1, i = g.image + (i64)(e_ / g.width) * g.channels + c; once_; once_ = 0)

KERNEL norm_stats(const void *px, float *stats, int P, int C, int G, float eps, unsigned narrow) {
  source x(px, narrow, 0);
  group g = group_of(P, C, G);
  float count = (float)P * g.width, sum = 0, squares = 0;
  ENTRIES(g, i, c) sum += x[i];
  float mean = block_sum(sum) / count;
  ENTRIES(g, i, c) {
    float d = x[i] - mean;
    squares += d * d;
  }
  float var = block_sum(squares) / count;
  if (threadIdx.x == 0) {
    stats[2 * blockIdx.x] = mean;
    stats[2 * blockIdx.x + 1] = rsqrtf(var + eps);
  }
}
REGISTER(norm_stats)

// group_index is the entry of stats of entry i of x.
__device__ __forceinline__ i64 group_index(i64 i, int P, int C, int G) { return i / ((i64)P * C) * G + i % C / (C / G); }

KERNEL normalise(const void *px, const float *stats, void *py, i64 n, int P, int C, int G, unsigned narrow) {
  source x(px, narrow, 0);
  target y(py, narrow, 2);
  EACH(i, n) {
    i64 k = group_index(i, P, C, G);
    y.set(i, (x[i] - stats[2 * k]) * stats[2 * k + 1]);
  }
}
REGISTER(normalise)

// norm_act is silu(xhat·A + B), A and B [N,C].
KERNEL norm_act(const void *px, const float *stats, const float *A, const float *B, void *py, i64 n, int P, int C, int G, unsigned narrow) {
  source x(px, narrow, 0);
  target y(py, narrow, 4);
  if (C % 4 == 0 && n <= 0x7fffffff) { // four channels a thread, and no division of 64 bits
    unsigned runs = C / 4, width = C / G;
    source As(A, 0, 0), Bs(B, 0, 0);
    EACH(q, n / 4) {
      unsigned pixel = (unsigned)q / runs, c = ((unsigned)q - pixel * runs) * 4, image = pixel / P, k = c / width;
      const float *of = stats + 2 * (i64)(image * G);
      float v[4], a[4], b[4];
      x.four(4 * q, v);
      As.four((i64)image * C + c, a);
      Bs.four((i64)image * C + c, b);
      UNROLL
      for (int j = 0; j < 4; j++) {
        unsigned g = width % 4 == 0 ? k : (c + j) / width;
        v[j] = silu((v[j] - of[2 * g]) * of[2 * g + 1] * a[j] + b[j]);
      }
      y.set_four(4 * q, v);
    }
    return;
  }
  EACH(i, n) {
    i64 k = group_index(i, P, C, G), j = i / ((i64)P * C) * C + i % C;
    y.set(i, silu((x[i] - stats[2 * k]) * stats[2 * k + 1] * A[j] + B[j]));
  }
}
REGISTER(norm_act)

// norm_grad is J(x)·v = rstd·(v - mean(v) - xhat·mean(v·xhat)), and addend where that is not null.
KERNEL norm_grad(const void *px, const void *pv, const float *stats, void *py, const void *pa, int P, int C, int G, unsigned narrow) {
  source x(px, narrow, 0), v(pv, narrow, 1), addend(pa, narrow, 4);
  target y(py, narrow, 3);
  group g = group_with(stats, P, C, G);
  float count = (float)P * g.width, v1 = 0, vx = 0;
  ENTRIES(g, i, c) {
    v1 += v[i];
    vx += v[i] * (x[i] - g.mean) * g.rstd;
  }
  v1 = block_sum(v1) / count;
  vx = block_sum(vx) / count;
  ENTRIES(g, i, c) y.set(i, g.rstd * (v[i] - v1 - (x[i] - g.mean) * g.rstd * vx) + (pa ? addend[i] : 0.0f));
}
REGISTER(norm_grad)

// norm_grad2 is d/dx <h, J(x)·v>:
// -(mean(hv) - mean(h)·mean(v) - hx·vx)·rstd²·xhat - rstd·(hx·J·v + vx·J·h), hx = mean(h·xhat), vx = mean(v·xhat).
KERNEL norm_grad2(const void *px, const void *pv, const void *ph, const float *stats, void *py, int P, int C, int G, unsigned narrow) {
  source x(px, narrow, 0), v(pv, narrow, 1), h(ph, narrow, 2);
  target y(py, narrow, 4);
  group g = group_with(stats, P, C, G);
  float count = (float)P * g.width, v1 = 0, vx = 0, h1 = 0, hx = 0, hv = 0;
  ENTRIES(g, i, c) {
    float xhat = (x[i] - g.mean) * g.rstd;
    v1 += v[i];
    h1 += h[i];
    vx += v[i] * xhat;
    hx += h[i] * xhat;
    hv += h[i] * v[i];
  }
  v1 = block_sum(v1) / count;
  vx = block_sum(vx) / count;
  h1 = block_sum(h1) / count;
  hx = block_sum(hx) / count;
  float e = block_sum(hv) / count - h1 * v1 - hx * vx;
  ENTRIES(g, i, c) {
    float xhat = (x[i] - g.mean) * g.rstd, jv = g.rstd * (v[i] - v1 - xhat * vx), jh = g.rstd * (h[i] - h1 - xhat * hx);
    y.set(i, -e * g.rstd * g.rstd * xhat - g.rstd * (vx * jh + hx * jv));
  }
}
REGISTER(norm_grad2)

// channel_sums adds up two numbers of each entry for each channel of the group, in a fixed order, and
// stores them where a and b are not null; it returns the sums over the group of weight[channel] times
// the first and the second.
struct pair {
  float a, b;
};
template <class F>
__device__ __forceinline__ pair channel_sums(const group &g, const float *weight, float *a, float *b, F f) {
  __shared__ float parts[2 * 256];
  pair total = {0, 0};
  for (int first = 0; first < g.width; first += blockDim.x) {
    int lanes = g.width - first < (int)blockDim.x ? g.width - first : (int)blockDim.x, rows = blockDim.x / lanes;
    int lane = threadIdx.x % lanes, row = threadIdx.x / lanes, c = g.first + first + lane;
    float sa = 0, sb = 0;
    if (row < rows) {
      for (int p = row; p < g.pixels; p += rows) {
        pair v = f(g.image + (i64)p * g.channels + c, c);
        sa += v.a;
        sb += v.b;
      }
    }
    __syncthreads();
    parts[threadIdx.x] = sa;
    parts[256 + threadIdx.x] = sb;
    __syncthreads();
    if (row == 0) {
      for (int r = 1; r < rows; r++) {
        sa += parts[r * lanes + lane];
        sb += parts[256 + r * lanes + lane];
      }
      i64 at = (i64)g.n * g.channels + c;
      if (a) a[at] = sa;
      if (b) b[at] = sb;
      total.a += weight[at] * sa;
      total.b += weight[at] * sb;
    }
  }
  total.a = block_sum(total.a);
  total.b = block_sum(total.b);
  return total;
}

// norm_act_grad: the gradients of norm_act for x, A and B, each where it is not null, given g for the output. addend, where it
// is not null, is added to that for x, which may take its place.
KERNEL __launch_bounds__(256) norm_act_grad(const void *px, const float *A, const float *B, const void *pg, const float *stats,
                                            void *pdx, float *dA, float *dB, const void *pa, int P, int C, int G,
                                            unsigned narrow) {
  source x(px, narrow, 0), g(pg, narrow, 3), addend(pa, narrow, 8);
  target dx(pdx, narrow, 5);
  group o = group_with(stats, P, C, G);
  i64 row = (i64)o.n * C;
  float count = (float)P * o.width;
  pair w = channel_sums(o, A, dB, dA, [&](i64 i, int c) -> pair {
    float xhat = (x[i] - o.mean) * o.rstd, t = g[i] * silu1(xhat * A[row + c] + B[row + c]);
    return {t, t * xhat};
  });
  if (!pdx) return;
  float w1 = w.a / count, wx = w.b / count;
  ENTRIES(o, i, c) {
    float xhat = (x[i] - o.mean) * o.rstd, t = g[i] * silu1(xhat * A[row + c] + B[row + c]) * A[row + c];
    dx.set(i, o.rstd * (t - w1 - xhat * wx) + (pa ? addend[i] : 0.0f));
  }
}
REGISTER(norm_act_grad)

// norm_act_grad2: the gradients of <h, dx> for x, A, B and g, each where it is not null. dx = J(x)·w, w = g·silu'(u)·A;
// with q = J(x)·h, the gradient for u is du = g·silu''(u)·A·q, and that for x is J(x)·(A·du) + d/dx <h, J(x)·w>.
KERNEL __launch_bounds__(256) norm_act_grad2(const void *px, const float *A, const float *B, const void *pg, const void *ph,
                                             const float *stats, void *pdx, float *dA, float *dB, void *pdg, int P, int C, int G,
                                             unsigned narrow) {
  source x(px, narrow, 0), g(pg, narrow, 3), h(ph, narrow, 4);
  target dx(pdx, narrow, 6), dg(pdg, narrow, 9);
  group o = group_with(stats, P, C, G);
  i64 row = (i64)o.n * C;
  float count = (float)P * o.width, w1 = 0, wx = 0, h1 = 0, hx = 0, hw = 0;
  ENTRIES(o, i, c) {
    float xhat = (x[i] - o.mean) * o.rstd, w = g[i] * silu1(xhat * A[row + c] + B[row + c]) * A[row + c];
    w1 += w;
    wx += w * xhat;
    h1 += h[i];
    hx += h[i] * xhat;
    hw += h[i] * w;
  }
  w1 = block_sum(w1) / count;
  wx = block_sum(wx) / count;
  h1 = block_sum(h1) / count;
  hx = block_sum(hx) / count;
  float e = block_sum(hw) / count - h1 * w1 - hx * wx;
  // z = A·du; its sums are A times those of du.
  pair z = {0, 0};
  {
    float z1 = 0, zx = 0;
    ENTRIES(o, i, c) {
      float xhat = (x[i] - o.mean) * o.rstd, q = o.rstd * (h[i] - h1 - xhat * hx), a = A[row + c];
      float v = g[i] * silu2(xhat * a + B[row + c]) * a * q * a;
      z1 += v;
      zx += v * xhat;
    }
    z.a = block_sum(z1) / count;
    z.b = block_sum(zx) / count;
  }
  if (dA || dB) {
    channel_sums(o, A, dA, dB, [&](i64 i, int c) -> pair {
      float xhat = (x[i] - o.mean) * o.rstd, q = o.rstd * (h[i] - h1 - xhat * hx), a = A[row + c], u = xhat * a + B[row + c];
      float du = g[i] * silu2(u) * a * q;
      return {g[i] * silu1(u) * q + du * xhat, du};
    });
  }
  ENTRIES(o, i, c) {
    float xhat = (x[i] - o.mean) * o.rstd, q = o.rstd * (h[i] - h1 - xhat * hx), a = A[row + c], u = xhat * a + B[row + c];
    float s1 = silu1(u) * a, w = g[i] * s1, v = g[i] * silu2(u) * a * q * a;
    float jw = o.rstd * (w - w1 - xhat * wx), jz = o.rstd * (v - z.a - xhat * z.b);
    // Both are read above, and may be overwritten by what is written here.
    if (pdx) dx.set(i, jz - e * o.rstd * o.rstd * xhat - o.rstd * (wx * q + hx * jw));
    if (pdg) dg.set(i, s1 * q);
  }
}
REGISTER(norm_act_grad2)
