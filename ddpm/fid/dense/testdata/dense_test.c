// The products against plain loops, on every instance that the machine runs, with operands that end where their memory
// ends: built with sanitizers by TestSanitizers.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../dense.h"

static double *numbers(int64_t n, int seed) {
  double *x = malloc(n * sizeof *x);
  for (int64_t i = 0; i < n; i++) x[i] = sin(seed + 1.7 * i);
  return x;
}

static void check(const char *what, int64_t n, const double *got, const double *want) {
  for (int64_t i = 0; i < n; i++)
    if (!(fabs(got[i] - want[i]) < 1e-9)) {
      printf("%s %ld: %g, want %g\n", what, (long)i, got[i], want[i]);
      exit(1);
    }
}

int main(void) {
  static const int64_t sizes[][3] = {{1, 1, 1}, {14, 16, 3}, {13, 17, 300}, {252, 256, 40}, {29, 33, 257}};
  static const char *names[] = {"avx512", "avx2", "baseline"};
  for (int k = 0; k < 3; k++) {
    const struct dense_isa *f = dense_find(names[k]);
    if (!f) continue;
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
      int64_t m = sizes[s][0], n = sizes[s][1], p = sizes[s][2];
      double *a = numbers(m * p, 1), *b = numbers(p * n, 2), *c = numbers(m * n, 3), *want = numbers(m * n, 3);
      double *pack = malloc((m + n + 2 * DENSE_TILE) * (p < DENSE_K ? p : DENSE_K) * sizeof *pack);
      for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
          for (int64_t l = 0; l < p; l++) want[i * n + j] += 0.5 * a[i * p + l] * b[l * n + j];
      f->product(m, n, p, 0.5, a, p, 1, b, n, 1, c, n, pack);
      check("product", m * n, c, want);

      double *x = numbers(p, 4), *y = malloc(m * sizeof *y), *z = malloc(p * sizeof *z), *t = calloc(m, sizeof *t), *u = calloc(p, sizeof *u);
      double *v = numbers(m, 5);
      for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < p; l++) t[i] += a[i * p + l] * x[l], u[l] += a[i * p + l] * v[i];
      f->times(m, p, a, p, x, y);
      check("times", m, y, t);
      f->transposed(m, p, a, p, v, z);
      check("transposed", p, z, u);
      double *all[] = {a, b, c, want, pack, x, y, z, t, u, v};
      for (unsigned i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    }
    printf("%s: done\n", names[k]);
  }
  return 0;
}
