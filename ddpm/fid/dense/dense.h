// dense.h: the C side of package dense.
#include <stdint.h>

// dense_isa is one compilation of kernel.h.
struct dense_isa {
  const char *name;
  // c (m×n, rows ldc apart) += alpha a (m×k) b (k×n); element i,j of a is at i*ar + j*ac, of b at i*br + j*bc.
  // m <= DENSE_M, n <= DENSE_N; pack has room for (m + n + 2 DENSE_TILE) numbers for each of k <= DENSE_K.
  void (*product)(int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t ar, int64_t ac,
                  const double *b, int64_t br, int64_t bc, double *c, int64_t ldc, double *pack);
  // y (m) = a (m×n, rows lda apart) x (n)
  void (*times)(int64_t m, int64_t n, const double *a, int64_t lda, const double *x, double *y);
  // y (n) = aᵀ x, x (m)
  void (*transposed)(int64_t m, int64_t n, const double *a, int64_t lda, const double *x, double *y);
};

// The largest tile of a product, multiples of every instance's register tile, how many terms are added at a time, and
// the largest side of a register tile.
enum { DENSE_M = 252, DENSE_N = 256, DENSE_K = 256, DENSE_TILE = 16 };

// dense_find returns the named instance, or the best one of this machine for "", or NULL.
const struct dense_isa *dense_find(const char *name);
