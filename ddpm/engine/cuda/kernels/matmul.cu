// matmul.cu: products of batches of matrices that lie anywhere: entry (i, k) of matrix b is at
// outer[b/inner] + inner[b%inner] + i·row + k·column. An attention head is a matrix, too.
#include "tensor.h"

template <bool ALONG> struct strided {
  typedef float type;
  static const bool along_k = ALONG;
  const float *p;
  i64 row, k;
  bool fours;
  // matrix is one of a batch, of so many rows and depths.
  __device__ strided(const float *all, i64 matrix, i64 row, i64 k, int rows, int depth) : p(all + matrix), row(row), k(k) {
    i64 side = ALONG ? k : row, line = ALONG ? row : k;
    fours = side == 1 && line % 4 == 0 && in_runs(p, ALONG ? depth : rows);
  }
  __device__ bool whole() const { return fours; }
  __device__ const float *entry(int r, int d) const { return p + r * row + d * k; }
};

template <class Tiles, bool AK, bool BK>
__device__ __forceinline__ void product(const float *a, const float *b, float *c, const float *bias, int M, int N, int K, int inner,
                                        i64 a_outer, i64 a_inner, i64 a_row, i64 a_k, i64 b_outer, i64 b_inner, i64 b_k, i64 b_column,
                                        i64 c_outer, i64 c_inner, i64 c_row, float alpha, float beta) {
  const int S = Tiles::SIDE;
  int across = (N + S - 1) / S, down = (M + S - 1) / S;
  i64 batch = blockIdx.x / (across * down), tile = blockIdx.x % (across * down), o = batch / inner, i = batch % inner;
  strided<AK> x(a, o * a_outer + i * a_inner, a_row, a_k, M, K);
  strided<BK> y(b, o * b_outer + i * b_inner, b_column, b_k, N, K);
  float *z = c + o * c_outer + i * c_inner;
  Tiles::product(x, y, tile / across * S, tile % across * S, M, N, 0, K, [&](i64 r, int col, const float *sum, int n) {
    for (int i = 0; i < n; i++, col++) {
      float *to = z + r * c_row + col, v = alpha * sum[i];
      if (bias) v += bias[col];
      *to = beta != 0 ? v + beta * *to : v;
    }
  });
}

// Four kernels of each kind of tiles, by whether k is the fast axis of the operands.
#define PRODUCT(name, Tiles, AK, BK) \
  KERNEL __launch_bounds__(256) name(const float *a, const float *b, float *c, const float *bias, int M, int N, int K, int inner, \
                                     i64 a_outer, i64 a_inner, i64 a_row, i64 a_k, i64 b_outer, i64 b_inner, i64 b_k, i64 b_column, \
                                     i64 c_outer, i64 c_inner, i64 c_row, float alpha, float beta) { \
    product<Tiles, AK, BK>(a, b, c, bias, M, N, K, inner, a_outer, a_inner, a_row, a_k, b_outer, b_inner, b_k, b_column, c_outer, c_inner, \
                           c_row, alpha, beta); \
  } \
  REGISTER(name)

PRODUCT(product_nn, float_tiles, true, false)
PRODUCT(product_nt, float_tiles, true, true)
PRODUCT(product_tn, float_tiles, false, false)
PRODUCT(product_tt, float_tiles, false, true)
PRODUCT(product_nn_bf16_64, tensor_tiles<64>, true, false)
PRODUCT(product_nt_bf16_64, tensor_tiles<64>, true, true)
PRODUCT(product_tn_bf16_64, tensor_tiles<64>, false, false)
PRODUCT(product_tt_bf16_64, tensor_tiles<64>, false, true)
PRODUCT(product_nn_bf16_128, tensor_tiles<128>, true, false)
PRODUCT(product_nt_bf16_128, tensor_tiles<128>, true, true)
PRODUCT(product_tn_bf16_128, tensor_tiles<128>, false, false)
PRODUCT(product_tt_bf16_128, tensor_tiles<128>, false, true)
