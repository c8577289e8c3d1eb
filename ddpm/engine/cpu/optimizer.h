// optimizer.h: the update of the weights and the norm of the gradient, over flat arrays in one pass.

typedef double dvec __attribute__((vector_size(VL * 8)));

INLINE vec sqrt_v(vec v) {
  for (int i = 0; i < VL; i++) v[i] = __builtin_sqrtf(v[i]);
  return v;
}

// adamw: p = w, g, m, v, ema; d = size, entries of a part;
// f = lr/(1-beta1^t), 1-beta1, 1-beta2, 1/(1-beta2^t), eps, lr*decay, 1-ema rate (Loshchilov and Hutter 2019).
static void adamw(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const float *f = s->f;
  const int64_t hi = min_i(s->d[0], (part + 1) * s->d[1]);
  for (int64_t i = part * s->d[1]; i < hi; i += VL) {
    const int64_t left = hi - i;
    vec w = load_n(s->p[0] + i, left), g = load_n(s->p[1] + i, left), ema = load_n(s->p[4] + i, left);
    vec m = load_n(s->p[2] + i, left), v = load_n(s->p[3] + i, left);
    m += f[1] * (g - m);
    v += f[2] * (g * g - v);
    w -= f[5] * w;
    w -= f[0] * m / (sqrt_v(v * f[3]) + f[4]);
    ema += f[6] * (w - ema);
    store_n(s->p[0] + i, w, left);
    store_n(s->p[2] + i, m, left);
    store_n(s->p[3] + i, v, left);
    store_n(s->p[4] + i, ema, left);
  }
}

// sum_squares: p = x, sums (doubles, one a part); d = size, entries of a part.
static void sum_squares(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t hi = min_i(s->d[0], (part + 1) * s->d[1]);
  dvec total = {0};
  for (int64_t i = part * s->d[1]; i < hi; i += VL) {
    dvec v = __builtin_convertvector(load_n(s->p[0] + i, hi - i), dvec);
    total += v * v;
  }
  double sum = 0;
  for (int i = 0; i < VL; i++) sum += total[i];
  ((double *)(void *)s->p[1])[part] = sum;
}
