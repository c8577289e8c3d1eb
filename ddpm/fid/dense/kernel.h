// kernel.h: products of float64 matrices, for the vector length and register tile that the including file chose:
// VL (doubles in a vector), MR (rows of a tile), NV (vectors in a row of it), ISA_NAME and ISA.
#include "dense.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef double vec __attribute__((vector_size(VL * 8)));
typedef double vec_mem __attribute__((vector_size(VL * 8), aligned(8), may_alias));

INLINE vec load(const double *p) { return *(const vec_mem *)p; }
INLINE void store(double *p, vec v) { *(vec_mem *)p = v; }
INLINE vec splat(double f) { return (vec){0} + f; }
INLINE double sum(vec v) {
  double s = 0;
  for (int i = 0; i < VL; i++) s += v[i];
  return s;
}

#define NR (NV * VL)

// tile adds alpha times the product of MR packed rows and NR packed columns to m×n numbers at c.
INLINE void tile(int64_t k, double alpha, const double *a, const double *b, double *c, int64_t ldc, int64_t m, int64_t n) {
  vec s[MR][NV] = {0};
  for (int64_t p = 0; p < k; p++, a += MR, b += NR) {
    vec w[NV];
    UNROLL for (int j = 0; j < NV; j++) w[j] = load(b + j * VL);
    UNROLL for (int i = 0; i < MR; i++) {
      vec v = splat(a[i]);
      UNROLL for (int j = 0; j < NV; j++) s[i][j] += v * w[j];
    }
  }
  if (m == MR && n == NR) {
    UNROLL for (int i = 0; i < MR; i++) {
      UNROLL for (int j = 0; j < NV; j++) store(c + i * ldc + j * VL, load(c + i * ldc + j * VL) + alpha * s[i][j]);
    }
    return;
  }
  double rest[MR * NR];
  UNROLL for (int i = 0; i < MR; i++) {
    UNROLL for (int j = 0; j < NV; j++) store(rest + i * NR + j * VL, s[i][j]);
  }
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) c[i * ldc + j] += alpha * rest[i * NR + j];
}

// pack copies n of the vectors of k numbers in groups of w, one number of each after another; missing ones are zero.
INLINE void pack(double *to, const double *from, int64_t n, int64_t k, int64_t step, int64_t next, int w) {
  for (int64_t i = 0; i < n; i += w)
    for (int64_t p = 0; p < k; p++, to += w) {
      const double *at = from + i * step + p * next;
      for (int j = 0; j < w; j++) to[j] = i + j < n ? at[j * step] : 0;
    }
}

static void product(int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t ar, int64_t ac,
                    const double *b, int64_t br, int64_t bc, double *c, int64_t ldc, double *packed) {
  double *pa = packed, *pb = packed + (m + MR) * (k < DENSE_K ? k : DENSE_K);
  for (int64_t p = 0; p < k; p += DENSE_K) {
    int64_t kk = k - p < DENSE_K ? k - p : DENSE_K;
    pack(pa, a + p * ac, m, kk, ar, ac, MR);
    pack(pb, b + p * br, n, kk, bc, br, NR);
    for (int64_t j = 0; j < n; j += NR)
      for (int64_t i = 0; i < m; i += MR)
        tile(kk, alpha, pa + i * kk, pb + j * kk, c + i * ldc + j, ldc, m - i < MR ? m - i : MR, n - j < NR ? n - j : NR);
  }
}

static void times(int64_t m, int64_t n, const double *a, int64_t lda, const double *x, double *y) {
  int64_t i = 0;
  for (; i + 4 <= m; i += 4) {
    const double *r = a + i * lda;
    vec s[4] = {0};
    int64_t j = 0;
    for (; j + VL <= n; j += VL) {
      vec v = load(x + j);
      UNROLL for (int q = 0; q < 4; q++) s[q] += load(r + q * lda + j) * v;
    }
    for (int q = 0; q < 4; q++) {
      double t = sum(s[q]);
      for (int64_t l = j; l < n; l++) t += r[q * lda + l] * x[l];
      y[i + q] = t;
    }
  }
  for (; i < m; i++) {
    const double *r = a + i * lda;
    double t = 0;
    for (int64_t j = 0; j < n; j++) t += r[j] * x[j];
    y[i] = t;
  }
}

static void transposed(int64_t m, int64_t n, const double *a, int64_t lda, const double *x, double *y) {
  for (int64_t j = 0; j < n; j++) y[j] = 0;
  int64_t i = 0;
  for (; i + 4 <= m; i += 4) {
    const double *r = a + i * lda;
    vec v[4];
    UNROLL for (int q = 0; q < 4; q++) v[q] = splat(x[i + q]);
    int64_t j = 0;
    for (; j + VL <= n; j += VL) {
      vec s = load(y + j);
      UNROLL for (int q = 0; q < 4; q++) s += load(r + q * lda + j) * v[q];
      store(y + j, s);
    }
    for (; j < n; j++)
      for (int q = 0; q < 4; q++) y[j] += r[q * lda + j] * x[i + q];
  }
  for (; i < m; i++) {
    const double *r = a + i * lda;
    for (int64_t j = 0; j < n; j++) y[j] += r[j] * x[i];
  }
}

const struct dense_isa ISA = {ISA_NAME, product, times, transposed};
