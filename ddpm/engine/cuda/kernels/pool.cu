// pool.cu: what the feature extractors need beyond the U-Net, on x [N,H,W,C] to y [N,U,V,C].
#include "portable.h"

// POOL visits the entries of y, and of each those of x in its window that lie in the image.
#define POOL(name, start, more, end) \
  KERNEL name(const float *x, float *y, i64 n, int H, int W, int C, int U, int V, int window, int stride, int pad) { \
    EACH(i, n) { \
      int v = i / C % V, u = i / C / V % U; \
      i64 image = i / C / V / U; \
      float sum = start, count = 0; \
      for (int p = 0; p < window; p++) \
        for (int q = 0; q < window; q++) { \
          int r = u * stride + p - pad, s = v * stride + q - pad; \
          if (r < 0 || r >= H || s < 0 || s >= W) continue; \
          float e = x[((image * H + r) * W + s) * C + i % C]; \
          more; \
          count++; \
        } \
      y[i] = end; \
    } \
  } \
  REGISTER(name)

POOL(max_pool, -INFINITY, sum = fmaxf(sum, e), count ? sum : -INFINITY)
POOL(mean_pool, 0.0f, sum += e, sum / count)

// share is how far pixel i of so many lies between lo and the next; scale and place are rounded as in TensorFlow 1.
__device__ __forceinline__ float share(int i, int from, int to, int *lo) {
  float at = __fmul_rn((float)i, (float)from / (float)to);
  *lo = (int)at < from - 1 ? (int)at : from - 1;
  return at - (float)*lo;
}

// resize is bilinear, pixel i at i·H/U.
KERNEL resize(const float *x, float *y, i64 n, int H, int W, int C, int U, int V) {
  EACH(i, n) {
    int top, left;
    float fy = share(i / C / V % U, H, U, &top), fx = share(i / C % V, W, V, &left);
    int bottom = top + 1 < H ? top + 1 : top, right = left + 1 < W ? left + 1 : left;
    const float *image = x + i / C / V / U * H * W * C + i % C;
    float a = image[((i64)top * W + left) * C], b = image[((i64)bottom * W + left) * C];
    a += fx * (image[((i64)top * W + right) * C] - a);
    b += fx * (image[((i64)bottom * W + right) * C] - b);
    y[i] = a + fy * (b - a);
  }
}
REGISTER(resize)
