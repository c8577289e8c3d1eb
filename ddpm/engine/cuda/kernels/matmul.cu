// matmul.cu: products of batches of matrices that lie anywhere: entry (i, k) of matrix b is at
// outer[b/inner] + inner[b%inner] + i·row + k·column. An attention head is a matrix, too.
#include "tile.h"

template <bool ALONG> struct strided {
  static const bool along_k = ALONG;
  const float *p;
  i64 row, k;
  __device__ float at(i64 r, i64 d) const { return p[r * row + d * k]; }
};

template <bool AK, bool BK>
__device__ __forceinline__ void product(const float *a, const float *b, float *c, const float *bias, int M, int N, int K, int inner,
                                        i64 a_outer, i64 a_inner, i64 a_row, i64 a_k, i64 b_outer, i64 b_inner, i64 b_k, i64 b_column,
                                        i64 c_outer, i64 c_inner, i64 c_row, float alpha, float beta) {
  int across = (N + TILE - 1) / TILE, down = (M + TILE - 1) / TILE;
  i64 batch = blockIdx.x / (across * down), tile = blockIdx.x % (across * down), o = batch / inner, i = batch % inner;
  strided<AK> x = {a + o * a_outer + i * a_inner, a_row, a_k};
  strided<BK> y = {b + o * b_outer + i * b_inner, b_column, b_k};
  float *z = c + o * c_outer + i * c_inner;
  tile_product(x, y, tile / across * TILE, tile % across * TILE, M, N, 0, K, [&](i64 r, i64 col, float v) {
    float *to = z + r * c_row + col;
    v *= alpha;
    if (bias) v += bias[col];
    *to = beta != 0 ? v + beta * *to : v;
  });
}

// Four kernels, by whether k is the fast axis of the operands.
#define PRODUCT(name, AK, BK) \
  KERNEL __launch_bounds__(256) name(const float *a, const float *b, float *c, const float *bias, int M, int N, int K, int inner, \
                                     i64 a_outer, i64 a_inner, i64 a_row, i64 a_k, i64 b_outer, i64 b_inner, i64 b_k, i64 b_column, \
                                     i64 c_outer, i64 c_inner, i64 c_row, float alpha, float beta) { \
    product<AK, BK>(a, b, c, bias, M, N, K, inner, a_outer, a_inner, a_row, a_k, b_outer, b_inner, b_k, b_column, c_outer, c_inner, \
                    c_row, alpha, beta); \
  } \
  REGISTER(name)

PRODUCT(product_nn, true, false)
PRODUCT(product_nt, true, true)
PRODUCT(product_tn, false, false)
PRODUCT(product_tt, false, true)
