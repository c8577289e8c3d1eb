// rows.h: softmax over the last axis. d = rows, columns, rows of a part.

INLINE struct span rows_of(const struct cpu_step *s, int64_t part) {
  return (struct span){part * s->d[2], min_i(s->d[0], (part + 1) * s->d[2])};
}

INLINE float row_max(const float *x, int64_t n) {
  vec top = splat(-INFINITY);
  int64_t j = 0;
  for (; j + VL <= n; j += VL) top = max_v(top, load(x + j));
  float most = most_v(top);
  for (; j < n; j++) most = x[j] > most ? x[j] : most;
  return most;
}

// exp_row writes exp(x - shift), unless y is NULL, and returns its sum.
INLINE float exp_row(const float *x, float shift, int64_t n, float *y) {
  vec total = {0};
  int64_t j = 0;
  for (; j + VL <= n; j += VL) {
    vec e = exp_v(load(x + j) - shift);
    if (y) store(y + j, e);
    total += e;
  }
  float sum = sum_v(total);
  if (j < n) {
    vec e = exp_v(load_n(x + j, n - j) - shift);
    if (y) store_n(y + j, e, n - j);
    for (int64_t i = 0; i < n - j; i++) sum += e[i];
  }
  return sum;
}

// softmax: p = x, y.
static void softmax(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t n = s->d[1];
  const struct span r = rows_of(s, part);
  for (int64_t i = r.lo; i < r.hi; i++) {
    const float *x = s->p[0] + i * n;
    float *y = s->p[1] + i * n;
    const float factor = 1 / exp_row(x, row_max(x, n), n, y);
    for (int64_t j = 0; j < n; j += VL) store_n(y + j, load_n(y + j, n - j) * factor, n - j);
  }
}

// softmax_grad: p = y, g, out = y*(g - sum(g*y)).
static void softmax_grad(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t n = s->d[1];
  const struct span r = rows_of(s, part);
  for (int64_t i = r.lo; i < r.hi; i++) {
    const float *y = s->p[0] + i * n, *g = s->p[1] + i * n;
    vec total = {0};
    for (int64_t j = 0; j < n; j += VL) total += load_n(y + j, n - j) * load_n(g + j, n - j);
    const float dot = sum_v(total);
    for (int64_t j = 0; j < n; j += VL)
      store_n(s->p[2] + i * n + j, load_n(y + j, n - j) * (load_n(g + j, n - j) - dot), n - j);
  }
}

// log_softmax: p = x, y.
static void log_softmax(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t n = s->d[1];
  const struct span r = rows_of(s, part);
  for (int64_t i = r.lo; i < r.hi; i++) {
    const float *x = s->p[0] + i * n, top = row_max(x, n), log_sum = logf(exp_row(x, top, n, NULL));
    for (int64_t j = 0; j < n; j += VL) store_n(s->p[1] + i * n + j, load_n(x + j, n - j) - top - log_sum, n - j);
  }
}
